"""The hub is away for long: jobs succeed, the outbox fills, memory stays flat, then all of it arrives in order."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.process import WorkerProcess, free_port, running_worker
from tests.support.socketio_server import socketio_server

JOBS = 30_000
WARM = 24_000
"""Until then SQLite fills its page cache, which is bounded; from then on nothing may grow."""
USERS = 10
BATCH = 500


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


async def _run_jobs(worker: WorkerProcess, first: int, count: int) -> None:
    for start in range(first, first + count, BATCH):
        jobs = [
            {"taskType": "noop", "userId": f"user-{number % USERS}", "payload": {"number": number}}
            for number in range(start, start + BATCH)
        ]
        await asyncio.to_thread(worker.client.ask, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
    async with asyncio.timeout(60):
        while await _succeeded(worker) < first + count:
            await asyncio.sleep(0.05)


async def _succeeded(worker: WorkerProcess) -> int:
    health = await asyncio.to_thread(worker.client.ask, "GET", "/health")
    count: int = health["entries"]["queue"]["data"]["jobs"].get("succeeded", 0)
    return count


@pytest.mark.kill
@pytest.mark.timeout(300)
async def test_thirty_thousand_jobs_end_while_the_hub_is_away_and_are_all_told_of_in_order(tmp_path: Path) -> None:
    """The pauses between attempts are shortened, so that some hundred of them fail as they would in ten minutes."""
    hub = free_port()
    settings = [
        "--Worker:Handlers:0=tests.support.jobs",
        f"--Http:Url=http://127.0.0.1:{free_port()}",
        f"--WebSocket:Url=http://127.0.0.1:{hub}",
        "--WebSocket:ReconnectionDelay=20",
        "--WebSocket:MaxReconnectionDelay=40",
        "--WebSocket:ReconnectionAttempts=5",
        "--WebSocket:TaskDelayOnError=50",
        "--Worker:Concurrency=50",
        "--Logging:LogLevel:Default=Critical",
    ]
    async with running_worker(tmp_path, *settings) as worker:
        await _run_jobs(worker, 0, WARM)
        warm = _resident_bytes(worker.pid)
        await _run_jobs(worker, WARM, JOBS - WARM)
        grown = _resident_bytes(worker.pid) - warm
        connection = await asyncio.to_thread(worker.client.ask, "GET", "/api/v1/connection")
        health = await asyncio.to_thread(worker.client.ask, "GET", "/health")
        assert connection["state"] != "connected"
        assert connection["reconnectAttempts"] > 20
        assert health["entries"]["outbox"]["data"]["depth"] == JOBS
        # Six thousand more notifications of half a kilobyte wait: 3 MB, and none of them in memory.
        assert grown < 2**20
        async with socketio_server(port=hub) as server:
            async with asyncio.timeout(60):
                while len(server.received) < JOBS:
                    await asyncio.sleep(0.05)
            assert len(server.ids) == len(set(server.ids)) == JOBS
            for number in range(USERS):
                told = [m["payload"]["sequence"] for m, user in server.received if user["userId"] == f"user-{number}"]
                assert all(later == earlier + 1 for earlier, later in pairwise(told))
                assert len(told) == JOBS // USERS
            assert await worker.stop() == 0
