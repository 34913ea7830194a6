"""Who may do what: end users, bound keys, limits, pages of other origins, and the audit trail."""

from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_site import ADMIN, ANN, OFFICE, READER, SESSION, ApiSite, api_site, logged_in, own_page
from tests.support.stores import failed as a_failed
from worker.core.events import Audited, Warned
from worker.errors import StoreFull
from worker.net.rate_limit import RateLimiter


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    async with api_site(tmp_path) as opened:
        yield opened


# -- end users -------------------------------------------------------------------------------------------------


async def test_end_user_sees_and_cancels_only_their_own_jobs(site: ApiSite) -> None:
    token = site.tokens.mint("ann")
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


async def test_end_user_never_sees_a_stack_trace(site: ApiSite) -> None:
    job_id = await site.submitted("ann")
    [job] = (await site.store.claim(1)).jobs
    await site.store.settle([a_failed(job)])
    _, for_boss, _ = await site.ask("GET", f"/api/v1/jobs/{job_id}")
    _, for_ann, _ = await site.ask("GET", f"/api/v1/me/jobs/{job_id}", key=site.tokens.mint("ann"))
    assert for_boss["stackTrace"]
    assert for_ann == {name: value for name, value in for_boss.items() if name != "stackTrace"}


async def test_hub_token_gives_access_to_own_jobs_only(site: ApiSite) -> None:
    for token in (site.tokens.mint("ann"), site.tokens.mint("ann", admin=True, publish=True)):
        for method, path in (("GET", "/api/v1/jobs"), ("POST", "/api/v1/jobs"), ("GET", "/api/v1/audit")):
            assert (await site.ask(method, path, key=token))[0] == 403
    status, answer, _ = await site.ask("GET", "/api/v1/me")
    assert (status, "end users" in answer["detail"]) == (403, True)


async def test_invalid_hub_token_returns_401(site: ApiSite) -> None:
    revoked = site.tokens.mint("ann", token_id="gone")
    site.tokens.revoke("gone")
    other = replace(site.tokens, signing_key=b"o" * 32)
    head, body, signature = site.tokens.mint("ann").split(".")
    bad = [
        revoked,
        site.tokens.mint("ann", days=-1),
        site.tokens.mint_for_worker(),
        other.mint("ann"),
        replace(site.tokens, audience="elsewhere").mint("ann"),
        f"{head}.{body}.",
        "eyJhbGciOiJub25lIn0." + body + ".",
        f"{head}.{body}.{signature[::-1]}",
    ]
    for token in bad * 5:  # more than the limit of unknown keys: an expired token does not count as a guessed key
        assert (await site.ask("GET", "/api/v1/me", key=token))[0] == 401
    assert (await site.ask("GET", "/api/v1/jobs"))[0] == 200


# -- bound keys ------------------------------------------------------------------------------------------------


async def test_bound_key_submits_jobs_of_its_owners_only(site: ApiSite) -> None:
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


async def test_bound_key_does_not_see_jobs_of_other_owners(site: ApiSite) -> None:
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


async def test_counts_of_a_bound_key_are_those_of_its_own_jobs(site: ApiSite) -> None:
    async def counts(key: str) -> tuple[int, int, str]:
        _, answer, _ = await site.ask("GET", "/api/v1/jobs/counts", key=key)
        return answer["jobs"]["queued"], answer["jobs"]["cancelled"], answer["version"]

    assert (await counts(ANN))[:2] == (0, 0)
    own, others = await site.submitted("ann"), await site.submitted("bob")
    before = await counts(ANN)
    assert before[:2] == (1, 0)
    await site.ask("POST", f"/api/v1/jobs/{others}/cancel")
    assert await counts(ANN) == before
    await site.ask("POST", f"/api/v1/jobs/{own}/cancel")
    after = await counts(ANN)
    assert (after[:2], after[2] != before[2]) == ((0, 1), True)
    assert (await counts(ADMIN))[:2] == (0, 2)


async def test_bound_key_does_not_see_notifications_of_other_owners(site: ApiSite) -> None:
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

    assert await seen(ADMIN) == set(ids.values())
    assert await seen(ANN) == {ids["ann"]}
    assert await seen(OFFICE) == {ids["office"]}
    assert await seen(ANN, "?userId=bob") == await seen(ANN, f"?jobId={ids['bob']}") == set()
    for key in (ANN, OFFICE):
        assert (await site.ask("POST", "/api/v1/notifications/x/resend", key=key))[0] == 403
        order = {"action": "resend", "filter": {"userId": "bob"}}
        assert (await site.ask("POST", "/api/v1/notifications/bulk", order, key=key))[0] == 403


