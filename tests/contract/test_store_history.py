"""Every Store keeps the earlier attempts of a job."""

from tests.support.stores import START, ManualClock, a_job, failed, retried, run_one, success
from worker.core.store import Store


async def test_attempts_of_a_job_that_succeeded_at_once_are_empty(store: Store) -> None:
    job_id = await run_one(store, a_job())
    assert await store.attempts(job_id) == []


async def test_attempts_list_each_retried_attempt(store: Store, manual_clock: ManualClock) -> None:
    new = a_job()
    await store.enqueue([new])
    for _ in range(2):
        [job] = (await store.claim(1)).jobs
        await store.settle([retried(job, manual_clock.wall, manual_clock.wall)])
        manual_clock.pass_time(5.0)
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job, manual_clock.wall)])
    first, second = await store.attempts(new.id)
    assert (first.run, first.attempt, first.ended) == (1, 1, "retried")
    assert (second.attempt, second.started_at, second.finished_at) == (2, START + 5.0, START + 5.0)
    assert (first.error_type, first.error, first.error_id) == ("ValueError", "not yet", "0123456789ab")
    assert first.stack_trace == "Traceback\nnot yet"
    assert (first.duration_ms, first.result) == (500.25, None)


async def test_attempts_list_the_last_attempt_of_each_earlier_run(store: Store) -> None:
    job_id = await run_one(store, a_job())
    await store.retry(job_id)
    [job] = (await store.claim(1)).jobs
    await store.settle([failed(job)])
    await store.retry(job_id)
    first, second = await store.attempts(job_id)
    assert (first.run, first.ended, first.result, first.error) == (1, "succeeded", b'{"officers":3}', None)
    assert (second.run, second.attempt, second.ended, second.error) == (2, 1, "failed", "broken")


async def test_attempts_do_not_list_a_stale_retry(store: Store) -> None:
    new = a_job()
    await store.enqueue([new])
    [job] = (await store.claim(1)).jobs
    await store.release([job])
    assert await store.settle([retried(job, START)]) == [False]
    assert await store.attempts(new.id) == []


async def test_attempts_list_only_the_latest_hundred(store: Store) -> None:
    new = a_job(max_attempts=1000)
    await store.enqueue([new])
    for _ in range(105):
        [job] = (await store.claim(1)).jobs
        await store.settle([retried(job, START)])
    assert [one.attempt for one in await store.attempts(new.id)] == list(range(6, 106))


async def test_prune_removes_attempts_with_their_job(store: Store, manual_clock: ManualClock) -> None:
    new = a_job()
    await store.enqueue([new])
    [job] = (await store.claim(1)).jobs
    await store.settle([retried(job, START)])
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job)])
    [message] = await store.pending(0, 10)
    await store.delivered(message.id)
    manual_clock.pass_time(100.0)
    assert (await store.prune(0.0, 10)).runs == 1
    assert await store.attempts(new.id) == []
    assert await store.attempts("unknown") == []
