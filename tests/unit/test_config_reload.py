"""Reloaded settings: what applies at once, what waits for a restart, and what changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.errors import ConfigError
from config.loader import LoadedSettings
from config.reload import Change, is_hot, reload
from config.show import rows
from tests.support.site import Site

HEX = "ab" * 32


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def settings_file(site: Site, **sections: Any) -> None:
    site.write(json.dumps(sections))


def test_reload_separates_applied_changes_from_waiting_ones(site: Site) -> None:
    settings_file(site, Worker={"Concurrency": 5}, Http={"Url": "http://127.0.0.1:1"}, Queue={"MaxBytes": 2**21})
    before = site.load()
    settings_file(site, Worker={"Concurrency": 7}, Http={"Url": "http://127.0.0.1:2"}, Insignia={"BadRowLimit": 1})
    after, change = reload(before, site.load)
    assert change == Change(
        ("Worker:Concurrency", "Insignia:BadRowLimit"), ("WebSocket:Url", "Queue:MaxBytes", "Http:Url")
    )
    assert (after.settings.worker.concurrency, after.settings.insignia.bad_row_limit) == (7, 1.0)
    assert (after.settings.http.url, after.settings.queue.max_bytes) == ("http://127.0.0.1:1", 2**21)


def test_reload_reports_a_waiting_change_every_time(site: Site) -> None:
    settings_file(site, Http={"Url": "http://127.0.0.1:1"})
    first, _ = reload(site.load(), site.load)
    settings_file(site, Http={"Url": "http://127.0.0.1:2"})
    second, change = reload(first, site.load)
    both = ("WebSocket:Url", "Http:Url")  # the link follows the listener unless it has a URL of its own
    assert change.waiting == both
    assert reload(second, site.load)[1] == Change((), both)
    settings_file(site, Http={"Url": "http://127.0.0.1:1"})
    assert reload(second, site.load)[1] == Change()


def test_reloaded_value_has_its_own_origin(site: Site) -> None:
    settings_file(site, Http={"Url": "http://127.0.0.1:1"})
    before = site.load()
    site.write('{\n\n"Http": {"Url": "http://127.0.0.1:2"},\n"Worker": {"Concurrency": 3}}')
    after, _ = reload(before, site.load)
    assert str(after.origin("Http:Url")) == "appsettings.json:1"
    assert str(after.origin("Worker:Concurrency")) == "appsettings.json:4"


@pytest.mark.parametrize("before", [[], [{"Kid": "a", "Algorithm": "HS256", "Key": "x" * 40}]])
def test_waiting_list_keeps_all_its_earlier_elements(site: Site, before: list[Any]) -> None:
    settings_file(site, Hub={"Jwt": {"Keys": before}})
    loaded = site.load()
    settings_file(site, Hub={"Jwt": {"Keys": [{"Kid": "b", "Algorithm": "HS512", "Key": "y" * 70}] * 2}})
    after, change = reload(loaded, site.load)
    assert change == Change((), ("Hub:Jwt:Keys",))
    assert after.settings == loaded.settings
    assert rows(after) == rows(loaded)


def test_changed_secret_is_named_and_not_shown(site: Site) -> None:
    settings_file(site, WebSocket={"Token": "first-secret"})
    before = site.load()
    settings_file(site, WebSocket={"Token": "second-secret"})
    after, change = reload(before, site.load)
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
def test_reload_with_faults_names_the_file(site: Site, spoil: Callable[[Site], None]) -> None:
    settings_file(site, Worker={"Concurrency": 5})
    before = site.load(environment="Production")
    spoil(site)
    with pytest.raises(ConfigError, match=r"appsettings\.json"):
        reload(before, lambda: site.load(environment="Production"))
    assert before.settings.worker.concurrency == 5


def test_is_hot_holds_for_marked_keys_and_for_all_below_a_marked_section() -> None:
    assert is_hot(("Worker", "Concurrency"))
    assert is_hot(("Logging", "Console", "FormatterName"))
    assert not is_hot(("WebSocket", "Url"))
    assert not is_hot(("WorkerX",))


def test_reload_without_a_change_reports_no_change(site: Site) -> None:
    settings_file(site, Http={"ApiKeys": [{"Name": "a", "Sha256": HEX}]}, Logging={"LogLevel": {"worker": "Debug"}})
    before: LoadedSettings = site.load()
    assert reload(before, site.load) == (before, Change())
