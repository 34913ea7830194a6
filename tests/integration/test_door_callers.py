"""Who may come in, over real sockets: sessions, end users' tokens, bound keys, limits, pages of other origins."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from http.cookies import SimpleCookie
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.support.door import ANN, BOSS, OFFICE, PRODUCER, READER, Site, a_key, a_site
from tests.support.stores import failed as a_failed
from worker.clock import Clock
from worker.door.limits import Throttle
from worker.door.routes import Route
from worker.errors import StoreFull
from worker.events import Audited, Warned

SESSION = "/api/v1/session"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as opened:
        yield opened


async def logged_in(site: Site, key: str = BOSS) -> str:
    """The cookie of a new session, as a browser sends it back."""
    status, _, headers = await site.ask("POST", SESSION, {"key": key}, key=None)
    assert status == 200
    return str(headers["Set-Cookie"]).split(";")[0]


def own_page(site: Site) -> dict[str, str]:
    return {"Origin": site.url, "Sec_Fetch_Site": "same-origin"}


# -- sessions --------------------------------------------------------------------------------------------------


async def test_a_key_is_changed_for_a_cookie_that_scripts_cannot_read(site: Site) -> None:
    status, answer, headers = await site.ask("POST", SESSION, {"key": BOSS}, key=None, **own_page(site))
    assert (status, answer["name"], answer["scopes"], answer["userId"]) == (200, BOSS, ["admin"], f"key:{BOSS}")
    [cookie] = SimpleCookie(headers["Set-Cookie"]).values()
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Strict", "/", "")
    assert int(cookie["max-age"]) == 12 * 3600
    assert BOSS not in headers["Set-Cookie"]


async def test_behind_a_proxy_with_tls_the_cookie_stays_there(tmp_path: Path) -> None:
    async with a_site(tmp_path, proxies=[ip_network("127.0.0.0/8")]) as site:
        for scheme, expected in (("https", True), ("http", "")):
            _, _, headers = await site.ask("POST", SESSION, {"key": BOSS}, key=None, X_Forwarded_Proto=scheme)
            [cookie] = SimpleCookie(headers["Set-Cookie"]).values()
            assert cookie["secure"] == expected


async def test_the_cookie_does_what_its_key_may(site: Site) -> None:
    cookie = await logged_in(site, READER)
    assert (await site.ask("GET", "/api/v1/jobs", key=None, Cookie=cookie))[0] == 200
    assert (await site.ask("GET", "/api/v1/audit", key=None, Cookie=cookie))[0] == 403
    status, answer, _ = await site.ask("GET", SESSION, key=None, Cookie=cookie)
    assert (status, answer["name"], answer["scopes"]) == (200, READER, ["read"])
    assert answer["expiresAt"].endswith("Z")


async def test_the_page_gets_a_token_to_listen_to_its_own_user_alone(site: Site) -> None:
    tokens = {}
    for key in (ANN, OFFICE, BOSS, PRODUCER):
        _, answer, _ = await site.ask("GET", SESSION, key=key)
        tokens[key] = answer["hub"]
    assert tokens[PRODUCER] is None  # it may not read
    users = {key: site.authority.identify(hub["token"]).user for key, hub in tokens.items() if hub}
    assert users == {ANN: "ann", OFFICE: f"key:{OFFICE}", BOSS: f"key:{BOSS}"}
    site.control.default_user = "somebody"
    _, answer, _ = await site.ask("GET", SESSION, key=OFFICE)
    assert answer["userId"] == f"key:{OFFICE}"  # somebody's news are of all organisations
    _, answer, _ = await site.ask("GET", SESSION, key=BOSS)
    assert answer["userId"] == "somebody"


async def test_a_users_token_begets_no_other(site: Site) -> None:
    _, answer, _ = await site.ask("GET", SESSION, key=site.authority.mint("ann"))
    assert (answer["userId"], answer["hub"]) == ("ann", None)


async def test_a_session_ends_with_its_key(site: Site) -> None:
    cookie = await logged_in(site)
    site.access.keys = [key for key in site.access.keys if key.name != BOSS]
    assert (await site.ask("GET", SESSION, key=None, Cookie=cookie))[0] == 401
    site.access.keys = [*site.access.keys, replace(a_key("another", "admin"), name=BOSS)]
    assert (await site.ask("GET", SESSION, key=None, Cookie=cookie))[0] == 401


async def test_logging_out_ends_the_session_and_its_token_wherever_copies_lie(site: Site) -> None:
    cookie = await logged_in(site)
    _, answer, _ = await site.ask("GET", SESSION, key=None, Cookie=cookie)
    token_id = site.authority.identify(answer["hub"]["token"]).token_id
    status, _, headers = await site.ask("DELETE", SESSION, key=None, Cookie=cookie, **own_page(site))
    assert status == 204
    assert "Max-Age=0" in headers["Set-Cookie"]
    assert site.desk.revoked == [token_id]
    assert (await site.ask("GET", SESSION, key=None, Cookie=cookie))[0] == 401


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
async def test_by_cookie_only_our_own_pages_change_things(site: Site, headers: dict[str, str]) -> None:
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
async def test_a_page_of_another_origin_cannot_log_a_browser_in(site: Site, sent: dict[str, str]) -> None:
    status, _, headers = await site.ask("POST", SESSION, {"key": BOSS}, key=None, **sent)
    assert (status, "Set-Cookie" in headers) == (403, False)


@pytest.mark.parametrize(
    "damage", ["", "x", "1.a.b.9999999999.", "ก", "..", "a" * 5000, "1.{mark}.x.99999999999.{signature}"]
)
async def test_a_cookie_that_was_tampered_with_is_nothing(site: Site, damage: str) -> None:
    name, _, value = (await logged_in(site)).partition("=")
    _, mark, _, _, signature = value.split(".")
    forged = damage.format(mark=mark, signature=signature)
    assert (await site.ask("GET", SESSION, key=None, Cookie=f"{name}={forged}"))[0] == 401
    for place in range(0, len(value), 7):
        other = "A" if value[place] != "A" else "B"
        changed = value[:place] + other + value[place + 1 :]
        assert (await site.ask("GET", SESSION, key=None, Cookie=f"{name}={changed}"))[0] == 401, changed


async def test_a_cookie_of_another_installation_is_nothing(site: Site, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    cookie = await logged_in(site)
    site.access.sessions = replace(site.access.sessions, signing_key=b"o" * 32) if site.access.sessions else None
    assert (await site.ask("GET", SESSION, key=None, Cookie=cookie))[0] == 401
    assert site.access.sessions is not None
    renamed = f"{site.access.sessions.cookie}={cookie.partition('=')[2]}"
    assert (await site.ask("GET", SESSION, key=None, Cookie=renamed))[0] == 401


async def test_a_session_is_over_after_its_time(site: Site) -> None:
    cookie = await logged_in(site)
    assert site.access.sessions is not None
    site.access.sessions.clock = Clock(now=lambda: time.time() + 12 * 3600 + 1)
    assert (await site.ask("GET", SESSION, key=None, Cookie=cookie))[0] == 401


@pytest.mark.parametrize("body", [{}, {"key": ""}, {"key": 7}, {"key": None}, [], {"key": BOSS, "more": 1}])
async def test_a_login_that_makes_no_sense_is_422(site: Site, body: Any) -> None:
    assert (await site.ask("POST", SESSION, body, key=None))[0] == 422


# -- end users -------------------------------------------------------------------------------------------------


async def test_an_end_user_sees_and_cancels_his_own_jobs_alone(site: Site) -> None:
    token = site.authority.mint("ann")
    own, others = await site.submitted("ann"), await site.submitted("bob")
    assert (await site.ask("GET", "/api/v1/me", key=token))[1] == {"userId": "ann"}
    _, listed, _ = await site.ask("GET", "/api/v1/me/jobs", key=token)
    assert [job["jobId"] for job in listed["jobs"]] == [own]
    _, listed, _ = await site.ask("GET", "/api/v1/me/jobs?userId=bob", key=token)
    assert listed["jobs"] == []
    for method, path in (("GET", ""), ("GET", "?wait=0"), ("POST", "/cancel")):
        gone = (await site.ask(method, f"/api/v1/me/jobs/nothing{path}", key=token))[1]
        status, answer, _ = await site.ask(method, f"/api/v1/me/jobs/{others}{path}", key=token)
        assert (status, answer) == (404, gone | {"detail": f"there is no job {others}"})
    assert (await site.ask("POST", f"/api/v1/me/jobs/{own}/cancel", key=token))[:2] == (202, {"status": "cancelled"})
    assert (await site.ask("GET", f"/api/v1/jobs/{others}"))[1]["status"] == "queued"


async def test_an_end_user_never_sees_a_stack_trace(site: Site) -> None:
    job_id = await site.submitted("ann")
    [job] = (await site.store.claim(1)).jobs
    await site.store.settle([a_failed(job)])
    _, for_boss, _ = await site.ask("GET", f"/api/v1/jobs/{job_id}")
    _, for_ann, _ = await site.ask("GET", f"/api/v1/me/jobs/{job_id}", key=site.authority.mint("ann"))
    assert for_boss["stackTrace"]
    assert for_ann == {name: value for name, value in for_boss.items() if name != "stackTrace"}


async def test_a_token_opens_nothing_but_its_users_own(site: Site) -> None:
    for token in (site.authority.mint("ann"), site.authority.mint("ann", admin=True, publish=True)):
        for method, path in (("GET", "/api/v1/jobs"), ("POST", "/api/v1/jobs"), ("GET", "/api/v1/audit")):
            assert (await site.ask(method, path, key=token))[0] == 403
    status, answer, _ = await site.ask("GET", "/api/v1/me")
    assert (status, "end users" in answer["detail"]) == (403, True)


async def test_tokens_that_prove_nothing_are_401(site: Site) -> None:
    revoked = site.authority.mint("ann", token_id="gone")
    site.authority.revoke("gone")
    other = replace(site.authority, signing_key=b"o" * 32)
    head, body, signature = site.authority.mint("ann").split(".")
    bad = [
        revoked,
        site.authority.mint("ann", days=-1),
        site.authority.mint_for_worker(),
        other.mint("ann"),
        replace(site.authority, audience="elsewhere").mint("ann"),
        f"{head}.{body}.",
        "eyJhbGciOiJub25lIn0." + body + ".",
        f"{head}.{body}.{signature[::-1]}",
    ]
    for token in bad * 5:  # more than the guesses a stranger has: a stale token is no guess at a key
        assert (await site.ask("GET", "/api/v1/me", key=token))[0] == 401
    assert (await site.ask("GET", "/api/v1/jobs"))[0] == 200


# -- bound keys ------------------------------------------------------------------------------------------------


async def test_a_bound_key_submits_its_own_alone(site: Site) -> None:
    body = {"taskType": "echo", "payload": {"text": "a"}}
    status, answer, _ = await site.ask("POST", "/api/v1/jobs", body, key=ANN)
    assert status == 202
    assert (await site.ask("GET", f"/api/v1/jobs/{answer['jobId']}"))[1]["userId"] == "ann"
    for_bob = body | {"userId": "bob"}
    assert (await site.ask("POST", "/api/v1/jobs", for_bob, key=ANN))[0] == 403
    assert (await site.ask("POST", "/api/v1/jobs/batch", {"jobs": [body, for_bob]}, key=ANN))[0] == 403
    of_office = body | {"userId": "bob", "taskType": "nothing", "payload": {"organization": "office"}}
    assert (await site.ask("POST", "/api/v1/jobs", of_office, key=OFFICE))[0] == 202
    for organization in ("works", None, ["office"], {"office": 1}):
        other = of_office | {"payload": {"organization": organization}}
        assert (await site.ask("POST", "/api/v1/jobs", other, key=OFFICE))[0] == 403


async def test_to_a_bound_key_others_jobs_are_not_there(site: Site) -> None:
    own, others = await site.submitted("ann"), await site.submitted("bob", payload={"text": "geheim"})
    for method, path in (("GET", ""), ("GET", "?wait=0"), ("POST", "/cancel"), ("POST", "/retry")):
        status, answer, _ = await site.ask(method, f"/api/v1/jobs/{others}{path}", key=ANN)
        assert (status, answer["detail"]) == (404, f"there is no job {others}")
    for query in ("", "?userId=bob", "?text=geheim", "?text=bob", "?state=queued"):
        _, listed, _ = await site.ask("GET", f"/api/v1/jobs{query}", key=ANN)
        assert {job["jobId"] for job in listed["jobs"]} <= {own}
    order = {"action": "cancel", "ids": [own, others], "dryRun": True}
    assert (await site.ask("POST", "/api/v1/jobs/bulk", order, key=ANN))[1]["matched"] == 1
    for chosen in ({}, {"userId": "bob"}, {"text": "geheim"}):
        order = {"action": "cancel", "filter": chosen}
        status, answer, _ = await site.ask("POST", "/api/v1/jobs/bulk", order, key=ANN)
        assert (status, answer["done"] <= 1) == (200, True)
    assert (await site.ask("GET", f"/api/v1/jobs/{others}"))[1]["status"] == "queued"
    assert (await site.ask("GET", f"/api/v1/jobs/{own}"))[1]["status"] == "cancelled"


async def test_to_a_bound_key_others_notifications_are_not_there(site: Site) -> None:
    payload = {"organization": "office"}
    ids = {
        "ann": await site.submitted("ann"),
        "bob": await site.submitted("bob"),
        "office": await site.submitted("bob", taskType="nothing", payload=payload),
    }
    for job_id in ids.values():
        await site.ask("POST", f"/api/v1/jobs/{job_id}/cancel")

    async def seen(key: str, query: str = "") -> set[str]:
        _, answer, _ = await site.ask("GET", f"/api/v1/notifications{query}", key=key)
        return {news["jobId"] for news in answer["notifications"]}

    assert await seen(BOSS) == set(ids.values())
    assert await seen(ANN) == {ids["ann"]}
    assert await seen(OFFICE) == {ids["office"]}
    assert await seen(ANN, "?userId=bob") == await seen(ANN, f"?jobId={ids['bob']}") == set()
    for key in (ANN, OFFICE):
        assert (await site.ask("POST", "/api/v1/notifications/x/resend", key=key))[0] == 403
        order = {"action": "resend", "filter": {"userId": "bob"}}
        assert (await site.ask("POST", "/api/v1/notifications/bulk", order, key=key))[0] == 403


async def test_an_idempotency_key_tells_a_bound_key_nothing_of_others(site: Site) -> None:
    body = {"taskType": "echo", "userId": "ann", "payload": {"text": "a"}}
    first = await site.ask("POST", "/api/v1/jobs", body, Idempotency_Key="k")
    again = await site.ask("POST", "/api/v1/jobs", body, key=ANN, Idempotency_Key="k")
    assert (again[0], again[1]["created"]) == (202, True)
    assert first[1]["jobId"] != again[1]["jobId"]


async def test_what_concerns_all_is_not_for_bound_keys(site: Site) -> None:
    """From the table: whatever route is added keeps a bound key's bounds, or refuses it."""
    for route in site.door.table():
        if route.scope is not None and not route.bound:
            path = route.path.replace("{id}", "x")
            status, _, _ = await site.ask(route.method, path, key=ANN)
            assert status == 403, path


