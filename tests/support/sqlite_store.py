"""The real store on a folder, and what tests do to it."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from worker.clock import Clock
from worker.job import Job, NewJob, new_job_id
from worker.notification import Wire, notification_for
from worker.outcome import Attempt, Succeeded
from worker.queue import Settlement
from worker.queues.sqlite import SqliteStore, open_store

_owners = itertools.count(1)


@contextlib.asynccontextmanager
async def a_store(folder: Path, **options: Any) -> AsyncIterator[SqliteStore]:
    """Opened by an owner of its own, as each start of the service is."""
    known: dict[str, Any] = {"owner": f"owner-{next(_owners)}", "max_bytes": 2**30, "clock": Clock()}
    store = await open_store(folder / "queue.db", **known | options)
    try:
        yield store
    finally:
        await store.close()


def a_new_job(kind: str = "nothing", payload: dict[str, Any] | None = None, **fields: Any) -> NewJob:
    now = Clock().now()
    known: dict[str, Any] = {
        "id": new_job_id(now),
        "kind": kind,
        "user_id": "user-1",
        "payload": orjson.dumps(payload or {}),
        "created_at": now,
        "run_at": now,
        "max_attempts": 3,
    }
    return NewJob(**known | fields)


async def submitted(store: SqliteStore, *jobs: NewJob) -> list[str]:
    return [accepted.job_id for accepted in await store.enqueue(jobs)]


async def settle(store: SqliteStore, jobs: Sequence[Job]) -> None:
    """All of them succeed, with their news."""
    ends = []
    for job in jobs:
        attempt = Attempt(job, 1.0, 2.0, 1000.0)
        ends.append(Settlement(attempt, Succeeded(None), notification_for(attempt, Succeeded(None), Wire())))
    assert all(await store.settle(ends))


async def told(store: SqliteStore, count: int) -> list[int]:
    """Put `count` notifications into the outbox; their ids."""
    await store.enqueue([a_new_job() for _ in range(count)])
    before = await store.pending(0, 10_000)
    await settle(store, (await store.claim(count)).jobs)
    after = await store.pending(before[-1].id if before else 0, 10_000)
    assert len(after) == count
    return [message.id for message in after]


class Gate:
    """The real store with one door that a test can hold shut, or make fail; all else goes straight through."""

    def __init__(self, store: SqliteStore, method: str) -> None:
        self._store = store
        self._method = method
        self.calls: list[tuple[Any, ...]] = []
        self.errors: list[Exception] = []
        """Raised by the next calls, one each."""
        self.open = asyncio.Event()
        self.open.set()
        self.reached = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return self._guarded if name == self._method else getattr(self._store, name)

    async def _guarded(self, *arguments: Any) -> Any:
        self.calls.append(arguments)
        if self.errors:
            raise self.errors.pop(0)
        answer = await getattr(self._store, self._method)(*arguments)
        self.reached.set()
        await self.open.wait()
        return answer
