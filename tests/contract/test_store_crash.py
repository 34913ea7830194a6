"""What every Store does with the jobs of an owner that crashed."""

import asyncio

import pytest

from tests.support.stores import (
    START,
    ManualClock,
    StoreLocation,
    a_job,
    cancel_notification,
    claim_one,
    failed,
    retried,
    success,
)
from worker.core.job import JobState
from worker.core.store import JobQuery, Store

# -- a dead owner's jobs -------------------------------------------------------------------------------------------


async def test_orphans_after_a_restart_are_the_running_jobs_of_the_last_owner(location: StoreLocation) -> None:
    store = await location.open()
    await store.enqueue([a_job(START - age, payload=age) for age in (1, 2, 3)])
    held = (await store.claim(2)).jobs
    assert await store.orphans() == []
    store = await location.reopen(store)
    assert await store.orphans() == held


async def test_settle_of_an_orphan_is_accepted(location: StoreLocation) -> None:
    store = await location.open()
    await claim_one(store)
    store = await location.reopen(store)
    [orphan] = await store.orphans()
    assert await store.settle([failed(orphan)]) == [True]
    assert await store.orphans() == []
    assert len(await store.pending(0, 10)) == 1


async def test_release_of_an_orphan_as_a_suspect_makes_it_claimable(location: StoreLocation) -> None:
    store = await location.open()
    await claim_one(store)
    store = await location.reopen(store)
    await store.release(await store.orphans(), suspect=True)
    assert await store.orphans() == []
    [job] = (await store.claim(5)).jobs
    assert (job.suspect, job.attempt, job.claim) == (True, 1, 2)


async def test_settle_by_a_dead_owner_after_another_claim_is_rejected(location: StoreLocation) -> None:
    store = await location.open()
    old = await claim_one(store)
    store = await location.reopen(store)
    await store.release(await store.orphans())
    [new] = (await store.claim(1)).jobs
    assert await store.settle([success(old)]) == [False]
    assert await store.settle([success(new)]) == [True]


async def test_orphans_of_an_owner_with_the_same_name_are_found(location: StoreLocation) -> None:
    store = await location.open(owner="always the same")
    job = await claim_one(store)
    await location.close(store)
    store = await location.open(owner="always the same")
    [orphan] = await store.orphans()
    assert orphan.id == job.id
    assert await store.settle([success(job)]) == [False]
    await store.release([orphan])
    assert len((await store.claim(1)).jobs) == 1


async def test_release_counts_crashes_of_one_run(location: StoreLocation) -> None:
    store = await location.open()
    await claim_one(store)
    for crashes in (1, 2):
        store = await location.reopen(store)
        await store.release(await store.orphans(), crashed=True)
        [job] = (await store.claim(1)).jobs
        assert (job.crashes, job.attempt, job.suspect) == (crashes, 1, False)
    store = await location.reopen(store)
    [orphan] = await store.orphans()
    assert orphan.crashes == 2
    await store.release([orphan])
    [job] = (await store.claim(1)).jobs
    await store.settle([retried(job, START)])
    [job] = (await store.claim(1)).jobs
    assert job.crashes == 2
    await store.settle([failed(job)])
    await store.retry(job.id)
    [job] = (await store.claim(1)).jobs
    assert job.crashes == 0


# -- suspects ------------------------------------------------------------------------------------------------------


async def _suspects(location: StoreLocation, count: int, *, first_age: float = 100.0) -> Store:
    """Return a store with `count` suspects: jobs that were running when the service crashed."""
    store = await location.open()
    await store.enqueue([a_job(START - first_age + number) for number in range(count)])
    await store.claim(count)
    store = await location.reopen(store)
    await store.release(await store.orphans(), suspect=True)
    return store


async def test_claim_takes_a_suspect_alone(location: StoreLocation) -> None:
    store = await _suspects(location, 2)
    await store.enqueue([a_job()])
    first = await store.claim(10)
    assert [job.suspect for job in first.jobs] == [True]
    assert first.next_run_at is None
    assert (await store.claim(10)).jobs == []


