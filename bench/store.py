"""Durable jobs per second in the SQLite store, compared with the rows per second of SQLite alone, in one run.

    python -m bench.store [--quick] [--runs 3] [--users 100] [--folder DIR] [--json FILE]

Every figure is the median over the runs; the runs of one repeat follow each other, so that a noisy machine hits all
of them alike. "x raw" is the ratio to SQLite's own rate with as many rows to a commit: 1 for single calls, else 100.
Payloads have about 200 bytes, notification bodies about 400; every answer means "on disk" (synchronous=FULL).
What turns cost follows in tables of their own (bench/store_claims.py); `--only claims` measures nothing else.
"""

import argparse
import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import uvloop

from bench import store_claims
from worker.core.clock import Clock
from worker.core.job import Job, NewJob, new_job_id
from worker.core.notification import Notification, NotificationFormat, notification_for
from worker.core.outcome import Attempt, Succeeded
from worker.core.store import Settlement
from worker.runtime.maintenance import Pruner
from worker.stores.sqlite.store import SqliteStore, open_store

PAYLOAD = b'{"roster":"' + b"x" * 170 + b'","round":2569}'
WIRE = NotificationFormat()


@dataclass(frozen=True, slots=True)
class Scale:
    users: int
    singles: int
    """Operations of a measurement in which each has a commit of its own."""
    many: int
    """Jobs of a measurement in which they share."""


Measure = Callable[[Path, Scale], Awaitable[float]]


# -- SQLite alone ------------------------------------------------------------------------------------------


def raw(rows_per_commit: int) -> Measure:
    async def measure(folder: Path, scale: Scale) -> float:
        connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT, payload BLOB)")
        total = scale.singles if rows_per_commit == 1 else scale.many
        rows = [(f"name-{number}", PAYLOAD) for number in range(rows_per_commit)]
        started = time.perf_counter()
        for _ in range(total // rows_per_commit):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO rows (name, payload) VALUES (?, ?)", rows)
            connection.execute("COMMIT")
        seconds = time.perf_counter() - started
        connection.close()
        return total / seconds

    return measure


# -- the store ---------------------------------------------------------------------------------------------


def jobs(count: int, users: int) -> list[NewJob]:
    now = time.time()
    return [
        NewJob(new_job_id(now), "insignia", f"user-{number % users}", PAYLOAD, now, now, 3) for number in range(count)
    ]


def settlement(job: Job) -> Settlement:
    """As the worker makes it, encoding of the notification included."""
    now = time.time()
    attempt = Attempt(job, now, now, 1.25, b'{"officers":3}')
    outcome = Succeeded(attempt.result)
    return Settlement(attempt, outcome, notification_for(attempt, outcome, WIRE))


class Ready:
    """Settlements whose notification was encoded before the clock was started: the store's work alone."""

    def __init__(self, users: int) -> None:
        example = settlement(_claimed(jobs(1, users)[0])).notification
        assert example is not None
        self._head, self._tail = example.head, example.tail

    def __call__(self, job: Job) -> Settlement:
        attempt = Attempt(job, 1.8e9, 1.8e9, 1.25, b'{"officers":3}')
        news = Notification(job.id, job.id, job.user_id, self._head, self._tail)
        return Settlement(attempt, Succeeded(attempt.result), news)


def _claimed(new: NewJob) -> Job:
    return Job(
        id=new.id,
        kind=new.kind,
        user_id=new.user_id,
        payload=new.payload,
        run=1,
        attempt=1,
        max_attempts=3,
        created_at=new.created_at,
        owner="owner",
        claim=1,
    )


async def opened(folder: Path) -> SqliteStore:
    return await open_store(folder / "queue.db", owner=uuid4().hex, max_bytes=10 << 30, clock=Clock())


def enqueue(size: int, concurrency: int) -> Measure:
    """`concurrency` callers, each with `size` jobs a call, one call after the other."""

    async def measure(folder: Path, scale: Scale) -> float:
        store = await opened(folder)
        total = scale.singles if size * concurrency == 1 else scale.many
        calls = [jobs(size, scale.users) for _ in range(total // size)]
        rest = iter(calls)

        async def caller() -> None:
            for call in rest:
                await store.enqueue(call)

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(concurrency)))
        seconds = time.perf_counter() - started
        await store.close()
        return len(calls) * size / seconds

    return measure


async def filled(folder: Path, count: int, users: int) -> SqliteStore:
    store = await opened(folder)
    for start in range(0, count, 1000):
        await store.enqueue(jobs(min(1000, count - start), users))
    return store


class Slots:
    """The worker's shape with handlers that take no time: claim what is free, settle what has ended in the meantime."""

    def __init__(self, store: SqliteStore, concurrency: int, make: Callable[[Job], Settlement]) -> None:
        self.store, self.concurrency, self.make = store, concurrency, make
        self.done = 0
        self._ended: list[Job] = []
        self._unsettled = 0
        self._wake, self._settle = asyncio.Event(), asyncio.Event()
        store.on_work(self._wake.set)

    async def run(self, total: int) -> None:
        settling = asyncio.create_task(self._settle_batches())
        while self.done < total:
            self._wake.clear()
            free = min(self.concurrency, 2 * self.concurrency - self._unsettled)
            claimed = (await self.store.claim(free)).jobs if free > 0 else []
            self._ended += claimed
            self._unsettled += len(claimed)
            if claimed:
                self._settle.set()
            else:
                await self._wake.wait()
        settling.cancel()

    async def _settle_batches(self) -> None:
        while True:
            await self._settle.wait()
            self._settle.clear()
            batch, self._ended = self._ended, []
            assert all(await self.store.settle([self.make(job) for job in batch]))
            self.done += len(batch)
            self._unsettled -= len(batch)
            self._wake.set()


def work(concurrency: int, *, encode: bool) -> Measure:
    """Claim, settle, outbox row."""

    async def measure(folder: Path, scale: Scale) -> float:
        total = scale.singles if concurrency == 1 else scale.many
        store = await filled(folder, total, scale.users)
        slots = Slots(store, concurrency, settlement if encode else Ready(scale.users))
        started = time.perf_counter()
        await slots.run(total)
        seconds = time.perf_counter() - started
        await store.close()
        return total / seconds

    return measure


def each_by_itself(concurrency: int) -> Measure:
    """Callers that know nothing of each other: claim one, settle one."""

    async def measure(folder: Path, scale: Scale) -> float:
        total = scale.singles if concurrency == 1 else scale.many
        store = await filled(folder, total, scale.users)
        make = Ready(scale.users)

        async def caller() -> None:
            while found := (await store.claim(1)).jobs:
                assert await store.settle([make(found[0])]) == [True]

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(concurrency)))
        seconds = time.perf_counter() - started
        await store.close()
        return total / seconds

    return measure