# -- limits ----------------------------------------------------------------------------------------------------


async def test_who_guesses_at_keys_has_to_wait(tmp_path: Path) -> None:
    now = 100.0
    async with a_site(tmp_path, guesses=Throttle(20 / 60, 20, lambda: now)) as site:
        cookie = await logged_in(site)
        for number in range(20):
            way = {"key": f"guess-{number}"} if number % 2 else {"key": None, "X_Api_Key": f"guess-{number}"}
            assert (await site.ask("GET", "/api/v1/jobs", **way))[0] == 401  # type: ignore[arg-type]
        for method, path, body, key in (
            ("GET", "/api/v1/jobs", None, "guess"),
            ("GET", "/api/v1/jobs", None, BOSS),  # else the answer would tell which guess was right
            ("POST", SESSION, {"key": BOSS}, None),
        ):
            status, answer, headers = await site.ask(method, path, body, key=key)
            assert (status, headers["Retry-After"]) == (429, "4"), answer
        assert (await site.ask("GET", "/api/v1/jobs", key=None, Cookie=cookie))[0] == 200
        now = 103.1
        assert (await site.ask("GET", "/api/v1/jobs"))[0] == 200


async def test_who_guesses_too_much_is_named_once(tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []
    options = {"guesses": Throttle(0.01, 3, lambda: 0.0), "refused": lambda *words: heard.append(words)}
    async with a_site(tmp_path, **options) as site:
        for _ in range(10):
            await site.ask("GET", "/api/v1/jobs", key="guess")
    assert heard == [("127.0.0.1", "too many unknown keys")]


async def test_guesses_are_counted_by_the_address_behind_the_proxy(tmp_path: Path) -> None:
    options = {"proxies": [ip_network("127.0.0.0/8")], "guesses": Throttle(0.01, 2, lambda: 0.0)}
    async with a_site(tmp_path, **options) as site:

        async def guess(address: str, key: str = "guess") -> int:
            return (await site.ask("GET", "/api/v1/jobs", key=key, X_Forwarded_For=address))[0]

        assert [await guess("203.0.113.7") for _ in range(3)] == [401, 401, 429]
        assert await guess("203.0.113.8", BOSS) == 200
        # His own header in front of the proxy's does not make him another; nor does the rest of his network.
        assert await guess("198.51.100.1, 203.0.113.7") == 429
        assert [await guess(f"2001:db8::{number}") for number in range(3)] == [401, 401, 429]


async def test_a_caller_that_asks_too_often_is_told_to_wait(tmp_path: Path) -> None:
    now = 100.0
    async with a_site(tmp_path, calls=Throttle(2.0, 4.0, lambda: now)) as site:
        answers = [await site.ask("GET", "/api/v1/jobs", key=READER) for _ in range(5)]
        assert [status for status, _, _ in answers] == [200] * 4 + [429]
        assert answers[-1][2]["Retry-After"] == "1"
        assert (await site.ask("GET", "/api/v1/jobs", key=BOSS))[0] == 200
        assert (await site.ask("GET", "/livez", key=None))[0] == 200
        now = 100.5
        assert (await site.ask("GET", "/api/v1/jobs", key=READER))[0] == 200


# -- pages of other origins ------------------------------------------------------------------------------------

PREFLIGHT = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}


