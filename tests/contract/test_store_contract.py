"""Every Store keeps jobs like this, whatever it is made of."""

import asyncio
from dataclasses import replace

import pytest

from tests.support.stores import (
    START,
    HandClock,
    StoreHouse,
    a_job,
    cancel_news,
    cancelled,
    failed,
    retried,
    run_one,
    stale,
    success,
)
from worker.errors import StoreFull
from worker.job import Job, JobRecord, JobState
from worker.outcome import Failed
from worker.queue import JobQuery, Store

# -- intake ------------------------------------------------------------------------------------------------


async def test_an_accepted_job_lies_in_the_store_as_it_was_given(store: Store) -> None:
    job = a_job(user="ก่อเกียรติ", kind="report", payload={"ชื่อ": "ประถมาภรณ์"}, max_attempts=7, key="scope:key")
    [accepted] = await store.enqueue([job])
    record = await store.get(job.id)
    assert (accepted.job_id, accepted.state) == (job.id, "created")
    assert record == JobRecord(
        id=job.id,
        kind="report",
        user_id="ก่อเกียรติ",
        payload=job.payload,
        state=JobState.QUEUED,
        run=1,
        attempt=0,
        max_attempts=7,
        created_at=START,
        run_at=START,
        started_at=None,
        finished_at=None,
        duration_ms=None,
        cancel_requested=False,
        error_type=None,
        error=None,
        error_id=None,
        stack_trace=None,
        result=None,
        key="scope:key",
    )


async def test_every_job_of_a_call_is_answered_in_order(store: Store) -> None:
    jobs = [a_job(payload=number) for number in range(300)]
    answers = await store.enqueue(jobs)
    assert [answer.job_id for answer in answers] == [job.id for job in jobs]
    assert (await store.figures()).jobs["queued"] == 300


async def test_enqueueing_nothing_is_nothing(store: Store) -> None:
    assert await store.enqueue([]) == []


async def test_an_unknown_job_is_none(store: Store) -> None:
    assert await store.get("nobody") is None


async def test_the_same_key_and_payload_is_the_first_job(store: Store) -> None:
    first, second = a_job(key="k", payload={"a": 1}), a_job(key="k", payload={"a": 1})
    await store.enqueue([first])
    [answer] = await store.enqueue([second])
    assert (answer.job_id, answer.state) == (first.id, "existing")
    assert await store.get(second.id) is None


async def test_the_same_key_with_another_payload_is_a_conflict(store: Store) -> None:
    first, second = a_job(key="k", payload={"a": 1}), a_job(key="k", payload={"a": 2})
    await store.enqueue([first])
    [answer] = await store.enqueue([second])
    assert (answer.job_id, answer.state) == (first.id, "conflict")
    assert await store.get(second.id) is None


async def test_a_key_repeated_within_a_call_is_one_job(store: Store) -> None:
    jobs = [a_job(key="k"), a_job(key="other"), a_job(key="k"), a_job(), a_job(key="k", payload={"x": 1})]
    answers = await store.enqueue(jobs)
    assert [answer.state for answer in answers] == ["created", "created", "existing", "created", "conflict"]
    assert (await store.figures()).jobs["queued"] == 3


async def test_the_same_job_offered_again_with_its_key_exists_already(store: Store) -> None:
    job = a_job(key="k")
    await store.enqueue([job])
    [answer] = await store.enqueue([job])
    assert (answer.job_id, answer.state) == (job.id, "existing")


async def test_concurrent_calls_with_one_key_make_one_job(store: Store) -> None:
    calls = await asyncio.gather(*(store.enqueue([a_job(key="k")]) for _ in range(20)))
    states = sorted(answer.state for [answer] in calls)
    assert states == ["created"] + ["existing"] * 19
    assert len({answer.job_id for [answer] in calls}) == 1


async def test_a_key_lives_as_long_as_its_job(store: Store, hands: HandClock) -> None:
    await run_one(store, a_job(key="k"))
    assert [answer.state for answer in await store.enqueue([a_job(key="k")])] == ["existing"]
    await store.delivered(1)
    assert await store.prune(START + 1, 10) == 1
    assert [answer.state for answer in await store.enqueue([a_job(key="k")])] == ["created"]


async def test_a_taken_id_is_refused_and_nothing_of_its_call_is_kept(store: Store) -> None:
    await store.enqueue([a_job(job_id="one")])
    companion = a_job()
    with pytest.raises(ValueError, match="refused"):
        await store.enqueue([companion, a_job(job_id="one")])
    assert await store.get(companion.id) is None
    assert (await store.figures()).jobs["queued"] == 1


async def test_a_refused_call_does_not_fail_its_neighbours(store: Store) -> None:
    await store.enqueue([a_job(job_id="one")])
    calls = [store.enqueue([a_job()]) for _ in range(5)] + [store.enqueue([a_job(job_id="one")])]
    *good, bad = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(bad, ValueError)
    assert all(not isinstance(answer, BaseException) for answer in good)
    assert (await store.figures()).jobs["queued"] == 6


async def test_what_was_answered_outlives_the_process(house: StoreHouse) -> None:
    store = await house.open()
    jobs = [a_job(payload=number) for number in range(50)]
    await store.enqueue(jobs)
    store = await house.reopen(store)
    assert [job.id for job in (await store.claim(100)).jobs] == [job.id for job in jobs]


# -- claiming ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["สมชาย ใจดี", 'a"b\\c', "a\nb\x00c\x7f", "👩‍👩‍👧", "null", "[1]", "\u2028</script>"], ids=repr
)
async def test_a_claimed_job_is_what_was_accepted_to_the_last_sign(store: Store, text: str) -> None:
    payload = {"text": text, "deep": [[{text: 1.5e300}]], "big": 2**53 + 1, "small": 0.1}
    new = a_job(1_763_712_345.123_456_7, user=text, kind=text, payload=payload)
    await store.enqueue([new])
    [job] = (await store.claim(1)).jobs
    assert (job.id, job.kind, job.user_id, job.payload, job.created_at) == (
        new.id, new.kind, new.user_id, new.payload, new.created_at
    )  # fmt: skip