def with_history(*, pruned: bool) -> Measure:
    """Claim and settle next to twice as many old runs, which the service's pruner deletes at the same time, or not."""

    async def measure(folder: Path, scale: Scale) -> float:
        store = await opened(folder)
        await _end_old_runs(store, 2 * scale.many, scale.users)
        for start in range(0, scale.many, 1000):
            await store.enqueue(jobs(min(1000, scale.many - start), scale.users))
        stop = asyncio.Event()
        # The notifications of the new runs are not delivered, so only the old ones are pruned.
        pruner = Pruner(store, 0.0, Clock(), lambda _event: None)
        pruning = asyncio.create_task(pruner.run(stop)) if pruned else None
        started = time.perf_counter()
        await Slots(store, 100, settlement).run(scale.many)
        seconds = time.perf_counter() - started
        stop.set()
        if pruning is not None:
            await pruning
            left = (await store.stats()).jobs["succeeded"] - scale.many
            print(f"  pruned {2 * scale.many - left:,} of {2 * scale.many:,} runs in {seconds:.1f} s", flush=True)
        await store.close()
        return scale.many / seconds

    return measure


async def _end_old_runs(store: SqliteStore, count: int, users: int) -> None:
    """Jobs that ended in 1970 and whose notifications are delivered."""
    make = Ready(users)
    for _ in range(count // 1000):
        await store.enqueue(jobs(1000, users))
        ends = [make(job) for job in (await store.claim(1000)).jobs]
        await store.settle([end._replace(attempt=end.attempt._replace(finished_at=1.0)) for end in ends])
    await store.delivered(1 << 62)


async def whole_way(folder: Path, scale: Scale) -> float:
    """Enqueue, claim, settle, outbox row, read by the relay, delivered: all at once, notifications encoded."""
    store = await opened(folder)
    calls = [jobs(100, scale.users) for _ in range(scale.many // 100)]
    total = len(calls) * 100
    news, last = asyncio.Event(), 0
    store.on_message(lambda _messages: news.set())

    async def intake() -> None:
        for call in calls:
            await store.enqueue(call)

    async def relay() -> None:
        nonlocal last
        while last < total:
            news.clear()
            messages = await store.pending(last, 512)
            if not messages:
                await news.wait()
                continue
            last = messages[-1].id
            await store.delivered(last)

    started = time.perf_counter()
    await asyncio.gather(intake(), Slots(store, 100, settlement).run(total), relay())
    seconds = time.perf_counter() - started
    figures = await store.stats()
    assert (figures.jobs["succeeded"], figures.outbox_depth) == (total, 0)
    await store.close()
    return total / seconds


# -- the run -----------------------------------------------------------------------------------------------

RAW_1, RAW_100 = "SQLite alone, 1 row a commit", "SQLite alone, 100 rows a commit"

MEASURES: Sequence[tuple[str, str | None, Measure]] = (
    (RAW_1, None, raw(1)),
    (RAW_100, None, raw(100)),
    ("enqueue, one after the other", RAW_1, enqueue(1, 1)),
    ("enqueue, 100 callers", RAW_100, enqueue(1, 100)),
    ("enqueue, 100 a call", RAW_100, enqueue(100, 1)),
    ("claim + settle + outbox, concurrency 1", RAW_1, work(1, encode=False)),
    ("claim + settle + outbox, concurrency 10", RAW_100, work(10, encode=False)),
    ("claim + settle + outbox, concurrency 100", RAW_100, work(100, encode=False)),
    ("the same, notifications encoded as well", RAW_100, work(100, encode=True)),
    ("claim(1), settle(1), 100 callers", RAW_100, each_by_itself(100)),
    ("the whole way, 100 at a time", RAW_100, whole_way),
    ("claim + settle next to old runs", RAW_100, with_history(pruned=False)),
    ("the same while old runs are pruned", RAW_100, with_history(pruned=True)),
)


async def run(folder: Path | None, scale: Scale, runs: int, only: str) -> dict[str, list[float]]:
    chosen = [one for one in MEASURES if only in one[0] or one[1] is None]
    figures: dict[str, list[float]] = {name: [] for name, _, _ in chosen}
    for _ in range(runs):
        for name, _, measure in chosen:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                figures[name].append(await measure(Path(place), scale))
    return figures


def table(figures: dict[str, list[float]]) -> str:
    lines = [f"{'per second':44} {'median':>9} {'min':>9} {'max':>9} {'x raw':>7}"]
    for name, reference, _ in MEASURES:
        if name not in figures:
            continue
        rates = figures[name]
        median = statistics.median(rates)
        ratio = "" if reference is None else f"{median / statistics.median(figures[reference]):7.2f}"
        lines.append(f"{name:44} {median:9,.0f} {min(rates):9,.0f} {max(rates):9,.0f} {ratio:>7}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--users", type=int, default=100, help="how many users the jobs belong to")
    parser.add_argument("--folder", type=Path, help="where the databases are made (a disk, not memory)")
    parser.add_argument("--only", default="", help="only measurements whose name contains this, and SQLite alone")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    scale = Scale(arguments.users, *((300, 5_000) if arguments.quick else (3_000, 50_000)))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(run(arguments.folder, scale, 1 if arguments.quick else arguments.runs, arguments.only))
    print(f"SQLite {sqlite3.sqlite_version}, {scale.users} users, {scale.many:,} jobs a measurement")
    print(table(figures))
    print()
    workload = store_claims.Workload(opened, jobs, Ready(scale.users))
    print(store_claims.report(workload, arguments.folder, scale.many, scale.users, len(figures[RAW_1])))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"sqlite": sqlite3.sqlite_version, "perSecond": figures}, indent=2))


if __name__ == "__main__":
    main()
