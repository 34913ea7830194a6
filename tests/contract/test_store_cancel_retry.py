"""How every Store cancels jobs and starts their next runs."""

import asyncio

import pytest

from tests.support.stores import (
    START,
    a_job,
    cancel_notification,
    cancelled,
    claim_one,
    failed,
    record_of,
    retried,
    success,
)
from worker.core.job import JobState
from worker.core.store import Store

# -- cancelling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0.0, 3600.0])
async def test_cancel_of_a_waiting_job_ends_it_and_writes_its_notification(store: Store, delay: float) -> None:
    job = a_job(delay=delay)
    await store.enqueue([job])
    record = await record_of(store, job.id)
    assert await store.cancel(job.id, 1, cancel_notification(record)) == "cancelled"
    record = await record_of(store, job.id)
    assert (record.state, record.error, record.finished_at) == (JobState.CANCELLED, "Cancelled", START)
    assert [message.job_id for message in await store.pending(0, 10)] == [job.id]
    assert (await store.claim(10)).jobs == []


async def test_cancel_of_a_running_job_is_recorded_as_a_request(store: Store) -> None:
    job = await claim_one(store)
    record = await record_of(store, job.id)
    assert await store.cancel(job.id, 1, cancel_notification(record)) == "requested"
    assert (await record_of(store, job.id)).cancel_requested
    assert await store.pending(0, 10) == []
    await store.release([job])
    assert (await store.claim(1)).jobs[0].cancel_requested


async def test_cancel_request_is_kept_when_the_attempt_is_retried(store: Store) -> None:
    job = await claim_one(store)
    await store.cancel(job.id, 1, cancel_notification(await record_of(store, job.id)))
    await store.settle([retried(job, START)])
    assert (await store.claim(1)).jobs[0].cancel_requested


async def test_cancel_of_an_ended_job_changes_nothing(store: Store) -> None:
    job = await claim_one(store)
    notification = cancel_notification(await record_of(store, job.id))
    await store.settle([success(job)])
    assert await store.cancel(job.id, 1, notification) == "ended"
    assert len(await store.pending(0, 10)) == 1


async def test_cancel_of_an_unknown_job_returns_unknown(store: Store) -> None:
    job = await claim_one(store)
    assert await store.cancel("unknown", 1, cancel_notification(await record_of(store, job.id))) == "unknown"


async def test_cancel_of_an_earlier_run_returns_changed(store: Store) -> None:
    job = await claim_one(store)
    notification = cancel_notification(await record_of(store, job.id))
    await store.settle([success(job)])
    await store.retry(job.id)
    assert await store.cancel(job.id, 1, notification) == "changed"
    assert (await record_of(store, job.id)).state is JobState.QUEUED


async def test_cancel_and_claim_at_the_same_time_give_each_job_one_state(store: Store) -> None:
    jobs = [a_job() for _ in range(20)]
    await store.enqueue(jobs)
    notification = {job.id: cancel_notification(await record_of(store, job.id)) for job in jobs}
    claims, *answers = await asyncio.gather(
        store.claim(10), *(store.cancel(job.id, 1, notification[job.id]) for job in jobs)
    )
    figures = await store.stats()
    assert figures.jobs["cancelled"] == figures.outbox_depth == answers.count("cancelled")
    assert figures.jobs["running"] == len(claims.jobs)  # type: ignore[union-attr]  # gather's types end here
    assert sum(figures.jobs.values()) == 20


# -- the next run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [success, failed, cancelled])
async def test_retry_of_an_ended_job_starts_the_next_run(store: Store, end: type) -> None:
    job = await claim_one(store)
    await store.settle([end(job)])
    assert await store.retry(job.id) == "queued"
    record = await record_of(store, job.id)
    assert (record.state, record.run, record.attempt, record.cancel_requested) == (JobState.QUEUED, 2, 0, False)
    assert (record.error, record.result, record.started_at, record.finished_at) == (None, None, None, None)
    [again] = (await store.claim(1)).jobs
    assert (again.run, again.attempt, again.claim) == (2, 1, 2)
    assert await store.settle([success(again)]) == [True]
    assert len(await store.pending(0, 10)) == 2


async def test_retry_of_a_cancelled_job_clears_the_cancel_request(store: Store) -> None:
    job = await claim_one(store)
    await store.cancel(job.id, 1, cancel_notification(await record_of(store, job.id)))
    await store.settle([cancelled(job)])
    await store.retry(job.id)
    assert not (await store.claim(1)).jobs[0].cancel_requested


async def test_retry_of_a_job_that_has_not_ended_returns_active(store: Store) -> None:
    job = a_job()
    await store.enqueue([job])
    assert await store.retry(job.id) == "active"
    await store.claim(1)
    assert await store.retry(job.id) == "active"
    assert await store.retry("unknown") == "unknown"


async def test_two_retries_at_the_same_time_start_one_run(store: Store) -> None:
    job = await claim_one(store)
    await store.settle([success(job)])
    answers = await asyncio.gather(store.retry(job.id), store.retry(job.id))
    assert sorted(answers) == ["active", "queued"]
    assert (await record_of(store, job.id)).run == 2


async def test_settle_of_an_attempt_of_an_earlier_run_is_rejected(store: Store) -> None:
    job = await claim_one(store)
    await store.settle([success(job)])
    await store.retry(job.id)
    await store.claim(1)
    assert await store.settle([failed(job)]) == [False]
