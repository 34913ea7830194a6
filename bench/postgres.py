"""Durable jobs per second in the PostgreSQL store with 1, 2 and 4 worker processes, next to PgQueuer alone, in one run.

    python -m bench.postgres URL [--jobs 10000] [--users 20] [--runs 3]

URL names a database in which schemas may be created. A job counts when its outcome and its notification are on disk.
PgQueuer alone claims in batches and deletes the rows, in transactions of the same size; it keeps no history, has no
outbox and counts no turns. Figures are medians over the runs; all processes share this machine with the server.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections import deque
from datetime import timedelta
from uuid import uuid4

import asyncpg
import uvloop
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.ports.repository import EntrypointExecutionParameter

from worker.core.clock import Clock
from worker.core.job import NewJob, new_job_id
from worker.core.notification import NotificationFormat, notification_for
from worker.core.outcome import Attempt, Succeeded
from worker.core.store import Settlement
from worker.stores.postgres.database import DatabaseTarget
from worker.stores.postgres.opening import open_store
from worker.stores.postgres.store import PostgresStore

PAYLOAD = b'{"roster":"' + b"x" * 170 + b'","round":2569}'
WIRE = NotificationFormat()
BATCH = 100
"""Jobs of a claim."""


async def opened(url: str) -> PostgresStore:
    return await open_store(DatabaseTarget.parse(url), owner=uuid4().hex, max_bytes=1 << 40, clock=Clock())


async def fill(store: PostgresStore, jobs: int, users: int) -> float:
    """Enqueue the jobs; return how many per second."""
    started = time.perf_counter()
    for start in range(0, jobs, 500):
        now = time.time()
        batch = [
            NewJob(new_job_id(now), "nothing", f"user-{number % users}", PAYLOAD, now, now, 3)
            for number in range(start, min(start + 500, jobs))
        ]
        await store.enqueue(batch)
    return jobs / (time.perf_counter() - started)


async def work(url: str, begin: float) -> None:
    """Claim and settle until nothing is left, two claims at a time as a busy worker does."""
    store = await opened(url)
    await asyncio.sleep(max(0.0, begin - time.time()))

    async def loop() -> None:
        while jobs := (await store.claim(BATCH)).jobs:
            ends = []
            for job in jobs:
                attempt = Attempt(job, time.time(), time.time(), 0.1)
                outcome = Succeeded(None)
                ends.append(Settlement(attempt, outcome, notification_for(attempt, outcome, WIRE)))
            await store.settle(ends)

    await asyncio.gather(loop(), loop())
    await store.close()


def run_worker(url: str, begin: float, ended: "multiprocessing.Queue[float]") -> None:
    uvloop.run(work(url, begin))
    ended.put(time.time())


async def ours(url: str, jobs: int, users: int, workers: int) -> tuple[float, float]:
    """Return jobs enqueued, and jobs settled and notified, per second."""
    name = f"bench_{uuid4().hex[:12]}"
    separator = "&" if "?" in url else "?"
    target = f"{url}{separator}schema={name}"
    store = await opened(target)
    enqueued = await fill(store, jobs, users)
    context = multiprocessing.get_context("spawn")
    ended: multiprocessing.Queue[float] = context.Queue()
    begin = time.time() + 3.0  # all have started by then
    processes = [context.Process(target=run_worker, args=(target, begin, ended)) for _ in range(workers)]
    for process in processes:
        process.start()
    last = max([await asyncio.to_thread(ended.get) for _ in processes])
    for process in processes:
        await asyncio.to_thread(process.join)
    figures = await store.stats()
    assert figures.jobs["succeeded"] == jobs == figures.outbox_depth
    await store.close()
    await drop(url, name)
    return enqueued, jobs / (last - begin)


async def pgqueuer(url: str, jobs: int) -> float:
    """Return jobs per second that PgQueuer's own claim and completion do, one process, without an outbox."""
    target = DatabaseTarget.parse(f"{url}{'&' if '?' in url else '?'}schema=bench_{uuid4().hex[:12]}")
    connection = await target.connect()
    await connection.execute(f"CREATE SCHEMA {target.schema}")
    settings = target.pgqueuer()
    queries = Queries(AsyncpgDriver(connection), QueryBuilderEnvironment(settings), QueryQueueBuilder(settings))
    await queries.install(create_schema=False)
    for start in range(0, jobs, 500):
        count = min(500, jobs - start)
        await queries.enqueue(["nothing"] * count, [PAYLOAD] * count, [0] * count)
    started, done = time.perf_counter(), 0
    entrypoints = {"nothing": EntrypointExecutionParameter(concurrency_limit=0)}
    while done < jobs:
        found = await queries.dequeue(BATCH, entrypoints, uuid4(), None, timedelta(seconds=30))  # type: ignore[arg-type]  # no queue manager
        await queries.log_jobs([(job, "successful", None) for job in found])
        done += len(found)
    rate = jobs / (time.perf_counter() - started)
    await connection.close()
    await drop(url, target.schema)
    return rate


async def drop(url: str, schema: str) -> None:
    connection = await asyncpg.connect(DatabaseTarget.parse(url).dsn)
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close()


async def latencies(url: str, count: int) -> list[float]:
    """Return the milliseconds from the call of enqueue in one store to the claim in another, one job at a time."""
    name = f"bench_{uuid4().hex[:12]}"
    target = f"{url}{'&' if '?' in url else '?'}schema={name}"
    producer, worker = await opened(target), await opened(target)
    work_came = asyncio.Event()
    worker.on_work(work_came.set)
    found: deque[float] = deque()
    for number in range(count):
        work_came.clear()
        now = time.time()
        started = time.perf_counter()
        await producer.enqueue([NewJob(new_job_id(now), "nothing", f"user-{number}", PAYLOAD, now, now, 3)])
        while not (await worker.claim(1)).jobs:
            await work_came.wait()
            work_came.clear()
        found.append((time.perf_counter() - started) * 1000)
    await producer.close()
    await worker.close()
    await drop(url, name)
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    alone, rates, enqueued = list[float](), dict[int, list[float]]({1: [], 2: [], 4: []}), list[float]()
    for _ in range(options.runs):
        alone.append(uvloop.run(pgqueuer(options.url, options.jobs)))
        for workers, found in rates.items():
            intake, rate = uvloop.run(ours(options.url, options.jobs, options.users, workers))
            enqueued.append(intake)
            found.append(rate)
    base = statistics.median(alone)
    print(f"PgQueuer alone, claim and delete     {base:9,.0f} jobs/s  1.00")
    print(f"enqueue, 500 to a call               {statistics.median(enqueued):9,.0f} jobs/s")
    for workers, found in rates.items():
        rate = statistics.median(found)
        print(f"claim, settle, notify, {workers} worker(s)    {rate:9,.0f} jobs/s  {rate / base:.2f}")
    times = uvloop.run(latencies(options.url, 200))
    print(f"enqueue to claim by another worker   p50 {times[100]:.1f} ms, p99 {times[197]:.1f} ms")


if __name__ == "__main__":
    main()
