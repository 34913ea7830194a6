"""Requests in unusual form: ids, parameters, bodies, names before 1.0, bulk requests, streams."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.support.api_site import (
    ADMIN,
    ANN,
    OFFICE,
    PRODUCER,
    SESSION,
    ApiSite,
    api_site,
    logged_in,
    own_page,
)
from tests.support.stores import failed as a_failed
from worker.api.routing import Route


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    async with api_site(tmp_path) as opened:
        yield opened


# -- odd requests ----------------------------------------------------------------------------------------------


async def raw(site: ApiSite, *lines: bytes) -> bytes:
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
async def test_impossible_id_returns_404(site: ApiSite, path: str) -> None:
    answer = await raw(
        site, f"GET {path} HTTP/1.1".encode(), b"Host: x", b"Connection: close", f"X-Api-Key: {ADMIN}".encode()
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
async def test_invalid_parameter_returns_422_and_is_named(site: ApiSite, query: str) -> None:
    lines = [
        f"GET /api/v1/jobs?{query} HTTP/1.1".encode(),
        b"Host: x",
        b"Connection: close",
        f"X-Api-Key: {ADMIN}".encode(),
    ]
    answer = await raw(site, *lines)
    assert answer.split()[1] == b"422", answer
    if query.isascii() and not query.startswith("%"):
        assert f'"parameter":"{query.partition("=")[0]}"'.encode() in answer


@pytest.mark.parametrize("wait", ["NaN", "inf", "-inf", "x", "1e400", "1_0", "+1", "%201", "%E0%B9%91", ".5", ""])
async def test_wait_that_is_not_a_number_returns_422(site: ApiSite, wait: str) -> None:
    job_id = await site.submitted()
    status, answer, _ = await site.ask("GET", f"/api/v1/jobs/{job_id}?wait={wait}")
    assert (status, answer["parameter"]) == (422, "wait")


async def test_options_head_and_unknown_methods_are_answered(site: ApiSite) -> None:
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


async def test_authorization_header_takes_precedence_and_ids_cannot_split_headers(site: ApiSite) -> None:
    answer = await raw(
        site,
        b"GET /api/v1/jobs HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        f"Authorization: Bearer {PRODUCER}".encode(),
        f"X-Api-Key: {ADMIN}".encode(),
    )
    assert answer.split()[1] == b"403"
    answer = await raw(
        site,
        b"GET /api/v1/jobs/a%0d%0aSet-Cookie:x=1 HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        f"X-Api-Key: {ADMIN}".encode(),
    )
    head = answer.partition(b"\r\n\r\n")[0]
    assert (head.split()[1], b"Set-Cookie" in head) == (b"404", False)


# -- names before 1.0 ------------------------------------------------------------------------------------------


async def test_jobs_are_selected_by_status_and_by_its_old_name_state(site: ApiSite) -> None:
    job_id = await site.submitted()
    await site.submitted()
    await site.ask("POST", f"/api/v1/jobs/{job_id}/cancel")
    for path in ("/api/v1/jobs", "/api/v1/me/jobs"):
        key = site.tokens.mint("ann") if "/me/" in path else ADMIN
        for name in ("status", "state"):
            _, listed, _ = await site.ask("GET", f"{path}?{name}=cancelled&{name}=failed", key=key)
            assert [job["jobId"] for job in listed["jobs"]] == [job_id]
        status, answer, _ = await site.ask("GET", f"{path}?status=failed&state=failed", key=key)
        assert (status, answer["detail"]) == (422, "status and state mean the same: give one of them")
    for name in ("status", "state"):
        _, counted, _ = await site.ask(
            "POST", "/api/v1/jobs/bulk", {"action": "retry", "filter": {name: ["cancelled"]}, "dryRun": True}
        )
        assert counted["matched"] == 1


async def test_notifications_are_selected_by_status_and_by_its_old_name_state(site: ApiSite) -> None:
    for _ in range(2):
        await site.ask("POST", f"/api/v1/jobs/{await site.submitted()}/cancel")
    [first, _] = await site.store.pending(0, 10)
    await site.store.dead(first.id, "rejected")
    for name in ("status", "state"):
        _, listed, _ = await site.ask("GET", f"/api/v1/notifications?{name}=dead")
        assert [one["id"] for one in listed["notifications"]] == [first.id]
        order = {"action": "resend", "filter": {name: "pending"}, "dryRun": True}
        assert (await site.ask("POST", "/api/v1/notifications/bulk", order))[1]["matched"] == 1
        assert (await site.ask("GET", f"/api/v1/notifications?{name}=lost"))[1]["parameter"] == name
    order = {"action": "resend", "filter": {}, "dryRun": True}
    assert (await site.ask("POST", "/api/v1/notifications/bulk", order))[1]["matched"] == 1  # dead by default


async def test_job_details_have_durations_under_both_names_and_wait_for_the_end(site: ApiSite) -> None:
    job_id = await site.submitted()
    [job] = (await site.store.claim(1)).jobs
    await site.store.settle([a_failed(job)])
    for wait in ("waitSeconds=20", "wait=20"):
        _, shown, _ = await site.ask("GET", f"/api/v1/jobs/{job_id}?{wait}")
        assert shown["durationMs"] == shown["duration"] > 0
    status, answer, _ = await site.ask("GET", f"/api/v1/jobs/{job_id}?wait=1&waitSeconds=1")
    assert (status, "mean the same" in answer["detail"]) == (422, True)


async def test_bulk_cancel_with_an_empty_list_of_statuses_matches_no_job(site: ApiSite) -> None:
    await site.submitted()
    for name in ("status", "state"):
        order = {"action": "cancel", "filter": {name: []}}
        assert (await site.ask("POST", "/api/v1/jobs/bulk", order))[1]["matched"] == 0


async def test_bulk_cancels_and_retries_by_filter_and_by_ids(site: ApiSite) -> None:
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
        {"action": "cancel", "filter": {"status": ["queued"], "state": ["queued"]}},
        {"action": "cancel", "filter": {}, "cursor": "elsewhere"},
        {"action": "cancel", "ids": ["x"] * 10_001},
    ],
)
async def test_bulk_with_an_invalid_body_returns_422(site: ApiSite, order: Any) -> None:
    assert (await site.ask("POST", "/api/v1/jobs/bulk", order))[0] == 422


async def test_bulk_resends_dead_notifications(site: ApiSite) -> None:
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


async def test_post_job_with_a_known_key_returns_the_present_status(site: ApiSite) -> None:
    body = {"taskType": "echo", "userId": "ann", "payload": {"text": "a"}}
    _, first, _ = await site.ask("POST", "/api/v1/jobs", body, Idempotency_Key="k")
    await site.ask("POST", f"/api/v1/jobs/{first['jobId']}/cancel")
    _, again, _ = await site.ask("POST", "/api/v1/jobs", body, Idempotency_Key="k")
    assert (again["jobId"], again["status"], again["created"]) == (first["jobId"], "cancelled", False)


@pytest.mark.parametrize(
    "path", ["/api/v1/jobs", "/api/v1/jobs/batch", "/api/v1/jobs/bulk", "/api/v1/notifications/bulk", SESSION]
)
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
        b"1e999",
    ],
)
async def test_post_with_malformed_json_returns_400(site: ApiSite, path: str, body: bytes) -> None:
    status, answer, _ = await site.ask("POST", path, body)
    assert (status, answer["detail"].startswith("the body is not valid JSON: ")) == (400, True), answer


@pytest.mark.parametrize("body", [b"7", b"[]", b"null", b'{"unknown": 1}'])
@pytest.mark.parametrize(
    "path", ["/api/v1/jobs", "/api/v1/jobs/batch", "/api/v1/jobs/bulk", "/api/v1/notifications/bulk", SESSION]
)
async def test_post_with_json_that_does_not_fit_the_model_returns_422(site: ApiSite, path: str, body: bytes) -> None:
    assert (await site.ask("POST", path, body))[0] == 422


async def test_duplicate_json_name_counts_with_its_last_value(site: ApiSite) -> None:
    """What a bound key is held to is what is stored: no second reading finds another user."""
    body = b'{"taskType": "echo", "userId": "bob", "userId": "ann", "payload": {"text": "a"}}'
    status, answer, _ = await site.ask("POST", "/api/v1/jobs", body, key=ANN)
    assert status == 202
    assert (await site.ask("GET", f"/api/v1/jobs/{answer['jobId']}"))[1]["userId"] == "ann"
    body = b'{"taskType": "nothing", "userId": "bob", "payload": {"organization": "office", "organization": "works"}}'
    assert (await site.ask("POST", "/api/v1/jobs", body, key=OFFICE))[0] == 403


@pytest.mark.parametrize(
    ("user", "status"),
    [(" bob", 403), ("bob ", 403), ("ＢＯＢ", 403), ("Ann", 403), ("bob\u0000", 422), ("ann\u200b", 422)],
)
async def test_user_in_another_spelling_is_another_user_or_no_user(site: ApiSite, user: str, status: int) -> None:
    body = {"taskType": "echo", "userId": user, "payload": {"text": "a"}}
    assert (await site.ask("POST", "/api/v1/jobs", body, key=ANN))[0] == status
    body["userId"] = " ann "  # blanks around it are taken off before it is looked at
    _, answer, _ = await site.ask("POST", "/api/v1/jobs", body, key=ANN)
    assert (await site.ask("GET", f"/api/v1/jobs/{answer['jobId']}"))[1]["userId"] == "ann"


@pytest.mark.parametrize("priority", [101, -101, 1.5, "1", None, True, 2**63])
async def test_invalid_priority_returns_422(site: ApiSite, priority: Any) -> None:
    body = {"taskType": "echo", "userId": "ann", "payload": {}, "priority": priority}
    assert (await site.ask("POST", "/api/v1/jobs", body))[0] == 422


async def test_priority_is_stored_and_orders_the_claims(site: ApiSite) -> None:
    ids = {priority: await site.submitted(priority=priority) for priority in (-100, 0, 100)}
    assert [job.id for job in (await site.store.claim(3)).jobs] == [ids[100], ids[0], ids[-100]]
    assert (await site.ask("GET", f"/api/v1/jobs/{ids[100]}"))[1]["priority"] == 100


@pytest.mark.parametrize(
    "time_text", [0, 1732176000, "1732176000", "2026-01-01", True, "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00"]
)
async def test_invalid_run_at_returns_422(site: ApiSite, time_text: Any) -> None:
    body = {"taskType": "echo", "userId": "ann", "payload": {}, "runAt": time_text}
    status, answer, _ = await site.ask("POST", "/api/v1/jobs", body)
    assert (status, "runAt" in answer["detail"]) == (422, True)


async def test_get_jobs_filters_by_organisation_and_time(site: ApiSite) -> None:
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


async def test_stream_ends_with_its_session(tmp_path: Path) -> None:
    endless = Endless()
    async with api_site(tmp_path, sets=[endless], recheck=0.02) as site:
        cookies = [await logged_in(site), await logged_in(site)]
        url = f"{site.url}/api/v1/endless"
        streams = [await site.session.get(url, headers={"Cookie": cookie}) for cookie in cookies]
        for stream in streams:
            assert await stream.content.readline() == b"retry: 1\n"
        await site.ask("DELETE", SESSION, key=None, Cookie=cookies[0], **own_page(site))
        async with asyncio.timeout(30):
            with pytest.raises(aiohttp.ClientPayloadError):
                await streams[0].content.read()
            await endless.ended.wait()
        assert not streams[1].content.at_eof()
        for stream in streams:
            stream.close()


async def test_responses_forbid_caching_and_type_guessing(site: ApiSite) -> None:
    for key in (ADMIN, None):
        _, _, headers = await site.ask("GET", "/api/v1/jobs", key=key)
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
        assert headers["Server"] == "insignia-worker"