async def test_by_default_no_other_page_may_read_anything(site: Site) -> None:
    status, _, headers = await site.ask("GET", "/api/v1/jobs", Origin="https://hr.example")
    assert (status, [name for name in headers if name.startswith("Access-Control")]) == (200, [])
    status, _, headers = await site.ask("OPTIONS", "/api/v1/jobs", key=None, Origin="https://hr.example", **PREFLIGHT)
    assert [name for name in headers if name.startswith("Access-Control")] == []


async def test_pages_of_a_named_origin_may_call_with_a_key_of_their_own(tmp_path: Path) -> None:
    async with a_site(tmp_path, cors=["https://hr.example"]) as site:
        origin = {"Origin": "https://hr.example"}
        status, _, headers = await site.ask("OPTIONS", "/api/v1/jobs", key=None, **origin, **PREFLIGHT)
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, "https://hr.example")
        assert {"GET", "POST"} <= set(headers["Access-Control-Allow-Methods"].split(","))
        assert "Authorization" in headers["Access-Control-Allow-Headers"]
        for key in (BOSS, None):  # a refusal may be read as well
            _, _, headers = await site.ask("GET", "/api/v1/jobs", key=key, **origin)
            assert (headers["Access-Control-Allow-Origin"], headers["Vary"]) == ("https://hr.example", "Origin")
            assert "Access-Control-Allow-Credentials" not in headers
        for origin in ("https://evil.example", "https://hr.example.evil.example", "http://hr.example", "null"):
            _, _, headers = await site.ask("OPTIONS", "/api/v1/jobs", key=None, Origin=origin, **PREFLIGHT)
            assert "Access-Control-Allow-Origin" not in headers
            _, _, headers = await site.ask("GET", "/api/v1/jobs", Origin=origin)
            assert ("Access-Control-Allow-Origin" in headers, headers["Vary"]) == (False, "Origin")


