"""The real store on a folder, and what tests do to it."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.stores import a_job, success
from worker.core.clock import Clock
from worker.core.job import Job, NewJob
from worker.stores.sqlite.store import SqliteStore, open_store

_owners = itertools.count(1)


@contextlib.asynccontextmanager
async def a_store(folder: Path, **options: Any) -> AsyncIterator[SqliteStore]:
    """Open a store as each start of the service does, with an owner of its own."""
    known: dict[str, Any] = {"owner": f"owner-{next(_owners)}", "max_bytes": 2**30, "clock": Clock()}
    store = await open_store(folder / "queue.db", **known | options)
    try:
        yield store
    finally:
        await store.close()


def a_new_job(kind: str = "nothing", payload: dict[str, Any] | None = None, **fields: Any) -> NewJob:
    """Return a job of user-1 that is due now, by the real clock."""
    return a_job(Clock().now(), user="user-1", kind=kind, payload=payload)._replace(**fields)


async def submitted(store: SqliteStore, *jobs: NewJob) -> list[str]:
    return [accepted.job_id for accepted in await store.enqueue(jobs)]


async def settle(store: SqliteStore, jobs: Sequence[Job]) -> None:
    """Settle all jobs as succeeded, with their notifications."""
    assert all(await store.settle([success(job, 2.0, None) for job in jobs]))


async def add_notifications(store: SqliteStore, count: int) -> list[int]:
    """Add `count` notifications to the outbox; return their ids."""
    await store.enqueue([a_new_job() for _ in range(count)])
    before = await store.pending(0, 10_000)
    await settle(store, (await store.claim(count)).jobs)
    after = await store.pending(before[-1].id if before else 0, 10_000)
    assert len(after) == count
    return [message.id for message in after]


class Gate:
    """The real store with one method that a test can block or let fail; all others are passed on."""

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