async def test_idempotency_key_reveals_no_job_of_other_callers(site: ApiSite) -> None:
    body = {"taskType": "echo", "userId": "ann", "payload": {"text": "a"}}
    first = await site.ask("POST", "/api/v1/jobs", body, Idempotency_Key="k")
    again = await site.ask("POST", "/api/v1/jobs", body, key=ANN, Idempotency_Key="k")
    assert (again[0], again[1]["created"]) == (202, True)
    assert first[1]["jobId"] != again[1]["jobId"]


async def test_bound_key_is_rejected_by_routes_about_the_whole_service(site: ApiSite) -> None:
    """From the table: whatever route is added keeps a bound key's bounds, or refuses it."""
    for route in site.api.table():
        if route.scope is not None and not route.bound:
            path = route.path.replace("{id}", "x")
            status, _, _ = await site.ask(route.method, path, key=ANN)
            assert status == 403, path


# -- limits ----------------------------------------------------------------------------------------------------


async def test_unknown_keys_beyond_the_limit_return_429(tmp_path: Path) -> None:
    now = 100.0
    async with api_site(tmp_path, guesses=RateLimiter(20 / 60, 20, lambda: now)) as site:
        cookie = await logged_in(site)
        for number in range(20):
            way = {"key": f"guess-{number}"} if number % 2 else {"key": None, "X_Api_Key": f"guess-{number}"}
            assert (await site.ask("GET", "/api/v1/jobs", **way))[0] == 401
        for method, path, body, key in (
            ("GET", "/api/v1/jobs", None, "guess"),
            ("POST", SESSION, {"key": "guess"}, None),
        ):
            status, answer, headers = await site.ask(method, path, body, key=key)
            assert (status, headers["Retry-After"]) == (429, "4"), answer
        # A known key is never slowed down: many clients share an address.
        assert (await site.ask("GET", "/api/v1/jobs", key=ADMIN))[0] == 200
        assert (await site.ask("POST", SESSION, {"key": ADMIN}, key=None))[0] == 200
        assert (await site.ask("GET", "/api/v1/jobs", key=None, Cookie=cookie))[0] == 200
        now = 103.1
        assert (await site.ask("GET", "/api/v1/jobs", key="guess"))[0] == 401


async def test_address_with_too_many_unknown_keys_is_reported_once(tmp_path: Path) -> None:
    reported: list[tuple[str, str]] = []
    options: dict[str, Any] = {
        "guesses": RateLimiter(0.01, 3, lambda: 0.0),
        "refused": lambda *words: reported.append(words),
    }
    async with api_site(tmp_path, **options) as site:
        for _ in range(10):
            await site.ask("GET", "/api/v1/jobs", key="guess")
    assert reported == [("127.0.0.1", "too many unknown keys")]


async def test_unknown_keys_are_counted_by_forwarded_address(tmp_path: Path) -> None:
    options: dict[str, Any] = {"proxies": [ip_network("127.0.0.0/8")], "guesses": RateLimiter(0.01, 2, lambda: 0.0)}
    async with api_site(tmp_path, **options) as site:

        async def guess(address: str, key: str = "guess") -> int:
            return (await site.ask("GET", "/api/v1/jobs", key=key, X_Forwarded_For=address))[0]

        assert [await guess("203.0.113.7") for _ in range(3)] == [401, 401, 429]
        assert await guess("203.0.113.8", ADMIN) == 200
        # His own header in front of the proxy's does not make him another; nor does the rest of his network.
        assert await guess("198.51.100.1, 203.0.113.7") == 429
        assert [await guess(f"2001:db8::{number}") for number in range(3)] == [401, 401, 429]


async def test_caller_over_the_rate_limit_receives_429(tmp_path: Path) -> None:
    now = 100.0
    async with api_site(tmp_path, calls=RateLimiter(2.0, 4.0, lambda: now)) as site:
        answers = [await site.ask("GET", "/api/v1/jobs", key=READER) for _ in range(5)]
        assert [status for status, _, _ in answers] == [200] * 4 + [429]
        assert answers[-1][2]["Retry-After"] == "1"
        assert (await site.ask("GET", "/api/v1/jobs", key=ADMIN))[0] == 200
        assert (await site.ask("GET", "/livez", key=None))[0] == 200
        now = 100.5
        assert (await site.ask("GET", "/api/v1/jobs", key=READER))[0] == 200


# -- pages of other origins ------------------------------------------------------------------------------------

PREFLIGHT = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}