async def test_a_claimed_job_is_running_and_its_attempt_counted(store: Store) -> None:
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


async def test_the_oldest_come_first(store: Store) -> None:
    jobs = [a_job(START - age) for age in (1, 5, 3)]
    await store.enqueue(jobs)
    assert [job.created_at for job in (await store.claim(2)).jobs] == [START - 5, START - 3]
    assert [job.created_at for job in (await store.claim(2)).jobs] == [START - 1]


async def test_jobs_of_the_same_age_come_in_the_order_they_were_given(store: Store) -> None:
    jobs = [a_job() for _ in range(40)]
    await store.enqueue(jobs)
    claimed = [*(await store.claim(15)).jobs, *(await store.claim(25)).jobs]
    assert [job.id for job in claimed] == [job.id for job in jobs]


async def test_what_is_left_tells_when_it_is_due(store: Store) -> None:
    await store.enqueue([a_job(START - 2), a_job(START - 1)])
    assert (await store.claim(1)).next_run_at == START - 1


async def test_nothing_waits_and_nothing_is_claimed(store: Store) -> None:
    claimed = await store.claim(10)
    assert (claimed.jobs, claimed.next_run_at) == ([], None)


async def test_a_claim_for_nobody_takes_nothing(store: Store) -> None:
    await store.enqueue([a_job()])
    assert (await store.claim(0)).jobs == []
    assert (await store.claim(-1)).jobs == []


async def test_a_delayed_job_waits_for_its_time(store: Store, hands: HandClock) -> None:
    await store.enqueue([a_job(delay=60.0), a_job(delay=3600.0)])
    early = await store.claim(10)
    hands.pass_time(60.0)
    due = await store.claim(10)
    assert (early.jobs, early.next_run_at) == ([], START + 60.0)
    assert [job.created_at for job in due.jobs] == [START]
    assert due.next_run_at == START + 3600.0


async def test_a_job_that_fell_due_takes_its_place_among_the_others(store: Store, hands: HandClock) -> None:
    delayed = a_job(START - 100, delay=150.0)
    early, late = a_job(START + 40), a_job(START + 60)
    hands.set_wall(-50)
    await store.enqueue([delayed])
    hands.pass_time(150)
    await store.enqueue([late, early])
    assert [job.id for job in (await store.claim(10)).jobs] == [early.id, delayed.id, late.id]


async def test_no_job_is_claimed_twice(store: Store) -> None:
    await store.enqueue([a_job() for _ in range(100)])
    claims = await asyncio.gather(*(store.claim(7) for _ in range(20)))
    ids = [job.id for claimed in claims for job in claimed.jobs]
    assert len(ids) == len(set(ids)) == 100


async def test_the_claim_count_only_grows(store: Store) -> None:
    await store.enqueue([a_job()])
    seen = []
    for _ in range(3):
        [job] = (await store.claim(1)).jobs
        seen.append((job.claim, job.attempt))
        await store.release([job])
    assert seen == [(1, 1), (2, 1), (3, 1)]


async def test_a_cancelled_claim_gives_its_jobs_back(store: Store) -> None:
    await store.enqueue([a_job() for _ in range(3)])
    claiming = asyncio.ensure_future(store.claim(3))
    await asyncio.sleep(0)  # it has asked, and not been answered
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    again = await _claim_until(store, 3)
    assert [job.attempt for job in again] == [1, 1, 1]
    assert (await store.figures()).jobs["running"] == 3


async def test_a_claim_cancelled_while_its_answer_is_on_the_way_gives_its_jobs_back(store: Store) -> None:
    await store.enqueue([a_job() for _ in range(3)])
    claiming = asyncio.ensure_future(store.claim(3))

    def cancel() -> None:
        """Listeners hear of a commit in the same turn of the loop in which its futures are resolved."""
        claiming.cancel()

    store.on_work(cancel)
    neighbour = asyncio.ensure_future(store.enqueue([a_job(START + 1)]))
    with pytest.raises(asyncio.CancelledError):
        await claiming
    await neighbour
    assert len(await _claim_until(store, 4)) == 4


async def _claim_until(store: Store, count: int) -> list[Job]:
    """Claim until `count` jobs came; waits for work, not for time."""
    work = asyncio.Event()
    store.on_work(work.set)
    jobs: list[Job] = []
    async with asyncio.timeout(10):
        while len(jobs) < count:
            work.clear()
            jobs += (await store.claim(count - len(jobs))).jobs
            if len(jobs) < count:
                await work.wait()
    return jobs


# -- clocks that jump --------------------------------------------------------------------------------------


async def test_jobs_for_now_do_not_wait_for_a_clock_that_was_set_back(store: Store, hands: HandClock) -> None:
    await store.enqueue([a_job()])
    hands.set_wall(-7200)
    claimed = await store.claim(1)
    assert len(claimed.jobs) == 1


async def test_a_job_for_now_stays_one_when_the_clock_is_set_back_before_it_arrives(
    store: Store, hands: HandClock
) -> None:
    job = a_job(START)
    hands.set_wall(-7200)
    await store.enqueue([job])
    assert len((await store.claim(1)).jobs) == 1


async def test_jobs_left_due_by_a_clock_that_was_set_back_are_due_now(store: Store, hands: HandClock) -> None:
    await store.enqueue([a_job(), a_job()])
    hands.set_wall(-7200)
    claimed = await store.claim(1)
    assert claimed.next_run_at is not None
    assert claimed.next_run_at <= hands.wall


