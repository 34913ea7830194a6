"""The HTTP API on the real store, over real sockets."""

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.support import handlers
from tests.support.sqlite_store import a_store, settle
from worker.api.auth.api_keys import ApiKey
from worker.api.auth.authenticator import Authenticator
from worker.api.routes.health import HealthCheck, HealthReport, HealthRoutes
from worker.api.routes.jobs import JobRoutes
from worker.api.routes.link import ConnectionRoutes
from worker.api.routes.notifications import NotificationRoutes
from worker.api.server import HttpApi, serve_tcp, serve_unix
from worker.cli.api_client import ApiClient, ApiRejected
from worker.core.clock import Clock
from worker.core.notification import NotificationFormat
from worker.core.outcome import Succeeded
from worker.errors import KeyConflict, NotFound, StoreCorrupt, StoreFull, Unavailable, WorkerError
from worker.handler import discover
from worker.net.unix_socket import SOCKET_NAME
from worker.runtime.operations import JobService
from worker.stores.sqlite.store import SqliteStore

FIGURES: dict[Any, Any] = {"state": "connected", 1006: 2}
HEALTH = HealthReport(True, True, True, {"link": HealthCheck("Healthy", data=FIGURES)})
PRODUCER, READER, ADMIN = "key-of-producer", "key-of-reader", "key-of-admin"


