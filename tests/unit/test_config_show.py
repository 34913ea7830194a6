"""The rows of `config show` and of the settings page."""

import json
from pathlib import Path

import pytest

from config.settings import Settings
from config.show import described_rows, leaves, rows
from tests.support.site import Site

HEX = "ab" * 32


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_rows_contain_every_value_in_the_order_of_the_models(site: Site) -> None:
    keys = [row.key for row in rows(site.load())]
    assert keys[0] == "WebSocket:Url"
    assert keys[-1] == "Logging:Emoji"
    assert len(keys) == len(set(keys))
    assert list(dict.fromkeys(key.split(":")[0] for key in keys)) == [
        "WebSocket",
        "Worker",
        "Queue",
        "Hub",
        "Http",
        "Insignia",
        "Uploads",
        "Handlers",
        "HostOptions",
        "Logging",
    ]


def test_row_has_the_typed_value_and_its_origin(site: Site) -> None:
    site.write('{\n "Worker": {"Concurrency": "3", "Handlers": ["a.b"]}}')
    found = {row.key: row for row in rows(site.load())}
    assert (found["Worker:Concurrency"].value, str(found["Worker:Concurrency"].origin)) == (3, "appsettings.json:2")
    assert (found["Worker:Handlers:0"].value, found["Worker:Processes"].value) == ("a.b", 2)
    assert (found["Http:ApiKeys"].value, found["WebSocket:Headers"].value) == ([], {})
    assert str(found["Worker:Processes"].origin) == "default"


def test_rows_mask_secrets_in_lists_and_dictionaries(site: Site) -> None:
    secret = "s3cret-s3cret-s3cret-s3cret-s3cret"
    loaded = site.load(
        environ={
            "WebSocket__Token": secret,
            "WebSocket__Headers__X-Key": secret,
            "WebSocket__Url": f"http://me:{secret}@hub:1",
            "Hub__Jwt__Key": secret,
            "Http__ApiKeys__0__Name": "me",
            "Http__ApiKeys__0__Sha256": HEX,
        }
    )
    text = json.dumps([[row.key, row.value] for row in rows(loaded)])
    assert secret not in text
    assert HEX not in text
    found = {row.key: row.value for row in rows(loaded)}
    assert found["WebSocket:Token"] == found["WebSocket:Headers:X-Key"] == found["Http:ApiKeys:0:Sha256"] == "***"
    assert found["WebSocket:Url"] == "http://***@hub:1"
    assert found["Queue:ConnectionString"] is None


def test_leaves_of_the_defaults_equal_those_of_empty_settings(site: Site) -> None:
    assert list(leaves(Settings())) == list(leaves(site.load().settings))
    assert list(leaves(Settings()))


def test_described_row_has_its_default_and_description(site: Site) -> None:
    site.write('{"Worker": {"Concurrency": 3}, "Http": {"ApiKeys": [{"Name": "a", "Sha256": "%s"}]}}' % ("ab" * 32))
    found = {row.key: row for row in described_rows(site.load())}
    assert found.keys() == {row.key for row in rows(site.load())}
    slots = found["Worker:Concurrency"]
    assert (slots.value, slots.default, str(slots.origin)) == (3, 10, "appsettings.json:1")
    assert slots.description == "Jobs that run at the same time"
    units = {name: row.unit for name, row in found.items()}
    assert units["WebSocket:Timeout"] == "milliseconds"
    assert units["Hub:HeartbeatInterval"] == "seconds"
    assert (units["Queue:MaxBytes"], units["Worker:Concurrency"]) == ("bytes", "")
    key = found["Http:ApiKeys:0:Sha256"]
    assert (key.value, key.default) == ("***", None)
    assert key.description.startswith("SHA-256 of the key")
    assert found["Logging:LogLevel:Default"].default == "Information"
    assert all(row.description for row in found.values())