async def test_a_backoff_lasts_as_long_when_the_clock_is_set_back(store: Store, hands: HandClock) -> None:
    await store.enqueue([a_job()])
    [job] = (await store.claim(1)).jobs
    await store.settle([retried(job, hands.wall + 30)])
    hands.set_wall(-7200)
    assert (await store.claim(1)).next_run_at == pytest.approx(hands.wall + 30)
    hands.pass_time(31)
    assert [again.attempt for again in (await store.claim(1)).jobs] == [2]


async def test_a_backoff_lasts_as_long_when_the_clock_is_set_back_while_nobody_looks(
    house: StoreHouse, hands: HandClock
) -> None:
    store = await house.open()
    await store.enqueue([a_job()])
    [job] = (await store.claim(1)).jobs
    await store.settle([retried(job, hands.wall + 30)])
    hands.set_wall(-7200)
    store = await house.reopen(store)
    assert (await store.claim(1)).next_run_at == pytest.approx(hands.wall + 30)


async def test_a_clock_set_back_counts_once(house: StoreHouse, hands: HandClock) -> None:
    store = await house.open()
    await store.enqueue([a_job()])
    [job] = (await store.claim(1)).jobs
    await store.settle([retried(job, hands.wall + 30)])
    hands.set_wall(-7200)
    await store.claim(1)
    store = await house.reopen(store)
    assert (await store.claim(1)).next_run_at == pytest.approx(hands.wall + 30)


async def test_a_scheduled_job_keeps_its_time_when_the_clock_is_set_back(store: Store, hands: HandClock) -> None:
    await store.enqueue([a_job(delay=60)])
    hands.set_wall(-7200)
    assert (await store.claim(1)).next_run_at == START + 60
    hands.pass_time(7200 + 60)
    assert len((await store.claim(1)).jobs) == 1


async def test_a_clock_set_forward_ends_waiting_early_and_loses_nothing(store: Store, hands: HandClock) -> None:
    await store.enqueue([a_job(), a_job(delay=600)])
    [job] = (await store.claim(1)).jobs
    await store.settle([retried(job, hands.wall + 30)])
    hands.set_wall(+7200)
    assert len((await store.claim(10)).jobs) == 2


# -- settling ----------------------------------------------------------------------------------------------


async def _one_running(store: Store, at: float = START) -> Job:
    await store.enqueue([a_job(at)])
    [job] = (await store.claim(1)).jobs
    return job


async def test_success_is_recorded(store: Store) -> None:
    job = await _one_running(store)
    assert await store.settle([success(job, START + 5, b'{"officers":3}')]) == [True]
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.result, record.error) == (JobState.SUCCEEDED, b'{"officers":3}', None)
    assert (record.finished_at, record.duration_ms) == (START + 5, 500.25)


async def test_failure_is_recorded(store: Store) -> None:
    job = await _one_running(store)
    assert await store.settle([failed(job, message="ไม่พบไฟล์")]) == [True]
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.error_type, record.error) == (JobState.FAILED, "ValueError", "ไม่พบไฟล์")
    assert (record.error_id, record.stack_trace) == ("0123456789ab", "Traceback\nไม่พบไฟล์")


async def test_an_error_that_is_no_proper_text_does_not_keep_a_job_from_ending(store: Store) -> None:
    job = await _one_running(store)
    settlement = failed(job)
    assert isinstance(settlement.outcome, Failed)
    broken = replace(settlement.outcome.failure, message="ไฟล์ \udce0\udcb8 หาย")
    assert await store.settle([settlement._replace(outcome=Failed(broken))]) == [True]
    assert (await _record(store, job.id)).error == "ไฟล์ \\udce0\\udcb8 หาย"


async def test_a_cancelled_run_is_recorded(store: Store) -> None:
    job = await _one_running(store)
    assert await store.settle([cancelled(job)]) == [True]
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.error) == (JobState.CANCELLED, "Cancelled")


async def test_a_retry_waits_until_its_time_and_is_no_news(store: Store, hands: HandClock) -> None:
    job = await _one_running(store)
    assert await store.settle([retried(job, START + 30)]) == [True]
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.attempt, record.run_at) == (JobState.QUEUED, 1, START + 30)
    assert (record.error, record.finished_at) == ("not yet", None)
    assert (await store.claim(1)).next_run_at == START + 30
    assert await store.pending(0, 10) == []
    hands.pass_time(30)
    [again] = (await store.claim(1)).jobs
    assert (again.run, again.attempt, again.claim) == (1, 2, 2)


async def test_a_success_after_a_retry_leaves_no_error(store: Store, hands: HandClock) -> None:
    job = await _one_running(store)
    await store.settle([retried(job, START)])
    [again] = (await store.claim(1)).jobs
    await store.settle([success(again)])
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.error, record.error_type, record.stack_trace) == (JobState.SUCCEEDED, None, None, None)


async def test_a_job_is_settled_once(store: Store) -> None:
    job = await _one_running(store)
    assert await store.settle([success(job)]) == [True]
    assert await store.settle([failed(job)]) == [False]
    assert [message.id for message in await store.pending(0, 10)] == [1]
    assert (await store.figures()).jobs["succeeded"] == 1


async def test_a_job_named_twice_in_a_call_is_settled_once(store: Store) -> None:
    job = await _one_running(store)
    assert await store.settle([success(job), failed(job)]) == [True, False]
    assert len(await store.pending(0, 10)) == 1


async def test_concurrent_settlements_of_one_job_have_one_winner(store: Store) -> None:
    job = await _one_running(store)
    answers = await asyncio.gather(*(store.settle([success(job)]) for _ in range(10)))
    assert sorted(answer for [answer] in answers) == [False] * 9 + [True]
    assert len(await store.pending(0, 10)) == 1


