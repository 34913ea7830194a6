"""Jobs per second, notified and confirmed, with the store in PostgreSQL: 1, 2 and 4 workers, next to other job queues.

    python -m bench.postgres_peers [--jobs 5000] [--runs 3] [--only ours-1 pgqueuer]

Every engine gets a PostgreSQL server, or a Redis with `appendfsync always`, of its own with the jobs already in it.
Each job does nothing, and its end is sent to the JavaScript Socket.IO server, which acknowledges it; the others' jobs
send it by their client and wait for the acknowledgement, 100 at a time. Counted is from the first notification to the
last one. Engines take turns; figures are medians. The peers run in environments of their own in build/peers, which are
made from the requirements and package.json in bench/peers. Oban needs a Python of at least 3.12 on the PATH.
"""

import argparse
import asyncio
import contextlib
import functools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg

from tests.support.js import NodeProcess, js_server
from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.process import WorkerProcess
from tests.support.processes import cpu_seconds
from tests.support.redis_server import RedisServer
from worker.core.clock import Clock
from worker.core.job import NewJob, new_job_id
from worker.stores.postgres.database import DatabaseTarget
from worker.stores.postgres.opening import open_store

PEERS = Path(__file__).parent / "peers"
PLACE = PEERS.parents[1] / "build" / "peers"
PAYLOAD = b'{"round":2569,"roster":"2569/department-7/roster-1000.csv"}'
LIMIT = 600.0
"""Seconds for one engine."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A peer: how to run its program, and what it keeps its jobs in."""

    name: str
    program: tuple[str, ...]
    store: str


_PYTHON = (str(PLACE / "venv" / "bin" / "python"), str(PEERS / "workers.py"))
_NEWER_PYTHON = (str(PLACE / "venv-oban" / "bin" / "python"), str(PEERS / "workers.py"))
_NODE = ("node", str(PLACE / "workers.js"))
ENGINES = (
    Engine("pgqueuer", _PYTHON, "postgres"),
    Engine("procrastinate", _PYTHON, "postgres"),
    Engine("oban", _NEWER_PYTHON, "postgres"),
    Engine("saq_postgres", _PYTHON, "postgres"),
    Engine("graphile", _NODE, "postgres"),
    Engine("saq_redis", _PYTHON, "redis"),
    Engine("taskiq", _PYTHON, "redis"),
    Engine("bullmq", _NODE, "redis"),
)


def install_peers() -> None:
    """Make the environments of the peers, once."""
    PLACE.mkdir(parents=True, exist_ok=True)
    _install(sys.executable, PLACE / "venv", "requirements.txt")
    if newer := _newer_python():
        _install(newer, PLACE / "venv-oban", "requirements-oban.txt")
    if not (PLACE / "node_modules").exists():
        (PLACE / "package.json").write_bytes((PEERS / "package.json").read_bytes())
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=PLACE, check=True)
    (PLACE / "workers.js").write_bytes((PEERS / "workers.js").read_bytes())


def _newer_python() -> str | None:
    """Return a Python of at least 3.12 that can be started; None if there is none."""
    names = (f"python3.{minor}" for minor in (12, 13, 14))
    found = [sys.executable] if sys.version_info >= (3, 12) else filter(None, map(shutil.which, names))
    return next((one for one in found if subprocess.run([one, "-c", ""], capture_output=True).returncode == 0), None)


def _install(python: str, place: Path, requirements: str) -> None:
    if not (place / "done").exists():
        subprocess.run([python, "-m", "venv", place], check=True)
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "-r", str(PEERS / requirements)], check=True)
        (place / "done").touch()


async def measured(server: NodeProcess, jobs: int, runs: Callable[[], bool] = lambda: True) -> float:
    """Return notifications per second at the server, from the first one to the last."""
    first = 0.0
    before = 0
    async with asyncio.timeout(LIMIT):
        while runs():
            count = (await server.report())["count"]
            if count and not first:
                first, before = time.perf_counter(), count
            if count >= jobs:
                return float((count - before) / (time.perf_counter() - first))
            await asyncio.sleep(0.01)
    raise RuntimeError("the worker ended")


@contextlib.contextmanager
def running(command: list[str], environ: dict[str, str]) -> Iterator[Callable[[], bool]]:
    process = subprocess.Popen(command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL)
    try:
        yield lambda: process.poll() is None
    finally:
        process.kill()
        process.wait()


