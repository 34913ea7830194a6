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

from worker.api.auth.api_keys import SCOPES, ApiKey, admin_key
from worker.api.auth.authenticator import DEVELOPER, Authenticator, Caller
from worker.errors import UnsafeKey


def a_key(name: str, value: str, *scopes: str) -> ApiKey:
    return ApiKey(name, hashlib.sha256(value.encode()).hexdigest(), frozenset(scopes))


KEYS = [a_key("producer", "key-of-producer", "enqueue"), a_key("admin", "key-of-admin", "admin")]
PRODUCTION = Authenticator(KEYS, open_on_loopback=False, allowed_hosts=frozenset())
DEVELOPMENT = Authenticator(KEYS, open_on_loopback=True, allowed_hosts=frozenset({"worker.local"}))


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
def test_caller_with_a_known_key_is_found_by_its_hash(headers: dict[str, str]) -> None:
    assert PRODUCTION.caller(a_request(**headers)) == Caller("producer", frozenset({"enqueue"}), key=KEYS[0])


def test_caller_is_found_when_the_hash_is_in_capitals() -> None:
    loud = Authenticator([ApiKey("a", KEYS[0].sha256.upper(), frozenset())], False, frozenset())
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
def test_caller_without_a_valid_key_is_unknown(headers: dict[str, str]) -> None:
    assert PRODUCTION.caller(a_request(**headers)) is None


def test_empty_key_is_never_accepted() -> None:
    careless = Authenticator([a_key("empty", "", "admin")], False, frozenset())
    assert careless.caller(a_request(X_Api_Key="")) is None
    assert careless.caller(a_request(Authorization="Bearer ")) is None


def test_unknown_key_is_rejected_in_development_too() -> None:
    assert DEVELOPMENT.caller(a_request(Authorization="Bearer wrong")) is None


def test_scope_admin_includes_the_others() -> None:
    assert [Caller("a", frozenset({"admin"})).may(scope) for scope in SCOPES] == [True, True, True]
    assert [Caller("a", frozenset({"read"})).may(scope) for scope in SCOPES] == [False, True, False]


# -- Development -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.8.9.10", "::1"])
@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "[::1]", "worker.local:8080"]
)
def test_loopback_needs_no_key_in_development(remote: str, host: str) -> None:
    assert DEVELOPMENT.caller(a_request(remote, host)) == DEVELOPER


def test_loopback_needs_a_key_in_production() -> None:
    assert PRODUCTION.caller(a_request()) is None


@pytest.mark.parametrize("remote", ["10.0.0.5", "192.168.1.2", "2001:db8::1", "", "not-an-address"])
def test_other_machines_need_a_key_in_development(remote: str) -> None:
    assert DEVELOPMENT.caller(a_request(remote)) is None


@pytest.mark.parametrize(
    "host", ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1:8080", "", "[::1"]
)
def test_host_name_that_resolves_to_loopback_is_rejected(host: str) -> None:
    """DNS rebinding: the page's own name points to the loopback address."""
    assert replace(DEVELOPMENT, allowed_hosts=frozenset()).caller(a_request(host=host)) is None
    with pytest.raises(HTTPMisdirectedRequest):
        DEVELOPMENT.caller(a_request(host=host))
    with pytest.raises(HTTPMisdirectedRequest):
        DEVELOPMENT.caller(a_request(host=host, X_Api_Key="key-of-admin"))


@pytest.mark.parametrize(
    ("site", "welcome"), [("none", True), ("same-origin", True), ("same-site", False), ("cross-site", False)]
)
def test_cross_site_request_needs_a_key_in_development(site: str, welcome: bool) -> None:
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
def test_request_from_another_origin_needs_a_key_in_development(origin: str, welcome: bool) -> None:
    assert (DEVELOPMENT.caller(a_request(Origin=origin)) is not None) == welcome


@pytest.mark.parametrize(
    "header", ["Forwarded", "X_Forwarded_For", "X_Forwarded_Host", "X_Forwarded_Proto", "X_Real_IP", "Via"]
)
def test_request_with_proxy_headers_needs_a_key_in_development(header: str) -> None:
    assert DEVELOPMENT.caller(a_request(**{header: "127.0.0.1"})) is None


# -- the admin key of the first start ----------------------------------------------------------------------------


def test_admin_key_is_created_once_with_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "admin.key"
    made, created = admin_key(path)
    found, again = admin_key(path)
    assert (created, again) == (True, False)
    assert made == found == a_key("admin", path.read_text(encoding="ascii").strip(), *SCOPES)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_admin_key_rejects_an_incomplete_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "admin.key"
    path.write_text(content, encoding="ascii")
    path.chmod(0o600)
    with pytest.raises(UnsafeKey, match="delete it"):
        admin_key(path)


def test_admin_key_rejects_a_file_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "admin.key"
    admin_key(path)
    path.chmod(0o644)
    with pytest.raises(UnsafeKey, match="others may read"):
        admin_key(path)


# -- behind a proxy --------------------------------------------------------------------------------------------


BEHIND = Authenticator(
    KEYS, False, frozenset(), [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")]
)


@pytest.mark.parametrize("peer", ["10.1.2.3", "fd00::7", "127.0.0.1", "::1"])
def test_key_is_accepted_from_trusted_proxies_and_loopback(peer: str) -> None:
    assert BEHIND.caller(a_request(remote=peer, X_Api_Key="key-of-admin")) is not None


@pytest.mark.parametrize("peer", ["10.2.0.1", "192.0.2.7", "2001:db8::1", "", "not-an-address"])
def test_key_is_rejected_from_addresses_that_avoid_the_proxy(peer: str) -> None:
    with pytest.raises(HTTPForbidden, match="Forbidden"):
        BEHIND.caller(a_request(remote=peer, X_Api_Key="key-of-admin"))
