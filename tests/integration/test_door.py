"""The HTTP door on the real store, over real sockets."""

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.support import handlers
from tests.support.sqlite_store import a_store, settle
from worker.client import Client, Refused
from worker.clock import Clock
from worker.control import Control
from worker.door.access import Access, ApiKey
from worker.door.app import SOCKET_NAME, Door, serve_tcp, serve_unix
from worker.door.connection import ConnectionRoutes
from worker.door.jobs import JobRoutes
from worker.door.status import Entry, Health, StatusRoutes
from worker.errors import KeyConflict, NotFound, StoreCorrupt, StoreFull, Unavailable, WorkerError
from worker.handler import discover
from worker.notification import Wire
from worker.queues.sqlite import SqliteStore

HEALTH = Health(True, True, True, {"link": Entry("Healthy", data={"state": "connected", 1006: 2})})
PRODUCER, READER, BOSS = "key-of-producer", "key-of-reader", "key-of-boss"


@dataclass
class House:
    """What is behind the door, and what it was told."""

    store: SqliteStore
    control: Control
    door: Door
    url: str = ""
    session: aiohttp.ClientSession = field(init=False)
    draining: bool = False
    health: Health = HEALTH
    reconnects: int = 0
    errors: list[tuple[str, str, BaseException]] = field(default_factory=list)

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = BOSS, **headers: str
    ) -> tuple[int, Any, "aiohttp.typedefs.LooseHeaders"]:
        """Status, JSON (or text) and headers."""
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["Authorization"] = f"Bearer {key}"
        async with self.session.request(method, self.url + path, data=data, headers=named) as response:
            content = await response.read()
            is_json = "json" in response.content_type
            return response.status, orjson.loads(content) if is_json else content.decode(), response.headers

    async def refusal(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str | None]:
        """Status and detail of a problem document, whose shape is checked."""
        status, problem, headers = await self.ask(method, path, body, **options)
        assert headers["Content-Type"].startswith("application/problem+json")  # type: ignore[index,call-overload]
        assert (problem["type"], problem["status"]) == ("about:blank", status)
        assert problem["title"]
        return status, problem.get("detail")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(a_store(tmp_path))
        control = Control(store, discover([handlers]), Wire(), Clock(), default_user=None, max_attempts=3)
        house: House

        def reconnect() -> None:
            house.reconnects += 1

        async def health() -> Health:
            return house.health

        async def connection() -> dict[str, object]:
            return {"state": "connected"}

        door = Door(
            sets=[
                JobRoutes(control),
                StatusRoutes(health),
                ConnectionRoutes(connection, reconnect),
            ],
            is_draining=lambda: house.draining,
            on_error=lambda *error: house.errors.append(error),
            max_body=20_000,
            open_paths=("/api/v1/org-socket",),
        )
        house = House(store, control, door)
        keys = [
            ApiKey(name, hashlib.sha256(name.encode()).hexdigest(), frozenset({scope}))
            for name, scope in ((PRODUCER, "enqueue"), (READER, "read"), (BOSS, "admin"))
        ]
        app = door.public(Access(keys, open_on_loopback=False, allowed_hosts=frozenset()))
        house.url = await stack.enter_async_context(
            serve_tcp(app, "http://127.0.0.1:0", lambda _address, _reason: None)
        )
        house.session = await stack.enter_async_context(aiohttp.ClientSession())
        yield house


def a_request(**fields: Any) -> dict[str, Any]:
    return {"taskType": "echo", "userId": "user-1", "payload": {"text": "ก"}} | fields


# -- intake ----------------------------------------------------------------------------------------------------


async def test_a_job_is_accepted_with_its_links_and_is_on_disk(house: House) -> None:
    status, answer, headers = await house.ask("POST", "/api/v1/jobs", a_request(), key=PRODUCER)
    base = f"/api/v1/jobs/{answer['jobId']}"
    assert status == 202
    assert answer == {
        "jobId": answer["jobId"],
        "status": "queued",
        "created": True,
        "links": {"self": base, "cancel": f"{base}/cancel", "retry": f"{base}/retry"},
    }
    assert headers["Location"] == base  # type: ignore[index,call-overload]
    status, shown, _ = await house.ask("GET", base, key=READER)
    assert status == 200
    assert (shown["status"], shown["payload"], shown["userId"]) == ("queued", {"text": "ก"}, "user-1")


