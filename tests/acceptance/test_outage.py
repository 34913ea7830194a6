"""The hub is away for long: jobs succeed, the outbox fills, memory stays flat, then all of it arrives in order."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.process import WorkerProcess, running_worker
from tests.support.processes import resident_bytes
from tests.support.socketio_server import socketio_server

JOBS = 30_000
SMALL = 21_000
"""Jobs with small notifications, which fill SQLite's bounded page cache and start every thread."""
FIRST_LARGE = 3_000
"""Jobs with large notifications before memory is measured: a commit of several large ones sets the allocator's mark."""
LARGE_BYTES = 36_000
"""Of each notification after those: together they are almost five times what the process may grow by, so that the
noise of the allocator, some megabytes on a busy machine, decides nothing."""
MAX_GROWTH_BYTES = 45_000_000
USERS = 10
BATCH = 500


async def _run_jobs(worker: WorkerProcess, first: int, count: int, size: int) -> None:
    for start in range(first, first + count, BATCH):
        jobs = [
            {"taskType": "large", "userId": f"user-{number % USERS}", "payload": {"size": size}}
            for number in range(start, start + BATCH)
        ]
        await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
    async with asyncio.timeout(600):
        while await _succeeded(worker) < first + count:
            await asyncio.sleep(0.05)


async def _succeeded(worker: WorkerProcess) -> int:
    count: int = (await worker.health())["queue"]["data"]["jobs"].get("succeeded", 0)
    return count


@pytest.mark.kill
@pytest.mark.timeout(1800)
async def test_notifications_of_30000_jobs_arrive_in_order_after_an_outage(tmp_path: Path) -> None:
    """The pauses between attempts are shortened, so that some hundred of them fail as they would in ten minutes."""
    hub, measured = free_port(), JOBS - SMALL - FIRST_LARGE
    settings = [
        "--Worker:Handlers:0=tests.support.jobs",
        f"--Http:Url=http://127.0.0.1:{free_port()}",
        f"--WebSocket:Url=http://127.0.0.1:{hub}",
        "--WebSocket:ReconnectionDelay=20",
        "--WebSocket:MaxReconnectionDelay=40",
        "--WebSocket:ReconnectionAttempts=5",
        "--WebSocket:TaskDelayOnError=50",
        "--WebSocket:IncludeResult=true",
        "--Worker:Concurrency=50",
        "--Logging:LogLevel:Default=Critical",
    ]
    async with running_worker(tmp_path, *settings) as worker:
        await _run_jobs(worker, 0, SMALL, 0)
        await _run_jobs(worker, SMALL, FIRST_LARGE, LARGE_BYTES)
        before = resident_bytes(worker.pid)
        await _run_jobs(worker, SMALL + FIRST_LARGE, measured, LARGE_BYTES)
        grown = resident_bytes(worker.pid) - before
        connection = await asyncio.to_thread(worker.client.request, "GET", "/api/v1/connection")
        health = await worker.health()
        assert connection["state"] != "connected"
        assert connection["reconnectAttempts"] > 20
        assert health["outbox"]["data"]["depth"] == JOBS
        assert measured * LARGE_BYTES > 4 * MAX_GROWTH_BYTES
        assert grown < MAX_GROWTH_BYTES, "the notifications that wait are on disk, not in memory"
        async with socketio_server(port=hub) as server:
            async with asyncio.timeout(600):
                while len(server.payloads) < JOBS:
                    await asyncio.sleep(0.05)
            assert server.has_no_repeats()
            for number in range(USERS):
                mine = (m["payload"]["sequence"] for m, user in server.received if user["userId"] == f"user-{number}")
                reported = list(dict.fromkeys(mine))
                assert all(later == earlier + 1 for earlier, later in pairwise(reported))
                assert len(reported) == JOBS // USERS
            assert await worker.stop() == 0
