"""How every Store records the outcomes of attempts, and releases jobs."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.support.stores import (
    START,
    ManualClock,
    a_job,
    cancelled,
    claim_one,
    failed,
    record_of,
    retried,
    stale,
    success,
)
from worker.core.job import JobState
from worker.core.outcome import Failed
from worker.core.store import Store

# -- settling ------------------------------------------------------------------------------------------------------


async def test_settle_records_a_success(store: Store) -> None:
    job = await claim_one(store)
    assert await store.settle([success(job, START + 5, b'{"officers":3}')]) == [True]
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.result, record.error) == (JobState.SUCCEEDED, b'{"officers":3}', None)
    assert (record.finished_at, record.duration_ms) == (START + 5, 500.25)


async def test_settle_records_a_failure(store: Store) -> None:
    job = await claim_one(store)
    assert await store.settle([failed(job, message="ไม่พบไฟล์")]) == [True]
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.error_type, record.error) == (JobState.FAILED, "ValueError", "ไม่พบไฟล์")
    assert (record.error_id, record.stack_trace) == ("0123456789ab", "Traceback\nไม่พบไฟล์")


async def test_settle_accepts_an_error_text_with_invalid_characters(store: Store) -> None:
    job = await claim_one(store)
    settlement = failed(job)
    assert isinstance(settlement.outcome, Failed)
    broken = replace(settlement.outcome.failure, message="ไฟล์ \udce0\udcb8 หาย")
    assert await store.settle([settlement._replace(outcome=Failed(broken))]) == [True]
    assert (await record_of(store, job.id)).error == "ไฟล์ \\udce0\\udcb8 หาย"


async def test_settle_records_a_cancelled_run(store: Store) -> None:
    job = await claim_one(store)
    assert await store.settle([cancelled(job)]) == [True]
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.error) == (JobState.CANCELLED, "Cancelled")


async def test_settle_of_a_retry_delays_the_job_and_writes_no_notification(
    store: Store, manual_clock: ManualClock
) -> None:
    job = await claim_one(store)
    assert await store.settle([retried(job, START + 30)]) == [True]
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.attempt, record.run_at) == (JobState.QUEUED, 1, START + 30)
    assert (record.error, record.finished_at) == ("not yet", None)
    assert (await store.claim(1)).next_run_at == START + 30
    assert await store.pending(0, 10) == []
    manual_clock.pass_time(30)
    [again] = (await store.claim(1)).jobs
    assert (again.run, again.attempt, again.claim) == (1, 2, 2)


async def test_settle_of_a_success_clears_the_error_of_an_earlier_attempt(
    store: Store, manual_clock: ManualClock
) -> None:
    job = await claim_one(store)
    await store.settle([retried(job, START)])
    [again] = (await store.claim(1)).jobs
    await store.settle([success(again)])
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.error, record.error_type, record.stack_trace) == (JobState.SUCCEEDED, None, None, None)


async def test_settle_of_an_ended_job_is_rejected(store: Store) -> None:
    job = await claim_one(store)
    assert await store.settle([success(job)]) == [True]
    assert await store.settle([failed(job)]) == [False]
    assert [message.id for message in await store.pending(0, 10)] == [1]
    assert (await store.stats()).jobs["succeeded"] == 1


async def test_settle_with_a_job_named_twice_settles_it_once(store: Store) -> None:
    job = await claim_one(store)
    assert await store.settle([success(job), failed(job)]) == [True, False]
    assert len(await store.pending(0, 10)) == 1


async def test_concurrent_settlements_of_one_job_succeed_once(store: Store) -> None:
    job = await claim_one(store)
    answers = await asyncio.gather(*(store.settle([success(job)]) for _ in range(10)))
    assert sorted(answer for [answer] in answers) == [False] * 9 + [True]
    assert len(await store.pending(0, 10)) == 1


@pytest.mark.parametrize("fence", [{"owner": "another owner"}, {"claim": 0}, {"claim": 2}])
async def test_settle_by_a_stale_owner_is_rejected(store: Store, fence: dict[str, Any]) -> None:
    job = await claim_one(store)
    assert await store.settle([success(stale(job, **fence))]) == [False]
    record = await store.get(job.id)
    assert record is not None
    assert record.state is JobState.RUNNING
    assert await store.pending(0, 10) == []


async def test_settle_by_a_stale_owner_does_not_affect_other_settlements(store: Store) -> None:
    await store.enqueue([a_job() for _ in range(5)])
    jobs = (await store.claim(5)).jobs
    lost = stale(jobs[2], claim=9)
    settlements = [success(lost if job is jobs[2] else job) for job in jobs]
    assert await store.settle(settlements) == [True, True, False, True, True]
    assert [message.job_id for message in await store.pending(0, 10)] == [job.id for job in jobs if job is not jobs[2]]
    figures = await store.stats()
    assert (figures.jobs["succeeded"], figures.jobs["running"], figures.outbox_depth) == (4, 1, 4)


async def test_settle_of_an_ended_run_without_a_notification_raises(store: Store) -> None:
    job = await claim_one(store)
    silent = success(job)
    with pytest.raises(ValueError, match="notification"):
        await store.settle([type(silent)(silent.attempt, silent.outcome, None)])
    record = await store.get(job.id)
    assert record is not None
    assert record.state is JobState.RUNNING


async def test_settle_of_nothing_returns_nothing(store: Store) -> None:
    assert await store.settle([]) == []


async def test_settle_that_is_cancelled_is_carried_out(store: Store) -> None:
    job = await claim_one(store)
    settling = asyncio.ensure_future(store.settle([success(job)]))
    await asyncio.sleep(0)
    settling.cancel()
    await asyncio.gather(settling, return_exceptions=True)
    assert await store.settle([failed(job)]) == [False]
    record = await store.get(job.id)
    assert record is not None
    assert record.state is JobState.SUCCEEDED


async def test_settle_of_500_jobs_in_one_call_settles_each(store: Store) -> None:
    await store.enqueue([a_job(user=f"user-{number % 7}") for number in range(500)])
    jobs = (await store.claim(500)).jobs
    assert await store.settle([success(job) for job in jobs]) == [True] * 500
    assert len(await store.pending(0, 1000)) == 500


# -- releasing -----------------------------------------------------------------------------------------------------


async def test_release_makes_the_job_due_and_does_not_count_the_attempt(store: Store) -> None:
    job = await claim_one(store)
    await store.release([job])
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.attempt, record.started_at) == (JobState.QUEUED, 0, None)
    [again] = (await store.claim(1)).jobs
    assert (again.attempt, again.claim, again.suspect) == (1, 2, False)


async def test_released_job_is_the_oldest_again(store: Store) -> None:
    job = await claim_one(store, START - 10)
    await store.enqueue([a_job(START - 5)])
    await store.release([job])
    assert (await store.claim(1)).jobs[0].id == job.id


async def test_release_by_a_stale_owner_changes_nothing(store: Store) -> None:
    await store.enqueue([a_job(), a_job()])
    ours, lost = (await store.claim(2)).jobs
    await store.release([ours, stale(lost, claim=7)])
    states = [record.state for job in (ours, lost) if (record := await store.get(job.id))]
    assert states == [JobState.QUEUED, JobState.RUNNING]


async def test_release_of_a_settled_job_changes_nothing(store: Store) -> None:
    job = await claim_one(store)
    await store.settle([success(job)])
    await store.release([job])
    record = await store.get(job.id)
    assert record is not None
    assert record.state is JobState.SUCCEEDED


async def test_settle_of_a_released_job_is_rejected(store: Store) -> None:
    job = await claim_one(store)
    await store.release([job])
    assert await store.settle([success(job)]) == [False]
