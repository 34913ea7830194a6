"""Durable jobs per second through the whole service: enqueue → run → settle → acknowledged by the hub; no-op handler.

Each concurrency is measured in two configurations:

* `apart`: the hub is a process of its own with its inbox in memory; what the worker alone can do.
* `default`: the hub in the worker's process with its inbox on disk, as the service runs unless it is configured.

The worker logs at Warning, and the producer is this process. A job also costs something later: after the last
notification the bench waits for the search index and reports its CPU per job (`index`), then deletes the jobs as
retention does and reports that (`pruning`). SQLite's own rows per second are measured in the same session.

    python -m bench.end_to_end [--jobs 20000] [--runs 3] [--concurrency 1 10 100] [--only apart] [--json FILE]
"""

import argparse
import asyncio
import contextlib
import json
import secrets
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from tests.support.ports import free_port
from tests.support.process import WorkerProcess
from tests.support.processes import cpu_seconds
from worker.core.clock import Clock
from worker.hub.tokens import TokenService
from worker.stores.sqlite.store import open_store

BATCH = 500
Configuration = Literal["apart", "default"]
CONFIGURATIONS: tuple[Configuration, ...] = ("apart", "default")


def sqlite_rows(folder: Path, per_commit: int, rows: int = 20_000) -> float:
    """Return the durable rows per second of SQLite alone: WAL, FULL, that many rows per commit."""
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
    folder: Path,
    jobs: int,
    concurrency: int,
    during: Callable[[WorkerProcess], Any] = contextlib.nullcontext,
    *,
    configuration: Configuration = "apart",
) -> dict[str, float]:
    """Return jobs per second from the first enqueue to the last confirmed notification, the rate of intake alone, and
    the CPU per job.

    `during`: a context manager that is open while it is measured.
    """
    worker, *_ = processes = _processes(folder, concurrency, configuration)
    try:
        for process in reversed(processes):
            await process.start()
        before = [cpu_seconds(process.pid) for process in processes]
        with during(worker):
            found = await asyncio.to_thread(_measure, worker, jobs)
        spent = [cpu_seconds(process.pid) - start for process, start in zip(processes, before, strict=True)]
        found["worker_cpu_us"] = spent[0] / jobs * 1e6
        found["hub_cpu_us"] = sum(spent[1:]) / jobs * 1e6
        await worker.stop()
        return found | await _deferred_work(worker.state, jobs)
    finally:
        for process in processes:
            if process.process is not None and process.process.poll() is None:
                process.kill()


def _processes(folder: Path, concurrency: int, configuration: Configuration) -> list[WorkerProcess]:
    """The worker, and its hub if it is a process of its own; not started yet."""
    key, port = secrets.token_hex(32), free_port()
    own = f"http://127.0.0.1:{port}"
    shared = [f"--Hub:Jwt:Key={key}", "--Logging:LogLevel:Default=Warning"]
    worker_settings = [*shared, f"--Worker:Concurrency={concurrency}", "--Worker:Handlers:0=tests.support.jobs"]
    (folder / "worker").mkdir()
    if configuration == "default":
        return [WorkerProcess(folder / "worker", [*worker_settings, f"--Http:Url={own}", f"--WebSocket:Url={own}"])]
    (folder / "hub").mkdir()
    link = [f"--WebSocket:Url={own}", f"--WebSocket:Token={_publisher_token(key)}"]
    hub_settings = [*shared, f"--Http:Url={own}", "--Hub:InboxPath=:memory:"]
    return [
        WorkerProcess(folder / "worker", [*worker_settings, *link, f"--Http:Url=http://127.0.0.1:{free_port()}"]),
        WorkerProcess(folder / "hub", hub_settings, command="hub"),
    ]


async def _deferred_work(state: Path, jobs: int) -> dict[str, float]:
    """Return what a job costs after its notification: CPU µs per job to index it for searches, and to delete it when
    its retention is over. The index is built again from nothing, because the worker has built a part of it."""
    [path] = [found.with_suffix("") for found in state.rglob("*.db.search")]
    for file in path.parent.glob(f"{path.name}.search*"):
        file.unlink()
    store = await open_store(path, owner="bench", max_bytes=10 << 30, clock=Clock())
    try:
        began = time.process_time()
        while (await store.index()).left:
            pass
        indexed = time.process_time()
        deleted = 0
        while runs := (await store.prune(0.0, 200)).runs:
            deleted += runs
        while (await store.index()).left:
            pass
        pruned = time.process_time()
        assert deleted == jobs
        return {"index_cpu_us": (indexed - began) / jobs * 1e6, "pruning_cpu_us": (pruned - indexed) / jobs * 1e6}
    finally:
        await store.close()


