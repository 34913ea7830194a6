"""Reading the settings anew: what holds at once, what waits, and what changes nothing at all."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.layers import Loaded
from config.problems import ConfigError
from config.reload import HOT, Change, again, is_hot
from config.settings import Settings
from config.shape import Section, shape_of
from config.show import rows
from config.tree import Path as KeyPath
from config.tree import key_text
from tests.support.site import Site

HEX = "ab" * 32


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def settings_file(site: Site, **sections: Any) -> None:
    site.write(json.dumps(sections))


def test_what_changed_is_told_apart_into_now_and_later(site: Site) -> None:
    settings_file(site, Worker={"Concurrency": 5}, Http={"Url": "http://127.0.0.1:1"}, Queue={"MaxBytes": 2**21})
    before = site.load()
    settings_file(site, Worker={"Concurrency": 7}, Http={"Url": "http://127.0.0.1:2"}, Insignia={"BadRowLimit": 1})
    after, change = again(before, site.load)
    assert change == Change(("Worker:Concurrency", "Insignia:BadRowLimit"), ("Queue:MaxBytes", "Http:Url"))
    assert (after.settings.worker.concurrency, after.settings.insignia.bad_row_limit) == (7, 1.0)
    assert (after.settings.http.url, after.settings.queue.max_bytes) == ("http://127.0.0.1:1", 2**21)


def test_what_waits_for_a_restart_is_told_at_every_reload_until_then(site: Site) -> None:
    settings_file(site, Http={"Url": "http://127.0.0.1:1"})
    first, _ = again(site.load(), site.load)
    settings_file(site, Http={"Url": "http://127.0.0.1:2"})
    second, change = again(first, site.load)
    assert change.waiting == ("Http:Url",)
    assert again(second, site.load)[1] == Change((), ("Http:Url",))
    settings_file(site, Http={"Url": "http://127.0.0.1:1"})
    assert again(second, site.load)[1] == Change()


def test_a_value_is_told_with_the_origin_it_came_from(site: Site) -> None:
    settings_file(site, Http={"Url": "http://127.0.0.1:1"})
    before = site.load()
    site.write('{\n\n"Http": {"Url": "http://127.0.0.1:2"},\n"Worker": {"Concurrency": 3}}')
    after, _ = again(before, site.load)
    assert str(after.origin("Http:Url")) == "appsettings.json:1"
    assert str(after.origin("Worker:Concurrency")) == "appsettings.json:4"


@pytest.mark.parametrize("before", [[], [{"Kid": "a", "Algorithm": "HS256", "Key": "x" * 40}]])
def test_a_list_that_waits_stays_whole(site: Site, before: list[Any]) -> None:
    settings_file(site, Hub={"Jwt": {"Keys": before}})
    loaded = site.load()
    settings_file(site, Hub={"Jwt": {"Keys": [{"Kid": "b", "Algorithm": "HS512", "Key": "y" * 70}] * 2}})
    after, change = again(loaded, site.load)
    assert change == Change((), ("Hub:Jwt:Keys",))
    assert after.settings == loaded.settings
    assert rows(after) == rows(loaded)


def test_a_secret_that_changed_is_named_and_not_shown(site: Site) -> None:
    settings_file(site, WebSocket={"Token": "first-secret"})
    before = site.load()
    settings_file(site, WebSocket={"Token": "second-secret"})
    after, change = again(before, site.load)
    assert change == Change(("WebSocket:Token",))
    assert after.settings.web_socket.token is not None
    assert after.settings.web_socket.token.get_secret_value() == "second-secret"


def _truncated(site: Site) -> None:
    site.write('{"Worker": {"Concurrency": 7')


def _wrong_type(site: Site) -> None:
    settings_file(site, Worker={"Concurrency": "many"})


def _typo(site: Site) -> None:
    settings_file(site, Worker={"Concurency": 7})


def _deleted(site: Site) -> None:
    (site.here / "appsettings.json").unlink()


def _folder(site: Site) -> None:
    (site.here / "appsettings.json").unlink()
    (site.here / "appsettings.json").mkdir()


@pytest.mark.parametrize("spoil", [_truncated, _wrong_type, _typo, _deleted, _folder])
def test_a_reload_that_cannot_be_used_is_a_fault_that_names_the_file(site: Site, spoil: Callable[[Site], None]) -> None:
    settings_file(site, Worker={"Concurrency": 5})
    before = site.load(environment="Production")
    spoil(site)
    with pytest.raises(ConfigError, match=r"appsettings\.json"):
        again(before, lambda: site.load(environment="Production"))
    assert before.settings.worker.concurrency == 5


def test_every_hot_key_is_a_setting() -> None:
    known = {key_text(path) for path in _keys(shape_of(Settings), ())}
    assert [key for key in HOT if not any(name == key or name.startswith(f"{key}:") for name in known)] == []
    assert not is_hot(("WebSocket", "Url"))
    assert is_hot(("Logging", "Console", "FormatterName"))
    assert not is_hot(("WorkerX",))


def test_the_documentation_names_every_hot_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    told = page.partition("<!-- hot: begin -->")[2].partition("<!-- hot: end -->")[0]
    assert tuple(re.findall(r"`([^`]+)`", told)) == HOT


def _keys(section: Section, path: KeyPath) -> list[KeyPath]:
    found: list[KeyPath] = []
    for key in section.keys.values():
        here = (*path, key.name)
        found += _keys(key.shape, here) if isinstance(key.shape, Section) else [here]
    return found


def test_a_reload_without_a_change_changes_nothing(site: Site) -> None:
    settings_file(site, Http={"ApiKeys": [{"Name": "a", "Sha256": HEX}]}, Logging={"LogLevel": {"worker": "Debug"}})
    before: Loaded = site.load()
    assert again(before, site.load) == (before, Change())
