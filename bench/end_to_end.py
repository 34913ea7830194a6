"""Durable jobs a second through all of it: enqueue → run → settle → notified at the hub, with a no-op handler.

The hub is a process of its own with its inbox in memory, the worker another with logs at Warning, the producer
(this process) a third. Beside it, in the same run, SQLite's own rows a second as the limit.

    python -m bench.end_to_end [--jobs 20000] [--runs 3] [--concurrency 1 10 100] [--json FILE]
"""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.process import WorkerProcess, free_port

BATCH = 500


def sqlite_rows(folder: Path, per_commit: int, rows: int = 20_000) -> float:
    """Durable rows a second of the bare library: WAL, FULL, so many rows per commit."""
    connection = sqlite3.connect(folder / f"limit-{per_commit}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)")
    body = secrets.token_bytes(300)
    count = min(rows, 2000 * per_commit)
    began = time.perf_counter()
    for _ in range(0, count, per_commit):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO rows (body) VALUES (?)", [(body,)] * per_commit)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    connection.close()
    return count / seconds


async def one_run(
    folder: Path, jobs: int, concurrency: int, beside: Callable[[WorkerProcess], Any] = contextlib.nullcontext
) -> dict[str, float]:
    """Jobs a second from the first enqueue to the last confirmed notification, and of intake alone.

    `beside`: what is open while it is measured.
    """
    key, port = secrets.token_hex(32), free_port()
    hub_folder, worker_folder = folder / "hub", folder / "worker"
    hub_folder.mkdir()
    worker_folder.mkdir()
    shared = [f"--Hub:Jwt:Key={key}", "--Logging:LogLevel:Default=Warning"]
    hub = WorkerProcess(
        hub_folder, [*shared, f"--Http:Url=http://127.0.0.1:{port}", "--Hub:InboxPath=:memory:"], command="hub"
    )
    await hub.start()
    worker = WorkerProcess(
        worker_folder,
        [
            *shared,
            f"--Http:Url=http://127.0.0.1:{free_port()}",
            f"--WebSocket:Url=http://127.0.0.1:{port}",
            f"--WebSocket:Token={_publisher_token(key)}",
            f"--Worker:Concurrency={concurrency}",
            "--Worker:Handlers:0=tests.support.jobs",
        ],
    )
    try:
        await worker.start()
        before = [_cpu_seconds(process.pid) for process in (worker, hub)]
        with beside(worker):
            found = await asyncio.to_thread(_measure, worker, jobs)
        spent = [_cpu_seconds(process.pid) - start for process, start in zip((worker, hub), before, strict=True)]
        return found | {"worker_cpu_us": spent[0] / jobs * 1e6, "hub_cpu_us": spent[1] / jobs * 1e6}
    finally:
        for process in (worker, hub):
            if process.process is not None and process.process.poll() is None:
                process.kill()


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far: steadier than the clock on a busy machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _publisher_token(key: str) -> str:
    from worker.clock import Clock
    from worker.hub.auth import Authority

    return Authority(key.encode(), "insignia-worker", "org-socket", Clock()).mint("bench", publish=True, days=1)


def _measure(worker: WorkerProcess, jobs: int) -> dict[str, float]:
    began = time.perf_counter()
    for batch in _batches(jobs):
        answer = worker.client.ask("POST", "/api/v1/jobs/batch", {"jobs": batch})
    taken_in = time.perf_counter() - began
    # Asking again and again is work for what is measured: the last of them tells when there is something to ask.
    worker.client.ask("GET", f"/api/v1/jobs/{answer['jobs'][-1]['jobId']}?wait=60")
    while not _all_notified(worker, jobs):
        time.sleep(0.02)
    return {"intake": jobs / taken_in, "end_to_end": jobs / (time.perf_counter() - began)}


def _batches(jobs: int) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, jobs, BATCH):
        yield [
            {"taskType": "noop", "userId": f"user-{number % 100}", "payload": {"number": number}}
            for number in range(first, min(jobs, first + BATCH))
        ]


def _all_notified(worker: WorkerProcess, jobs: int) -> bool:
    entries = worker.client.ask("GET", "/health")["entries"]
    done: int = entries["queue"]["data"]["jobs"].get("succeeded", 0)
    return done == jobs and entries["outbox"]["data"]["depth"] == 0


def run(jobs: int, runs: int, concurrencies: list[int]) -> dict[str, Any]:
    """Everything in one run, so that the figures may be compared."""
    names = ("end_to_end", "intake", "worker_cpu_us", "hub_cpu_us")
    found: dict[str, Any] = {"jobs": jobs, "runs": runs, "sqlite_rows_per_second": {}, **{name: {} for name in names}}
    for per_commit in (1, 10, 100):
        figures = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                figures.append(sqlite_rows(Path(folder), per_commit))
        found["sqlite_rows_per_second"][per_commit] = round(statistics.median(figures))
    for concurrency in concurrencies:
        results = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                results.append(asyncio.run(one_run(Path(folder), jobs, concurrency)))
        for name in names:
            found[name][concurrency] = round(statistics.median(result[name] for result in results))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Durable jobs a second, end to end.")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = run(options.jobs, options.runs, options.concurrency)
    limit = found["sqlite_rows_per_second"]
    print("SQLite alone, durable rows/s: " + ", ".join(f"{n} per commit {rate:,}" for n, rate in limit.items()))
    print(
        f"{'concurrency':>12} {'jobs/s notified':>16} {'of SQLite at 100/commit':>24} {'intake jobs/s':>14}"
        f" {'worker CPU us/job':>18} {'hub CPU us/job':>15}"
    )
    for concurrency, rate in found["end_to_end"].items():
        print(
            f"{concurrency:>12} {rate:>16,} {rate / limit[100]:>24.3f} {found['intake'][concurrency]:>14,}"
            f" {found['worker_cpu_us'][concurrency]:>18} {found['hub_cpu_us'][concurrency]:>15}"
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