async def peer(engine: Engine, jobs: int) -> float:
    """Return the jobs per second of a peer with one worker process."""
    with contextlib.ExitStack() as stack:
        environ = {}
        if engine.store == "postgres":
            environ["DATABASE"] = stack.enter_context(postgres_server()).url
        else:
            redis = RedisServer(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            stack.callback(redis.kill)
            redis.start()
            environ["REDIS"] = redis.url
        fill = [*engine.program, engine.name, "fill", str(jobs)]
        subprocess.run(fill, env={**os.environ, **environ}, check=True, stdout=subprocess.DEVNULL)
        async with js_server(silent=True) as server:
            with running([*engine.program, engine.name, "work", server.url], environ) as runs:
                return await measured(server, jobs, runs)


async def fill_ours(target: DatabaseTarget, jobs: int) -> None:
    """Submit the jobs to a kind that is paused."""
    store = await open_store(target, owner=uuid4().hex, max_bytes=1 << 40, clock=Clock())
    await store.pause("noop")
    for start in range(0, jobs, 500):
        now = time.time()
        numbers = range(start, start + 500)
        await store.enqueue(
            [NewJob(new_job_id(now), "noop", f"user-{number % 100}", PAYLOAD, now, now, 3) for number in numbers]
        )
    await store.close()


@contextlib.asynccontextmanager
async def our_workers(folder: Path, database: str, url: str, count: int) -> AsyncIterator[list[WorkerProcess]]:
    workers = []
    for number in range(count):
        (folder / str(number)).mkdir()
        settings = [
            "--Worker:Handlers:0=tests.support.jobs",
            "--Worker:Concurrency=100",
            "--Queue:Provider=postgres",
            f"--Queue:ConnectionString={database}",
            f"--Http:Url=http://127.0.0.1:{free_port()}",
            f"--WebSocket:Url={url}",
            "--Hub:Enabled=false",
            "--Logging:LogLevel:Default=Warning",
        ]
        workers.append(WorkerProcess(folder / str(number), settings))
    try:
        for worker in workers:
            await worker.start()
        yield workers
    finally:
        for worker in workers:
            if worker.is_running:
                worker.kill()


async def ours(jobs: int, count: int) -> tuple[float, dict[str, float]]:
    """Return the jobs per second of `count` workers, and what a job costs."""
    with postgres_server() as postgres, tempfile.TemporaryDirectory() as folder:
        await fill_ours(DatabaseTarget.parse(postgres.url), jobs)
        async with (
            js_server(silent=True) as server,
            our_workers(Path(folder), postgres.url, server.url, count) as workers,
        ):
            before = await _used(postgres, workers)
            measuring = asyncio.create_task(measured(server, jobs))
            await asyncio.to_thread(workers[0].client.request, "POST", "/api/v1/kinds/noop/resume")
            rate = await measuring
            after = await _used(postgres, workers)
            costs = {name: (after[name] - before[name]) / jobs for name in before}
            return rate, costs | await _sizes(postgres, jobs, count)


async def _used(postgres: PostgresServer, workers: list[WorkerProcess]) -> dict[str, float]:
    connection = await asyncpg.connect(postgres.url)
    await asyncio.sleep(1.1)  # statistics reach the server's views within a second
    row = await connection.fetchrow(
        "SELECT wal_records, wal_bytes, wal_sync, (SELECT sum(xact_commit) FROM pg_stat_database) FROM pg_stat_wal"
    )
    await connection.close()
    server = _server_seconds(postgres.processes())
    own = sum(cpu_seconds(worker.pid) for worker in workers)
    return {
        "WAL records": float(row[0]),
        "WAL bytes": float(row[1]),
        "WAL syncs": float(row[2]),
        "commits": float(row[3]),
        "CPU of PostgreSQL, µs": server * 1e6,
        "CPU of the workers, µs": own * 1e6,
    }


def _server_seconds(processes: list[int]) -> float:
    """Return the CPU time of a server: of its processes, and of those that have ended, which the first one counts."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(FileNotFoundError):
            total += cpu_seconds(process)
    ended = Path(f"/proc/{processes[0]}/stat").read_text().rpartition(")")[2].split()[13:15]
    return total + sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")


async def _sizes(postgres: PostgresServer, jobs: int, workers: int) -> dict[str, float]:
    """Return bytes on disk per job, and connections and memory of a backend."""
    connection = await asyncpg.connect(postgres.url)
    found = {}
    for table in ("jobs", "outbox"):
        size = await connection.fetchval(f"SELECT pg_total_relation_size('insignia.{table}')")
        found[f"bytes of {table}"] = size / jobs
    pids = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    await connection.close()
    found["connections per worker"] = len(pids) / workers
    memory = [_own_kilobytes(row["pid"]) for row in pids]
    found["KiB per connection"] = statistics.median(memory) if memory else 0.0
    return found


def _own_kilobytes(pid: int) -> float:
    """Return the proportional memory of a process, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=5_000, help="a multiple of 500")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    install_peers()
    costs: dict[str, dict[str, list[float]]] = {}

    def of_ours(count: int) -> float:
        rate, spent = asyncio.run(ours(options.jobs, count))
        for what, amount in spent.items():
            costs.setdefault(f"ours-{count}", {}).setdefault(what, []).append(amount)
        return rate

    def of_peer(engine: Engine) -> float:
        return asyncio.run(peer(engine, options.jobs))

    runs: dict[str, Callable[[], float]] = {}
    for count in (1, 2, 4):
        runs[f"ours-{count}"] = functools.partial(of_ours, count)
    for engine in ENGINES:
        if not Path(engine.program[0]).exists() and engine.program is _NEWER_PYTHON:
            print(f"{engine.name} is left out: it needs Python 3.12 or newer")
            continue
        runs[engine.name] = functools.partial(of_peer, engine)
    chosen = [name for name in runs if not options.only or name in options.only]
    rates: dict[str, list[float]] = {name: [] for name in chosen}
    for number in range(options.runs):
        for name in chosen:
            rates[name].append(runs[name]())
            print(f"run {number + 1}: {name:14} {rates[name][-1]:9,.0f} jobs/s", flush=True)
    base = statistics.median(rates.get("pgqueuer") or next(iter(rates.values())))
    for name, found in rates.items():
        rate = statistics.median(found)
        print(f"{name:14} {rate:9,.0f} jobs/s  {rate / base:5.2f}  ({min(found):,.0f} to {max(found):,.0f})")
    for name, amounts in costs.items():
        print(name, ", ".join(f"{what} {statistics.median(values):,.2f}" for what, values in amounts.items()))


if __name__ == "__main__":
    main()
