"""Who may come in: keys, scopes, and the rules of Development."""

import hashlib
import ipaddress
import stat
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import HTTPForbidden, HTTPMisdirectedRequest, Request

from worker.door.access import DEVELOPER, Access, Caller
from worker.door.keys import SCOPES, ApiKey, admin_key
from worker.errors import UnsafeKey


def a_key(name: str, value: str, *scopes: str) -> ApiKey:
    return ApiKey(name, hashlib.sha256(value.encode()).hexdigest(), frozenset(scopes))


KEYS = [a_key("producer", "key-of-producer", "enqueue"), a_key("boss", "key-of-boss", "admin")]
PRODUCTION = Access(KEYS, open_on_loopback=False, allowed_hosts=frozenset())
DEVELOPMENT = Access(KEYS, open_on_loopback=True, allowed_hosts=frozenset({"worker.local"}))


def a_request(remote: str = "127.0.0.1", host: str = "127.0.0.1:8080", **headers: str) -> Request:
    """aiohttp's own request object, on a transport that has a peer."""
    transport = Mock()
    transport.get_extra_info.side_effect = lambda name, default=None: (remote, 50000) if name == "peername" else default
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request("GET", "/api/v1/jobs", headers={"Host": host, **named}, transport=transport)


# -- keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer key-of-producer"},
        {"Authorization": "bearer   key-of-producer "},
        {"X_Api_Key": "key-of-producer"},
    ],
)
def test_a_key_is_known_by_its_hash(headers: dict[str, str]) -> None:
    assert PRODUCTION.caller(a_request(**headers)) == Caller("producer", frozenset({"enqueue"}))


def test_a_hash_may_be_written_in_capitals() -> None:
    loud = Access([ApiKey("a", KEYS[0].sha256.upper(), frozenset())], False, frozenset())
    assert loud.caller(a_request(Authorization="Bearer key-of-producer")) is not None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic key-of-producer"},
        {"Authorization": f"Bearer {KEYS[0].sha256}"},
        {"X_Api_Key": ""},
    ],
)
def test_anything_else_is_no_key(headers: dict[str, str]) -> None:
    assert PRODUCTION.caller(a_request(**headers)) is None


def test_the_hash_of_nothing_opens_no_door() -> None:
    careless = Access([a_key("empty", "", "admin")], False, frozenset())
    assert careless.caller(a_request(X_Api_Key="")) is None
    assert careless.caller(a_request(Authorization="Bearer ")) is None


def test_a_wrong_key_is_refused_in_development_as_well() -> None:
    assert DEVELOPMENT.caller(a_request(Authorization="Bearer wrong")) is None


def test_admin_may_do_everything_and_others_what_they_may() -> None:
    assert [Caller("a", frozenset({"admin"})).may(scope) for scope in SCOPES] == [True, True, True]
    assert [Caller("a", frozenset({"read"})).may(scope) for scope in SCOPES] == [False, True, False]


# -- Development -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.8.9.10", "::1"])
@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "[::1]", "worker.local:8080"]
)
def test_in_development_this_machine_needs_no_key(remote: str, host: str) -> None:
    assert DEVELOPMENT.caller(a_request(remote, host)) == DEVELOPER


def test_in_production_it_does() -> None:
    assert PRODUCTION.caller(a_request()) is None


@pytest.mark.parametrize("remote", ["10.0.0.5", "192.168.1.2", "2001:db8::1", "", "not-an-address"])
def test_another_machine_needs_a_key(remote: str) -> None:
    assert DEVELOPMENT.caller(a_request(remote)) is None


@pytest.mark.parametrize(
    "host", ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1:8080", "", "[::1"]
)
def test_a_name_that_only_leads_here_is_refused(host: str) -> None:
    """DNS rebinding: the page's own name points to the loopback address."""
    assert replace(DEVELOPMENT, allowed_hosts=frozenset()).caller(a_request(host=host)) is None
    with pytest.raises(HTTPMisdirectedRequest):
        DEVELOPMENT.caller(a_request(host=host))
    with pytest.raises(HTTPMisdirectedRequest):
        DEVELOPMENT.caller(a_request(host=host, X_Api_Key="key-of-boss"))


@pytest.mark.parametrize(
    ("site", "welcome"), [("none", True), ("same-origin", True), ("same-site", False), ("cross-site", False)]
)
def test_in_development_a_browser_must_not_come_from_elsewhere(site: str, welcome: bool) -> None:
    assert (DEVELOPMENT.caller(a_request(Sec_Fetch_Site=site)) is not None) == welcome


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.0.0.1:3000", False),
        ("https://127.0.0.1:8080", False),
        ("http://evil.example", False),
        ("null", False),
    ],
)
def test_a_page_of_another_origin_is_refused(origin: str, welcome: bool) -> None:
    assert (DEVELOPMENT.caller(a_request(Origin=origin)) is not None) == welcome


@pytest.mark.parametrize(
    "header", ["Forwarded", "X_Forwarded_For", "X_Forwarded_Host", "X_Forwarded_Proto", "X_Real_IP", "Via"]
)
def test_what_came_through_a_proxy_did_not_come_from_here(header: str) -> None:
    assert DEVELOPMENT.caller(a_request(**{header: "127.0.0.1"})) is None


# -- the admin key of the first start ----------------------------------------------------------------------------


def test_the_first_start_makes_an_admin_key_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "admin.key"
    made, created = admin_key(path)
    found, again = admin_key(path)
    assert (created, again) == (True, False)
    assert made == found == a_key("admin", path.read_text(encoding="ascii").strip(), *SCOPES)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_a_key_file_that_was_cut_off_stops_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "admin.key"
    path.write_text(content, encoding="ascii")
    path.chmod(0o600)
    with pytest.raises(UnsafeKey, match="delete it"):
        admin_key(path)


def test_a_key_file_that_others_may_read_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "admin.key"
    admin_key(path)
    path.chmod(0o644)
    with pytest.raises(UnsafeKey, match="others may read"):
        admin_key(path)


# -- behind a proxy --------------------------------------------------------------------------------------------


BEHIND = Access(KEYS, False, frozenset(), [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")])


@pytest.mark.parametrize("peer", ["10.1.2.3", "fd00::7", "127.0.0.1", "::1"])
def test_a_key_is_good_through_a_trusted_proxy_and_on_this_machine(peer: str) -> None:
    assert BEHIND.caller(a_request(remote=peer, X_Api_Key="key-of-boss")) is not None


@pytest.mark.parametrize("peer", ["10.2.0.1", "192.0.2.7", "2001:db8::1", "", "not-an-address"])
def test_past_the_proxy_even_a_good_key_is_refused(peer: str) -> None:
    with pytest.raises(HTTPForbidden, match="Forbidden"):
        BEHIND.caller(a_request(remote=peer, X_Api_Key="key-of-boss"))