@pytest.mark.parametrize("fence", [{"owner": "somebody else"}, {"claim": 0}, {"claim": 2}])
async def test_a_stale_owner_cannot_settle(store: Store, fence: dict[str, object]) -> None:
    job = await _one_running(store)
    assert await store.settle([success(stale(job, **fence))]) == [False]  # type: ignore[arg-type]
    record = await store.get(job.id)
    assert record is not None
    assert record.state is JobState.RUNNING
    assert await store.pending(0, 10) == []


async def test_a_stale_owner_does_not_spoil_its_neighbours(store: Store) -> None:
    await store.enqueue([a_job() for _ in range(5)])
    jobs = (await store.claim(5)).jobs
    lost = stale(jobs[2], claim=9)
    settlements = [success(lost if job is jobs[2] else job) for job in jobs]
    assert await store.settle(settlements) == [True, True, False, True, True]
    assert [message.job_id for message in await store.pending(0, 10)] == [job.id for job in jobs if job is not jobs[2]]
    figures = await store.figures()
    assert (figures.jobs["succeeded"], figures.jobs["running"], figures.outbox_depth) == (4, 1, 4)


async def test_a_run_cannot_end_without_its_news(store: Store) -> None:
    job = await _one_running(store)
    silent = success(job)
    with pytest.raises(ValueError, match="notification"):
        await store.settle([type(silent)(silent.attempt, silent.outcome, None)])
    record = await store.get(job.id)
    assert record is not None
    assert record.state is JobState.RUNNING


async def test_settling_nothing_is_nothing(store: Store) -> None:
    assert await store.settle([]) == []


async def test_a_cancelled_settlement_is_done_all_the_same(store: Store) -> None:
    job = await _one_running(store)
    settling = asyncio.ensure_future(store.settle([success(job)]))
    await asyncio.sleep(0)
    settling.cancel()
    await asyncio.gather(settling, return_exceptions=True)
    assert await store.settle([failed(job)]) == [False]
    record = await store.get(job.id)
    assert record is not None
    assert record.state is JobState.SUCCEEDED


async def test_many_jobs_are_settled_at_once(store: Store) -> None:
    await store.enqueue([a_job(user=f"user-{number % 7}") for number in range(500)])
    jobs = (await store.claim(500)).jobs
    assert await store.settle([success(job) for job in jobs]) == [True] * 500
    assert len(await store.pending(0, 1000)) == 500


# -- giving back -------------------------------------------------------------------------------------------


async def test_a_job_given_back_is_due_at_once_and_was_not_attempted(store: Store) -> None:
    job = await _one_running(store)
    await store.release([job])
    record = await store.get(job.id)
    assert record is not None
    assert (record.state, record.attempt, record.started_at) == (JobState.QUEUED, 0, None)
    [again] = (await store.claim(1)).jobs
    assert (again.attempt, again.claim, again.suspect) == (1, 2, False)


async def test_a_job_given_back_is_the_oldest_again(store: Store) -> None:
    job = await _one_running(store, START - 10)
    await store.enqueue([a_job(START - 5)])
    await store.release([job])
    assert (await store.claim(1)).jobs[0].id == job.id


async def test_a_stale_owner_cannot_give_back(store: Store) -> None:
    await store.enqueue([a_job(), a_job()])
    ours, lost = (await store.claim(2)).jobs
    await store.release([ours, stale(lost, claim=7)])
    states = [record.state for job in (ours, lost) if (record := await store.get(job.id))]
    assert states == [JobState.QUEUED, JobState.RUNNING]


async def test_a_settled_job_cannot_be_given_back(store: Store) -> None:
    job = await _one_running(store)
    await store.settle([success(job)])
    await store.release([job])
    record = await store.get(job.id)
    assert record is not None
    assert record.state is JobState.SUCCEEDED


async def test_a_job_given_back_cannot_be_settled(store: Store) -> None:
    job = await _one_running(store)
    await store.release([job])
    assert await store.settle([success(job)]) == [False]


# -- a dead owner's jobs -----------------------------------------------------------------------------------


async def test_the_running_jobs_of_a_dead_owner_are_orphans(house: StoreHouse) -> None:
    store = await house.open()
    await store.enqueue([a_job(START - age, payload=age) for age in (1, 2, 3)])
    held = (await store.claim(2)).jobs
    assert await store.orphans() == []
    store = await house.reopen(store)
    assert await store.orphans() == held


async def test_an_orphan_can_be_settled_as_it_stands(house: StoreHouse) -> None:
    store = await house.open()
    await _one_running(store)
    store = await house.reopen(store)
    [orphan] = await store.orphans()
    assert await store.settle([failed(orphan)]) == [True]
    assert await store.orphans() == []
    assert len(await store.pending(0, 10)) == 1


async def test_an_orphan_can_be_given_back_as_a_suspect(house: StoreHouse) -> None:
    store = await house.open()
    await _one_running(store)
    store = await house.reopen(store)
    await store.release(await store.orphans(), suspect=True)
    assert await store.orphans() == []
    [job] = (await store.claim(5)).jobs
    assert (job.suspect, job.attempt, job.claim) == (True, 1, 2)


async def test_a_dead_owner_cannot_settle_what_somebody_else_claimed(house: StoreHouse) -> None:
    store = await house.open()
    old = await _one_running(store)
    store = await house.reopen(store)
    await store.release(await store.orphans())
    [new] = (await store.claim(1)).jobs
    assert await store.settle([success(old)]) == [False]
    assert await store.settle([success(new)]) == [True]


