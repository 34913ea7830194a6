"""kill -9 at any moment: nothing that was confirmed is lost or sent twice, and the file stays undamaged."""

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.process import clean_environment
from tests.support.store_life import settlement
from worker.core.clock import Clock
from worker.core.job import JobState
from worker.core.store import JobQuery, NotificationRecord
from worker.stores.sqlite.store import SqliteStore, open_store


@dataclass
class History:
    """What the store confirmed to the killed processes."""

    accepted: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    delivered: int = 0

    def read(self, output: bytes) -> None:
        for line in output.decode().splitlines():
            word, _, value = line.partition(" ")
            match word:
                case "accepted":
                    self.accepted.add(value)
                case "settled":
                    self.settled.add(value)
                case "delivered":
                    self.delivered = max(self.delivered, int(value))


def run_and_kill(path: Path, seconds: float) -> bytes:
    """Start a process, kill it `seconds` after its first line, and return what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.store_life", str(path)],
        stdout=subprocess.PIPE,
        bufsize=0,
        env=clean_environment(),
    )
    assert process.stdout is not None
    output = process.stdout.readline()
    deadline = time.monotonic() + seconds
    descriptor = process.stdout.fileno()
    while (left := deadline - time.monotonic()) > 0:  # keep reading: a full pipe would stop its work
        if select.select([descriptor], [], [], left)[0]:
            output += process.stdout.read(65536)
    process.send_signal(signal.SIGKILL)
    output += process.stdout.read()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return output[: output.rfind(b"\n") + 1]


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_store(path, owner="the checker", max_bytes=1 << 30, clock=Clock())
    try:
        yield store
    finally:
        await store.close()


async def check(path: Path, history: History) -> None:
    async with opened(path) as store:
        assert await store.examine() == []
        states = await _states(store, JobQuery(limit=5000))
        await _check_searches(store, states)
        assert history.accepted <= states.keys()
        assert {states[job_id] for job_id in history.settled} <= {JobState.SUCCEEDED}
        records = await _notifications(store)
        assert sorted(record.job_id for record in records) == sorted(
            job_id for job_id, state in states.items() if state is JobState.SUCCEEDED
        )
        assert all(record.state == "delivered" for record in records if record.id <= history.delivered)
        _check_sequences(records)


async def _check_searches(store: SqliteStore, states: dict[str, JobState]) -> None:
    """Check that searches find every job, whatever the search index already contains."""
    for query in (JobQuery(states=[JobState.SUCCEEDED], limit=5000), JobQuery(text="USER-", kind="noop", limit=5000)):
        found = await _states(store, query)
        assert found == {job_id: state for job_id, state in states.items() if state in (query.states or JobState)}


async def _states(store: SqliteStore, query: JobQuery) -> dict[str, JobState]:
    states: dict[str, JobState] = {}
    cursor: str | None = None
    while True:
        page = await store.find(replace(query, cursor=cursor))
        states.update((job.id, job.state) for job in page.jobs)
        cursor = page.cursor
        if cursor is None:
            return states


async def _notifications(store: SqliteStore) -> list[NotificationRecord]:
    return await store.notifications(limit=1_000_000)


def _check_sequences(records: list[NotificationRecord]) -> None:
    """Check that each user's numbers are 1, 2, 3 … in the order of the outbox."""
    numbers: dict[str, list[int]] = {}
    for record in sorted(records, key=lambda record: record.id):
        numbers.setdefault(record.user_id, []).append(record.sequence)
    for drawn in numbers.values():
        assert drawn == list(range(1, len(drawn) + 1))


async def finish(path: Path) -> None:
    """Finish every job that was accepted."""
    async with opened(path) as store:
        await store.release(await store.orphans())
        while jobs := (await store.claim(500)).jobs:
            assert all(await store.settle([settlement(job) for job in jobs]))
        figures = await store.stats()
        assert (figures.jobs["queued"], figures.jobs["running"]) == (0, 0)
        assert await store.examine() == []


async def _kill_many_times(path: Path, kills: int) -> None:
    history = History()
    luck = random.Random(kills)
    done, longest = 0, 0.15
    while done < kills or len(history.accepted) <= kills or not history.settled:
        history.read(run_and_kill(path, luck.uniform(0.0, longest)))
        await check(path, history)
        done += 1
        longest *= 1 if done < kills else 2  # a busy disk or machine settles no job within so short a time
    await finish(path)
    await check(path, history)


async def test_kill_of_the_process_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    await _kill_many_times(tmp_path / "queue.db", kills=10)


@pytest.mark.kill
@pytest.mark.timeout(1800)
async def test_many_kills_of_the_process_lose_nothing_that_was_confirmed(tmp_path: Path) -> None:
    """The variable KILLS sets the number."""
    await _kill_many_times(tmp_path / "queue.db", kills=int(os.environ.get("KILLS", "50")))
