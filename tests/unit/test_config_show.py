"""What `config show` is given."""

import json
from pathlib import Path

import pytest

from config.settings import Settings
from config.show import explained, leaves, rows
from tests.support.site import Site

HEX = "ab" * 32


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_every_value_is_shown_in_the_order_of_the_tree(site: Site) -> None:
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


def test_a_row_has_the_typed_value_and_its_origin(site: Site) -> None:
    site.write('{\n "Worker": {"Concurrency": "3", "Handlers": ["a.b"]}}')
    found = {row.key: row for row in rows(site.load())}
    assert (found["Worker:Concurrency"].value, str(found["Worker:Concurrency"].origin)) == (3, "appsettings.json:2")
    assert (found["Worker:Handlers:0"].value, found["Worker:Processes"].value) == ("a.b", 2)
    assert (found["Http:ApiKeys"].value, found["WebSocket:Headers"].value) == ([], {})
    assert str(found["Worker:Processes"].origin) == "default"


def test_secrets_are_masked_wherever_they_stand(site: Site) -> None:
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


def test_the_leaves_of_the_defaults_are_those_of_no_settings_at_all(site: Site) -> None:
    assert list(leaves(Settings())) == list(leaves(site.load().settings))
    assert list(leaves(Settings()))


def test_a_row_is_explained_by_its_default_and_its_meaning(site: Site) -> None:
    site.write('{"Worker": {"Concurrency": 3}, "Http": {"ApiKeys": [{"Name": "a", "Sha256": "%s"}]}}' % ("ab" * 32))
    found = {row.key: row for row in explained(site.load())}
    assert found.keys() == {row.key for row in rows(site.load())}
    slots = found["Worker:Concurrency"]
    assert (slots.value, slots.default, str(slots.origin)) == (3, 10, "appsettings.json:1")
    assert slots.description == "Jobs run at once"
    key = found["Http:ApiKeys:0:Sha256"]
    assert (key.value, key.default) == ("***", None)
    assert key.description.startswith("SHA-256 of the key")
    assert found["Logging:LogLevel:Default"].default == "Information"
    assert all(row.description for row in found.values())