@dataclass
class ApiFixture:
    """The API with its store, and what it reported."""

    store: SqliteStore
    jobs: JobService
    http: HttpApi
    url: str = ""
    session: aiohttp.ClientSession = field(init=False)
    draining: bool = False
    health: HealthReport = HEALTH
    reconnects: int = 0
    errors: list[tuple[str, str, BaseException]] = field(default_factory=list)

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = ADMIN, **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, JSON (or text) and headers."""
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["Authorization"] = f"Bearer {key}"
        async with self.session.request(method, self.url + path, data=data, headers=named) as response:
            content = await response.read()
            is_json = "json" in response.content_type
            return response.status, orjson.loads(content) if is_json else content.decode(), response.headers

    async def problem_of(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str | None]:
        """Status and detail of a problem document, whose shape is checked."""
        status, problem, headers = await self.ask(method, path, body, **options)
        assert headers["Content-Type"].startswith("application/problem+json")
        assert (problem["type"], problem["status"]) == ("about:blank", status)
        assert problem["title"]
        return status, problem.get("detail")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiFixture]:
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(a_store(tmp_path))
        jobs = JobService(store, discover([handlers]), NotificationFormat(), Clock(), default_user=None, max_attempts=3)
        api: ApiFixture

        def reconnect() -> None:
            api.reconnects += 1

        async def health() -> HealthReport:
            return api.health

        async def connection() -> dict[str, object]:
            return {"state": "connected"}

        http = HttpApi(
            sets=[
                JobRoutes(jobs),
                NotificationRoutes(jobs),
                HealthRoutes(health),
                ConnectionRoutes(connection, reconnect),
            ],
            is_draining=lambda: api.draining,
            on_error=lambda *error: api.errors.append(error),
            max_body=20_000,
            open_paths=("/api/v1/org-socket",),
        )
        api = ApiFixture(store, jobs, http)
        keys = [
            ApiKey(name, hashlib.sha256(name.encode()).hexdigest(), frozenset({scope}))
            for name, scope in ((PRODUCER, "enqueue"), (READER, "read"), (ADMIN, "admin"))
        ]
        app = http.public(Authenticator(keys, open_on_loopback=False, allowed_hosts=frozenset()))
        api.url = await stack.enter_async_context(serve_tcp(app, "http://127.0.0.1:0", lambda _address, _reason: None))
        api.session = await stack.enter_async_context(aiohttp.ClientSession())
        yield api


def a_request(**fields: Any) -> dict[str, Any]:
    return {"taskType": "echo", "userId": "user-1", "payload": {"text": "ก"}} | fields


# -- intake ----------------------------------------------------------------------------------------------------


async def test_post_job_returns_202_with_links_and_stores_the_job(api: ApiFixture) -> None:
    status, answer, headers = await api.ask("POST", "/api/v1/jobs", a_request(), key=PRODUCER)
    base = f"/api/v1/jobs/{answer['jobId']}"
    assert status == 202
    assert answer == {
        "jobId": answer["jobId"],
        "status": "queued",
        "created": True,
        "links": {"self": base, "cancel": f"{base}/cancel", "retry": f"{base}/retry"},
    }
    assert headers["Location"] == base
    status, shown, _ = await api.ask("GET", base, key=READER)
    assert status == 200
    assert (shown["status"], shown["payload"], shown["userId"]) == ("queued", {"text": "ก"}, "user-1")


async def test_post_job_again_with_its_key_returns_the_same_job(api: ApiFixture) -> None:
    first, again, other = [
        await api.ask("POST", "/api/v1/jobs", a_request(payload={"text": text}), Idempotency_Key="order-7")
        for text in ("a", "a", "b")
    ]
    assert (first[0], again[0], other[0]) == (202, 202, 409)
    assert again[1]["jobId"] == first[1]["jobId"]
    assert (first[1]["created"], again[1]["created"]) == (True, False)
    assert "order-7" in other[1]["detail"]


async def test_idempotency_keys_of_two_callers_are_independent(api: ApiFixture) -> None:
    first = await api.ask("POST", "/api/v1/jobs", a_request(), key=PRODUCER, Idempotency_Key="order-7")
    other = await api.ask("POST", "/api/v1/jobs", a_request(), key=ADMIN, Idempotency_Key="order-7")
    assert (first[0], other[0]) == (202, 202)
    assert first[1]["jobId"] != other[1]["jobId"]


async def test_post_batch_stores_all_jobs_or_none(api: ApiFixture) -> None:
    good, bad = [a_request() for _ in range(3)], a_request(payload={"text": 7})
    assert await api.problem_of("POST", "/api/v1/jobs/batch", {"jobs": [*good, bad]}) == (
        422,
        "payload of echo: text: Input should be a valid string",
    )
    assert (await api.problem_of("POST", "/api/v1/jobs/batch", {"jobs": [*good, {"userId": "x"}]}))[1] == (
        "jobs[3]: job: taskType: Field required"
    )
    status, answer, _ = await api.ask("POST", "/api/v1/jobs/batch", {"jobs": good}, key=PRODUCER)
    assert status == 202
    _, listed, _ = await api.ask("GET", "/api/v1/jobs")
    assert [job["jobId"] for job in listed["jobs"]] == [job["jobId"] for job in answer["jobs"]][::-1]


@pytest.mark.parametrize("body", [[], {}, {"jobs": []}, {"jobs": {}}, {"jobs": None}])
async def test_post_batch_of_another_shape_returns_422(api: ApiFixture, body: Any) -> None:
    status, detail = await api.problem_of("POST", "/api/v1/jobs/batch", body)
    assert status == 422
    assert detail is not None
    assert detail.startswith('a batch is {"jobs": [...]}')


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/jobs/batch"])
@pytest.mark.parametrize("body", [b"", b"{", b'"\xff"'])
async def test_post_job_with_malformed_json_returns_400(api: ApiFixture, path: str, body: bytes) -> None:
    status, detail = await api.problem_of("POST", path, body)
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
        (a_request(priority=1.5), "job: priority: Input should be a valid integer"),
        ([], "job: send it as a JSON object"),
        (7, "job: send it as a JSON object"),
    ],
)
async def test_post_of_an_invalid_job_returns_422(api: ApiFixture, body: Any, detail: str) -> None:
    status, reported = await api.problem_of("POST", "/api/v1/jobs", body)
    assert status == 422
    assert reported is not None
    assert reported.startswith(detail)


async def test_post_job_nested_too_deep_returns_422(api: ApiFixture) -> None:
    body = b'{"taskType":"echo","userId":"u","payload":{"text":' + b"[" * 500 + b"]" * 500 + b"}}"
    assert (await api.problem_of("POST", "/api/v1/jobs", body))[0] == 422
    assert api.errors == []


async def test_post_job_over_the_body_limit_returns_413(api: ApiFixture) -> None:
    body = a_request(payload={"text": "x" * 30_000})
    assert await api.problem_of("POST", "/api/v1/jobs", body) == (413, "the body is larger than Http:MaxBody allows")


async def test_post_batch_to_a_full_store_returns_507(tmp_path: Path, api: ApiFixture) -> None:
    (tmp_path / "small").mkdir()
    async with a_store(tmp_path / "small", max_bytes=2**20) as small:
        api.jobs.store = small
        body = {"jobs": [a_request(payload={"text": "x" * 300}) for _ in range(40)]}
        for _ in range(100):
            status, answer, _ = await api.ask("POST", "/api/v1/jobs/batch", body)
            if status != 202:
                break
        assert (status, answer["title"]) == (507, "Insufficient Storage")
        api.jobs.store = api.store


async def test_intake_returns_503_while_the_service_stops(api: ApiFixture) -> None:
    _, answer, _ = await api.ask("POST", "/api/v1/jobs", a_request())
    api.draining = True
    for path, body in (("/api/v1/jobs", a_request()), ("/api/v1/jobs/batch", {"jobs": [a_request()]})):
        status, problem, headers = await api.ask("POST", path, body)
        assert (status, problem["detail"]) == (503, "the service is stopping")
        assert headers["Retry-After"] == "5"
    assert (await api.ask("GET", f"/api/v1/jobs/{answer['jobId']}"))[0] == 200
    assert (await api.ask("POST", f"/api/v1/jobs/{answer['jobId']}/cancel"))[0] == 202


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
    ("POST", "/api/v1/notifications/x/set-aside", "admin"),
    ("GET", "/api/v1/connection", "read"),
    ("POST", "/api/v1/connection/reconnect", "admin"),
]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_every_route_requires_a_key_with_its_scope(api: ApiFixture, method: str, path: str, scope: str) -> None:
    status, problem, headers = await api.ask(method, path, key=None)
    assert (status, problem["title"]) == (401, "Unauthorized")
    assert headers["WWW-Authenticate"] == 'Bearer realm="insignia-worker"'
    for key, own in ((PRODUCER, "enqueue"), (READER, "read"), (ADMIN, "admin")):
        status, answer, _ = await api.ask(method, path, key=key)
        if own in (scope, "admin"):
            assert status not in (401, 403)
        else:
            assert (status, answer["detail"]) == (403, f"the scope {scope!r} is missing")
    assert api.errors == []


@pytest.mark.parametrize("path", ["/%61pi/v1/jobs", "/api%2Fv1/jobs", "//api/v1/jobs", "/x/../api/v1/jobs"])
async def test_path_in_another_spelling_does_not_avoid_authentication(api: ApiFixture, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split()[1] in (b"401", b"404")
    assert api.errors == []


@pytest.mark.parametrize("header", [b"Authorization: Bearer caf\xe9", b"Idempotency-Key: caf\xe9"])
async def test_header_that_is_not_utf_8_causes_no_server_error(api: ApiFixture, header: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    body = orjson.dumps(a_request())
    lines = [b"POST /api/v1/jobs HTTP/1.1", b"Host: x", b"Connection: close", b"Content-Length: %d" % len(body), header]
    if b"Idempotency" in header:
        lines.append(f"X-Api-Key: {ADMIN}".encode())
    writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split()[1] == (b"422" if b"Idempotency" in header else b"401")
    assert api.errors == []


@pytest.mark.parametrize(("key", "fault"), [("k" * 201, "at most 200"), ("", "at least 1"), ("   ", "at least 1")])
async def test_idempotency_key_of_the_header_follows_the_rule_of_the_field(
    api: ApiFixture, key: str, fault: str
) -> None:
    status, answer, _ = await api.ask("POST", "/api/v1/jobs", a_request(), Idempotency_Key=key)
    assert (status, answer["parameter"]) == (422, "Idempotency-Key")
    assert fault in answer["detail"]
    status, answer, _ = await api.ask("POST", "/api/v1/jobs", a_request(id=key))
    assert status == 422
    assert fault in answer["detail"]


async def test_same_idempotency_key_in_header_and_field_is_the_same_key(api: ApiFixture) -> None:
    _, first, _ = await api.ask("POST", "/api/v1/jobs", a_request(), Idempotency_Key="k" * 200)
    _, again, _ = await api.ask("POST", "/api/v1/jobs", a_request(id=" " + "k" * 200))
    assert (again["jobId"], again["created"]) == (first["jobId"], False)


async def test_idempotency_key_given_twice_is_rejected(api: ApiFixture) -> None:
    headers = [("X-Api-Key", ADMIN), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    async with api.session.post(f"{api.url}/api/v1/jobs", data=orjson.dumps(a_request()), headers=headers) as response:
        assert response.status == 422
        assert "2 times" in (await response.json())["detail"]


# -- looking -----------------------------------------------------------------------------------------------------


async def test_get_jobs_filters_and_pages(api: ApiFixture) -> None:
    texts = ["ราชการ", "เครื่องราชอิสริยาภรณ์", "อื่น"]
    ids = [(await api.ask("POST", "/api/v1/jobs", a_request(payload={"text": text})))[1]["jobId"] for text in texts]
    await api.ask("POST", "/api/v1/jobs", a_request(taskType="nothing", userId="user-2"))

    async def listed(query: str) -> list[str]:
        _, answer, _ = await api.ask("GET", f"/api/v1/jobs?{query}", key=READER)
        return [job["jobId"] for job in answer["jobs"]]

    assert await listed("taskType=echo&userId=user-1&state=queued") == ids[::-1]
    assert await listed("text=ราช") == ids[1::-1]
    assert await listed("state=failed") == []
    _, first, _ = await api.ask("GET", "/api/v1/jobs?taskType=echo&limit=2")
    _, second, _ = await api.ask("GET", f"/api/v1/jobs?taskType=echo&limit=2&cursor={first['cursor']}")
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
async def test_invalid_query_returns_422(api: ApiFixture, query: str) -> None:
    assert (await api.problem_of("GET", f"/api/v1/{query}"))[0] == 422
    assert api.errors == []


async def test_unknown_id_returns_404_and_wrong_method_405(api: ApiFixture) -> None:
    assert await api.problem_of("GET", "/api/v1/jobs/x") == (404, "there is no job x")
    assert await api.problem_of("POST", "/api/v1/notifications/x/resend") == (404, "there is no notification x")
    assert await api.problem_of("GET", "/api/v1/nothing") == (404, None)
    status, _, headers = await api.ask("DELETE", "/api/v1/jobs/x")
    assert status == 405
    assert "GET" in headers["Allow"]


async def test_get_job_with_wait_returns_when_it_ends(api: ApiFixture) -> None:
    _, accepted, _ = await api.ask("POST", "/api/v1/jobs", a_request())
    path = f"/api/v1/jobs/{accepted['jobId']}"
    waiting = asyncio.ensure_future(api.ask("GET", f"{path}?wait=30"))
    [job] = (await api.store.claim(1)).jobs
    await settle(api.store, [job])
    api.jobs.on_settled(job.id, Succeeded(None))
    async with asyncio.timeout(30):
        _, shown, _ = await waiting
    assert shown["status"] == "succeeded"
    assert (await api.problem_of("GET", f"{path}?wait=long"))[0] == 422


async def test_retry_and_resend_work_only_after_the_end(api: ApiFixture) -> None:
    _, accepted, _ = await api.ask("POST", "/api/v1/jobs", a_request())
    path = f"/api/v1/jobs/{accepted['jobId']}"
    assert (await api.problem_of("POST", f"{path}/retry"))[0] == 409
    await settle(api.store, (await api.store.claim(1)).jobs)
    assert (await api.problem_of("POST", f"{path}/cancel"))[0] == 409
    status, retried, _ = await api.ask("POST", f"{path}/retry")
    assert (status, retried["run"], retried["status"]) == (202, 2, "queued")
    _, listed, _ = await api.ask("GET", "/api/v1/notifications?userId=user-1", key=READER)
    [news] = listed["notifications"]
    assert (news["status"], news["sequence"], news["body"][1]["message"]) == ("pending", 1, "Task Finish")
    status, resent, _ = await api.ask("POST", f"/api/v1/notifications/{news['notificationId']}/resend")
    assert (status, resent) == (202, {"id": news["id"]})


async def test_set_aside_marks_a_waiting_notification_as_dead(api: ApiFixture) -> None:
    await api.ask("POST", "/api/v1/jobs", a_request())
    await settle(api.store, (await api.store.claim(1)).jobs)
    [message] = await api.store.pending(0, 10)
    path = f"/api/v1/notifications/{message.notification_id}/set-aside"
    status, answer, _ = await api.ask("POST", path)
    assert (status, answer) == (202, {"id": message.id})
    _, listed, _ = await api.ask("GET", "/api/v1/notifications?status=dead", key=READER)
    assert [news["reason"] for news in listed["notifications"]] == ["set aside by an operator"]
    assert await api.store.pending(0, 10) == []
    assert (await api.problem_of("POST", path))[0] == 404


async def test_get_notifications_returns_pages(api: ApiFixture) -> None:
    for _ in range(3):
        await api.ask("POST", "/api/v1/jobs", a_request())
        await settle(api.store, (await api.store.claim(1)).jobs)
    _, first, _ = await api.ask("GET", "/api/v1/notifications?limit=2")
    _, second, _ = await api.ask("GET", f"/api/v1/notifications?limit=2&cursor={first['cursor']}")
    assert [news["sequence"] for news in first["notifications"] + second["notifications"]] == [3, 2, 1]
    assert second["cursor"] is None


async def test_connection_is_shown_and_reconnects_on_request(api: ApiFixture) -> None:
    assert (await api.ask("GET", "/api/v1/connection"))[:2] == (200, {"state": "connected"})
    assert (await api.ask("POST", "/api/v1/connection/reconnect"))[:2] == (202, {"status": "requested"})
    assert api.reconnects == 1


# -- errors ------------------------------------------------------------------------------------------------------


class Broken:
    """A store that answers every question with the same error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def fail(*_arguments: Any, **_options: Any) -> Any:
            raise self._error

        return fail