async def test_the_same_request_again_is_the_same_job(house: House) -> None:
    first, again, other = [
        await house.ask("POST", "/api/v1/jobs", a_request(payload={"text": text}), Idempotency_Key="order-7")
        for text in ("a", "a", "b")
    ]
    assert (first[0], again[0], other[0]) == (202, 202, 409)
    assert again[1]["jobId"] == first[1]["jobId"]
    assert (first[1]["created"], again[1]["created"]) == (True, False)
    assert "order-7" in other[1]["detail"]


async def test_a_key_is_the_callers_own(house: House) -> None:
    first = await house.ask("POST", "/api/v1/jobs", a_request(), key=PRODUCER, Idempotency_Key="order-7")
    other = await house.ask("POST", "/api/v1/jobs", a_request(), key=BOSS, Idempotency_Key="order-7")
    assert (first[0], other[0]) == (202, 202)
    assert first[1]["jobId"] != other[1]["jobId"]


async def test_a_batch_is_stored_whole_or_not_at_all(house: House) -> None:
    good, bad = [a_request() for _ in range(3)], a_request(payload={"text": 7})
    assert await house.refusal("POST", "/api/v1/jobs/batch", {"jobs": [*good, bad]}) == (
        422,
        "payload of echo: text: Input should be a valid string",
    )
    assert (await house.refusal("POST", "/api/v1/jobs/batch", {"jobs": [*good, {"userId": "x"}]}))[1] == (
        "jobs[3]: job: taskType: Field required"
    )
    status, answer, _ = await house.ask("POST", "/api/v1/jobs/batch", {"jobs": good}, key=PRODUCER)
    assert status == 202
    _, listed, _ = await house.ask("GET", "/api/v1/jobs")
    assert [job["jobId"] for job in listed["jobs"]] == [job["jobId"] for job in answer["jobs"]][::-1]


@pytest.mark.parametrize("body", [[], {}, {"jobs": []}, {"jobs": {}}, {"jobs": None}])
async def test_a_batch_that_is_none_is_refused(house: House, body: Any) -> None:
    status, detail = await house.refusal("POST", "/api/v1/jobs/batch", body)
    assert status == 422
    assert detail is not None
    assert detail.startswith('a batch is {"jobs": [...]}')


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/jobs/batch"])
@pytest.mark.parametrize("body", [b"", b"{", b'"\xff"'])
async def test_a_body_that_is_no_json_is_400(house: House, path: str, body: bytes) -> None:
    status, detail = await house.refusal("POST", path, body)
    assert status == 400
    assert detail is not None
    assert detail.startswith("the body is not valid JSON: ")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (a_request(taskType="ech0"), "unknown task type 'ech0'"),
        (a_request(userId=None), "the job names no user"),
        (a_request(payload={"text": 7}), "payload of echo: text: "),
        (a_request(prioritaet=1), "job: prioritaet: Extra inputs are not permitted"),
        (a_request(priority=101), "job: priority: Input should be less than or equal to 100"),
        (a_request(priority=1.0), "job: priority: Input should be a valid integer"),
        ([], "job: payload: "),
        (7, "job: payload: "),
    ],
)
async def test_a_job_that_cannot_be_is_422(house: House, body: Any, detail: str) -> None:
    status, told = await house.refusal("POST", "/api/v1/jobs", body)
    assert status == 422
    assert told is not None
    assert told.startswith(detail)


async def test_a_payload_nested_without_end_is_422(house: House) -> None:
    body = b'{"taskType":"echo","userId":"u","payload":{"text":' + b"[" * 500 + b"]" * 500 + b"}}"
    assert (await house.refusal("POST", "/api/v1/jobs", body))[0] == 422
    assert house.errors == []


async def test_a_body_over_the_cap_is_413(house: House) -> None:
    body = a_request(payload={"text": "x" * 30_000})
    assert await house.refusal("POST", "/api/v1/jobs", body) == (413, "the body is larger than Http:MaxBody allows")


async def test_a_full_store_is_507(tmp_path: Path, house: House) -> None:
    (tmp_path / "small").mkdir()
    async with a_store(tmp_path / "small", max_bytes=2**20) as small:
        house.control.store = small
        body = {"jobs": [a_request(payload={"text": "x" * 300}) for _ in range(40)]}
        for _ in range(100):
            status, answer, _ = await house.ask("POST", "/api/v1/jobs/batch", body)
            if status != 202:
                break
        assert (status, answer["title"]) == (507, "Insufficient Storage")
        house.control.store = house.store