async def test_an_owner_that_comes_back_under_its_old_name_does_not_strand_its_jobs(house: StoreHouse) -> None:
    store = await house.open(owner="always the same")
    job = await _one_running(store)
    await house.close(store)
    store = await house.open(owner="always the same")
    [orphan] = await store.orphans()
    assert orphan.id == job.id
    assert await store.settle([success(job)]) == [False]
    await store.release([orphan])
    assert len((await store.claim(1)).jobs) == 1


# -- suspects ----------------------------------------------------------------------------------------------


async def _suspects(house: StoreHouse, count: int, *, first_age: float = 100.0) -> Store:
    """A store whose `count` jobs were running when the service died."""
    store = await house.open()
    await store.enqueue([a_job(START - first_age + number) for number in range(count)])
    await store.claim(count)
    store = await house.reopen(store)
    await store.release(await store.orphans(), suspect=True)
    return store


async def test_a_suspect_is_handed_out_alone(house: StoreHouse) -> None:
    store = await _suspects(house, 2)
    await store.enqueue([a_job()])
    first = await store.claim(10)
    assert [job.suspect for job in first.jobs] == [True]
    assert first.next_run_at is None
    assert (await store.claim(10)).jobs == []


async def test_when_a_suspect_has_ended_the_next_has_its_turn(house: StoreHouse) -> None:
    store = await _suspects(house, 2)
    ordinary = a_job()
    await store.enqueue([ordinary])
    for _ in range(2):
        [suspect] = (await store.claim(10)).jobs
        assert suspect.suspect
        await store.settle([success(suspect)])
    assert [job.id for job in (await store.claim(10)).jobs] == [ordinary.id]


async def test_a_suspect_waits_until_nothing_else_is_held(house: StoreHouse) -> None:
    store = await _suspects(house, 1, first_age=10.0)
    older, younger = a_job(START - 50), a_job(START)
    await store.enqueue([older, younger])
    [held] = (await store.claim(10)).jobs
    assert held.id == older.id
    blocked = await store.claim(10)
    assert (blocked.jobs, blocked.next_run_at) == ([], None)
    await store.settle([success(held)])
    assert [job.suspect for job in (await store.claim(10)).jobs] == [True]


async def test_a_suspect_that_ended_is_none_any_more(house: StoreHouse) -> None:
    store = await _suspects(house, 1)
    [suspect] = (await store.claim(1)).jobs
    await store.settle([retried(suspect, START)])
    await store.enqueue([a_job(START - 1)])
    jobs = (await store.claim(10)).jobs
    assert [job.suspect for job in jobs] == [False, False]


async def test_a_retry_that_says_so_stays_a_suspect(house: StoreHouse, hands: HandClock) -> None:
    store = await _suspects(house, 1)
    [suspect] = (await store.claim(1)).jobs
    await store.settle([retried(suspect, START + 5, suspect=True)])
    others = [a_job(START - 1), a_job(START - 1)]
    await store.enqueue(others)
    held = (await store.claim(10)).jobs
    assert len(held) == 2
    hands.pass_time(5)
    assert (await store.claim(10)).jobs == []
    await store.settle([success(job) for job in held])
    assert [job.suspect for job in (await store.claim(10)).jobs] == [True]


async def test_a_suspect_given_back_is_still_one(house: StoreHouse) -> None:
    store = await _suspects(house, 1)
    [suspect] = (await store.claim(1)).jobs
    await store.release([suspect])
    await store.enqueue([a_job()])
    assert [job.suspect for job in (await store.claim(10)).jobs] == [True]


async def test_a_suspect_stays_one_through_the_next_death(house: StoreHouse) -> None:
    store = await _suspects(house, 1)
    await store.claim(1)
    store = await house.reopen(store)
    [orphan] = await store.orphans()
    assert orphan.suspect
    await store.settle([retried(orphan, START, suspect=True)])
    await store.enqueue([a_job()])
    assert [job.suspect for job in (await store.claim(10)).jobs] == [True]


async def test_a_cancelled_suspect_holds_nobody_back(house: StoreHouse) -> None:
    store = await _suspects(house, 1)
    [record] = (await store.find(JobQuery(states=[JobState.QUEUED]))).jobs
    assert await store.cancel(record.id, 1, cancel_news(record)) == "cancelled"
    await store.enqueue([a_job(), a_job()])
    assert len((await store.claim(10)).jobs) == 2


@pytest.mark.parametrize("end", ["settle", "release"])
async def test_work_is_told_when_a_suspect_lets_go(house: StoreHouse, end: str) -> None:
    store = await _suspects(house, 1)
    await store.enqueue([a_job()])
    [suspect] = (await store.claim(10)).jobs
    work = asyncio.Event()
    store.on_work(work.set)
    await (store.settle([success(suspect)]) if end == "settle" else store.release([suspect]))
    await asyncio.wait_for(work.wait(), 5)


async def test_work_is_told_when_a_suspect_may_go_at_last(house: StoreHouse) -> None:
    store = await _suspects(house, 1, first_age=10.0)
    await store.enqueue([a_job(START - 50)])
    [held] = (await store.claim(10)).jobs
    work = asyncio.Event()
    store.on_work(work.set)
    await store.settle([success(held)])
    await asyncio.wait_for(work.wait(), 5)


# -- cancelling --------------------------------------------------------------------------------------------


async def _record(store: Store, job_id: str) -> JobRecord:
    record = await store.get(job_id)
    assert record is not None
    return record


@pytest.mark.parametrize("delay", [0.0, 3600.0])
async def test_a_waiting_job_is_cancelled_with_its_news(store: Store, delay: float) -> None:
    job = a_job(delay=delay)
    await store.enqueue([job])
    record = await _record(store, job.id)
    assert await store.cancel(job.id, 1, cancel_news(record)) == "cancelled"
    record = await _record(store, job.id)
    assert (record.state, record.error, record.finished_at) == (JobState.CANCELLED, "Cancelled", START)
    assert [message.job_id for message in await store.pending(0, 10)] == [job.id]
    assert (await store.claim(10)).jobs == []