async def test_unexpected_error_returns_only_an_error_id(api: ApiFixture) -> None:
    api.jobs.store = Broken(RuntimeError("row 7 of /var/lib/secret"))
    status, problem, _ = await api.ask("GET", "/api/v1/jobs")
    [(error_id, path, error)] = api.errors
    assert (status, problem["errorId"], path) == (500, error_id, "/api/v1/jobs")
    assert str(error) == "row 7 of /var/lib/secret"
    assert "secret" not in str(problem)


@pytest.mark.parametrize(("error", "expected"), [(StoreFull("full"), 507), (StoreCorrupt("damaged"), 503)])
async def test_store_errors_are_returned_with_their_message(api: ApiFixture, error: WorkerError, expected: int) -> None:
    api.jobs.store = Broken(error)
    assert await api.problem_of("POST", "/api/v1/jobs", a_request()) == (expected, str(error))
    assert api.errors == []


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
async def test_probe_reports_its_part_without_a_key(api: ApiFixture, path: str, part: str) -> None:
    assert (await api.ask("GET", path, key=None))[:2] == (200, "ok\n")
    api.health = replace(HEALTH, **{part: False})  # type: ignore[arg-type]  # part is the name of a bool
    assert (await api.ask("GET", path, key=None))[:2] == (503, "no\n")


