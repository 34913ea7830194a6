"""Every Store claims by priority, and never a job of a kind that is paused."""

import pytest

from tests.support.stores import START, ManualClock, StoreLocation, a_job, cancel_notification, failed, retried, success
from worker.core.job import JobState
from worker.core.store import Store


async def claimed(store: Store, limit: int = 100) -> list[str]:
    return [job.id for job in (await store.claim(limit)).jobs]


async def test_claim_takes_the_highest_priority_and_then_the_oldest_job(store: Store) -> None:
    low, high = a_job(START - 9, priority=-1), a_job(START, priority=7)
    older, younger = a_job(START - 5), a_job(START - 3)
    await store.enqueue([low, younger, older, high])
    assert await claimed(store, 2) == [high.id, older.id]
    assert await claimed(store) == [younger.id, low.id]


async def test_priority_of_a_delayed_job_applies_when_it_is_due(store: Store, manual_clock: ManualClock) -> None:
    later, now = a_job(priority=100, delay=60.0), a_job()
    await store.enqueue([later, now])
    assert await claimed(store, 1) == [now.id]
    manual_clock.pass_time(60.0)
    await store.enqueue([a_job(START - 100)])
    assert await claimed(store, 1) == [later.id]


@pytest.mark.parametrize("noticed", [True, False])
async def test_delayed_job_waits_again_when_the_clock_is_set_back_before_a_claim_noticed_it(
    store: Store, manual_clock: ManualClock, noticed: bool
) -> None:
    later, now = a_job(priority=5, delay=20.0), a_job()
    await store.enqueue([later, now])
    manual_clock.pass_time(30.0)
    if noticed:
        await claimed(store, 0)
    manual_clock.set_wall(-100.0)
    assert await claimed(store, 1) == [later.id if noticed else now.id]


async def test_job_after_its_backoff_keeps_its_priority(store: Store, manual_clock: ManualClock) -> None:
    urgent = a_job(priority=5)
    await store.enqueue([urgent])
    [job] = (await store.claim(1)).jobs
    await store.settle([retried(job, START + 10.0)])
    manual_clock.pass_time(10.0)
    await store.enqueue([a_job(START - 100)])
    assert await claimed(store, 1) == [urgent.id]


async def test_released_or_retried_job_keeps_its_priority(store: Store) -> None:
    urgent = a_job(priority=5)
    await store.enqueue([urgent])
    [job] = (await store.claim(1)).jobs
    await store.release([job])
    await store.enqueue([a_job(START - 100)])
    [job] = (await store.claim(1)).jobs
    assert job.id == urgent.id
    await store.settle([failed(job)])
    await store.retry(urgent.id)
    assert await claimed(store, 1) == [urgent.id]


async def test_get_returns_priority_and_organization(store: Store) -> None:
    new = a_job(priority=-100, organization="กรมตัวอย่าง")
    await store.enqueue([new])
    record = await store.get(new.id)
    assert record is not None
    assert (record.priority, record.organization) == (-100, "กรมตัวอย่าง")


async def test_oldest_job_age_counts_jobs_of_every_priority(store: Store, manual_clock: ManualClock) -> None:
    await store.enqueue([a_job(START - 50, priority=-3), a_job(START - 10), a_job(START - 20, priority=9)])
    assert (await store.stats()).oldest_job_age == 50.0


async def test_enqueue_with_a_known_key_returns_the_state_of_its_job(store: Store) -> None:
    [first] = await store.enqueue([a_job(key="k")])
    [job] = (await store.claim(1)).jobs
    [while_running] = await store.enqueue([a_job(key="k")])
    await store.settle([success(job)])
    [ended, conflict] = await store.enqueue([a_job(key="k"), a_job(key="k", payload=2)])
    assert first.job_state == JobState.QUEUED
    assert (while_running.state, while_running.job_state) == ("existing", JobState.RUNNING)
    assert (ended.state, ended.job_state) == ("existing", JobState.SUCCEEDED)
    assert (conflict.state, conflict.job_state) == ("conflict", JobState.SUCCEEDED)