async def test_any_origin_never_means_with_the_cookie(tmp_path: Path) -> None:
    async with a_site(tmp_path, cors=["*"]) as site:
        _, _, headers = await site.ask("GET", "/api/v1/jobs", Origin="https://a.example")
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in headers
        cookie = await logged_in(site)
        sent = {"Cookie": cookie, "Origin": "https://a.example"}
        assert (await site.ask("POST", "/api/v1/jobs/bulk", {}, key=None, **sent))[0] == 403


# -- who ordered what ------------------------------------------------------------------------------------------


async def test_every_order_is_written_down_with_who_gave_it(site: Site) -> None:
    job_id = await site.submitted()
    cookie = await logged_in(site)
    await site.ask("POST", f"/api/v1/jobs/{job_id}/cancel", key=None, Cookie=cookie, **own_page(site))
    await site.ask("POST", f"/api/v1/jobs/{job_id}/retry", key=ANN)
    await site.ask("POST", f"/api/v1/me/jobs/{job_id}/cancel", key=site.authority.mint("ann"))
    order = {"action": "retry", "filter": {}}
    await site.ask("POST", "/api/v1/jobs/bulk", order)
    await site.ask("POST", f"/api/v1/jobs/{job_id}/retry")  # refused: it waits
    _, trail, _ = await site.ask("GET", "/api/v1/audit")
    told = [(entry["actor"], entry["action"], entry["target"]) for entry in trail["entries"]]
    session = told.pop()
    assert session[:2] == (BOSS, "session.begin")
    assert told == [
        (BOSS, "jobs.bulk", ""),
        ("user ann", "me.jobs.cancel", job_id),
        (ANN, "jobs.retry", job_id),
        (BOSS, "jobs.cancel", job_id),
    ]
    assert trail["entries"][0]["detail"]["done"] == 1
    heard = [(event.actor, event.action, event.target) for event in site.events if isinstance(event, Audited)]
    assert heard == [session, *told[::-1]]
    _, trail, _ = await site.ask("GET", "/api/v1/audit?actor=user%20ann&limit=1")
    assert [entry["action"] for entry in trail["entries"]] == ["me.jobs.cancel"]


