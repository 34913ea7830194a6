"""A service's life with its store, as a process to be killed: works until it is, and says on stdout what was answered.

Lines: `accepted ID`, `settled ID`, `delivered UP_TO`. What was written to the pipe before the kill is what a caller
was told; it must be found in the store afterwards.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from tests.support.stores import WIRE
from worker.clock import Clock
from worker.job import Job, NewJob, new_job_id
from worker.notification import notification_for
from worker.outcome import Attempt, Succeeded
from worker.queue import Settlement, Store
from worker.queues.sqlite import open_store

USERS = 5


def say(word: str, values: Sequence[object]) -> None:
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
        say("accepted", [job.id for job in jobs])


async def work(store: Store) -> None:
    while True:
        jobs = (await store.claim(10)).jobs
        answers = await store.settle([settlement(job) for job in jobs])
        assert all(answers)
        say("settled", [job.id for job in jobs])


async def tell(store: Store) -> None:
    last = 0
    while True:
        messages = await store.pending(last, 20)
        if not messages:
            await asyncio.sleep(0.001)
            continue
        last = messages[-1].id
        await store.delivered(last)
        say("delivered", [last])


async def index(store: Store) -> None:
    while True:
        await store.index()
        await asyncio.sleep(0.001)


async def live(path: Path) -> None:
    store = await open_store(path, owner=uuid4().hex, max_bytes=1 << 30, clock=Clock())
    await store.release(await store.orphans())
    say("alive", [1])
    async with asyncio.TaskGroup() as group:
        for part in (intake, intake, work, work, tell, index):
            group.create_task(part(store))


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1])))