async def test_while_it_stops_intake_is_503_and_the_rest_is_answered(house: House) -> None:
    _, answer, _ = await house.ask("POST", "/api/v1/jobs", a_request())
    house.draining = True
    for path, body in (("/api/v1/jobs", a_request()), ("/api/v1/jobs/batch", {"jobs": [a_request()]})):
        status, problem, headers = await house.ask("POST", path, body)
        assert (status, problem["detail"]) == (503, "the service is stopping")
        assert headers["Retry-After"] == "5"  # type: ignore[index,call-overload]
    assert (await house.ask("GET", f"/api/v1/jobs/{answer['jobId']}"))[0] == 200
    assert (await house.ask("POST", f"/api/v1/jobs/{answer['jobId']}/cancel"))[0] == 202


# -- who may -----------------------------------------------------------------------------------------------------

ROUTES = [
    ("POST", "/api/v1/jobs", "enqueue"),
    ("POST", "/api/v1/jobs/batch", "enqueue"),
    ("GET", "/api/v1/jobs", "read"),
    ("GET", "/api/v1/jobs/x", "read"),
    ("POST", "/api/v1/jobs/x/cancel", "admin"),
    ("POST", "/api/v1/jobs/x/retry", "admin"),
    ("GET", "/api/v1/notifications", "read"),
    ("POST", "/api/v1/notifications/x/resend", "admin"),
    ("GET", "/api/v1/connection", "read"),
    ("POST", "/api/v1/connection/reconnect", "admin"),
]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_every_route_asks_for_a_key_with_its_scope(house: House, method: str, path: str, scope: str) -> None:
    status, problem, headers = await house.ask(method, path, key=None)
    assert (status, problem["title"]) == (401, "Unauthorized")
    assert headers["WWW-Authenticate"] == 'Bearer realm="insignia-worker"'  # type: ignore[index,call-overload]
    for key, own in ((PRODUCER, "enqueue"), (READER, "read"), (BOSS, "admin")):
        status, answer, _ = await house.ask(method, path, key=key)
        if own in (scope, "admin"):
            assert status not in (401, 403)
        else:
            assert (status, answer["detail"]) == (403, f"lacks the scope {scope!r}")
    assert house.errors == []


@pytest.mark.parametrize("path", ["/%61pi/v1/jobs", "/api%2Fv1/jobs", "//api/v1/jobs", "/x/../api/v1/jobs"])
async def test_no_spelling_of_a_path_leads_past_the_lock(house: House, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rpartition(":")[2]))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split()[1] in (b"401", b"404")
    assert house.errors == []


@pytest.mark.parametrize("header", [b"Authorization: Bearer caf\xe9", b"Idempotency-Key: caf\xe9"])
async def test_bytes_that_are_no_utf_8_in_a_header_are_no_error_of_ours(house: House, header: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rpartition(":")[2]))
    body = orjson.dumps(a_request())
    lines = [b"POST /api/v1/jobs HTTP/1.1", b"Host: x", b"Connection: close", b"Content-Length: %d" % len(body), header]
    if b"Idempotency" in header:
        lines.append(f"X-Api-Key: {BOSS}".encode())
    writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split()[1] == (b"202" if b"Idempotency" in header else b"401")
    assert house.errors == []


# -- looking -----------------------------------------------------------------------------------------------------


async def test_jobs_are_listed_by_filter_and_page(house: House) -> None:
    texts = ["ราชการ", "เครื่องราชอิสริยาภรณ์", "อื่น"]
    ids = [(await house.ask("POST", "/api/v1/jobs", a_request(payload={"text": text})))[1]["jobId"] for text in texts]
    await house.ask("POST", "/api/v1/jobs", a_request(taskType="nothing", userId="user-2"))

    async def listed(query: str) -> list[str]:
        _, answer, _ = await house.ask("GET", f"/api/v1/jobs?{query}", key=READER)
        return [job["jobId"] for job in answer["jobs"]]

    assert await listed("taskType=echo&userId=user-1&state=queued") == ids[::-1]
    assert await listed("text=ราช") == ids[1::-1]
    assert await listed("state=failed") == []
    _, first, _ = await house.ask("GET", "/api/v1/jobs?taskType=echo&limit=2")
    _, second, _ = await house.ask("GET", f"/api/v1/jobs?taskType=echo&limit=2&cursor={first['cursor']}")
    assert [job["jobId"] for job in first["jobs"] + second["jobs"]] == ids[::-1]
    assert second["cursor"] is None


