"""Watching and controlling the real service through its API: figures, the stream, workers, kinds, hub, settings."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import TypeAdapter

from tests.support.ports import free_port
from tests.support.process import WorkerProcess, command, running_worker
from tests.support.socketio_server import socketio_server
from worker.api.routes.hub import HubAnswer
from worker.api.routes.kinds import KindsAnswer, TaskTypesAnswer, WaitingLinesAnswer
from worker.api.routes.settings import SettingsAnswer
from worker.api.routes.stats import Stats
from worker.api.routes.workers import WorkersAnswer

pytestmark = pytest.mark.both_stores


@dataclass
class Desk:
    """An operator in front of the service."""

    worker: WorkerProcess
    url: str
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        async with self.session.request(method, self.url + path, data=data) as response:
            content = await response.read()
            return response.status, orjson.loads(content) if "json" in response.content_type else content.decode()

    async def get(self, path: str) -> Any:
        status, answer = await self.ask("GET", path)
        while (path, status) == ("/health", 503):  # the event loop has just had no heartbeat for seconds
            status, answer = await self.ask("GET", path)
        assert status == 200, answer
        return answer

    async def submit(self, kind: str, user: str = "u", **payload: object) -> str:
        job = {"taskType": kind, "userId": user, "payload": payload, "maxAttempts": 1}
        status, answer = await self.ask("POST", "/api/v1/jobs", job)
        assert status == 202, answer
        return str(answer["jobId"])

    async def ended(self, job_id: str) -> Any:
        return await self.get(f"/api/v1/jobs/{job_id}?wait=60")

    async def the_worker(self) -> Any:
        answer = await self.get("/api/v1/workers")
        TypeAdapter(WorkersAnswer).validate_python(answer)
        [worker] = answer["workers"]
        return worker

    async def waiting(self, count: int) -> None:
        async with asyncio.timeout(60):
            while (await self.get("/api/v1/stats"))["jobs"]["queued"] != count:
                await asyncio.sleep(0.02)

    async def running(self, count: int) -> None:
        async with asyncio.timeout(60):
            while (await self.the_worker())["runningCount"] != count:
                await asyncio.sleep(0.01)

    async def metrics(self) -> dict[str, float]:
        """Samples by name with labels, as `x{a="b"}`; without our prefix."""
        text = await self.get("/metrics")
        return {
            sample.name.removeprefix("insignia_worker_") + _labels(sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}" if labels else ""


@contextlib.asynccontextmanager
async def a_desk(folder: Path, *settings: str) -> AsyncIterator[Desk]:
    """In Development, where this machine needs no key."""
    port = free_port()
    known = [f"--Http:Url=http://127.0.0.1:{port}", f"--WebSocket:Url=http://127.0.0.1:{port}"]
    handlers = "--Worker:Handlers:0=tests.support.jobs"
    environ = {"DOTNET_ENVIRONMENT": "Development"}
    async with (
        running_worker(folder, *known, handlers, *settings, environ=environ) as worker,
        aiohttp.ClientSession() as session,
    ):
        yield Desk(worker, f"http://127.0.0.1:{port}", session)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with a_desk(tmp_path, "--Worker:Concurrency=2") as desk:
        yield desk


# -- figures ---------------------------------------------------------------------------------------------------


async def test_stats_show_what_was_done(desk: Desk) -> None:
    for _ in range(3):
        await desk.ended(await desk.submit("noop"))
    await desk.ended(await desk.submit("discard", text="no"))
    async with asyncio.timeout(60):
        while sum(second["failed"] for second in (await desk.get("/api/v1/stats"))["throughput"]) < 1:
            await asyncio.sleep(0.05)
    answer = await desk.get("/api/v1/stats")
    stats = TypeAdapter(Stats).validate_python(answer)
    assert (stats["jobs"]["succeeded"], stats["jobs"]["failed"], stats["running"], stats["concurrency"]) == (3, 1, 0, 2)
    assert sum(second["enqueued"] for second in stats["throughput"]) == 4
    assert sum(second["succeeded"] for second in stats["throughput"]) == 3
    assert stats["latencyMs"]["p50"] is not None
    assert stats["store"]["sizeBytes"] > 0
    assert not stats["store"]["full"]


async def test_prometheus_shows_the_same_figures(desk: Desk) -> None:
    await desk.ended(await desk.submit("noop"))
    await desk.ended(await desk.submit("discard", text="no"))
    # A job is seen to have ended as soon as the store has it, which the service counts a moment later.
    async with asyncio.timeout(60):
        while 'job_errors_total{error_type="Discard",kind="discard"}' not in (metrics := await desk.metrics()):
            await asyncio.sleep(0.05)
    assert metrics['jobs_finished_total{kind="noop",outcome="succeeded"}'] == 1
    assert metrics['jobs_enqueued_total{kind="discard"}'] == 1
    assert metrics['job_errors_total{error_type="Discard",kind="discard"}'] == 1
    assert metrics['queue_jobs{state="failed"}'] == 1
    assert metrics["concurrency_limit"] == 2
    assert metrics["store_up"] == 1
    async with asyncio.timeout(60):
        while (await desk.metrics())["notifications_delivered_total"] < 2:
            await asyncio.sleep(0.05)
    metrics = await desk.metrics()
    assert (metrics["link_connected"], metrics["hub_clients"], metrics["outbox_pending"]) == (1, 1, 0)
    assert metrics["event_loop_lag_seconds_count"] > 0


async def test_connection_shows_its_latest_events(desk: Desk) -> None:
    def is_lost(entry: Any) -> bool:
        return entry["event"] == "disconnect" and "a new connection was requested" in entry["reason"]

    async def until(event: str, *, after_request: bool) -> Any:
        """Wait for the event, which is newer than the requested end of the first connection; return the answer."""
        async with asyncio.timeout(60):
            while True:
                answer = await desk.get("/api/v1/connection")
                newest = list(takewhile(lambda entry: not is_lost(entry), answer["history"]))
                has_ended = len(newest) < len(answer["history"])
                if has_ended is after_request and event in [entry["event"] for entry in newest]:
                    return answer
                await asyncio.sleep(0.02)

    await until("connect", after_request=False)
    assert (await desk.ask("POST", "/api/v1/connection/reconnect"))[0] == 202
    answer = await until("reconnect", after_request=True)
    assert (answer["outboxDepth"], answer["oldestOutboxAge"]) == (0, None)
    [lost] = filter(is_lost, answer["history"])
    assert lost["at"].endswith("Z")


async def test_connection_shows_no_secrets(tmp_path: Path) -> None:
    server = free_port()
    address = f"--WebSocket:Url=http://me:hush-hush@127.0.0.1:{server}"
    async with a_desk(tmp_path, address, "--WebSocket:ReconnectionDelay=10") as desk, socketio_server(port=server):
        async with asyncio.timeout(60):
            while (await desk.get("/api/v1/connection"))["state"] != "connected":
                await asyncio.sleep(0.05)
        for path in ("/api/v1/connection", "/health", "/health/websocket", "/api/v1/settings"):
            assert "hush-hush" not in str(await desk.get(path)), path
        reported = await desk.get("/api/v1/connection")
        assert f"http://127.0.0.1:{server}" in reported["status"]["en"]
        assert f"http://127.0.0.1:{server}" in str(reported["history"])


# -- the stream ------------------------------------------------------------------------------------------------


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    while block := (await response.content.readuntil(b"\n\n")).decode().strip():
        if block.startswith("event: "):
            name, _, data = block.removeprefix("event: ").partition("\ndata: ")
            yield name, orjson.loads(data)


async def _next(events: AsyncIterator[tuple[str, Any]], wanted: str) -> Any:
    """The data of the next event of this name."""
    async for name, reported in events:
        if name == wanted:
            return reported
    raise AssertionError(f"the stream ended without {wanted}")


async def test_progress_is_shown_in_stream_worker_and_job(desk: Desk, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    async with desk.session.get(desk.url + "/api/v1/live") as response:
        assert response.content_type == "text/event-stream"
        events = _events(response)
        async with asyncio.timeout(60):
            name, stats = await anext(events)
            assert name == "stats"
            TypeAdapter(Stats).validate_python(stats)
            job_id = await desk.submit("step", mark="", gone=str(gone))
            reported = await _next(events, "progress")
            step = {"jobId": job_id, "taskType": "step", "userId": "u", "percent": 40.0, "note": "ครึ่งทาง"}
            assert reported["jobs"] == [step]
            [running] = (await desk.the_worker())["running"]
            assert (running["jobId"], running["percent"], running["note"]) == (job_id, 40.0, "ครึ่งทาง")
            assert (await desk.get(f"/api/v1/jobs/{job_id}"))["progress"] == {"percent": 40.0, "note": "ครึ่งทาง"}
            gone.touch()
            reported = await _next(events, "settled")
            assert [(job["jobId"], job["status"]) for job in reported["jobs"]] == [(job_id, "succeeded")]


async def test_stop_is_not_delayed_by_subscribers(desk: Desk) -> None:
    async with desk.session.get(desk.url + "/api/v1/live") as response:
        await response.content.readuntil(b"event: stats")
        assert await desk.worker.stop() == 0


# -- steering --------------------------------------------------------------------------------------------------


async def test_concurrency_can_be_changed_at_run_time(desk: Desk, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    jobs = [await desk.submit("hold", mark=str(tmp_path / "mark"), gone=str(gone)) for _ in range(5)]
    await desk.running(2)
    status, answer = await desk.ask("PATCH", "/api/v1/workers", {"concurrency": 4})
    assert (status, answer["workers"][0]["concurrency"], answer["workers"][0]["processes"]) == (200, 4, 2)
    await desk.running(4)
    _, answer = await desk.ask("PATCH", "/api/v1/workers", {"concurrency": 1})
    assert answer["workers"][0]["processes"] == 1
    first = (await desk.the_worker())["running"]
    for running in first[:3]:
        await desk.ask("POST", f"/api/v1/jobs/{running['jobId']}/cancel")
    await desk.running(1)
    await desk.waiting(1)  # where jobs were short before, it had been claimed ahead, and is given back
    gone.touch()
    for job_id in jobs:
        assert (await desk.ended(job_id))["status"] in ("succeeded", "cancelled")


async def test_patch_workers_with_malformed_json_returns_400_and_changes_nothing(desk: Desk) -> None:
    before = await desk.the_worker()
    for body in (b"", b"{", b'{"concurrency": 4', b'{"quiet": true}}', b'{"concurrency": NaN}', b'"\xff"'):
        status, answer = await desk.ask("PATCH", "/api/v1/workers", body)
        assert (status, answer["title"]) == (400, "Bad Request"), (body, answer)
        assert answer["detail"].startswith("the body is not valid JSON: ")
    after = await desk.the_worker()
    assert (after["concurrency"], after["quiet"]) == (before["concurrency"], before["quiet"]) == (2, False)


async def test_quiet_service_finishes_jobs_and_starts_none(desk: Desk, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    running = await desk.submit("hold", mark=str(tmp_path / "mark"), gone=str(gone))
    await desk.running(1)
    assert (await desk.ask("PATCH", "/api/v1/workers", {"quiet": True}))[1]["workers"][0]["quiet"] is True
    waiting = await desk.submit("noop")
    gone.touch()
    assert (await desk.ended(running))["status"] == "succeeded"
    assert (await desk.get(f"/api/v1/jobs/{waiting}"))["status"] == "queued"
    assert (await desk.metrics())["quiet"] == 1
    await desk.ask("PATCH", "/api/v1/workers", {"quiet": False})
    assert (await desk.ended(waiting))["status"] == "succeeded"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"concurrency": 0}, "body: concurrency: Input should be greater than or equal to 1"),
        ({"concurrency": "4"}, "body: concurrency: Input should be a valid integer"),
        ({"quiet": 1}, "body: quiet: Input should be a valid boolean"),
        ({"quite": True}, "body: quite: Extra inputs are not permitted"),
        ({}, "body: name at least one of: concurrency, quiet"),
    ],
)
async def test_invalid_change_of_the_worker_is_rejected(desk: Desk, body: Any, reason: str) -> None:
    status, problem = await desk.ask("PATCH", "/api/v1/workers", body)
    assert (status, problem["detail"]) == (422, reason)


async def test_paused_kind_still_waits_after_a_restart(tmp_path: Path) -> None:
    async with a_desk(tmp_path) as desk:
        assert (await desk.ask("POST", "/api/v1/kinds/noop/pause"))[1] == {"taskType": "noop", "paused": True}
        waiting = await desk.submit("noop")
        assert (await desk.ended(await desk.submit("sleep")))["status"] == "succeeded"
        assert await desk.worker.stop() == 0
    async with a_desk(tmp_path) as desk:
        answer = await desk.get("/api/v1/task-types")
        TypeAdapter(TaskTypesAnswer).validate_python(answer)
        kinds = {kind["taskType"]: kind for kind in answer["taskTypes"]}
        old = await desk.get("/api/v1/kinds")
        TypeAdapter(KindsAnswer).validate_python(old)
        assert old["kinds"] == answer["taskTypes"]
        assert (kinds["noop"]["paused"], kinds["noop"]["queued"]) == (True, 1)
        assert (kinds["sleep"]["paused"], kinds["sleep"]["queued"]) == (False, 0)
        assert kinds["child"]["execution"] == "process"
        assert kinds["step"]["payloadSchema"]["required"] == ["mark", "gone"]
        stats = await desk.get("/api/v1/stats")
        assert (stats["paused"], stats["queued"]) == (["noop"], {"noop": 1})
        assert (await desk.metrics())["kinds_paused"] == 1
        await desk.ask("POST", "/api/v1/task-types/noop/resume")
        assert (await desk.ended(waiting))["status"] == "succeeded"


async def test_job_whose_handler_is_gone_waits_until_it_is_back(tmp_path: Path) -> None:
    async with a_desk(tmp_path) as desk:
        await desk.ask("PATCH", "/api/v1/workers", {"quiet": True})
        waiting = await desk.submit("noop")
        assert await desk.worker.stop() == 0
    async with a_desk(tmp_path, "--Worker:Handlers:0=tests.support.dashboard_handlers") as desk:
        health = await desk.get("/health")
        assert health["entries"]["queue"]["status"] == "Degraded"
        assert health["entries"]["queue"]["data"]["unserved"] == {"noop": 1}
        assert "1 of noop" in health["entries"]["queue"]["description"]
        assert (await desk.get("/api/v1/task-types"))["unserved"] == {"noop": 1}
        answer = await desk.get("/api/v1/waiting-lines")
        TypeAdapter(WaitingLinesAnswer).validate_python(answer)
        [line] = answer["lines"]
        assert (line["taskType"], line["queued"], line["position"], line["heldBy"]) == ("noop", 1, None, "unserved")
        assert (await desk.get(f"/api/v1/jobs/{waiting}"))["status"] == "queued"
        assert await desk.worker.stop() == 0
    async with a_desk(tmp_path) as desk:
        ended = await desk.ended(waiting)
        assert (ended["status"], ended["attempt"]) == ("succeeded", 1)


async def test_pause_of_an_unknown_kind_is_rejected(desk: Desk) -> None:
    status, problem = await desk.ask("POST", "/api/v1/task-types/no%2Fpe/pause")
    assert (status, problem["detail"].startswith("there is no task type 'no/pe'; known are: ")) == (404, True)


# -- the hub, the settings -------------------------------------------------------------------------------------


async def _enter(socket: "aiohttp.ClientWebSocketResponse[bool]", token: str) -> None:
    await socket.send_json({"type": "auth", "data": {"token": token}})
    assert (await socket.receive_json(timeout=60))["type"] == "welcome"


async def test_hub_lists_its_clients_and_closes_one(desk: Desk, tmp_path: Path) -> None:
    token = command(tmp_path, "token", "--user", "สมชาย").stdout.strip()
    async with desk.session.ws_connect(f"{desk.url}/ws") as socket:
        await _enter(socket, token)
        await _connected(desk, 2)  # the link of the service is the other one
        answer = await desk.get("/api/v1/hub")
        TypeAdapter(HubAnswer).validate_python(answer)
        client = next(client for client in answer["clients"] if client["userId"] == "สมชาย")
        assert client["rooms"] == ["user:สมชาย"]
        assert {"name": "user:สมชาย", "clients": 1} in answer["rooms"]
        assert answer["totals"]["connectionsActive"] == 2
        close = f"/api/v1/hub/clients/{client['clientId']}/close"
        assert (await desk.ask("POST", close))[0] == 202
        said = await socket.receive_json(timeout=60)
        assert (said["type"], said["data"]["message"]) == ("error", "closed by an operator")
        assert (await socket.receive(timeout=60)).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1001
    await _gone(desk, client["clientId"])
    assert (await desk.ask("POST", close))[0] == 404


async def _connected(desk: Desk, count: int) -> None:
    async with asyncio.timeout(60):
        while (await desk.get("/api/v1/hub"))["totals"]["connectionsActive"] != count:
            await asyncio.sleep(0.01)


async def _gone(desk: Desk, client_id: str) -> None:
    async with asyncio.timeout(60):
        while any(client["clientId"] == client_id for client in (await desk.get("/api/v1/hub"))["clients"]):
            await asyncio.sleep(0.01)


async def test_hub_routes_without_a_hub_show_nothing(tmp_path: Path) -> None:
    async with a_desk(tmp_path, "--Hub:Enabled=false") as desk:
        assert await desk.get("/api/v1/hub") == {"clients": None, "rooms": None, "totals": None}
        assert (await desk.ask("POST", "/api/v1/hub/clients/x/close"))[0] == 404


async def test_settings_are_shown_with_their_origin_and_without_secrets(tmp_path: Path) -> None:
    async with a_desk(tmp_path, "--WebSocket:Token=hush-hush-hush", "--Worker:Concurrency=3") as desk:
        status, answer = await desk.ask("GET", "/api/v1/settings")
        assert status == 200
        TypeAdapter(SettingsAnswer).validate_python(answer)
        found = {setting["key"]: setting for setting in answer["settings"]}
        assert found["WebSocket:Token"]["value"] == "***"
        assert "hush-hush" not in orjson.dumps(answer).decode()
        slots = found["Worker:Concurrency"]
        assert (slots["value"], slots["default"], slots["restart"]) == (3, 10, False)
        assert slots["origin"] == "command line --Worker:Concurrency"
        assert found["Http:Url"]["restart"] is True
        assert found["WebSocket:Timeout"]["unit"] == "milliseconds"


def _shown(record: Any) -> Iterator[str | None]:
    yield from (delivery["shownAt"] for delivery in record.get("deliveries", ()))


async def test_notification_shown_by_a_browser_is_recorded(desk: Desk, tmp_path: Path) -> None:
    token = command(tmp_path, "token", "--user", "ann").stdout.strip()
    async with desk.session.ws_connect(f"{desk.url}/ws") as socket:
        await _enter(socket, token)
        job_id = await desk.submit("noop", user="ann")
        while (said := await socket.receive_json(timeout=60))["type"] != "notification":
            pass
        shown = {"notificationId": said["data"]["payload"]["notificationId"]}
        await socket.send_json({"type": "shown", "data": shown})
        async with asyncio.timeout(60):
            while not any(_shown(await desk.get(f"/api/v1/jobs/{job_id}"))):
                await asyncio.sleep(0.05)
        assert (await desk.metrics())["hub_notifications_shown_total"] == 1