async def test_the_wish_to_cancel_a_running_job_is_written_down(store: Store) -> None:
    job = await _one_running(store)
    record = await _record(store, job.id)
    assert await store.cancel(job.id, 1, cancel_news(record)) == "requested"
    assert (await _record(store, job.id)).cancel_requested
    assert await store.pending(0, 10) == []
    await store.release([job])
    assert (await store.claim(1)).jobs[0].cancel_requested


async def test_the_wish_to_cancel_outlives_a_retry(store: Store) -> None:
    job = await _one_running(store)
    await store.cancel(job.id, 1, cancel_news(await _record(store, job.id)))
    await store.settle([retried(job, START)])
    assert (await store.claim(1)).jobs[0].cancel_requested


async def test_a_job_that_has_ended_cannot_be_cancelled(store: Store) -> None:
    job = await _one_running(store)
    news = cancel_news(await _record(store, job.id))
    await store.settle([success(job)])
    assert await store.cancel(job.id, 1, news) == "ended"
    assert len(await store.pending(0, 10)) == 1


async def test_nobody_can_be_cancelled(store: Store) -> None:
    job = await _one_running(store)
    assert await store.cancel("nobody", 1, cancel_news(await _record(store, job.id))) == "unknown"


async def test_another_run_is_not_the_one_that_was_meant(store: Store) -> None:
    job = await _one_running(store)
    news = cancel_news(await _record(store, job.id))
    await store.settle([success(job)])
    await store.retry(job.id)
    assert await store.cancel(job.id, 1, news) == "changed"
    assert (await _record(store, job.id)).state is JobState.QUEUED


async def test_cancelling_and_claiming_at_once_end_in_one_of_both(store: Store) -> None:
    jobs = [a_job() for _ in range(20)]
    await store.enqueue(jobs)
    news = {job.id: cancel_news(await _record(store, job.id)) for job in jobs}
    claims, *answers = await asyncio.gather(store.claim(10), *(store.cancel(job.id, 1, news[job.id]) for job in jobs))
    figures = await store.figures()
    assert figures.jobs["cancelled"] == figures.outbox_depth == answers.count("cancelled")
    assert figures.jobs["running"] == len(claims.jobs)  # type: ignore[union-attr]
    assert sum(figures.jobs.values()) == 20


# -- the next run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [success, failed, cancelled])
async def test_a_job_that_has_ended_can_be_run_again(store: Store, end: type) -> None:
    job = await _one_running(store)
    await store.settle([end(job)])
    assert await store.retry(job.id) == "queued"
    record = await _record(store, job.id)
    assert (record.state, record.run, record.attempt, record.cancel_requested) == (JobState.QUEUED, 2, 0, False)
    assert (record.error, record.result, record.started_at, record.finished_at) == (None, None, None, None)
    [again] = (await store.claim(1)).jobs
    assert (again.run, again.attempt, again.claim) == (2, 1, 2)
    assert await store.settle([success(again)]) == [True]
    assert len(await store.pending(0, 10)) == 2


async def test_a_run_again_forgets_that_it_was_to_be_cancelled(store: Store) -> None:
    job = await _one_running(store)
    await store.cancel(job.id, 1, cancel_news(await _record(store, job.id)))
    await store.settle([cancelled(job)])
    await store.retry(job.id)
    assert not (await store.claim(1)).jobs[0].cancel_requested


async def test_a_job_that_has_not_ended_cannot_be_run_again(store: Store) -> None:
    job = a_job()
    await store.enqueue([job])
    assert await store.retry(job.id) == "active"
    await store.claim(1)
    assert await store.retry(job.id) == "active"
    assert await store.retry("nobody") == "unknown"


async def test_two_who_retry_at_once_start_one_run(store: Store) -> None:
    job = await _one_running(store)
    await store.settle([success(job)])
    answers = await asyncio.gather(store.retry(job.id), store.retry(job.id))
    assert sorted(answers) == ["active", "queued"]
    assert (await _record(store, job.id)).run == 2


async def test_the_attempts_of_an_earlier_run_are_stale(store: Store) -> None:
    job = await _one_running(store)
    await store.settle([success(job)])
    await store.retry(job.id)
    await store.claim(1)
    assert await store.settle([failed(job)]) == [False]


# -- looking -----------------------------------------------------------------------------------------------


async def _pages(store: Store, **query: object) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        page = await store.find(JobQuery(cursor=cursor, **query))  # type: ignore[arg-type]
        pages.append([job.id for job in page.jobs])
        cursor = page.cursor
        if cursor is None:
            return pages


async def test_jobs_are_listed_newest_first_and_in_pages(store: Store) -> None:
    jobs = [a_job() for _ in range(7)]
    await store.enqueue(jobs)
    newest_first = [job.id for job in reversed(jobs)]
    assert await _pages(store, limit=3) == [newest_first[:3], newest_first[3:6], newest_first[6:]]
    assert await _pages(store, limit=7) == [newest_first]


async def test_an_empty_store_has_one_empty_page(store: Store) -> None:
    page = await store.find(JobQuery())
    assert (page.jobs, page.cursor) == ([], None)


async def test_a_page_is_not_moved_by_what_comes_meanwhile(store: Store) -> None:
    jobs = [a_job() for _ in range(4)]
    await store.enqueue(jobs)
    first = await store.find(JobQuery(limit=2))
    await store.enqueue([a_job()])
    second = await store.find(JobQuery(limit=2, cursor=first.cursor))
    assert [job.id for job in second.jobs] == [jobs[1].id, jobs[0].id]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "١", "9" * 40, "1; DROP TABLE jobs"])