@pytest.mark.parametrize(
    "query",
    [
        "jobs?state=lost",
        "jobs?limit=many",
        "jobs?cursor=elsewhere",
        "notifications?state=lost",
        "notifications?cursor=elsewhere",
        f"notifications?cursor={10**30}",
        "notifications?limit=-1",
    ],
)
async def test_a_query_that_makes_no_sense_is_422(house: House, query: str) -> None:
    assert (await house.refusal("GET", f"/api/v1/{query}"))[0] == 422
    assert house.errors == []


async def test_what_is_not_there_is_404_and_a_wrong_method_405(house: House) -> None:
    assert await house.refusal("GET", "/api/v1/jobs/x") == (404, "there is no job x")
    assert await house.refusal("POST", "/api/v1/notifications/x/resend") == (404, "there is no notification x")
    assert await house.refusal("GET", "/api/v1/nothing") == (404, None)
    status, _, headers = await house.ask("DELETE", "/api/v1/jobs/x")
    assert status == 405
    assert "GET" in headers["Allow"]  # type: ignore[index,call-overload]


async def test_a_job_is_waited_for(house: House) -> None:
    _, accepted, _ = await house.ask("POST", "/api/v1/jobs", a_request())
    path = f"/api/v1/jobs/{accepted['jobId']}"
    waiting = asyncio.ensure_future(house.ask("GET", f"{path}?wait=30"))
    [job] = (await house.store.claim(1)).jobs
    await settle(house.store, [job])
    house.control.ended(job.id)
    async with asyncio.timeout(5):
        _, shown, _ = await waiting
    assert shown["status"] == "succeeded"
    assert (await house.refusal("GET", f"{path}?wait=long"))[0] == 422


async def test_a_job_that_ended_is_retried_and_its_news_sent_again(house: House) -> None:
    _, accepted, _ = await house.ask("POST", "/api/v1/jobs", a_request())
    path = f"/api/v1/jobs/{accepted['jobId']}"
    assert (await house.refusal("POST", f"{path}/retry"))[0] == 409
    await settle(house.store, (await house.store.claim(1)).jobs)
    assert (await house.refusal("POST", f"{path}/cancel"))[0] == 409
    status, retried, _ = await house.ask("POST", f"{path}/retry")
    assert (status, retried["run"], retried["status"]) == (202, 2, "queued")
    _, listed, _ = await house.ask("GET", "/api/v1/notifications?userId=user-1", key=READER)
    [news] = listed["notifications"]
    assert (news["status"], news["sequence"], news["body"][1]["message"]) == ("pending", 1, "Task Finish")
    status, resent, _ = await house.ask("POST", f"/api/v1/notifications/{news['notificationId']}/resend")
    assert (status, resent) == (202, {"id": news["id"]})


async def test_notifications_are_listed_page_by_page(house: House) -> None:
    for _ in range(3):
        await house.ask("POST", "/api/v1/jobs", a_request())
        await settle(house.store, (await house.store.claim(1)).jobs)
    _, first, _ = await house.ask("GET", "/api/v1/notifications?limit=2")
    _, second, _ = await house.ask("GET", f"/api/v1/notifications?limit=2&cursor={first['cursor']}")
    assert [news["sequence"] for news in first["notifications"] + second["notifications"]] == [3, 2, 1]
    assert second["cursor"] is None


async def test_the_connection_is_shown_and_renewed(house: House) -> None:
    assert (await house.ask("GET", "/api/v1/connection"))[:2] == (200, {"state": "connected"})
    assert (await house.ask("POST", "/api/v1/connection/reconnect"))[:2] == (202, {"status": "requested"})
    assert house.reconnects == 1


# -- errors ------------------------------------------------------------------------------------------------------


