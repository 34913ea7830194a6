"""How every Store claims due jobs, also when clocks jump."""

import asyncio

import pytest

from tests.support.stores import (
    START,
    ManualClock,
    StoreLocation,
    a_failure,
    a_job,
    an_attempt,
    retried,
    settlement,
)
from worker.core.job import Job, JobState
from worker.core.outcome import Retry
from worker.core.store import Store


async def retry_in_30_seconds(store: Store, clock: ManualClock) -> None:
    """Enqueue a job whose first attempt fails; it waits for 30 s."""
    await store.enqueue([a_job()])
    [job] = (await store.claim(1)).jobs
    await store.settle([retried(job, clock.wall + 30)])


# -- claiming ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["สมชาย ใจดี", 'a"b\\c', "a\nb\x00c\x7f", "👩‍👩‍👧", "null", "[1]", "\u2028</script>"], ids=repr
)
async def test_claim_returns_the_job_exactly_as_it_was_enqueued(store: Store, text: str) -> None:
    payload = {"text": text, "deep": [[{text: 1.5e300}]], "big": 2**53 + 1, "small": 0.1}
    new = a_job(1_763_712_345.123_456_7, user=text, kind=text, payload=payload)
    await store.enqueue([new])
    [job] = (await store.claim(1)).jobs
    assert (job.id, job.kind, job.user_id, job.payload, job.created_at) == (
        new.id, new.kind, new.user_id, new.payload, new.created_at
    )  # fmt: skip


async def test_claim_marks_the_job_as_running_and_counts_the_attempt(store: Store) -> None:
    new = a_job(payload={"n": 1}, max_attempts=4)
    await store.enqueue([new])
    claimed = await store.claim(5)
    [job] = claimed.jobs
    assert job == Job(
        id=new.id,
        kind=new.kind,
        user_id=new.user_id,
        payload=new.payload,
        run=1,
        attempt=1,
        max_attempts=4,
        created_at=START,
        owner=job.owner,
        claim=1,
    )
    record = await store.get(new.id)
    assert record is not None
    assert (record.state, record.attempt, record.started_at) == (JobState.RUNNING, 1, START)
    assert claimed.next_run_at is None


async def test_claim_takes_the_oldest_jobs_first(store: Store) -> None:
    jobs = [a_job(START - age) for age in (1, 5, 3)]
    await store.enqueue(jobs)
    assert [job.created_at for job in (await store.claim(2)).jobs] == [START - 5, START - 3]
    assert [job.created_at for job in (await store.claim(2)).jobs] == [START - 1]


async def test_claim_takes_jobs_of_the_same_age_in_the_order_of_their_enqueue(store: Store) -> None:
    jobs = [a_job() for _ in range(40)]
    await store.enqueue(jobs)
    claimed = [*(await store.claim(15)).jobs, *(await store.claim(25)).jobs]
    assert [job.id for job in claimed] == [job.id for job in jobs]


async def test_claim_returns_when_the_next_job_is_due(store: Store) -> None:
    await store.enqueue([a_job(START - 2), a_job(START - 1)])
    assert (await store.claim(1)).next_run_at == START - 1


async def test_claim_from_an_empty_store_returns_no_jobs(store: Store) -> None:
    claimed = await store.claim(10)
    assert (claimed.jobs, claimed.next_run_at) == ([], None)


async def test_claim_with_a_limit_below_one_takes_nothing(store: Store) -> None:
    await store.enqueue([a_job()])
    assert (await store.claim(0)).jobs == []
    assert (await store.claim(-1)).jobs == []


async def test_claim_takes_a_delayed_job_only_when_it_is_due(store: Store, manual_clock: ManualClock) -> None:
    await store.enqueue([a_job(delay=60.0), a_job(delay=3600.0)])
    early = await store.claim(10)
    manual_clock.pass_time(60.0)
    due = await store.claim(10)
    assert (early.jobs, early.next_run_at) == ([], START + 60.0)
    assert [job.created_at for job in due.jobs] == [START]
    assert due.next_run_at == START + 3600.0


async def test_delayed_job_that_became_due_is_claimed_by_its_due_time(store: Store, manual_clock: ManualClock) -> None:
    delayed = a_job(START - 100, delay=150.0)
    early, late = a_job(START + 40), a_job(START + 60)
    manual_clock.set_wall(-50)
    await store.enqueue([delayed])
    manual_clock.pass_time(150)
    await store.enqueue([late, early])
    assert [job.id for job in (await store.claim(10)).jobs] == [early.id, delayed.id, late.id]


async def test_concurrent_claims_take_each_job_once(store: Store) -> None:
    await store.enqueue([a_job() for _ in range(100)])
    claims = await asyncio.gather(*(store.claim(7) for _ in range(20)))
    ids = [job.id for claimed in claims for job in claimed.jobs]
    assert len(ids) == len(set(ids)) == 100


async def test_claim_count_grows_with_each_claim(store: Store) -> None:
    await store.enqueue([a_job()])
    seen = []
    for _ in range(3):
        [job] = (await store.claim(1)).jobs
        seen.append((job.claim, job.attempt))
        await store.release([job])
    assert seen == [(1, 1), (2, 1), (3, 1)]


async def test_cancelled_claim_releases_its_jobs(store: Store) -> None:
    await store.enqueue([a_job() for _ in range(3)])
    claiming = asyncio.ensure_future(store.claim(3))
    await asyncio.sleep(0)  # the claim is requested and not yet answered
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    again = await _claim_until(store, 3)
    assert [job.attempt for job in again] == [1, 1, 1]
    assert (await store.stats()).jobs["running"] == 3