@pytest.mark.parametrize(("grade", "status"), [("Healthy", 200), ("Degraded", 200), ("Unhealthy", 503)])
async def test_health_has_the_grade_of_its_worst_part(api: ApiFixture, grade: Any, status: int) -> None:
    api.health = replace(HEALTH, entries={"a": HealthCheck("Healthy"), "b": HealthCheck(grade, "why", {"n": 1})})
    assert (await api.ask("GET", "/health", key=READER))[:2] == (
        status,
        {
            "status": grade,
            "entries": {
                "a": {"status": "Healthy", "description": "", "data": {}},
                "b": {"status": grade, "description": "why", "data": {"n": 1}},
            },
        },
    )


async def test_health_figures_may_have_numbers_as_keys(api: ApiFixture) -> None:
    assert (await api.ask("GET", "/health/websocket", key=READER))[1] == {"link": {"state": "connected", "1006": 2}}


# -- sockets -----------------------------------------------------------------------------------------------------


async def test_serve_tcp_on_a_used_port_names_port_and_setting(api: ApiFixture) -> None:
    with pytest.raises(Unavailable, match=r"cannot listen on 127\.0\.0\.1:\d+ \(Http:Url\)"):
        async with serve_tcp(api.http.local(), api.url, lambda _address, _reason: None):
            raise AssertionError