async def test_claim_takes_the_next_suspect_when_one_has_ended(location: StoreLocation) -> None:
    store = await _suspects(location, 2)
    ordinary = a_job()
    await store.enqueue([ordinary])
    for _ in range(2):
        [suspect] = (await store.claim(10)).jobs
        assert suspect.suspect
        await store.settle([success(suspect)])
    assert [job.id for job in (await store.claim(10)).jobs] == [ordinary.id]


async def test_claim_takes_a_suspect_only_when_no_other_job_runs(location: StoreLocation) -> None:
    store = await _suspects(location, 1, first_age=10.0)
    older, younger = a_job(START - 50), a_job(START)
    await store.enqueue([older, younger])
    [held] = (await store.claim(10)).jobs
    assert held.id == older.id
    blocked = await store.claim(10)
    assert (blocked.jobs, blocked.next_run_at) == ([], None)
    await store.settle([success(held)])
    assert [job.suspect for job in (await store.claim(10)).jobs] == [True]


async def test_suspect_that_is_retried_is_an_ordinary_job_again(location: StoreLocation) -> None:
    store = await _suspects(location, 1)
    [suspect] = (await store.claim(1)).jobs
    await store.settle([retried(suspect, START)])
    await store.enqueue([a_job(START - 1)])
    jobs = (await store.claim(10)).jobs
    assert [job.suspect for job in jobs] == [False, False]


async def test_suspect_that_is_retried_as_a_suspect_stays_one(
    location: StoreLocation, manual_clock: ManualClock
) -> None:
    store = await _suspects(location, 1)
    [suspect] = (await store.claim(1)).jobs
    await store.settle([retried(suspect, START + 5, suspect=True)])
    others = [a_job(START - 1), a_job(START - 1)]
    await store.enqueue(others)
    held = (await store.claim(10)).jobs
    assert len(held) == 2
    manual_clock.pass_time(5)
    assert (await store.claim(10)).jobs == []
    await store.settle([success(job) for job in held])
    assert [job.suspect for job in (await store.claim(10)).jobs] == [True]


async def test_released_suspect_stays_a_suspect(location: StoreLocation) -> None:
    store = await _suspects(location, 1)
    [suspect] = (await store.claim(1)).jobs
    await store.release([suspect])
    await store.enqueue([a_job()])
    assert [job.suspect for job in (await store.claim(10)).jobs] == [True]


async def test_suspect_stays_a_suspect_after_another_crash(location: StoreLocation) -> None:
    store = await _suspects(location, 1)
    await store.claim(1)
    store = await location.reopen(store)
    [orphan] = await store.orphans()
    assert orphan.suspect
    await store.settle([retried(orphan, START, suspect=True)])
    await store.enqueue([a_job()])
    assert [job.suspect for job in (await store.claim(10)).jobs] == [True]


async def test_cancelled_suspect_does_not_block_other_jobs(location: StoreLocation) -> None:
    store = await _suspects(location, 1)
    [record] = (await store.find(JobQuery(states=[JobState.QUEUED]))).jobs
    assert await store.cancel(record.id, 1, cancel_notification(record)) == "cancelled"
    await store.enqueue([a_job(), a_job()])
    assert len((await store.claim(10)).jobs) == 2


@pytest.mark.parametrize("end", ["settle", "release"])
async def test_on_work_listener_is_called_when_a_suspect_ends(location: StoreLocation, end: str) -> None:
    store = await _suspects(location, 1)
    await store.enqueue([a_job()])
    [suspect] = (await store.claim(10)).jobs
    work = asyncio.Event()
    store.on_work(work.set)
    await (store.settle([success(suspect)]) if end == "settle" else store.release([suspect]))
    await asyncio.wait_for(work.wait(), 30)


async def test_on_work_listener_is_called_when_a_suspect_can_be_claimed(location: StoreLocation) -> None:
    store = await _suspects(location, 1, first_age=10.0)
    await store.enqueue([a_job(START - 50)])
    [held] = (await store.claim(10)).jobs
    work = asyncio.Event()
    store.on_work(work.set)
    await store.settle([success(held)])
    await asyncio.wait_for(work.wait(), 30)
