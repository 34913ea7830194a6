"""Several services on one PostgreSQL store: killed, suspended and stopped in turn, with the server crashing as well."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.postgres import connected
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.process import WorkerProcess
from tests.support.socketio_server import SocketIoServer, socketio_server
from worker.core.clock import Clock
from worker.stores.postgres.database import DatabaseTarget
from worker.stores.postgres.opening import open_store

USERS = 4


def a_worker(folder: Path, url: str, hub: SocketIoServer) -> WorkerProcess:
    folder.mkdir()
    settings = [
        "--Worker:Handlers:0=tests.support.jobs",
        "--Worker:Concurrency=5",
        "--Queue:Provider=postgres",
        f"--Queue:ConnectionString={url}",
        f"--Http:Url=http://127.0.0.1:{free_port()}",
        f"--WebSocket:Url={hub.url}",
        "--Hub:Enabled=false",
        "--WebSocket:ReconnectionDelay=50",
        "--WebSocket:TaskDelayOnError=200",
    ]
    return WorkerProcess(folder, settings)


@contextlib.asynccontextmanager
async def cluster(folder: Path, names: Sequence[str]) -> AsyncIterator[tuple[Any, SocketIoServer, list[WorkerProcess]]]:
    with postgres_server() as server:
        async with socketio_server() as hub:
            workers = [a_worker(folder / name, server.url, hub) for name in names]
            try:
                for worker in workers:
                    await worker.start()
                yield server, hub, workers
            finally:
                for worker in workers:
                    if worker.process is not None and worker.process.poll() is None:
                        worker.process.send_signal(signal.SIGCONT)
                        worker.kill()


async def submit(worker: WorkerProcess, count: int, seconds: float = 0.02) -> list[str]:
    jobs = [
        {"taskType": "sleep", "userId": f"user-{number % USERS}", "payload": {"seconds": seconds}}
        for number in range(count)
    ]
    answer = await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
    return [job["jobId"] for job in answer["jobs"]]


async def until_healthy(worker: WorkerProcess) -> None:
    """Wait until it answers, and its store as well."""
    async with asyncio.timeout(120):
        while True:
            if (await worker.health())["queue"]["status"] == "Healthy":
                return
            await asyncio.sleep(0.05)


async def all_received(hub: SocketIoServer, job_ids: set[str], seconds: float = 180.0) -> None:
    async with asyncio.timeout(seconds):
        while not job_ids <= {message["payload"]["jobId"] for message, _ in hub.received}:
            await asyncio.sleep(0.05)


def check_received(hub: SocketIoServer, job_ids: set[str]) -> None:
    """Each job has one notification, and each user's arrive in order, repeated ones left out."""
    first: dict[str, dict[str, Any]] = {}
    for message, user in hub.received:
        first.setdefault(message["payload"]["notificationId"], {**message["payload"], "user": user["userId"]})
    assert {payload["jobId"] for payload in first.values()} == job_ids
    assert len(first) == len(job_ids)
    numbers: dict[str, list[int]] = {}
    for payload in first.values():
        numbers.setdefault(payload["user"], []).append(payload["sequence"])
    assert all(given == list(range(1, len(given) + 1)) for given in numbers.values()), numbers


def only_the_last_came_again(hub: SocketIoServer) -> bool:
    """Whether what came again on a later connection is the end of what an earlier one had carried.

    A worker that stops, after it has seen that nothing waits, may send what another one finishes at that moment, and
    end before it is confirmed.
    """
    carried: dict[str, list[str]] = {connection: [] for connection in hub.sids}
    for connection, one in zip(hub.connections, hub.ids, strict=True):
        carried[connection].append(one)
    later: set[str] = set()
    for ids in reversed(carried.values()):
        came_again = [one in later for one in ids]
        if came_again != sorted(came_again) or len(set(ids)) < len(ids):
            return False
        later |= set(ids)
    return True


async def terms_of_sending(server: PostgresServer) -> int:
    """Return how many workers in turn had the right to send."""
    async with connected(server.url) as connection:
        terms: int = await connection.fetchval("SELECT epoch FROM insignia.leases")
        return terms


async def check_store(server: PostgresServer) -> None:
    store = await open_store(DatabaseTarget.parse(server.url), owner="test", max_bytes=1 << 30, clock=Clock())
    try:
        assert await store.examine() == []
    finally:
        await store.close()


@pytest.mark.timeout(600)
async def test_jobs_of_a_killed_worker_are_finished_by_the_other_and_notified_once(tmp_path: Path) -> None:
    async with cluster(tmp_path, ["one", "two"]) as (server, hub, (one, two)):
        job_ids = set(await submit(one, 60, seconds=0.2))
        async with asyncio.timeout(120):
            while len(hub.received) < 10:
                await asyncio.sleep(0.01)
        one.kill()
        await all_received(hub, job_ids)
        check_received(hub, job_ids)
        assert await two.stop() == 0
        await check_store(server)


@pytest.mark.timeout(600)
async def test_suspended_worker_that_comes_back_late_changes_and_sends_nothing(tmp_path: Path) -> None:
    async with cluster(tmp_path, ["one", "two"]) as (server, hub, (one, two)):
        job_ids = set(await submit(two, 60, seconds=0.2))
        async with asyncio.timeout(120):
            while len(hub.received) < 10:
                await asyncio.sleep(0.01)
        assert one.process is not None
        one.process.send_signal(signal.SIGSTOP)
        await all_received(hub, job_ids)
        before = len(hub.received)
        one.process.send_signal(signal.SIGCONT)
        await until_healthy(one)
        later = set(await submit(one, 20))
        await all_received(hub, job_ids | later)
        check_received(hub, job_ids | later)
        assert len(hub.received) >= before
        assert [await worker.stop() for worker in (one, two)] == [0, 0]
        await check_store(server)


@pytest.mark.timeout(600)
async def test_rolling_restart_loses_no_notification_and_repeats_only_what_is_not_confirmed(tmp_path: Path) -> None:
    async with cluster(tmp_path, ["one", "two"]) as (server, hub, workers):
        job_ids: set[str] = set()
        for worker, other in (workers, workers[::-1]):
            job_ids |= set(await submit(other, 30, seconds=0.05))
            assert await worker.stop() == 0
            job_ids |= set(await submit(other, 30, seconds=0.05))
            await worker.start()
        await all_received(hub, job_ids)
        check_received(hub, job_ids)
        # On a busy machine a worker may lose the right to send, because it does not renew it in time.
        terms = 3
        assert only_the_last_came_again(hub) or await terms_of_sending(server) > terms
        await check_store(server)


@pytest.mark.timeout(600)
async def test_crash_of_the_server_loses_nothing_and_is_logged_once(tmp_path: Path) -> None:
    async with cluster(tmp_path, ["one"]) as (server, hub, (one,)):
        job_ids = set(await submit(one, 60, seconds=0.1))
        async with asyncio.timeout(120):
            while len(hub.received) < 10:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(server.stop, "immediate")
        await asyncio.sleep(1.5)  # how long it is away; nothing is asserted about this time
        await asyncio.to_thread(server.start)
        await all_received(hub, job_ids)
        check_received(hub, job_ids)
        await one.until_logged("is back after")
        assert await one.stop() == 0
        assert one.text().count("jobs wait until it is back") == 1
        assert one.text().count("is back after") == 1
        await check_store(server)