async def test_an_order_is_carried_out_though_it_cannot_be_written_down(site: Site) -> None:
    job_id = await site.submitted()

    async def full(_entry: object) -> None:
        raise StoreFull("no room")

    site.control.store = Overlaid(site.store, audit=full)  # type: ignore[assignment]
    assert (await site.ask("POST", f"/api/v1/jobs/{job_id}/cancel"))[0] == 202
    [warning] = [event.text for event in site.events if isinstance(event, Warned)]
    assert warning == f"{BOSS}'s order jobs.cancel {job_id} is in the log, but not in the audit trail: no room"


class Overlaid:
    """A store with some of its methods replaced."""

    def __init__(self, store: object, **methods: Any) -> None:
        self._store, self._methods = store, methods

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name) or getattr(self._store, name)


# -- odd requests ----------------------------------------------------------------------------------------------


async def raw(site: Site, *lines: bytes) -> bytes:
    """The answer to a request written by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
    writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "path", ["/api/v1/jobs/%ff", "/api/v1/jobs/%00", "/api/v1/jobs/%ed%a0%80", "/api/v1/jobs/" + "x" * 5000]
)
async def test_an_id_that_cannot_be_is_404(site: Site, path: str) -> None:
    answer = await raw(
        site, f"GET {path} HTTP/1.1".encode(), b"Host: x", b"Connection: close", f"X-Api-Key: {BOSS}".encode()
    )
    assert answer.split()[1] == b"404"


@pytest.mark.parametrize(
    "query",
    [
        "text=%00",
        "text=",
        "limit=NaN",
        "limit=1e3",
        "limit=9999999999999999999999",
        "limit=-1",
        "limit=1_0",
        "limit=%D9%A1",
        "from=yesterday",
        "from=0001-01-01T00:00:00%2B14:00",
        "to=2026-01-01T00:00:00",
        "limit=1&limit=2",
        "%ff=1",
        "nothing=1",
    ],
)
async def test_a_parameter_that_makes_no_sense_is_named(site: Site, query: str) -> None:
    lines = [
        f"GET /api/v1/jobs?{query} HTTP/1.1".encode(),
        b"Host: x",
        b"Connection: close",
        f"X-Api-Key: {BOSS}".encode(),
    ]
    answer = await raw(site, *lines)
    assert answer.split()[1] == b"422", answer
    if query.isascii() and not query.startswith("%"):
        assert f'"parameter":"{query.partition("=")[0]}"'.encode() in answer


@pytest.mark.parametrize("wait", ["NaN", "inf", "-inf", "x", "1e400"])
async def test_nobody_waits_for_what_is_no_number(site: Site, wait: str) -> None:
    job_id = await site.submitted()
    status, answer, _ = await site.ask("GET", f"/api/v1/jobs/{job_id}?wait={wait}")
    assert (status, answer["parameter"]) == (422, "wait")


async def test_options_and_head_and_strange_methods(site: Site) -> None:
    status, _, headers = await site.ask("OPTIONS", "/api/v1/jobs", key=None)
    assert (status, set(headers["Allow"].split(","))) == (204, {"GET", "HEAD", "POST"})
    status, body, headers = await site.ask("HEAD", "/api/v1/jobs")
    assert (status, body, headers["Content-Type"]) == (200, "", "application/json")
    assert (await site.ask("HEAD", "/api/v1/jobs", key=None))[0] == 401
    for method in ("PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
        assert (await site.ask(method, "/api/v1/jobs", key=None))[0] == 401
        status, answer, headers = await site.ask(method, "/api/v1/jobs")
        assert (status, answer["title"]) == (405, "Method Not Allowed")
        assert "POST" in headers["Allow"]
    for path in ("/api", "/api/", "/api/v2/jobs", "/api/v1/jobs/", "/api/v1/jobs/x/y/z"):
        status, answer, headers = await site.ask("GET", path)
        assert (status, headers["Content-Type"]) == (404, "application/problem+json"), path


async def test_while_two_keys_are_sent_the_first_counts_and_a_header_cannot_be_split(site: Site) -> None:
    answer = await raw(
        site,
        b"GET /api/v1/jobs HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        f"Authorization: Bearer {PRODUCER}".encode(),
        f"X-Api-Key: {BOSS}".encode(),
    )
    assert answer.split()[1] == b"403"
    answer = await raw(
        site,
        b"GET /api/v1/jobs/a%0d%0aSet-Cookie:x=1 HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        f"X-Api-Key: {BOSS}".encode(),
    )
    head = answer.partition(b"\r\n\r\n")[0]
    assert (head.split()[1], b"Set-Cookie" in head) == (b"404", False)


async def test_many_at_once(site: Site) -> None:
    ids = [await site.submitted(taskType="echo") for _ in range(5)]
    order: dict[str, Any] = {"action": "cancel", "filter": {"taskType": "echo"}, "dryRun": True}
    counted = (await site.ask("POST", "/api/v1/jobs/bulk", order))[1]
    assert counted == {"matched": 5, "done": 0, "skipped": 0, "cursor": None}
    done = (await site.ask("POST", "/api/v1/jobs/bulk", order | {"dryRun": False}))[1]
    assert done == {"matched": 5, "done": 5, "skipped": 0, "cursor": None}
    # Those that were named are skipped where they are in no state for it.
    again = (await site.ask("POST", "/api/v1/jobs/bulk", {"action": "cancel", "ids": [*ids, ids[0], "nothing"]}))[1]
    assert again == {"matched": 5, "done": 0, "skipped": 5, "cursor": None}
    retried = (
        await site.ask("POST", "/api/v1/jobs/bulk", {"action": "retry", "filter": {"state": ["cancelled", "queued"]}})
    )[1]
    assert retried["done"] == 5
    _, listed, _ = await site.ask("GET", "/api/v1/jobs?state=queued&state=running")
    assert len(listed["jobs"]) == 5


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"action": "cancel"},
        {"action": "delete", "ids": ["x"]},
        {"action": "cancel", "ids": []},
        {"action": "cancel", "ids": ["x"], "filter": {}},
        {"action": "cancel", "ids": ["x"], "cursor": "y"},
        {"action": "cancel", "filter": {"status": "queued"}},
        {"action": "cancel", "filter": {}, "cursor": "elsewhere"},
        {"action": "cancel", "ids": ["x"] * 10_001},
    ],
)
async def test_a_bulk_order_that_makes_no_sense_is_422(site: Site, order: Any) -> None:
    assert (await site.ask("POST", "/api/v1/jobs/bulk", order))[0] == 422


async def test_dead_notifications_are_resent_together(site: Site) -> None:
    job_ids = [await site.submitted() for _ in range(3)]
    for job_id in job_ids:
        await site.ask("POST", f"/api/v1/jobs/{job_id}/cancel")
    for message in await site.store.pending(0, 10):
        await site.store.dead(message.id, "refused")
    order = {"action": "resend", "filter": {"state": "dead"}}
    assert (await site.ask("POST", "/api/v1/notifications/bulk", order))[1]["done"] == 3
    assert len(await site.store.pending(0, 10)) == 3
    _, job, _ = await site.ask("GET", f"/api/v1/jobs/{job_ids[0]}")
    assert [delivery["redelivery"] for delivery in job["deliveries"]] == [1]


async def test_a_key_that_was_there_tells_the_jobs_present_state(site: Site) -> None:
    body = {"taskType": "echo", "userId": "ann", "payload": {"text": "a"}}
    _, first, _ = await site.ask("POST", "/api/v1/jobs", body, Idempotency_Key="k")
    await site.ask("POST", f"/api/v1/jobs/{first['jobId']}/cancel")
    _, again, _ = await site.ask("POST", "/api/v1/jobs", body, Idempotency_Key="k")
    assert (again["jobId"], again["status"], again["created"]) == (first["jobId"], "cancelled", False)


async def test_a_small_body_that_unpacks_to_a_large_one_is_413(site: Site) -> None:
    bomb = gzip.compress(b'{"taskType": "echo", "userId": "ann", "payload": {"text": "' + b"a" * 50_000_000 + b'"}}')
    assert len(bomb) < 100_000
    for path in ("/api/v1/jobs", "/api/v1/jobs/bulk", SESSION):
        status, answer, _ = await site.ask("POST", path, bomb, Content_Encoding="gzip")
        assert (status, answer["detail"]) == (413, "the body is larger than Http:MaxBody allows")


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/jobs/batch", "/api/v1/jobs/bulk", SESSION])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 5000,
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'"\xff"',
        b'{"a": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"1e999",
    ],
)
async def test_what_is_no_json_is_400(site: Site, path: str, body: bytes) -> None:
    status, answer, _ = await site.ask("POST", path, body)
    assert status in (400, 422), answer
    assert answer["detail"]


async def test_of_a_name_given_twice_the_last_counts_everywhere(site: Site) -> None:
    """What a bound key is held to is what is stored: no second reading finds another user."""
    body = b'{"taskType": "echo", "userId": "bob", "userId": "ann", "payload": {"text": "a"}}'
    status, answer, _ = await site.ask("POST", "/api/v1/jobs", body, key=ANN)
    assert status == 202
    assert (await site.ask("GET", f"/api/v1/jobs/{answer['jobId']}"))[1]["userId"] == "ann"
    body = b'{"taskType": "nothing", "userId": "bob", "payload": {"organization": "office", "organization": "works"}}'
    assert (await site.ask("POST", "/api/v1/jobs", body, key=OFFICE))[0] == 403


@pytest.mark.parametrize("user", [" bob", "bob ", "bob\u0000", "ＢＯＢ", "Ann", "ann\u200b"])
async def test_no_spelling_of_a_user_passes_for_another(site: Site, user: str) -> None:
    body = {"taskType": "echo", "userId": user, "payload": {"text": "a"}}
    assert (await site.ask("POST", "/api/v1/jobs", body, key=ANN))[0] == 403
    body["userId"] = " ann "  # blanks around it are taken off before it is looked at
    _, answer, _ = await site.ask("POST", "/api/v1/jobs", body, key=ANN)
    assert (await site.ask("GET", f"/api/v1/jobs/{answer['jobId']}"))[1]["userId"] == "ann"


@pytest.mark.parametrize("priority", [101, -101, 1.5, "1", None, True, 2**63])
async def test_a_priority_that_is_none_is_422(site: Site, priority: Any) -> None:
    body = {"taskType": "echo", "userId": "ann", "payload": {}, "priority": priority}
    assert (await site.ask("POST", "/api/v1/jobs", body))[0] == 422


async def test_priorities_are_kept_and_shown(site: Site) -> None:
    ids = {priority: await site.submitted(priority=priority) for priority in (-100, 0, 100)}
    assert [job.id for job in (await site.store.claim(3)).jobs] == [ids[100], ids[0], ids[-100]]
    assert (await site.ask("GET", f"/api/v1/jobs/{ids[100]}"))[1]["priority"] == 100


@pytest.mark.parametrize(
    "time_text", [0, 1732176000, "1732176000", "2026-01-01", True, "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00"]
)
async def test_a_time_that_is_none_is_422(site: Site, time_text: Any) -> None:
    body = {"taskType": "echo", "userId": "ann", "payload": {}, "runAt": time_text}
    status, answer, _ = await site.ask("POST", "/api/v1/jobs", body)
    assert (status, "runAt" in answer["detail"]) == (422, True)


async def test_jobs_are_found_by_organisation_and_time(site: Site) -> None:
    of_office = await site.submitted(taskType="nothing", payload={"organization": "office"})
    of_none = await site.submitted(taskType="nothing", payload={"organization": 7})

    async def found(query: str) -> list[str]:
        return [job["jobId"] for job in (await site.ask("GET", f"/api/v1/jobs?{query}"))[1]["jobs"]]

    assert await found("organization=office") == [of_office]
    assert await found("from=2020-01-01T00:00:00Z") == [of_none, of_office]
    assert await found("to=2020-01-01T00:00:00Z") == []
    assert (await site.ask("GET", f"/api/v1/jobs/{of_office}"))[1]["organization"] == "office"


class Endless:
    """A stream that says how its handler ended."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def routes(self) -> list[Route]:
        return [Route("GET", "/api/v1/endless", self.stream, "Never ends", "read", content="text/event-stream")]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            await response.write(b"retry: 1\n\n")
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        return response


async def test_a_stream_ends_with_the_session_that_reads_it(tmp_path: Path) -> None:
    endless = Endless()
    async with a_site(tmp_path, sets=[endless], recheck=0.02) as site:
        cookies = [await logged_in(site), await logged_in(site)]
        url = f"{site.url}/api/v1/endless"
        streams = [await site.session.get(url, headers={"Cookie": cookie}) for cookie in cookies]
        for stream in streams:
            assert await stream.content.readline() == b"retry: 1\n"
        await site.ask("DELETE", SESSION, key=None, Cookie=cookies[0], **own_page(site))
        async with asyncio.timeout(10):
            with pytest.raises(aiohttp.ClientPayloadError):
                await streams[0].content.read()
            await endless.ended.wait()
        assert not streams[1].content.at_eof()
        for stream in streams:
            stream.close()


async def test_no_cache_keeps_an_answer_and_no_browser_guesses_its_type(site: Site) -> None:
    for key in (BOSS, None):
        _, _, headers = await site.ask("GET", "/api/v1/jobs", key=key)
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
        assert headers["Server"] == "insignia-worker"