def _publisher_token(key: str) -> str:
    return TokenService(key.encode(), "insignia-worker", "org-socket", Clock()).mint("bench", publish=True, days=1)


def _measure(worker: WorkerProcess, jobs: int) -> dict[str, float]:
    began = time.perf_counter()
    answer = submit(worker, jobs)
    intake = time.perf_counter() - began
    # Polling is work for what is measured, so wait for the last job first.
    worker.client.request("GET", f"/api/v1/jobs/{answer['jobs'][-1]['jobId']}?wait=60")
    while not _all_notified(worker, jobs):
        time.sleep(0.02)
    return {"intake": jobs / intake, "end_to_end": jobs / (time.perf_counter() - began)}


def submit(worker: WorkerProcess, jobs: int) -> Any:
    """Submit so many jobs in batches; return the answer to the last batch."""
    for batch in _batches(jobs):
        answer = worker.client.request("POST", "/api/v1/jobs/batch", {"jobs": batch})
    return answer


def _batches(jobs: int) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, jobs, BATCH):
        yield [
            {
                "taskType": "noop",
                "userId": f"user-{number % 100}",
                "payload": {"round": 2569, "roster": f"2569/department-{number % 100}/roster-{number}.csv"},
            }
            for number in range(first, min(jobs, first + BATCH))
        ]


def _all_notified(worker: WorkerProcess, jobs: int) -> bool:
    entries = worker.client.request("GET", "/health")["entries"]
    done: int = entries["queue"]["data"]["jobs"].get("succeeded", 0)
    return done == jobs and entries["outbox"]["data"]["depth"] == 0


METRICS = ("end_to_end", "intake", "worker_cpu_us", "hub_cpu_us", "index_cpu_us", "pruning_cpu_us")


def run(jobs: int, runs: int, concurrencies: list[int], configurations: Sequence[Configuration]) -> dict[str, Any]:
    """Measure everything in one session, so that the figures can be compared; medians, by configuration and
    concurrency."""
    result: dict[str, Any] = {"jobs": jobs, "runs": runs, "sqlite_rows_per_second": _sqlite_limits(runs)}
    found: dict[tuple[Configuration, int], list[dict[str, float]]] = {}
    for concurrency in concurrencies:
        for _ in range(runs):
            for configuration in configurations:
                with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                    one = asyncio.run(one_run(Path(folder), jobs, concurrency, configuration=configuration))
                found.setdefault((configuration, concurrency), []).append(one)
    for (configuration, concurrency), values in found.items():
        medians = {name: round(statistics.median(one[name] for one in values)) for name in METRICS}
        result.setdefault(configuration, {})[concurrency] = medians
    return result


def _sqlite_limits(runs: int) -> dict[int, int]:
    limits = {}
    for per_commit in (1, 10, 100):
        rates = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                rates.append(sqlite_rows(Path(folder), per_commit))
        limits[per_commit] = round(statistics.median(rates))
    return limits


def table(found: dict[str, Any]) -> str:
    limit = found["sqlite_rows_per_second"]
    lines = ["SQLite alone, durable rows/s: " + ", ".join(f"{n} per commit {rate:,}" for n, rate in limit.items())]
    heads = ("jobs/s", "of SQLite", "intake/s", "worker us", "hub us", "index us", "pruning us")
    lines.append(f"{'':8} {'concurrency':>12}" + "".join(f"{head:>12}" for head in heads))
    for configuration in CONFIGURATIONS:
        for concurrency, row in found.get(configuration, {}).items():
            share = row["end_to_end"] / limit[100]
            costs = "".join(f"{row[name]:>12}" for name in METRICS[2:])
            rates = f"{row['end_to_end']:>12,}{share:>12.3f}{row['intake']:>12,}"
            lines.append(f"{configuration:8} {concurrency:>12}{rates}{costs}")
    lines.append(
        "us: CPU per job; with the default configuration the hub's is part of the worker's; index and pruning later"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--only", choices=CONFIGURATIONS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    configurations = [options.only] if options.only else CONFIGURATIONS
    found = run(options.jobs, options.runs, options.concurrency, configurations)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
