"""What users and operators see is the same on every store: a few tests of the whole service, on each provider."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.process import WorkerProcess, command, running_worker
from tests.support.socketio_server import SocketIoServer, socketio_server

pytestmark = pytest.mark.both_stores

HANDLERS = "--Worker:Handlers:0=tests.support.jobs"

Started = Callable[[SocketIoServer], AbstractAsyncContextManager[WorkerProcess]]


@pytest.fixture
def started(tmp_path: Path) -> Started:
    """Return what starts a service on the folder of the test."""
    settings = [HANDLERS, "--Hub:Enabled=false", "--WebSocket:ReconnectionDelay=50"]

    def start(server: SocketIoServer) -> AbstractAsyncContextManager[WorkerProcess]:
        url = f"--Http:Url=http://127.0.0.1:{free_port()}"
        return running_worker(tmp_path, *settings, url, f"--WebSocket:Url={server.url}")

    return start


async def request(worker: WorkerProcess, method: str, path: str, body: object = None) -> Any:
    return await asyncio.to_thread(worker.client.request, method, f"/api/v1{path}", body)


async def submit(worker: WorkerProcess, kind: str, user: str = "u", **payload: object) -> str:
    answer = await request(worker, "POST", "/jobs", {"taskType": kind, "userId": user, "payload": payload})
    return str(answer["jobId"])


async def until(worker: WorkerProcess, job_id: str, status: str) -> dict[str, Any]:
    async with asyncio.timeout(120):
        while True:
            job: dict[str, Any] = await request(worker, "GET", f"/jobs/{job_id}")
            if job["status"] == status:
                return job
            await asyncio.sleep(0.05)


async def until_received(server: SocketIoServer, count: int) -> list[dict[str, Any]]:
    """Return the payloads of all different notifications, once there are `count`."""
    async with asyncio.timeout(120):
        while len(server.payloads) < count:
            await asyncio.sleep(0.05)
    return server.payloads


@pytest.mark.timeout(900)
async def test_job_that_ends_is_notified_once_with_its_result(started: Started) -> None:
    async with socketio_server() as server, started(server) as worker:
        job = await submit(worker, "sleep", seconds=0)
        done = await until(worker, job, "succeeded")
        [payload] = await until_received(server, 1)
        assert (payload["jobId"], payload["sequence"]) == (job, 1)
        assert done["result"] == {"slept": 0.0}
        assert await worker.stop() == 0
        assert len(server.payloads) == 1
        assert server.has_no_repeats()


@pytest.mark.timeout(900)
async def test_cancelled_jobs_end_as_cancelled_and_run_after_a_retry(started: Started, tmp_path: Path) -> None:
    async with socketio_server() as server, started(server) as worker:
        gone = tmp_path / "gone"
        running = await submit(worker, "hold", mark=str(tmp_path / "mark"), gone=str(gone))
        await until(worker, running, "running")
        await request(worker, "POST", f"/jobs/{running}/cancel")
        await until(worker, running, "cancelled")
        gone.touch()
        await request(worker, "POST", f"/jobs/{running}/retry")
        assert (await until(worker, running, "succeeded"))["run"] == 2
        assert [payload["sequence"] for payload in await until_received(server, 2)] == [1, 2]
        assert await worker.stop() == 0


@pytest.mark.timeout(900)
async def test_paused_kind_waits_until_it_is_resumed_also_over_a_restart(started: Started, tmp_path: Path) -> None:
    async with socketio_server() as server:
        async with started(server) as worker:
            done = await asyncio.to_thread(command, tmp_path, "kinds", "pause", "noop")
            assert done.returncode == 0, done.stderr
            held = await submit(worker, "noop")
            other = await submit(worker, "sleep", seconds=0)
            await until(worker, other, "succeeded")
            assert await worker.stop() == 0
        async with started(server) as worker:
            await until(worker, await submit(worker, "sleep", seconds=0), "succeeded")
            assert (await request(worker, "GET", f"/jobs/{held}"))["status"] == "queued"
            done = await asyncio.to_thread(command, tmp_path, "kinds", "resume", "noop")
            assert done.returncode == 0, done.stderr
            await until(worker, held, "succeeded")
            assert await worker.stop() == 0


@pytest.mark.timeout(600)
async def test_kill_loses_no_job_and_users_receive_their_notifications_in_order(started: Started) -> None:
    jobs: set[str] = set()
    async with socketio_server() as server:
        for _ in range(2):
            async with started(server) as worker:
                for number in range(20):
                    jobs.add(await submit(worker, "sleep", user=f"user-{number % 3}", seconds=0.05))
                await until_received(server, len(jobs) - 15)
                worker.kill()
        async with started(server) as worker:
            payloads = await until_received(server, len(jobs))
            await worker.until_idle()
            assert await worker.stop() == 0
    assert {payload["jobId"] for payload in payloads} == jobs
    assert len(payloads) == len(jobs)
    users = {message["payload"]["notificationId"]: user["userId"] for message, user in server.received}
    for name in set(users.values()):
        given = [payload["sequence"] for payload in payloads if users[payload["notificationId"]] == name]
        assert given == list(range(1, len(given) + 1))