async def test_claim_leaves_jobs_of_a_paused_kind_queued(store: Store) -> None:
    report, other = a_job(kind="report"), a_job(kind="noop")
    await store.enqueue([report, other])
    await store.pause("report")
    await store.pause("report")
    late = a_job(kind="report")
    await store.enqueue([late])
    answer = await store.claim(10)
    assert [job.id for job in answer.jobs] == [other.id]
    assert answer.next_run_at is None
    assert await store.paused() == {"report"}
    assert (await store.stats()).jobs["queued"] == 2


async def test_claim_after_a_resume_keeps_the_order_of_the_jobs(store: Store) -> None:
    jobs = [a_job(START - age, kind="report", priority=age % 2) for age in range(6)]
    await store.enqueue(jobs[:3])
    await store.pause("report")
    await store.claim(10)
    await store.enqueue(jobs[3:])
    woken: list[bool] = []
    store.on_work(lambda: woken.append(True))
    await store.resume("report")
    await store.resume("report")
    assert woken
    ages = [round(START - job.created_at) for job in (await store.claim(10)).jobs]
    assert ages == [5, 3, 1, 4, 2, 0]
    assert await store.paused() == frozenset()


async def test_pause_is_kept_after_a_restart(store: Store, location: StoreLocation) -> None:
    await store.pause("report")
    await store.enqueue([a_job(kind="report")])
    store = await location.reopen(store)
    assert await store.paused() == {"report"}
    assert await claimed(store) == []
    await store.resume("report")
    store = await location.reopen(store)  # before a claim: no job stays in the lane of the paused ones
    assert len(await claimed(store)) == 1


async def test_pause_lets_running_jobs_end_and_holds_back_the_rest(store: Store, manual_clock: ManualClock) -> None:
    await store.enqueue([a_job(kind="report"), a_job(kind="report", delay=20.0)])
    [job] = (await store.claim(1)).jobs
    await store.pause("report")
    assert await store.settle([retried(job, START + 10.0)]) == [True]
    manual_clock.pass_time(30.0)
    assert await claimed(store) == []
    await store.resume("report")
    assert len(await claimed(store)) == 2


async def test_job_of_a_paused_kind_can_be_cancelled_and_has_no_age(store: Store) -> None:
    new = a_job(START - 50, kind="report")
    await store.pause("report")
    await store.enqueue([new])
    assert (await store.stats()).oldest_job_age is None
    record = await store.get(new.id)
    assert record is not None
    assert await store.cancel(new.id, 1, cancel_notification(record)) == "cancelled"
    await store.resume("report")
    assert await claimed(store) == []


async def test_claim_with_very_many_paused_jobs_takes_the_others(store: Store) -> None:
    await store.enqueue([a_job(START - 100, kind="report") for _ in range(6500)])
    other = a_job()
    await store.enqueue([other])
    await store.pause("report")
    seen: list[str] = []
    for _ in range(10):
        answer = await store.claim(3)
        seen += [job.id for job in answer.jobs]
        if answer.next_run_at is None:
            break
    assert seen == [other.id]
    await store.resume("report")
    back = 0
    while (answer := await store.claim(1000)).jobs:
        back += len(answer.jobs)
    assert back == 6500


async def test_suspect_of_a_paused_kind_does_not_block_other_jobs(store: Store) -> None:
    await store.enqueue([a_job(START - 50, kind="report"), a_job()])
    [suspect] = (await store.claim(1)).jobs
    await store.release([suspect], suspect=True)
    await store.pause("report")
    [job] = (await store.claim(10)).jobs
    assert job.kind == "noop"
    await store.settle([success(job)])
    await store.resume("report")
    [again] = (await store.claim(10)).jobs
    assert again.suspect
