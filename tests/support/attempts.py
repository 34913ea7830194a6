"""Claimed jobs, and an executor on real handlers that reports how each attempt ended."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.support import handlers
from worker.core.clock import Clock
from worker.core.job import Job
from worker.core.outcome import Attempt
from worker.core.redact import Redactor
from worker.handler import discover
from worker.runtime.executor import Executor
from worker.runtime.process_pool import ProcessConfig, ProcessPool
from worker.runtime.running_attempt import RunningAttempt

_numbers = itertools.count(1)


def a_claimed_job(kind: str = "echo", payload: dict[str, Any] | None = None, **fields: Any) -> Job:
    """Return a claimed job with a unique id."""
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


def pids_in(mark: Path) -> list[int]:
    return [int(word) for word in mark.read_text(encoding="utf-8").split()]


@dataclass
class Bench:
    """A running executor, and what it reported."""

    executor: Executor
    pool: ProcessPool
    events: list[object] = field(default_factory=list)
    progress: list[tuple[str, float, str]] = field(default_factory=list)

    def start(self, job: Job) -> "asyncio.Future[Attempt | None]":
        """Start an attempt; return a future of its end, which is None when it is released."""
        ended: asyncio.Future[Attempt | None] = asyncio.get_running_loop().create_future()

        def done(_running: RunningAttempt, attempt: Attempt | None) -> None:
            ended.set_result(attempt)  # a second call would raise

        self.executor.start(job, done)
        return ended

    async def run(self, kind: str, /, **payload: Any) -> Attempt:
        """Run one attempt and return it."""
        attempt = await self.start(a_claimed_job(kind, payload))
        assert attempt is not None
        return attempt

    def pids(self) -> Sequence[int]:
        """Return the process ids of idle children."""
        return [child.process.pid for child in self.pool._idle]


@contextlib.asynccontextmanager
async def a_bench(*, size: int = 1, **options: Any) -> AsyncIterator[Bench]:
    """Provide an executor; at the end it is closed with whatever still runs."""
    pool = ProcessPool(size, ProcessConfig([handlers.__name__], {}, ["hush-hush"]))
    events: list[object] = []
    progress: list[tuple[str, float, str]] = []
    executor = Executor(
        registry=discover([handlers]),
        pool=pool,
        clock=Clock(),
        redact=Redactor.of(["hush-hush"]),
        emit=events.append,
        **{
            "timeout": 300.0,
            "grace": 30.0,
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
