"""Milliseconds from the request that submits a job to its notification in the browser, on an idle service.

    python -m bench.latency [--jobs 500] [--stores sqlite postgres]

One worker with the hub in its process and the inbox on disk, as it runs unless it is configured; with `postgres`, a
PostgreSQL server of the bench's own. Jobs that do nothing are submitted over HTTP one after the other, each when the
page has received the notification of the one before. Between two jobs a block is written and synced in the same folder:
what the disk takes. Four syncs follow each other for each job: its acceptance, the claim, its end, and the hub's inbox.
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from tests.support.ports import free_port
from tests.support.postgres_server import postgres_server
from tests.support.process import WorkerProcess
from worker.cli.listener import Listener
from worker.core.clock import Clock
from worker.hub.tokens import TokenService

SYNCS = 4
PATH, EVENT, USER = "/api/v1/org-socket", "socket-notification", "bench"
PAYLOAD = {"round": 2569, "roster": "2569/department-7/roster-1000.csv"}


def synced(file: int) -> float:
    """Return the seconds that it takes to write 4 KiB and sync them."""
    began = time.perf_counter()
    os.pwrite(file, secrets.token_bytes(4096), 0)
    os.fdatasync(file)
    return time.perf_counter() - began


async def measure(folder: Path, jobs: int, database: str | None) -> tuple[list[float], list[float]]:
    """Return the seconds of each job and of each sync, without those of the first tenth, which warm up."""
    url, key, api_key = f"http://127.0.0.1:{free_port()}", secrets.token_hex(32), secrets.token_hex(16)
    settings = [
        f"--Http:Url={url}",
        "--Http:ApiKeys:0:Name=bench",
        f"--Http:ApiKeys:0:Sha256={hashlib.sha256(api_key.encode()).hexdigest()}",
        "--Http:ApiKeys:0:Scopes:0=enqueue",
        f"--WebSocket:Url={url}",
        f"--Hub:Jwt:Key={key}",
        "--Worker:Handlers:0=tests.support.jobs",
        "--Logging:LogLevel:Default=Warning",
    ]
    if database is not None:
        settings += ["--Queue:Provider=postgres", f"--Queue:ConnectionString={database}"]
    worker = WorkerProcess(folder, settings)
    token = TokenService(key.encode(), "insignia-worker", "org-socket", Clock()).mint(USER, days=1)
    async with contextlib.AsyncExitStack() as stack:
        await worker.start()
        stack.callback(worker.kill)
        listener = Listener(url, PATH, EVENT, lambda: token)
        messages = await stack.enter_async_context(contextlib.aclosing(listener.messages()))
        session = await stack.enter_async_context(aiohttp.ClientSession(url, headers={"X-Api-Key": api_key}))
        with (folder / "sync").open("wb") as file:
            latencies, syncs = [], []
            for _ in range(jobs):
                began = time.perf_counter()
                body = {"taskType": "noop", "userId": USER, "payload": PAYLOAD}
                async with session.post("/api/v1/jobs", json=body) as response:
                    response.raise_for_status()
                await anext(messages)
                latencies.append(time.perf_counter() - began)
                syncs.append(await asyncio.to_thread(synced, file.fileno()))
    return latencies[jobs // 10 :], syncs[jobs // 10 :]


def report(store: str, latencies: Sequence[float], syncs: Sequence[float]) -> None:
    def of(values: Sequence[float]) -> str:
        cuts = statistics.quantiles(values, n=100)
        return f"median {1e3 * cuts[49]:.1f}, p95 {1e3 * cuts[94]:.1f}, p99 {1e3 * cuts[98]:.1f} ms"

    allowed = SYNCS * statistics.quantiles(syncs, n=100)[98] + 0.010
    print(f"{store}: {of(latencies)}; a sync {of(syncs)}; ", end="")
    print(f"{SYNCS} syncs at p99 and 10 ms: {1e3 * allowed:.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--stores", nargs="+", choices=("sqlite", "postgres"), default=["sqlite", "postgres"])
    options = parser.parse_args()
    for store in options.stores:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            database = stack.enter_context(postgres_server()).url if store == "postgres" else None
            report(store, *asyncio.run(measure(folder, options.jobs, database)))


if __name__ == "__main__":
    main()
