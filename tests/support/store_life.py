"""A process that uses a store as the service does, until it is killed, and prints what the store confirmed.

Arguments: the file, and the size limit in bytes. Lines: `accepted ID`, `settled ID`, `delivered UP_TO`. What was
written to the pipe before the kill is what a caller was promised; it must be found in the store afterwards.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from tests.support.stores import WIRE, index_piece
from worker.core.clock import Clock
from worker.core.job import Job, NewJob, new_job_id
from worker.core.notification import notification_for
from worker.core.outcome import Attempt, Succeeded
from worker.core.store import Settlement, Store
from worker.stores.sqlite.store import open_store

USERS = 5


def report(word: str, values: Sequence[object]) -> None:
    # One write for all lines: a kill cannot tear them apart, pipes take up to 4 KB in one piece.
    for start in range(0, len(values), 50):
        sys.stdout.write("".join(f"{word} {value}\n" for value in values[start : start + 50]))
        sys.stdout.flush()


def settlement(job: Job) -> Settlement:
    now = time.time()
    attempt = Attempt(job, now, now, 1.0, b"{}")
    outcome = Succeeded(b"{}")
    return Settlement(attempt, outcome, notification_for(attempt, outcome, WIRE))


async def intake(store: Store) -> None:
    number = 0
    while True:
        now = time.time()
        jobs = []
        for _ in range(1 + number % 7):
            number += 1
            jobs.append(NewJob(new_job_id(now), "noop", f"user-{number % USERS}", b"{}", now, now, 3))
        await store.enqueue(jobs)
        report("accepted", [job.id for job in jobs])


async def work(store: Store) -> None:
    while True:
        jobs = (await store.claim(10)).jobs
        answers = await store.settle([settlement(job) for job in jobs])
        assert all(answers)
        report("settled", [job.id for job in jobs])


async def deliver(store: Store) -> None:
    last = 0
    while True:
        messages = await store.pending(last, 20)
        if not messages:
            await asyncio.sleep(0.001)
            continue
        last = messages[-1].id
        await store.delivered(last)
        report("delivered", [last])


async def index(store: Store) -> None:
    while True:
        await index_piece(store)
        await asyncio.sleep(0.001)


async def live(path: Path, max_bytes: int) -> None:
    store = await open_store(path, owner=uuid4().hex, max_bytes=max_bytes, clock=Clock())
    await store.release(await store.orphans())
    report("alive", [1])
    async with asyncio.TaskGroup() as group:
        for part in (intake, intake, work, work, deliver, index):
            group.create_task(part(store))


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1 << 30))