@pytest.fixture(params=["short", "long"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A state directory, whose socket's path does or does not fit into sockaddr_un."""
    path = tmp_path if request.param == "short" else tmp_path / ("ก" * 60)
    path.mkdir(exist_ok=True)
    assert (len(os.fsencode(path / SOCKET_NAME)) > 107) == (request.param == "long")
    return path


async def test_unix_socket_has_mode_0600_and_needs_no_key(api: ApiFixture, folder: Path) -> None:
    async with serve_unix(api.http.local(), folder) as path:
        assert path == folder / SOCKET_NAME
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client = ApiClient(path)
        accepted = await asyncio.to_thread(client.request, "POST", "/api/v1/jobs", a_request())
        answer = await asyncio.to_thread(client.request, "GET", accepted["links"]["self"])
        assert answer["status"] == "queued"
    assert not path.exists()
    assert not client.answers()


async def test_unix_socket_of_an_ended_service_is_replaced(api: ApiFixture, folder: Path) -> None:
    (folder / SOCKET_NAME).touch()
    async with serve_unix(api.http.local(), folder) as path:
        assert ApiClient(path).answers()


async def test_api_client_raises_the_errors_of_the_service(api: ApiFixture, tmp_path: Path) -> None:
    async with serve_unix(api.http.local(), tmp_path) as path:
        client = ApiClient(path)

        async def refused(error: type[WorkerError], method: str, target: str, body: Any = None, **headers: str) -> str:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            with pytest.raises(error) as raised:
                await asyncio.to_thread(client.request, method, target, body, named)
            return str(raised.value)

        assert await refused(NotFound, "GET", "/api/v1/jobs/x") == "there is no job x"
        assert "unknown task type" in await refused(ApiRejected, "POST", "/api/v1/jobs", a_request(taskType="x"))
        await asyncio.to_thread(client.request, "POST", "/api/v1/jobs", a_request(), {"Idempotency-Key": "k"})
        other = a_request(payload={"text": "other"})
        assert "taken by job" in await refused(KeyConflict, "POST", "/api/v1/jobs", other, Idempotency_Key="k")
        api.draining = True
        assert await refused(Unavailable, "POST", "/api/v1/jobs", other) == "the service is stopping"
    assert "no service runs" in await refused(Unavailable, "GET", "/api/v1/jobs")
