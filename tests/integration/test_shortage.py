"""A job does not pay for threads, files or memory that the service lacks: it waits, and its attempt is not counted."""

import asyncio
import contextlib
import errno
import subprocess
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_worker import working
from tests.support.attempts import a_claimed_job
from tests.support.event_collector import EventCollector
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.process import WorkerProcess, running_worker
from tests.support.sqlite_store import a_new_job, a_store, submitted
from worker.core.clock import Clock
from worker.core.events import JobSettled, ResourcesShort, ResourcesSuffice
from worker.core.job import JobState
from worker.disk.limits import limit_of
from worker.errors import WorkerError
from worker.runtime.shortage import ShortageLimiter
from worker.stores.sqlite.store import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with a_store(tmp_path) as store:
        yield store


class Scarce:
    """Makes the first calls of a function fail."""

    def __init__(self, error: BaseException, times: int) -> None:
        self.error, self.left = error, times

    def take(self) -> None:
        if self.left:
            self.left -= 1
            raise self.error


async def _run_all(store: SqliteStore, kind: str) -> list[ResourcesShort]:
    jobs = await submitted(store, *(a_new_job(kind) for _ in range(6)))
    async with working(store) as work:
        work.worker.shortage.first_pause = 0.01
        await work.collector.until(JobSettled, 6)
        assert work.worker.shortage.current
        reported = work.collector.of(ResourcesShort)
    records = [await store.get(job_id) for job_id in jobs]
    assert [(record.state, record.attempt) for record in records if record] == [(JobState.SUCCEEDED, 1)] * 6
    return reported


def make_job_threads_scarce(monkeypatch: pytest.MonkeyPatch, scarce: Scarce) -> None:
    """Let threads of jobs start only as `scarce` allows."""
    start = threading.Thread.start

    def start_scarce(thread: threading.Thread) -> None:
        if thread.name.startswith("job-"):
            scarce.take()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_scarce)


async def test_job_that_gets_no_thread_is_released_and_runs_later(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    scarce = Scarce(RuntimeError("can't start new thread"), 12)
    make_job_threads_scarce(monkeypatch, scarce)
    (report,) = await _run_all(store, "echo-thread")
    assert "TasksMax=" in report.limit
    assert scarce.left == 0


async def test_job_whose_child_gets_no_descriptor_is_released_and_runs_later(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    scarce = Scarce(OSError(errno.EMFILE, "Too many open files"), 8)
    popen = subprocess.Popen

    def popen_scarce(*arguments: Any, **options: Any) -> Any:
        scarce.take()
        return popen(*arguments, **options)

    monkeypatch.setattr("worker.runtime.process_pool.subprocess.Popen", popen_scarce)
    (report,) = await _run_all(store, "echo-process")
    assert "LimitNOFILE=" in report.limit
    assert scarce.left == 0


async def test_jobs_wait_for_their_slot_after_a_failed_start(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each of them would be claimed and released all the time."""
    scarce = Scarce(RuntimeError("can't start new thread"), 10_000)
    make_job_threads_scarce(monkeypatch, scarce)
    await submitted(store, *(a_new_job("echo-thread") for _ in range(50)))
    async with working(store) as work:
        await work.collector.until(ResourcesShort, 1)
        await asyncio.sleep(1.2)
        assert 10_000 - scarce.left <= 4 + 3 + 3  # the first ones, and those of two resumptions
        assert work.settled() == []


async def test_shortage_is_reported_once_and_once_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.runtime.shortage._REPORTED_SECONDS", 1.0)
    collector, job = EventCollector(), a_claimed_job()
    limiter = ShortageLimiter(Clock(), collector, lambda: None, concurrency=4)
    for _ in range(3):
        limiter.on_shortage(job, "threads", 1)
    await collector.until(ResourcesSuffice)
    assert collector.of(ResourcesShort) == [ResourcesShort(job, "threads")]


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (MemoryError(), "memory"),
        (OSError(errno.ENOMEM, "x"), "memory"),
        (OSError(errno.ENFILE, "x"), "this machine"),
        (BlockingIOError(errno.EAGAIN, "x"), "threads"),
        (OSError(errno.ENOENT, "x"), None),
        (RuntimeError("other"), None),
    ],
)
def test_limit_is_named_by_the_error(error: BaseException, part: str | None) -> None:
    limit = limit_of(error)
    assert limit is None if part is None else part in (limit or "")


async def _shown(worker: WorkerProcess, job_id: str) -> dict[str, Any]:
    """Return the ended job; while no descriptor is free, the service cannot answer either."""
    async with asyncio.timeout(200):
        while True:
            with contextlib.suppress(WorkerError):
                job: dict[str, Any] = await asyncio.to_thread(
                    worker.client.request, "GET", f"/api/v1/jobs/{job_id}?waitSeconds=5"
                )
                if job["status"] not in ("queued", "running"):
                    return job
            await asyncio.sleep(0.05)


async def _resources(worker: WorkerProcess) -> str:
    """Return what health says about resources, once the service has a descriptor to answer with."""
    async with asyncio.timeout(200):
        while True:
            with contextlib.suppress(WorkerError):
                health = await asyncio.to_thread(worker.client.request, "GET", "/health")
                return str(health["entries"]["resources"])
            await asyncio.sleep(0.05)


async def test_service_with_few_descriptors_charges_no_job_and_names_the_limit(tmp_path: Path) -> None:
    port = free_port()
    settings = [
        "--Worker:Handlers:0=tests.support.jobs",
        f"--Http:Url=http://127.0.0.1:{port}",
        f"--WebSocket:Url=http://127.0.0.1:{port}",
        "--Worker:Concurrency=60",
        "--Worker:Processes=60",
        "--Worker:Execution:sleep=process",
        "--Worker:BackoffDelay=0",
    ]
    limited = ["prlimit", "--nofile=80:80", "--"]
    async with running_worker(tmp_path, *settings, prefix=limited) as worker:
        ask = worker.client.request
        jobs = [{"taskType": "sleep", "userId": "u", "payload": {"seconds": 0.3}} for _ in range(40)]
        answers = await asyncio.to_thread(ask, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
        await eventually(lambda: "LimitNOFILE=" in worker.text())
        assert "LimitNOFILE=" in await _resources(worker), "health names the limit for half a minute"
        for answer in answers["jobs"]:
            shown = await _shown(worker, answer["jobId"])
            assert (shown["status"], shown["attempt"]) == ("succeeded", 1), shown
        assert await worker.stop() == 0
