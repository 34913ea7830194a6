"""The criteria file: what it may contain, and the error for anything else."""

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from tests.support.insignia import class_of, officer
from worker.insignia import CriteriaInvalid, RoundInvalid, load_criteria
from worker.insignia.rules.compiler import compile_rules
from worker.insignia.rules.evaluate import evaluate

Edit = Callable[[dict[str, Any]], object]


def packaged() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(
        resources.files("worker.insignia.criteria").joinpath("criteria.json").read_text("utf-8")
    )
    return data


def saved(tmp_path: Path, edit: Edit) -> Path:
    data = packaged()
    edit(data)
    path = tmp_path / "own.json"
    path.write_text(json.dumps(data, ensure_ascii=False), "utf-8")
    return path


def level(data: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for group in data["groups"] for row in group["levels"] if row["level"] == name)
    return found


def rule(data: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in data["general_rules"] if entry["id"] == name)
    return found


def test_packaged_criteria_are_valid_and_loaded_once() -> None:
    assert load_criteria() is load_criteria()
    assert len(load_criteria().decorations) == 16


def test_criteria_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_criteria().title = "x"  # type: ignore[misc] # that it is refused is the test


def test_criteria_file_of_the_office_is_used(tmp_path: Path) -> None:
    path = saved(tmp_path, lambda data: data["params"]["k3_min"].update(value=22140))
    rules = compile_rules(load_criteria(path), 2568)
    assert evaluate(officer("K2", "WE3 2020", salary=21000), rules).class_.reason == "SALARY_TOO_LOW"


def test_effect_of_an_exclusion_comes_from_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path, lambda data: rule(data, "GR-IMPRISONMENT").update(effect="not_eligible"))
    rules = compile_rules(load_criteria(path), 2568)
    assert evaluate(officer("K2", imprisonment=True), rules).class_.decision == "not_eligible"


def test_salary_comparison_comes_from_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path, lambda data: data["params"]["salary_comparison"].update(value=">"))
    rules = compile_rules(load_criteria(path), 2568)
    assert evaluate(officer("K2", "WE3 2020", salary=19860), rules).class_.reason == "SALARY_TOO_LOW"
    assert evaluate(officer("K2", "WE3 2020", salary=19861), rules).class_.award == "CT2"


FAULTS: list[tuple[str, Edit, str]] = [
    ("a class twice", lambda d: d["decorations"][1].update(code="CT7"), "decoration code 'CT7' occurs twice"),
    ("an unknown key", lambda d: d["decorations"][1].update(colour="red"), "decorations.1.colour"),
    ("text for a number", lambda d: d["params"]["k3_min"].update(value="19860"), "params.k3_min.value"),
    ("no groups", lambda d: d.pop("groups"), "groups: Field required"),
    ("an unknown class", lambda d: level(d, "K3").update(max_class="XX1"), "'XX1' is not a class"),
    ("a max class beyond the last step", lambda d: level(d, "K3").update(max_class="WES"), "max_class"),
    ("a start class that is not a first step", lambda d: level(d, "K3").update(start_class="CT1"), "start_class"),
    ("falling steps", lambda d: level(d, "O3")["steps"].reverse(), "the classes must rise"),
    ("a step twice", lambda d: level(d, "O3")["steps"][1].update(id="CS-O3-1"), "step id 'CS-O3-1' occurs twice"),
    ("a step that cannot be reached", lambda d: level(d, "O3")["steps"][1].pop("requires_held"), "neither entry"),
    ("a prerequisite above", lambda d: level(d, "O3")["steps"][1].update(requires_held="WES"), "is not below"),
    (
        "an unknown parameter",
        lambda d: level(d, "K2")["steps"][1]["conditions"][0].update(ref="params.k9_min"),
        "params.k9_min does not exist",
    ),
    (
        "an unknown condition",
        lambda d: level(d, "K1")["steps"][0]["conditions"].append({"type": "moon_phase"}),
        "moon_phase",
    ),
    ("another order", lambda d: d["policies"]["evaluation_order"].reverse(), "evaluation_order"),
    ("a general rule less", lambda d: d["general_rules"].pop(0), "GR-NATIONALITY is missing"),
    ("an unknown effect", lambda d: rule(d, "GR-LEAVE").update(effect="dance"), "GR-LEAVE.effect"),
    ("a cut-off said two ways", lambda d: rule(d, "GR-CUTOFF-60")["params"].update(days=61), "GR-CUTOFF-60"),
    ("service said two ways", lambda d: d["groups"][0].update(min_service_years=6), "min_service_years differs"),
    (
        "unknown penalty effects",
        lambda d: rule(d, "GR-DISCIPLINE")["params"].update(penalty_effects={"reprimand": 1}),
        "penalty_effects",
    ),
    ("a gap in the calendar", lambda d: d["calendar"]["ceremony"].pop(), "calendar.ceremony"),
    ("a medal that is none", lambda d: d["medal_rules"][0].update(award="CT1"), "is not a service medal"),
    ("a reason code less", lambda d: d["policies"]["unmet_reason_codes"].pop("salary_lt"), "unmet_reason_codes"),
    ("another schema", lambda d: d.update(schema_version=2), "schema_version"),
]


@pytest.mark.parametrize(("edit", "message"), [pytest.param(edit, message, id=name) for name, edit, message in FAULTS])
def test_invalid_criteria_file_is_reported_in_one_line(tmp_path: Path, edit: Edit, message: str) -> None:
    with pytest.raises(CriteriaInvalid) as caught:
        load_criteria(saved(tmp_path, edit))
    text = str(caught.value)
    assert text.startswith("own.json: ")
    assert message in text
    assert "\n" not in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "Invalid JSON"), (b"\xff\xfe{\x00", "not UTF-8"), (b"[]", "object"), (None, "cannot be read")],
)
def test_unreadable_criteria_file_is_reported_in_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "own.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CriteriaInvalid, match=message) as caught:
        load_criteria(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("round_be", "message"), [(2026, "2569"), (2399, "2400"), (2701, "2700"), (0, "not a Buddhist")]
)
def test_round_has_to_be_a_buddhist_year(round_be: int, message: str) -> None:
    with pytest.raises(RoundInvalid, match=message):
        class_of(officer(), round_be)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence": "lowest"}, "highest_satisfied or strict_next"),
        ({"parameters": {"k9_min": 1}}, "k3_min"),
        ({"parameters": {"k3_min": -1}}, "at least 0"),
        ({"parameters": {"k3_min": float("nan")}}, "at least 0"),
        ({"parameters": {"permanent_employee_service_years": 6.5}}, "whole years"),
    ],
)
def test_unknown_options_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RoundInvalid, match=message):
        class_of(officer(), **options)