async def test_a_malformed_cursor_is_refused(store: Store, cursor: str) -> None:
    await store.enqueue([a_job()])
    with pytest.raises(ValueError, match="cursor"):
        await store.find(JobQuery(cursor=cursor))


async def test_jobs_are_found_by_state_kind_and_user(store: Store) -> None:
    jobs = [a_job(user=user, kind=kind) for user in ("a", "b") for kind in ("x", "y") for _ in range(3)]
    await store.enqueue(jobs)
    running, done, bad, gone = (await store.claim(4)).jobs
    await store.settle([success(done), failed(bad), cancelled(gone)])

    async def found(**query: object) -> set[str]:
        return {job_id for page in await _pages(store, limit=2, **query) for job_id in page}

    assert await found(user_ids=["a"]) == {job.id for job in jobs if job.user_id == "a"}
    assert await found(kind="y") == {job.id for job in jobs if job.kind == "y"}
    assert await found(user_ids=["b"], kind="y") == {job.id for job in jobs[9:]}
    assert await found(states=[JobState.RUNNING]) == {running.id}
    assert await found(states=[JobState.SUCCEEDED]) == {done.id}
    assert await found(states=[JobState.FAILED]) == {bad.id}
    assert await found(states=[JobState.CANCELLED]) == {gone.id}
    assert await found(states=[JobState.QUEUED]) == {job.id for job in jobs[4:]}
    assert await found(states=[JobState.QUEUED], user_ids=["a"], kind="y") == {jobs[4].id, jobs[5].id}
    assert await found(states=[JobState.FAILED], kind="y") == set()


async def test_jobs_are_found_by_text_in_id_payload_error_and_result(store: Store) -> None:
    by_payload = a_job(payload={"ผู้ขอ": "นางสาวราชาวดี 50%_\\"})
    others = [a_job(payload={"n": number}) for number in range(3)]
    await store.enqueue([by_payload, *others])
    _, by_error, by_result, _ = (await store.claim(4)).jobs
    await store.settle([failed(by_error, message="ไฟล์หาย"), success(by_result, result=b'{"output":"results/x.csv"}')])

    async def found(text: str) -> list[str]:
        return [job.id for job in (await store.find(JobQuery(text=text))).jobs]

    assert await found("ราชา") == [by_payload.id]
    assert await found("ไฟล์หาย") == [by_error.id]
    assert await found("results/x") == [by_result.id]
    assert await found(others[2].id[-12:]) == [others[2].id]
    assert await found("50%_") == [by_payload.id]
    assert await found("5_%") == []
    assert await found("_") == [by_payload.id]
    assert await found("no such thing") == []


async def test_figures_count_what_there_is(store: Store, hands: HandClock) -> None:
    await store.enqueue([a_job(START - 30), a_job(START - 20), a_job(START - 10), a_job(START - 5), a_job(delay=60)])
    jobs = (await store.claim(3)).jobs
    await store.settle([success(jobs[0], START - 3), failed(jobs[1], START - 1)])
    await store.dead(2, "no")
    figures = await store.figures()
    assert figures.jobs == {"queued": 2, "running": 1, "succeeded": 1, "failed": 1, "cancelled": 0}
    assert (figures.outbox_depth, figures.outbox_dead) == (1, 1)
    assert (figures.oldest_job_age, figures.oldest_outbox_age) == (5.0, 3.0)
    assert figures.max_bytes == 1 << 30
    assert 0 < figures.size_bytes < 1 << 20


async def test_figures_of_an_empty_store_have_no_ages(store: Store) -> None:
    figures = await store.figures()
    assert (figures.oldest_job_age, figures.oldest_outbox_age) == (None, None)
    assert set(figures.jobs.values()) == {0}


async def test_a_delayed_job_has_no_age_until_it_is_due(store: Store, hands: HandClock) -> None:
    await store.enqueue([a_job(delay=60)])
    assert (await store.figures()).oldest_job_age is None
    hands.pass_time(65)
    assert (await store.figures()).oldest_job_age == 5.0


async def test_figures_are_the_same_after_a_restart(house: StoreHouse) -> None:
    store = await house.open()
    await store.enqueue([a_job() for _ in range(6)])
    jobs = (await store.claim(4)).jobs
    await store.settle([success(jobs[0]), failed(jobs[1]), cancelled(jobs[2])])
    await store.delivered(1)
    await store.dead(2, "no")
    before = await store.figures()
    store = await house.reopen(store)
    after = await store.figures()
    assert (after.jobs, after.outbox_depth, after.outbox_dead) == (before.jobs, before.outbox_depth, before.outbox_dead)


async def test_a_sound_store_passes_its_check(store: Store) -> None:
    await store.check()


# -- retention ---------------------------------------------------------------------------------------------


async def test_old_runs_go_when_their_news_is_delivered(store: Store) -> None:
    for age in (50, 40, 30):
        await run_one(store, a_job(), START - age)
    await store.delivered(2)
    assert await store.prune(START - 10, 100) == 2
    figures = await store.figures()
    assert (figures.jobs["succeeded"], figures.outbox_depth) == (1, 1)
    assert len(await store.notifications()) == 1


async def test_young_runs_stay(store: Store) -> None:
    await run_one(store, a_job(), START - 5)
    await store.delivered(1)
    assert await store.prune(START - 10, 100) == 0
    assert (await store.figures()).jobs["succeeded"] == 1