async def test_claim_cancelled_after_its_commit_releases_its_jobs(store: Store) -> None:
    await store.enqueue([a_job() for _ in range(3)])
    claiming = asyncio.ensure_future(store.claim(3))

    def cancel() -> None:
        """Listeners are called for a commit in the same turn of the loop in which its futures are resolved."""
        claiming.cancel()

    store.on_work(cancel)
    neighbour = asyncio.ensure_future(store.enqueue([a_job(START + 1)]))
    with pytest.raises(asyncio.CancelledError):
        await claiming
    await neighbour
    assert len(await _claim_until(store, 4)) == 4


async def _claim_until(store: Store, count: int) -> list[Job]:
    """Claim until `count` jobs were returned; waits for work, not for time."""
    work = asyncio.Event()
    store.on_work(work.set)
    jobs: list[Job] = []
    async with asyncio.timeout(30):
        while len(jobs) < count:
            work.clear()
            jobs += (await store.claim(count - len(jobs))).jobs
            if len(jobs) < count:
                await work.wait()
    return jobs


# -- clocks that jump ----------------------------------------------------------------------------------------------


async def test_claim_after_the_clock_was_set_back_takes_jobs_that_were_due(
    store: Store, manual_clock: ManualClock
) -> None:
    await store.enqueue([a_job()])
    manual_clock.set_wall(-7200)
    claimed = await store.claim(1)
    assert len(claimed.jobs) == 1


async def test_enqueue_after_the_clock_was_set_back_leaves_the_job_due(store: Store, manual_clock: ManualClock) -> None:
    job = a_job(START)
    manual_clock.set_wall(-7200)
    await store.enqueue([job])
    assert len((await store.claim(1)).jobs) == 1


async def test_claim_after_the_clock_was_set_back_reports_waiting_jobs_as_due(
    store: Store, manual_clock: ManualClock
) -> None:
    await store.enqueue([a_job(), a_job()])
    manual_clock.set_wall(-7200)
    claimed = await store.claim(1)
    assert claimed.next_run_at is not None
    assert claimed.next_run_at <= manual_clock.wall


async def test_backoff_keeps_its_duration_when_the_clock_is_set_back(store: Store, manual_clock: ManualClock) -> None:
    await retry_in_30_seconds(store, manual_clock)
    manual_clock.set_wall(-7200)
    assert (await store.claim(1)).next_run_at == pytest.approx(manual_clock.wall + 30, abs=1)
    manual_clock.pass_time(31)
    assert [again.attempt for again in (await store.claim(1)).jobs] == [2]


async def test_backoff_keeps_its_duration_when_the_clock_is_set_back_before_a_restart(
    location: StoreLocation, manual_clock: ManualClock
) -> None:
    store = await location.open()
    await retry_in_30_seconds(store, manual_clock)
    manual_clock.set_wall(-7200)
    store = await location.reopen(store)
    assert (await store.claim(1)).next_run_at == pytest.approx(manual_clock.wall + 30, abs=1)


async def test_backoff_keeps_its_duration_when_another_commit_follows_a_clock_that_is_set_back(
    location: StoreLocation, manual_clock: ManualClock
) -> None:
    store = await location.open()
    manual_clock.pass_time(10_000)
    await retry_in_30_seconds(store, manual_clock)
    manual_clock.set_wall(-7200)
    await store.enqueue([a_job(manual_clock.wall, delay=900)])
    store = await location.reopen(store)
    assert (await store.claim(1)).next_run_at == pytest.approx(manual_clock.wall + 30, abs=1)


async def test_time_that_passes_before_a_restart_shortens_a_backoff_although_the_clock_is_set_back(
    location: StoreLocation, manual_clock: ManualClock
) -> None:
    store = await location.open()
    await retry_in_30_seconds(store, manual_clock)
    manual_clock.pass_time(20)
    manual_clock.set_wall(-7200)
    store = await location.reopen(store)
    assert (await store.claim(1)).next_run_at == pytest.approx(manual_clock.wall + 10, abs=1)


async def test_backoff_that_was_decided_before_the_clock_was_set_back_keeps_its_duration(
    store: Store, manual_clock: ManualClock
) -> None:
    await store.enqueue([a_job()])
    [job] = (await store.claim(1)).jobs
    failure = a_failure()
    outcome = Retry(failure, manual_clock.wall + 30, delay=30)
    manual_clock.set_wall(-7200)
    await store.settle([settlement(an_attempt(job, failure=failure), outcome)])
    assert (await store.claim(1)).next_run_at == pytest.approx(manual_clock.wall + 30, abs=1)


async def test_backoff_is_adjusted_once_for_a_clock_that_was_set_back(
    location: StoreLocation, manual_clock: ManualClock
) -> None:
    store = await location.open()
    await retry_in_30_seconds(store, manual_clock)
    manual_clock.set_wall(-7200)
    await store.claim(1)
    store = await location.reopen(store)
    assert (await store.claim(1)).next_run_at == pytest.approx(manual_clock.wall + 30, abs=1)


async def test_scheduled_job_keeps_its_time_when_the_clock_is_set_back(store: Store, manual_clock: ManualClock) -> None:
    await store.enqueue([a_job(delay=60)])
    manual_clock.set_wall(-7200)
    assert (await store.claim(1)).next_run_at == START + 60
    manual_clock.pass_time(7200 + 60)
    assert len((await store.claim(1)).jobs) == 1


async def test_claim_after_the_clock_was_set_forward_takes_waiting_jobs_early(
    store: Store, manual_clock: ManualClock
) -> None:
    await store.enqueue([a_job(), a_job(delay=600)])
    [job] = (await store.claim(1)).jobs
    await store.settle([retried(job, manual_clock.wall + 30)])
    manual_clock.set_wall(+7200)
    assert len((await store.claim(10)).jobs) == 2
