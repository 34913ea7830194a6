"""The job loop on the real store, with real handlers."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.attempts import Bench, a_bench
from tests.support.eventually import eventually
from tests.support.hearing import Heard
from tests.support.sqlite_store import Gate, a_new_job, a_store, submitted
from worker.clock import Clock
from worker.errors import StoreFull
from worker.events import (
    HandlerAbandoned,
    IntakeRefused,
    JobRecovered,
    JobSettled,
    JobsReleased,
    JobStarted,
    LoopFailed,
    OwnershipLost,
)
from worker.job import JobState
from worker.notification import Wire
from worker.outcome import Cancelled, Failed, Retry, RetryPolicy, Succeeded
from worker.queues.sqlite import SqliteStore
from worker.worker import Worker


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with a_store(tmp_path) as store:
        yield store


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@dataclass
class Working:
    worker: Worker
    heard: Heard
    bench: Bench
    stop: asyncio.Event
    claiming: "asyncio.Task[None]"

    async def finish(self, seconds: float = 10.0) -> int:
        """As the service does it: claim nothing more, then let it end."""
        self.stop.set()
        await self.claiming
        return await self.worker.finish(seconds)

    def settled(self) -> list[JobSettled]:
        return self.heard.of(JobSettled)


@contextlib.asynccontextmanager
async def working(queue: Any, *, recover: bool = False, **options: Any) -> AsyncIterator[Working]:
    heard, stop = Heard(), asyncio.Event()
    async with a_bench(grace=0.05, **options.pop("executor", {})) as bench:
        bench.executor.emit = heard
        known: dict[str, Any] = {
            "policy": RetryPolicy(base=0.01, cap=0.02),
            "wire": Wire(),
            "clock": Clock(),
            "concurrency": 4,
            "pause_on_error": 0.01,
        }
        worker = Worker(queue=queue, executor=bench.executor, emit=heard, **known | options)
        if recover:
            await worker.recover()
        settling = asyncio.ensure_future(worker.run_settling())
        claiming = asyncio.ensure_future(worker.run(stop))
        try:
            yield Working(worker, heard, bench, stop, claiming)
        finally:
            stop.set()
            await claiming
            worker.hurry()
            await worker.finish(0)
            settling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await settling


async def outbox(store: SqliteStore) -> list[dict[str, Any]]:
    return [orjson.loads(message.body)[1]["payload"] for message in await store.pending(0, 1000)]


# -- running jobs ----------------------------------------------------------------------------------------------


async def test_every_job_is_run_settled_and_told_once(store: SqliteStore) -> None:
    async with working(store) as work:
        early = await submitted(store, *(a_new_job("echo", {"text": str(n)}) for n in range(30)))
        late = await submitted(store, *(a_new_job("echo") for _ in range(30)))
        await work.heard.until(JobSettled, 60)
    records = [await store.get(job_id) for job_id in early + late]
    assert {record.state for record in records if record} == {JobState.SUCCEEDED}
    assert {record.attempt for record in records if record} == {1}
    news = await outbox(store)
    assert {told["jobId"] for told in news} == set(early + late)
    assert [told["sequence"] for told in news] == list(range(1, 61))


async def test_no_more_jobs_run_at_once_than_there_are_slots(store: SqliteStore) -> None:
    await submitted(store, *(a_new_job("waits", {"seconds": 0.01}) for _ in range(20)))
    most = 0
    async with working(store, concurrency=3) as work:

        def watch() -> bool:
            nonlocal most
            most = max(most, work.worker.running)
            return len(work.settled()) == 20

        await work.heard.when(watch)
    assert most == 3


async def test_what_ends_while_the_disk_is_busy_is_settled_in_one_batch(store: SqliteStore) -> None:
    gate = Gate(store, "settle")
    gate.open.clear()
    async with working(gate, concurrency=10) as work:
        await submitted(store, a_new_job("echo"))
        await gate.reached.wait()
        await submitted(store, *(a_new_job("echo") for _ in range(9)))
        await work.heard.when(lambda: len(work.heard.of(JobStarted)) == 10)
        await eventually(lambda: work.worker.running == 0)
        gate.open.set()
        await work.heard.until(JobSettled, 10)
    assert [len(settlements) for (settlements,) in gate.calls] == [1, 9]


async def test_what_has_ended_and_waits_for_the_disk_does_not_pile_up(store: SqliteStore) -> None:
    gate = Gate(store, "settle")
    gate.open.clear()
    async with working(gate, concurrency=2) as work:
        await submitted(store, *(a_new_job("echo") for _ in range(20)))
        await work.heard.when(lambda: len(work.heard.of(JobStarted)) == 4)
        await eventually(lambda: work.worker.running == 0)
        assert len(work.heard.of(JobStarted)) == 4
        gate.open.set()
        await work.heard.until(JobSettled, 20)


# -- claiming ahead, while jobs are short ----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def with_jobs_claimed_ahead(store: SqliteStore, mark: Path) -> AsyncIterator[tuple[Working, list[str]]]:
    """Two slots that had short jobs are held by long ones, and two more jobs have been claimed for them."""
    async with working(store, concurrency=2) as work:
        await submitted(store, *(a_new_job("echo") for _ in range(4)))
        await work.heard.until(JobSettled, 4)
        long = await submitted(store, *(a_new_job("waits", {"mark": f"{mark}{n}"}) for n in range(4)))
        await work.heard.until(JobStarted, 6)
        await eventually(lambda: len(work.worker._ahead) == 2)
        yield work, long


async def test_jobs_claimed_ahead_are_given_back_at_a_stop_as_if_never_claimed(store: SqliteStore, mark: Path) -> None:
    async with with_jobs_claimed_ahead(store, mark) as (work, long):
        work.worker.hurry()
        assert await work.finish() == 4
        records = [await store.get(job_id) for job_id in long]
    assert [(record.state, record.attempt) for record in records if record] == [(JobState.QUEUED, 0)] * 4
    assert len(work.heard.of(JobStarted)) == 6


async def test_a_job_claimed_ahead_can_be_cancelled_before_it_starts(store: SqliteStore, mark: Path) -> None:
    async with with_jobs_claimed_ahead(store, mark) as (work, long):
        assert work.worker.cancel(long[3])
        await work.heard.until(JobSettled, 5)
        last = work.settled()[-1]
        assert last.attempt.job.id == long[3]
        assert isinstance(last.outcome, Cancelled)
        assert not Path(f"{mark}3").exists()


async def test_jobs_claimed_ahead_of_long_ones_go_back_to_the_queue(store: SqliteStore, mark: Path) -> None:
    async with with_jobs_claimed_ahead(store, mark) as (work, long):
        await eventually(lambda: not work.worker._ahead)
        async with asyncio.timeout(5):
            while (record := await store.get(long[3])) is None or record.state is not JobState.QUEUED:
                await asyncio.sleep(0.01)
        assert record.attempt == 0


async def test_a_failed_job_is_retried_and_told_only_at_its_end(store: SqliteStore) -> None:
    async with working(store) as work:
        [job_id] = await submitted(store, a_new_job("broken", {"text": "no luck"}, max_attempts=3))
        await work.heard.when(lambda: any(isinstance(event.outcome, Failed) for event in work.settled()))
    assert [(type(event.outcome), event.attempt.job.attempt) for event in work.settled()] == [
        (Retry, 1),
        (Retry, 2),
        (Failed, 3),
    ]
    [told] = await outbox(store)
    assert (told["jobId"], told["attempt"], told["error"]) == (job_id, 3, "ValueError: no luck")
    record = await store.get(job_id)
    assert record is not None
    assert (record.state, record.error_id) == (JobState.FAILED, told["errorId"])


async def test_a_retry_waits_for_its_backoff(store: SqliteStore) -> None:
    async with working(store, policy=RetryPolicy(base=0.2, jitter=0.0)) as work:
        await submitted(store, a_new_job("broken", max_attempts=2))
        first, second = await work.heard.until(JobStarted, 2)
        [settled] = work.settled()
    assert isinstance(settled.outcome, Retry)
    assert settled.outcome.run_at - settled.attempt.finished_at >= 0.2
    assert (first.job.attempt, second.job.attempt) == (1, 2)


async def test_a_job_that_falls_due_while_the_store_is_asked_does_not_wait_for_the_job_that_runs(
    store: SqliteStore, mark: Path
) -> None:
    """The worker's clock is ahead of the store's, as it is by the time the answer comes."""
    ahead = Clock(now=lambda: Clock().now() + 60)
    async with working(store, clock=ahead) as work:
        await submitted(store, a_new_job("waits", {"mark": str(mark)}))
        await eventually(mark.exists)
        await submitted(store, a_new_job("echo", run_at=Clock().now() + 0.1))
        [settled] = await work.heard.until(JobSettled)
        assert settled.attempt.job.kind == "echo"


async def test_a_result_that_cannot_be_told_fails_its_job_and_nothing_else(store: SqliteStore) -> None:
    async with working(store, wire=Wire(include_result=True)) as work:
        deep, plain = await submitted(store, a_new_job("too-deep"), a_new_job("echo"))
        await work.heard.until(JobSettled, 2)
        await work.finish()
    records = {job_id: await store.get(job_id) for job_id in (deep, plain)}
    assert {job_id: record.state for job_id, record in records.items() if record} == {
        deep: JobState.FAILED,
        plain: JobState.SUCCEEDED,
    }
    [failed] = work.heard.of(LoopFailed)
    assert deep in failed.where
    assert len(await outbox(store)) == 2


# -- cancelling ------------------------------------------------------------------------------------------------


async def test_a_running_job_is_cancelled_and_told(store: SqliteStore, mark: Path) -> None:
    async with working(store) as work:
        [job_id] = await submitted(store, a_new_job("waits", {"mark": str(mark)}))
        await eventually(mark.exists)
        assert work.worker.cancel(job_id)
        [settled] = await work.heard.until(JobSettled)
    assert isinstance(settled.outcome, Cancelled)
    [told] = await outbox(store)
    assert (told["error"], told["status"]) == ("Cancelled", "failed")
    assert not work.worker.cancel(job_id)


async def test_a_handler_that_will_not_end_is_left_behind_and_its_slot_is_free(
    store: SqliteStore, mark: Path, tmp_path: Path
) -> None:
    async with working(store, concurrency=1) as work:
        [job_id] = await submitted(store, a_new_job("deaf", {"mark": str(mark), "text": str(tmp_path / "release")}))
        await eventually(mark.exists)
        work.worker.cancel(job_id)
        await work.heard.until(HandlerAbandoned)
        await submitted(store, a_new_job("echo"))
        cancelled, after = await work.heard.until(JobSettled, 2)
        (tmp_path / "release").touch()
    assert isinstance(cancelled.outcome, Cancelled)
    assert isinstance(after.outcome, Succeeded)


# -- after a crash ---------------------------------------------------------------------------------------------


async def crashed(folder: Path, *jobs: Any) -> None:
    """A service that died while it ran these."""
    async with a_store(folder) as store:
        if jobs:
            await store.enqueue(jobs)
        assert (await store.claim(10)).jobs


async def test_after_a_crash_the_suspects_run_one_at_a_time_and_none_is_charged(tmp_path: Path) -> None:
    await crashed(tmp_path, *(a_new_job("waits", {"seconds": 0.02}) for _ in range(4)))
    running: list[int] = []
    async with a_store(tmp_path) as store, working(store, recover=True) as work:
        later = await submitted(store, a_new_job("echo"))
        await work.heard.when(lambda: bool(running.append(work.worker.running)) or len(work.settled()) == 5)
    assert [event.verdict.charged for event in work.heard.of(JobRecovered)] == [None] * 4
    assert max(running) == 1
    assert {event.attempt.job.attempt for event in work.settled()} == {1}
    assert [event.attempt.job.suspect for event in work.settled()] == [True] * 4 + [False]
    assert work.settled()[-1].attempt.job.id == later[0]


async def test_the_only_job_of_a_dead_service_is_charged_until_it_has_failed(tmp_path: Path) -> None:
    poison = a_new_job("echo", max_attempts=3)
    attempts = []
    await crashed(tmp_path, poison)
    for _ in range(3):
        async with a_store(tmp_path) as store, working(store, recover=True, concurrency=1) as work:
            work.worker.set_quiet(True)
            record = await store.get(poison.id)
            assert record is not None
            attempts.append((record.attempt, record.state))
            await work.finish()
            if record.state is JobState.QUEUED:  # it runs, and takes the service down once more
                await eventually(lambda record=record: Clock().now() >= record.run_at)  # type: ignore[misc]
                [job] = (await store.claim(10)).jobs
                assert job.suspect
    assert attempts == [(1, JobState.QUEUED), (2, JobState.QUEUED), (3, JobState.FAILED)]
    async with a_store(tmp_path) as store:
        [told] = await outbox(store)
    assert (told["attempt"], told["error"]) == (3, "The service ended while this job was running")


async def test_a_result_of_a_job_that_is_not_ours_any_more_is_dropped(store: SqliteStore, mark: Path) -> None:
    async with working(store) as work:
        [job_id] = await submitted(store, a_new_job("finishes-anyway", {"mark": str(mark)}))
        await eventually(mark.exists)
        work.worker.set_quiet(True)
        [started] = work.heard.of(JobStarted)
        await store.release([started.job])
        work.worker.cancel(job_id)
        await work.heard.until(OwnershipLost)
        assert work.settled() == []
    record = await store.get(job_id)
    assert record is not None
    assert (record.state, record.attempt) == (JobState.QUEUED, 0)


# -- stopping --------------------------------------------------------------------------------------------------


async def test_what_does_not_end_in_time_is_given_back_and_its_attempt_is_not_counted(
    store: SqliteStore, mark: Path
) -> None:
    async with working(store) as work:
        [job_id] = await submitted(store, a_new_job("waits", {"mark": str(mark)}))
        await eventually(mark.exists)
        assert await work.finish(0.02) == 1
        [released] = work.heard.of(JobsReleased)
        assert [job.id for job in released.jobs] == [job_id]
        record = await store.get(job_id)
        assert record is not None
        assert (record.state, record.attempt) == (JobState.QUEUED, 0)
        assert await outbox(store) == []
        [again] = (await store.claim(1)).jobs
        assert (again.attempt, again.suspect) == (1, False)


async def test_a_thread_that_does_not_answer_does_not_hold_up_the_stop(
    store: SqliteStore, mark: Path, tmp_path: Path
) -> None:
    async with working(store) as work:
        await submitted(store, a_new_job("deaf", {"mark": str(mark), "text": str(tmp_path / "release")}))
        await eventually(mark.exists)
        async with asyncio.timeout(2):
            assert await work.finish(0.02) == 1
        (tmp_path / "release").touch()


async def test_what_ends_in_time_is_settled_before_the_stop(store: SqliteStore, mark: Path) -> None:
    async with working(store) as work:
        [job_id] = await submitted(store, a_new_job("waits", {"seconds": 0.1, "mark": str(mark)}))
        await eventually(mark.exists)
        async with asyncio.timeout(5):
            assert await work.finish(30) == 0
        record = await store.get(job_id)
        assert record is not None
        assert record.state is JobState.SUCCEEDED


async def test_a_second_signal_does_not_wait(store: SqliteStore, mark: Path) -> None:
    async with working(store) as work:
        await submitted(store, a_new_job("waits", {"mark": str(mark)}))
        await eventually(mark.exists)
        finishing = asyncio.ensure_future(work.finish(60))
        await asyncio.sleep(0)
        work.worker.hurry()
        async with asyncio.timeout(5):
            assert await finishing == 1


async def test_slots_that_are_added_are_filled_at_once(store: SqliteStore) -> None:
    async with working(store, concurrency=1) as work:
        await submitted(store, *(a_new_job("waits") for _ in range(3)))
        await work.heard.until(JobStarted, 1)
        work.worker.resize(3)
        await work.heard.until(JobStarted, 3)
        assert work.worker.running == 3


async def test_slots_that_are_taken_away_are_left_empty_when_their_jobs_end(store: SqliteStore) -> None:
    async with working(store, concurrency=3) as work:
        ids = await submitted(store, *(a_new_job("waits") for _ in range(5)))
        await work.heard.until(JobStarted, 3)
        work.worker.resize(1)
        for job_id in ids[:2]:
            work.worker.cancel(job_id)
        await work.heard.until(JobSettled, 2)
        assert (work.worker.running, len(work.heard.of(JobStarted))) == (1, 3)
        work.worker.cancel(ids[2])
        await work.heard.until(JobStarted, 4)
        assert work.worker.running == 1


async def test_a_quiet_worker_claims_nothing_until_it_is_loud_again(store: SqliteStore) -> None:
    async with working(store) as work:
        work.worker.set_quiet(True)
        await submitted(store, a_new_job("echo"))
        for _ in range(5):  # more than it takes to claim a job
            await store.figures()
        assert work.heard.of(JobStarted) == []
        work.worker.set_quiet(False)
        await work.heard.until(JobSettled)


# -- the store fails -------------------------------------------------------------------------------------------


async def test_claiming_goes_on_after_errors(store: SqliteStore) -> None:
    gate = Gate(store, "claim")
    gate.errors = [OSError("disk"), OSError("disk")]
    async with working(gate) as work:
        await submitted(store, a_new_job("echo"))
        await work.heard.until(JobSettled)
    assert [(event.where, event.pause) for event in work.heard.of(LoopFailed)] == [("claiming jobs", 0.01)] * 2


async def test_a_full_store_is_said_once_each_time_it_fills_up(store: SqliteStore) -> None:
    gate = Gate(store, "claim")
    gate.errors = [StoreFull("full")] * 3
    async with working(gate) as work:
        await submitted(store, a_new_job("echo"))
        await work.heard.until(JobSettled)
        assert work.heard.of(IntakeRefused) == [IntakeRefused("full")]
        gate.errors = [StoreFull("full again")] * 3
        await submitted(store, a_new_job("echo"))
        await work.heard.until(JobSettled, 2)
    assert work.heard.of(IntakeRefused) == [IntakeRefused("full"), IntakeRefused("full again")]


async def test_what_has_ended_waits_for_its_disk(store: SqliteStore) -> None:
    gate = Gate(store, "settle")
    gate.errors = [OSError("disk"), StoreFull("full")]
    async with working(gate) as work:
        [job_id] = await submitted(store, a_new_job("echo"))
        await work.heard.until(JobSettled)
    assert [event.where for event in work.heard.of(LoopFailed)] == ["settling jobs"] * 2
    assert [told["jobId"] for told in await outbox(store)] == [job_id]


async def test_stopping_waits_no_longer_than_it_may_for_a_disk_that_does_not_answer(store: SqliteStore) -> None:
    gate = Gate(store, "settle")
    gate.errors = list(itertools.repeat(OSError("disk"), 10_000))
    async with working(gate) as work:
        await submitted(store, a_new_job("echo"))
        await work.heard.until(LoopFailed)
        async with asyncio.timeout(5):
            await work.finish(0.1)
        gate.errors.clear()