async def test_pruning_stops_at_its_limit_and_the_oldest_go_first(store: Store) -> None:
    await store.enqueue([a_job() for _ in range(300)])
    jobs = (await store.claim(300)).jobs
    await store.settle([success(job, START - 300 + number) for number, job in enumerate(jobs)])
    ids = [job.id for job in jobs]
    await store.delivered(300)
    assert await store.prune(START, 250) == 250
    assert await store.get(ids[249]) is None
    assert await store.get(ids[250]) is not None
    assert await store.prune(START, 250) == 50


async def test_a_refused_message_does_not_keep_its_run_for_ever(store: Store) -> None:
    await run_one(store, a_job(), START - 50)
    await store.dead(1, "no")
    assert await store.prune(START, 10) == 1
    figures = await store.figures()
    assert (figures.outbox_dead, figures.jobs["succeeded"]) == (0, 0)


async def test_unfinished_jobs_are_never_pruned(store: Store) -> None:
    await store.enqueue([a_job(START - 1000), a_job(START - 1000)])
    await store.claim(1)
    assert await store.prune(START, 10) == 0


@pytest.mark.parametrize("claim", [True, False])
async def test_a_job_that_runs_again_outlives_the_news_of_its_first_run(store: Store, claim: bool) -> None:
    job_id = await run_one(store, a_job(), START - 50)
    await store.delivered(1)
    await store.retry(job_id)
    if claim:
        await store.claim(1)
    assert await store.prune(START, 10) == 1
    assert await store.get(job_id) is not None


async def test_ids_and_sequences_go_on_after_everything_was_pruned(store: Store) -> None:
    await run_one(store, a_job())
    await store.delivered(1)
    await store.prune(START + 1, 10)
    await run_one(store, a_job())
    [message] = await store.pending(0, 10)
    [record] = await store.notifications()
    assert (message.id, record.sequence) == (2, 2)


# -- the cap -----------------------------------------------------------------------------------------------

SMALL = 1 << 20


async def _fill(store: Store, *, jobs: int = 10, payload: str = "x" * 2000) -> int:
    """Enqueue until the store refuses; how many were accepted."""
    accepted = 0
    while True:
        try:
            await store.enqueue([a_job(payload=payload) for _ in range(jobs)])
        except StoreFull:
            return accepted
        accepted += jobs


async def test_a_full_store_says_so_in_its_figures(house: StoreHouse) -> None:
    store = await house.open(max_bytes=SMALL)
    assert not (await store.figures()).full
    await _fill(store)
    await _fill(store, jobs=1, payload="")
    assert (await store.figures()).full


async def test_a_full_store_refuses_intake_and_says_why(house: StoreHouse) -> None:
    store = await house.open(max_bytes=SMALL)
    accepted = await _fill(store)
    with pytest.raises(StoreFull, match="MaxBytes"):
        await store.enqueue([a_job(payload="x" * 2000) for _ in range(10)])
    figures = await store.figures()
    assert figures.jobs["queued"] == accepted > 50
    assert figures.size_bytes <= SMALL


async def test_what_was_accepted_can_still_end_and_be_told(house: StoreHouse) -> None:
    store = await house.open(max_bytes=SMALL)
    await _fill(store)
    ended = 0
    while jobs := (await store.claim(20)).jobs:
        assert all(await store.settle([success(job) for job in jobs]))
        ended += len(jobs)
    await store.delivered(ended)
    figures = await store.figures()
    assert (figures.jobs["succeeded"], figures.outbox_depth) == (ended, 0)
    assert figures.size_bytes <= SMALL


async def test_a_store_over_its_cap_hands_out_nothing_but_lets_what_runs_end(house: StoreHouse) -> None:
    store = await house.open()
    await store.enqueue([a_job(payload="x" * 2000) for _ in range(600)])
    [running] = (await store.claim(1)).jobs
    store = await house.reopen(store, max_bytes=SMALL)
    with pytest.raises(StoreFull):
        await store.claim(1)
    with pytest.raises(StoreFull):
        await store.enqueue([a_job()])
    assert await store.settle([success(running)]) == [True]
    await store.delivered(1)
    figures = await store.figures()
    assert (figures.jobs["succeeded"], figures.jobs["queued"]) == (1, 599)


async def test_pruning_makes_room(house: StoreHouse) -> None:
    store = await house.open(max_bytes=SMALL)
    await _fill(store)
    while jobs := (await store.claim(20)).jobs:
        await store.settle([success(job) for job in jobs])
    await store.delivered(10_000)
    work = asyncio.Event()
    store.on_work(work.set)
    assert await store.prune(START + 1, 10_000) > 50
    await asyncio.wait_for(work.wait(), 5)
    assert await _fill(store) > 50


async def test_a_known_key_is_answered_even_when_full(house: StoreHouse) -> None:
    store = await house.open(max_bytes=SMALL)
    job = a_job(key="k")
    await store.enqueue([job])
    await _fill(store)
    [answer] = await store.enqueue([job])
    assert answer.state == "existing"


# -- being told --------------------------------------------------------------------------------------------


async def test_work_is_told_to_whoever_listens(store: Store) -> None:
    told: list[str] = []
    store.on_work(lambda: told.append("one"))
    store.on_work(lambda: told.append("two"))
    await store.enqueue([a_job()])
    await asyncio.sleep(0)
    assert told == ["one", "two"]


async def test_work_is_told_of_retries_releases_and_next_runs(store: Store) -> None:
    await store.enqueue([a_job(), a_job(), a_job()])
    back, again, done = (await store.claim(3)).jobs
    work = asyncio.Event()
    store.on_work(work.set)

    async def told(change: object) -> bool:
        work.clear()
        await change  # type: ignore[misc]
        await asyncio.sleep(0)
        return work.is_set()

    assert not await told(store.settle([success(done)]))
    assert await told(store.release([back]))
    assert await told(store.settle([retried(again, START + 5)]))
    assert await told(store.retry(done.id))
