"""Whether a service that runs for long grows: memory per job, and open files per connection.

The service runs as it is configured by default, with the hub in its process, and logs at Warning. Jobs are submitted in
portions; after each, when all have ended and all notifications are confirmed, its resident memory is read. The slope is
the least-squares line through the readings between `--first` and `--jobs`; the target is less than 16 bytes per job.
Then the link connects again `--reconnects` times, and as many clients of the hub come and go; the number of open files
must be what it was after the first of them.

    python -m bench.memory [--jobs 500000] [--first 200000] [--portion 10000] [--reconnects 1000] [--json FILE]
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from bench.end_to_end import submit
from tests.support.ports import free_port
from tests.support.process import WorkerProcess, running_worker
from tests.support.processes import resident_bytes
from worker.core.clock import Clock
from worker.hub.tokens import TokenService, load_key

_WARM_UP = 20
"""Connections before the open files are counted, so that threads and caches exist."""

Reading = tuple[int, int]
"""Jobs so far, and bytes of resident memory."""


def slope(readings: Sequence[Reading]) -> float:
    """Return the bytes per job of the least-squares line through the readings."""
    jobs, sizes = zip(*readings, strict=True)
    return statistics.linear_regression(jobs, sizes).slope


async def memory(worker: WorkerProcess, jobs: int, portion: int) -> list[Reading]:
    """Run that many jobs; return the resident memory after each portion."""
    readings = []
    for first in range(0, jobs, portion):
        await asyncio.to_thread(submit, worker, portion)
        await worker.until_idle(600.0)
        readings.append((first + portion, resident_bytes(worker.pid)))
        print(f"{readings[-1][0]:>9,} jobs {readings[-1][1] / 1e6:8.2f} MB", flush=True)
    return readings


def open_files(pid: int) -> int:
    """Return how many descriptors the process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def _settled(worker: WorkerProcess, expected: int) -> int:
    """Return the open files, as soon as they are what is expected, or after ten seconds: closing takes a moment."""
    for _ in range(100):
        if (found := open_files(worker.pid)) <= expected:
            break
        await asyncio.sleep(0.1)
    return found


async def _new_session(worker: WorkerProcess) -> None:
    """Let the link connect again, and wait until it has."""
    before = (await _connection(worker))["totalConnections"]
    await asyncio.to_thread(worker.client.request, "POST", "/api/v1/connection/reconnect")
    async with asyncio.timeout(60):
        while (found := await _connection(worker))["totalConnections"] == before or found["state"] != "connected":
            await asyncio.sleep(0.005)


async def _connection(worker: WorkerProcess) -> dict[str, Any]:
    found: dict[str, Any] = await asyncio.to_thread(worker.client.request, "GET", "/api/v1/connection")
    return found


async def _visit(url: str, token: str) -> None:
    """Open a WebSocket of the hub, wait for its welcome, and close it."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws", headers=headers) as socket:
        await socket.receive_str()


async def growth(worker: WorkerProcess, once: Callable[[], Awaitable[None]], times: int) -> dict[str, int]:
    """Return the open files before and after so many repetitions."""
    for _ in range(_WARM_UP):
        await once()
    before = open_files(worker.pid)
    for _ in range(times):
        await once()
    return {"before": before, "after": await _settled(worker, before)}


async def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return everything of one run of the service."""
    url = f"http://127.0.0.1:{free_port()}"
    settings = [f"--Http:Url={url}", f"--WebSocket:Url={url}", "--Logging:LogLevel:Default=Warning"]
    settings += ["--Worker:Concurrency=100", "--Worker:Handlers:0=tests.support.jobs"]
    async with running_worker(folder, *settings) as worker:
        readings = await memory(worker, options.jobs, options.portion)
        tokens = TokenService(load_key(worker.state / "hub.key")[0], "insignia-worker", "org-socket", Clock())
        token = tokens.mint("visitor")
        links = await growth(worker, lambda: _new_session(worker), options.reconnects)
        clients = await growth(worker, lambda: _visit(url, token), options.reconnects)
    late = [reading for reading in readings if reading[0] >= options.first]
    return {
        "bytes_per_job": round(slope(late), 2),
        "first_mb": round(late[0][1] / 1e6, 2),
        "last_mb": round(late[-1][1] / 1e6, 2),
        "reconnects": options.reconnects,
        "open_files_link": links,
        "open_files_clients": clients,
        "readings": readings,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=500_000)
    parser.add_argument("--first", type=int, default=200_000)
    parser.add_argument("--portion", type=int, default=10_000)
    parser.add_argument("--reconnects", type=int, default=1_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = asyncio.run(measure(Path(folder), options))
    print(f"resident memory: {found['bytes_per_job']} bytes per job ({found['first_mb']} to {found['last_mb']} MB)")
    print(f"open files before and after {found['reconnects']} connections of the link: {found['open_files_link']}")
    print(f"and of clients of the hub: {found['open_files_clients']}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
