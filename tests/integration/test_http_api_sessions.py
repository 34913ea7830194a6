"""The dashboard's sessions: log in, the cookie, log out."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from http.cookies import SimpleCookie
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.api_site import (
    ADMIN,
    ANN,
    OFFICE,
    PRODUCER,
    READER,
    SESSION,
    ApiSite,
    a_key,
    api_site,
    logged_in,
    own_page,
)
from worker.api.auth.ended_sessions import EndedSessions
from worker.core.clock import Clock
from worker.errors import StoreAway, StoreUnwritable


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    async with api_site(tmp_path) as opened:
        yield opened


# -- sessions --------------------------------------------------------------------------------------------------


async def test_log_in_sets_a_cookie_that_scripts_cannot_read(site: ApiSite) -> None:
    status, answer, headers = await site.ask("POST", SESSION, {"key": ADMIN}, key=None, **own_page(site))
    assert (status, answer["name"], answer["scopes"], answer["userId"]) == (200, ADMIN, ["admin"], f"key:{ADMIN}")
    [cookie] = SimpleCookie(headers["Set-Cookie"]).values()
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Strict", "/", "")
    assert int(cookie["max-age"]) == 12 * 3600
    assert ADMIN not in headers["Set-Cookie"]


async def test_cookie_is_secure_behind_a_proxy_with_tls(tmp_path: Path) -> None:
    async with api_site(tmp_path, proxies=[ip_network("127.0.0.0/8")]) as site:
        for scheme, expected in (("https", True), ("http", "")):
            _, _, headers = await site.ask("POST", SESSION, {"key": ADMIN}, key=None, X_Forwarded_Proto=scheme)
            [cookie] = SimpleCookie(headers["Set-Cookie"]).values()
            assert cookie["secure"] == expected
            assert cookie.key.startswith("__Host-") == bool(expected)
            sent = f"{cookie.key}={cookie.value}"
            assert (await site.ask("GET", SESSION, key=None, Cookie=sent, X_Forwarded_Proto=scheme))[0] == 200
            # Over HTTPS, a cookie that another host of the domain could have set is not read.
            other = sent.removeprefix("__Host-") if expected else f"__Host-{sent}"
            assert (await site.ask("GET", SESSION, key=None, Cookie=other, X_Forwarded_Proto=scheme))[0] == 401


@pytest.mark.parametrize("others", ["a=b;" * 1900, "=;;==" * 1500, 'a="' * 1900, "ก=ข;" * 500])
async def test_cookie_is_found_among_any_others_without_parsing_them(
    site: ApiSite, monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    def parsed(_request: web.BaseRequest) -> None:
        raise AssertionError("all cookies were parsed")

    monkeypatch.setattr(web.BaseRequest, "cookies", property(parsed))
    cookie = await logged_in(site, READER)
    for sent in (f"{others}; {cookie}", f"{cookie}; {others}", f"x=1;{cookie} ;{others}"):
        assert (await site.ask("GET", SESSION, key=None, Cookie=sent))[0] == 200
    assert (await site.ask("GET", SESSION, key=None, Cookie=others))[0] == 401


async def test_cookie_has_the_scopes_of_its_key(site: ApiSite) -> None:
    cookie = await logged_in(site, READER)
    assert (await site.ask("GET", "/api/v1/jobs", key=None, Cookie=cookie))[0] == 200
    assert (await site.ask("GET", "/api/v1/audit", key=None, Cookie=cookie))[0] == 403
    status, answer, _ = await site.ask("GET", SESSION, key=None, Cookie=cookie)
    assert (status, answer["name"], answer["scopes"]) == (200, READER, ["read"])
    assert answer["expiresAt"].endswith("Z")


async def test_session_contains_a_hub_token_for_its_own_user_only(site: ApiSite) -> None:
    tokens = {}
    for key in (ANN, OFFICE, ADMIN, PRODUCER):
        _, answer, _ = await site.ask("GET", SESSION, key=key)
        tokens[key] = answer["hub"]
    assert tokens[PRODUCER] is None  # it may not read
    users = {key: site.tokens.identify(hub["token"]).user for key, hub in tokens.items() if hub}
    assert users == {ANN: "ann", OFFICE: f"key:{OFFICE}", ADMIN: f"key:{ADMIN}"}
    site.jobs.default_user = "somebody"
    _, answer, _ = await site.ask("GET", SESSION, key=OFFICE)
    assert (answer["userId"], answer["defaultUserId"]) == (f"key:{OFFICE}", None)
    # An operator's page must not use up the notifications of the default user.
    _, answer, _ = await site.ask("GET", SESSION, key=ADMIN)
    assert (answer["userId"], answer["defaultUserId"]) == (f"key:{ADMIN}", "somebody")
    assert site.tokens.identify(answer["hub"]["token"]).user == f"key:{ADMIN}"


async def test_session_of_an_end_user_contains_no_further_token(site: ApiSite) -> None:
    _, answer, _ = await site.ask("GET", SESSION, key=site.tokens.mint("ann"))
    assert (answer["userId"], answer["hub"]) == ("ann", None)


async def test_session_ends_when_its_key_is_removed_or_replaced(site: ApiSite) -> None:
    cookie = await logged_in(site)
    site.authenticator.keys = [key for key in site.authenticator.keys if key.name != ADMIN]
    assert (await site.ask("GET", SESSION, key=None, Cookie=cookie))[0] == 401
    site.authenticator.keys = [*site.authenticator.keys, replace(a_key("another", "admin"), name=ADMIN)]
    assert (await site.ask("GET", SESSION, key=None, Cookie=cookie))[0] == 401


async def test_log_out_ends_the_session_and_revokes_its_token(site: ApiSite) -> None:
    cookie = await logged_in(site)
    _, answer, _ = await site.ask("GET", SESSION, key=None, Cookie=cookie)
    token_id = site.tokens.identify(answer["hub"]["token"]).token_id
    status, _, headers = await site.ask("DELETE", SESSION, key=None, Cookie=cookie, **own_page(site))
    assert status == 204
    assert "Max-Age=0" in headers["Set-Cookie"]
    assert site.hub_tokens.revoked == [token_id]
    assert (await site.ask("GET", SESSION, key=None, Cookie=cookie))[0] == 401


@pytest.mark.parametrize("part", ["sessions", "hub", "both"])
async def test_log_out_that_cannot_be_stored_ends_the_session_and_says_so(
    site: ApiSite, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """A browser that kept its cookie would look signed in, and sign in again after a restart."""

    async def reject_revocation(_token_id: str) -> None:
        raise StoreAway("the hubs' Redis is away: it is stored later")

    async def reject_session(*_session: object) -> None:
        raise StoreUnwritable("ended-sessions cannot be written")

    expected = []
    if part != "hub":
        monkeypatch.setattr(EndedSessions, "add", reject_session)
        expected.append("ended-sessions cannot be written")
    if part != "sessions":
        monkeypatch.setattr(site.hub_tokens, "revoke", reject_revocation)
        expected.append("the hubs' Redis is away: it is stored later")
    cookie = await logged_in(site)
    status, answer, headers = await site.ask("DELETE", SESSION, key=None, Cookie=cookie, **own_page(site))
    assert status == 503
    assert answer["detail"] == f"signed out in this browser, but not everything is stored: {'; '.join(expected)}"
    assert "Max-Age=0" in headers["Set-Cookie"]
    if part == "hub":
        assert (await site.ask("GET", SESSION, key=None, Cookie=cookie))[0] == 401
    else:
        assert site.hub_tokens.revoked == ([] if part == "both" else [f"session-{cookie.split('.')[2]}"])


async def test_log_out_survives_a_restart(tmp_path: Path) -> None:
    async with api_site(tmp_path) as site:
        cookie, other = await logged_in(site), await logged_in(site)
        await site.ask("DELETE", SESSION, key=None, Cookie=cookie, **own_page(site))
    async with api_site(tmp_path) as site:
        assert (await site.ask("GET", "/api/v1/jobs", key=None, Cookie=cookie))[0] == 401
        assert (await site.ask("GET", "/api/v1/jobs", key=None, Cookie=other))[0] == 200


async def test_log_out_without_a_session_writes_no_audit_entry(site: ApiSite) -> None:
    for key in (ADMIN, site.tokens.mint("ann")):
        for _ in range(3):
            assert (await site.ask("DELETE", SESSION, key=key))[0] == 204
    assert (await site.ask("GET", "/api/v1/audit"))[1]["entries"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "{own}", "Sec_Fetch_Site": "same-site"},
        {"Origin": "http://evil.example", "Sec_Fetch_Site": "same-origin"},
    ],
)
async def test_change_by_cookie_is_accepted_from_own_pages_only(site: ApiSite, headers: dict[str, str]) -> None:
    cookie, job_id = await logged_in(site), await site.submitted()
    sent = {name: value.format(own=site.url) for name, value in headers.items()}
    status, answer, _ = await site.ask("POST", f"/api/v1/jobs/{job_id}/cancel", key=None, Cookie=cookie, **sent)
    assert status == 403, answer
    assert (await site.ask("GET", f"/api/v1/jobs/{job_id}"))[1]["status"] == "queued"
    for own in ({"Origin": site.url}, {"Sec_Fetch_Site": "same-origin"}, own_page(site)):
        status, _, _ = await site.ask(
            "POST", f"/api/v1/jobs/{await site.submitted()}/cancel", key=None, Cookie=cookie, **own
        )
        assert status == 202


@pytest.mark.parametrize(
    "sent", [{"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}]
)
async def test_log_in_from_another_origin_returns_403(site: ApiSite, sent: dict[str, str]) -> None:
    status, _, headers = await site.ask("POST", SESSION, {"key": ADMIN}, key=None, **sent)
    assert (status, "Set-Cookie" in headers) == (403, False)


@pytest.mark.parametrize(
    "damage", ["", "x", "1.a.b.9999999999.", "ก", "..", "a" * 5000, "1.{mark}.x.99999999999.{signature}"]
)
async def test_altered_cookie_is_rejected(site: ApiSite, damage: str) -> None:
    name, _, value = (await logged_in(site)).partition("=")
    _, mark, _, _, signature = value.split(".")
    forged = damage.format(mark=mark, signature=signature)
    assert (await site.ask("GET", SESSION, key=None, Cookie=f"{name}={forged}"))[0] == 401
    for place in range(0, len(value), 7):
        other = "A" if value[place] != "A" else "B"
        changed = value[:place] + other + value[place + 1 :]
        assert (await site.ask("GET", SESSION, key=None, Cookie=f"{name}={changed}"))[0] == 401, changed


async def test_cookie_of_another_installation_is_rejected(site: ApiSite, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    cookie = await logged_in(site)
    site.authenticator.sessions = (
        replace(site.authenticator.sessions, signing_key=b"o" * 32) if site.authenticator.sessions else None
    )
    assert (await site.ask("GET", SESSION, key=None, Cookie=cookie))[0] == 401
    assert site.authenticator.sessions is not None
    renamed = f"{site.authenticator.sessions.cookie(secure=False, at_root=True)}={cookie.partition('=')[2]}"
    assert (await site.ask("GET", SESSION, key=None, Cookie=renamed))[0] == 401


async def test_session_ends_after_twelve_hours(site: ApiSite) -> None:
    cookie = await logged_in(site)
    assert site.authenticator.sessions is not None
    site.authenticator.sessions.clock = Clock(now=lambda: time.time() + 12 * 3600 + 1)
    assert (await site.ask("GET", SESSION, key=None, Cookie=cookie))[0] == 401


@pytest.mark.parametrize("body", [{}, {"key": ""}, {"key": 7}, {"key": None}, [], {"key": ADMIN, "more": 1}])
async def test_log_in_with_an_invalid_body_returns_422(site: ApiSite, body: Any) -> None:
    assert (await site.ask("POST", SESSION, body, key=None))[0] == 422
