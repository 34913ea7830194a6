"""Attempts to look at: jobs, and an executor on real handlers that says how each ended."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.support import handlers
from worker.children import ChildPool, ChildSetup
from worker.clock import Clock
from worker.executor import Executor, Running
from worker.handler import discover
from worker.job import Job
from worker.outcome import Attempt
from worker.redact import Redactor

_numbers = itertools.count(1)


def a_job(kind: str = "echo", payload: dict[str, Any] | None = None, **fields: Any) -> Job:
    """A claimed job; every one has an id of its own."""
    known: dict[str, Any] = {
        "id": f"0199a1b2-0000-7000-8000-{next(_numbers):012d}",
        "kind": kind,
        "user_id": "user-1",
        "payload": orjson.dumps(payload or {}),
        "run": 1,
        "attempt": 1,
        "max_attempts": 3,
        "created_at": 1_700_000_000.0,
        "owner": "owner-1",
        "claim": 1,
    }
    return Job(**known | fields)


def is_running(pid: int) -> bool:
    """Whether the process lives; a zombie that its foster parent has not reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def pids_in(mark: Path) -> list[int]:
    return [int(word) for word in mark.read_text(encoding="utf-8").split()]


@dataclass
class Bench:
    """An executor at work, and what it said."""

    executor: Executor
    pool: ChildPool
    events: list[object] = field(default_factory=list)
    progress: list[tuple[str, float, str]] = field(default_factory=list)

    def start(self, job: Job) -> "asyncio.Future[Attempt | None]":
        """The future of how it ends; None: given back."""
        ended: asyncio.Future[Attempt | None] = asyncio.get_running_loop().create_future()

        def done(_running: Running, attempt: Attempt | None) -> None:
            ended.set_result(attempt)  # a second call would raise

        self.executor.start(job, done)
        return ended

    async def run(self, kind: str, /, **payload: Any) -> Attempt:
        """One attempt from start to end."""
        attempt = await self.start(a_job(kind, payload))
        assert attempt is not None
        return attempt

    def pids(self) -> Sequence[int]:
        """Of the children that wait for a job."""
        return [child.process.pid for child in self.pool._idle]


@contextlib.asynccontextmanager
async def a_bench(*, size: int = 1, **options: Any) -> AsyncIterator[Bench]:
    """Closed at the end, whatever the test has left running."""
    pool = ChildPool(size, ChildSetup([handlers.__name__], {}, ["hush-hush"]))
    events: list[object] = []
    progress: list[tuple[str, float, str]] = []
    executor = Executor(
        registry=discover([handlers]),
        children=pool,
        clock=Clock(),
        redact=Redactor.of(["hush-hush"]),
        emit=events.append,
        **{
            "timeout": 30.0,
            "grace": 1.0,
            "on_progress": lambda job, percent, note: progress.append((job.id, percent, note)),
            **options,
        },
    )
    try:
        yield Bench(executor, pool, events, progress)
    finally:
        executor.grace = 0.0
        work = [running.work for running in executor.running.values() if running.work is not None]
        executor.stop_all()
        await asyncio.gather(*work, return_exceptions=True)
        await pool.close()