async def test_cors_is_off_by_default(site: ApiSite) -> None:
    status, _, headers = await site.ask("GET", "/api/v1/jobs", Origin="https://hr.example")
    assert (status, [name for name in headers if name.startswith("Access-Control")]) == (200, [])
    status, _, headers = await site.ask("OPTIONS", "/api/v1/jobs", key=None, Origin="https://hr.example", **PREFLIGHT)
    assert [name for name in headers if name.startswith("Access-Control")] == []


async def test_cors_allows_named_origins_without_credentials(tmp_path: Path) -> None:
    async with api_site(tmp_path, cors=["https://hr.example"]) as site:
        origin = {"Origin": "https://hr.example"}
        status, _, headers = await site.ask("OPTIONS", "/api/v1/jobs", key=None, **origin, **PREFLIGHT)
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, "https://hr.example")
        assert {"GET", "POST"} <= set(headers["Access-Control-Allow-Methods"].split(","))
        assert "Authorization" in headers["Access-Control-Allow-Headers"]
        for key in (ADMIN, None):  # a refusal may be read as well
            _, _, headers = await site.ask("GET", "/api/v1/jobs", key=key, **origin)
            assert (headers["Access-Control-Allow-Origin"], headers["Vary"]) == ("https://hr.example", "Origin")
            assert "Access-Control-Allow-Credentials" not in headers
        for foreign in ("https://evil.example", "https://hr.example.evil.example", "http://hr.example", "null"):
            _, _, headers = await site.ask("OPTIONS", "/api/v1/jobs", key=None, Origin=foreign, **PREFLIGHT)
            assert "Access-Control-Allow-Origin" not in headers
            _, _, headers = await site.ask("GET", "/api/v1/jobs", Origin=foreign)
            assert ("Access-Control-Allow-Origin" in headers, headers["Vary"]) == (False, "Origin")


async def test_cors_for_any_origin_never_accepts_the_cookie(tmp_path: Path) -> None:
    async with api_site(tmp_path, cors=["*"]) as site:
        _, _, headers = await site.ask("GET", "/api/v1/jobs", Origin="https://a.example")
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in headers
        cookie = await logged_in(site)
        sent = {"Cookie": cookie, "Origin": "https://a.example"}
        assert (await site.ask("POST", "/api/v1/jobs/bulk", {}, key=None, **sent))[0] == 403


# -- who ordered what ------------------------------------------------------------------------------------------


async def test_audit_trail_records_each_change_with_its_caller(site: ApiSite) -> None:
    job_id = await site.submitted()
    cookie = await logged_in(site)
    await site.ask("POST", f"/api/v1/jobs/{job_id}/cancel", key=None, Cookie=cookie, **own_page(site))
    await site.ask("POST", f"/api/v1/jobs/{job_id}/retry", key=ANN)
    await site.ask("POST", f"/api/v1/me/jobs/{job_id}/cancel", key=site.tokens.mint("ann"))
    order = {"action": "retry", "filter": {}}
    await site.ask("POST", "/api/v1/jobs/bulk", order)
    await site.ask("POST", f"/api/v1/jobs/{job_id}/retry")  # refused: it waits
    _, trail, _ = await site.ask("GET", "/api/v1/audit")
    reports = [(entry["actor"], entry["action"], entry["target"]) for entry in trail["entries"]]
    session = reports.pop()
    assert session[:2] == (ADMIN, "session.begin")
    assert reports == [
        (ADMIN, "jobs.bulk", ""),
        ("user ann", "me.jobs.cancel", job_id),
        (ANN, "jobs.retry", job_id),
        (ADMIN, "jobs.cancel", job_id),
    ]
    assert trail["entries"][0]["detail"]["done"] == 1
    received = [(event.actor, event.action, event.target) for event in site.events if isinstance(event, Audited)]
    assert received == [session, *reports[::-1]]
    _, trail, _ = await site.ask("GET", "/api/v1/audit?actor=user%20ann&limit=1")
    assert [entry["action"] for entry in trail["entries"]] == ["me.jobs.cancel"]


async def test_change_is_made_when_the_audit_trail_cannot_be_written(site: ApiSite) -> None:
    job_id = await site.submitted()

    async def full(_entry: object) -> None:
        raise StoreFull("no room")

    site.jobs.store = Overlaid(site.store, audit=full)
    assert (await site.ask("POST", f"/api/v1/jobs/{job_id}/cancel"))[0] == 202
    [warning] = [event.text for event in site.events if isinstance(event, Warned)]
    assert warning == f"jobs.cancel {job_id} by {ADMIN} is in the log, but not in the audit log: no room"


class Overlaid:
    """A store with some of its methods replaced."""

    def __init__(self, store: object, **methods: Any) -> None:
        self._store, self._methods = store, methods

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name) or getattr(self._store, name)
