"""The bill of materials has every package of the lock, and follows CycloneDX's schema."""

import json
from importlib.resources import files
from typing import Any

import jsonschema_rs
import pytest

from tests.support.repository import ROOT
from tests.support.sbom import Pinned, as_json, bill_of_materials, pinned_in

SCHEMAS = files("cyclonedx.schema") / "_res"
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def _schema(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def validator() -> Any:
    parts = ("spdx", "jsf-0.82", "cryptography-defs")
    others = [(f"http://cyclonedx.org/schema/{part}.SNAPSHOT.schema.json", _schema(part)) for part in parts]
    return jsonschema_rs.validator_for(_schema("bom-1.6"), registry=jsonschema_rs.Registry(others))


def test_bill_of_materials_follows_the_schema_and_has_every_package(validator: Any) -> None:
    document = json.loads(as_json(bill_of_materials(pinned_in(LOCK))))

    validator.validate(document)
    pinned = {line.partition("==")[0] for line in LOCK.splitlines() if "==" in line}
    assert {component["name"] for component in document["components"]} == pinned
    assert all(component.get("properties") or component.get("hashes") for component in document["components"])


def test_document_that_breaks_the_schema_is_reported(validator: Any) -> None:
    document = json.loads(as_json(bill_of_materials(iter([Pinned("a", "1", "", ("0" * 64,))]))))
    document["components"][0]["type"] = "unheard-of"

    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate(document)


def test_package_without_a_hash_is_an_error() -> None:
    with pytest.raises(ValueError, match="make lock"):
        list(pinned_in("a==1 \\\n    # via b\nc==2\n"))