class Broken:
    """A store that answers every question with the same error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def fail(*_arguments: Any, **_options: Any) -> Any:
            raise self._error

        return fail


async def test_an_unexpected_error_is_told_by_an_id_only(house: House) -> None:
    house.control.store = Broken(RuntimeError("row 7 of /var/lib/secret"))  # type: ignore[assignment]
    status, problem, _ = await house.ask("GET", "/api/v1/jobs")
    [(error_id, path, error)] = house.errors
    assert (status, problem["errorId"], path) == (500, error_id, "/api/v1/jobs")
    assert str(error) == "row 7 of /var/lib/secret"
    assert "secret" not in str(problem)


@pytest.mark.parametrize(("error", "expected"), [(StoreFull("full"), 507), (StoreCorrupt("damaged"), 503)])
async def test_what_the_store_says_is_told(house: House, error: WorkerError, expected: int) -> None:
    house.control.store = Broken(error)  # type: ignore[assignment]
    assert await house.refusal("POST", "/api/v1/jobs", a_request()) == (expected, str(error))
    assert house.errors == []


# -- health ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/livez", "alive"),
        ("/health/live", "alive"),
        ("/readyz", "ready"),
        ("/health/ready", "ready"),
        ("/healthz", "ready"),
        ("/startupz", "started"),
    ],
)
async def test_each_probe_answers_its_question_without_a_key(house: House, path: str, part: str) -> None:
    assert (await house.ask("GET", path, key=None))[:2] == (200, "ok\n")
    house.health = replace(HEALTH, **{part: False})
    assert (await house.ask("GET", path, key=None))[:2] == (503, "no\n")


@pytest.mark.parametrize(("grade", "status"), [("Healthy", 200), ("Degraded", 200), ("Unhealthy", 503)])
async def test_health_is_as_good_as_its_worst_part(house: House, grade: Any, status: int) -> None:
    house.health = replace(HEALTH, entries={"a": Entry("Healthy"), "b": Entry(grade, "why", {"n": 1})})
    assert (await house.ask("GET", "/health", key=None))[:2] == (
        status,
        {
            "status": grade,
            "entries": {
                "a": {"status": "Healthy", "description": "", "data": {}},
                "b": {"status": grade, "description": "why", "data": {"n": 1}},
            },
        },
    )


async def test_figures_may_count_by_number(house: House) -> None:
    assert (await house.ask("GET", "/health/websocket", key=None))[1] == {"link": {"state": "connected", "1006": 2}}


# -- doors -------------------------------------------------------------------------------------------------------


async def test_a_port_that_is_taken_is_named(house: House) -> None:
    with pytest.raises(Unavailable, match=r"cannot listen on 127\.0\.0\.1:\d+ \(Http:Url\)"):
        async with serve_tcp(house.door.local(), house.url, lambda _address, _reason: None):
            raise AssertionError


@pytest.fixture(params=["short", "long"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A state directory, whose socket's path does or does not fit into sockaddr_un."""
    path = tmp_path if request.param == "short" else tmp_path / ("ก" * 60)
    path.mkdir(exist_ok=True)
    assert (len(os.fsencode(path / SOCKET_NAME)) > 107) == (request.param == "long")
    return path


async def test_the_unix_socket_is_its_owners_alone_and_needs_no_key(house: House, folder: Path) -> None:
    async with serve_unix(house.door.local(), folder) as path:
        assert path == folder / SOCKET_NAME
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client = Client(path)
        accepted = await asyncio.to_thread(client.ask, "POST", "/api/v1/jobs", a_request())
        answer = await asyncio.to_thread(client.ask, "GET", accepted["links"]["self"])
        assert answer["status"] == "queued"
    assert not path.exists()
    assert not client.answers()


async def test_a_dead_services_socket_is_replaced(house: House, folder: Path) -> None:
    (folder / SOCKET_NAME).touch()
    async with serve_unix(house.door.local(), folder) as path:
        assert Client(path).answers()


async def test_a_command_hears_the_services_own_words(house: House, tmp_path: Path) -> None:
    async with serve_unix(house.door.local(), tmp_path) as path:
        client = Client(path)

        async def refused(error: type[WorkerError], method: str, target: str, body: Any = None, **headers: str) -> str:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            with pytest.raises(error) as raised:
                await asyncio.to_thread(client.ask, method, target, body, named)
            return str(raised.value)

        assert await refused(NotFound, "GET", "/api/v1/jobs/x") == "there is no job x"
        assert "unknown task type" in await refused(Refused, "POST", "/api/v1/jobs", a_request(taskType="x"))
        await asyncio.to_thread(client.ask, "POST", "/api/v1/jobs", a_request(), {"Idempotency-Key": "k"})
        other = a_request(payload={"text": "other"})
        assert "taken by job" in await refused(KeyConflict, "POST", "/api/v1/jobs", other, Idempotency_Key="k")
        house.draining = True
        assert await refused(Unavailable, "POST", "/api/v1/jobs", other) == "the service is stopping"
    assert "no service answers" in await refused(Unavailable, "GET", "/api/v1/jobs")
