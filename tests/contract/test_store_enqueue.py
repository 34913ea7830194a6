"""How every Store accepts jobs."""

import asyncio

import pytest

from tests.support.stores import (
    START,
    ManualClock,
    StoreLocation,
    a_job,
    run_one,
)
from worker.core.job import JobRecord, JobState
from worker.core.store import Store


async def test_enqueue_stores_every_field_of_the_job(store: Store) -> None:
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


async def test_enqueue_answers_every_job_of_a_call_in_order(store: Store) -> None:
    jobs = [a_job(payload=number) for number in range(300)]
    answers = await store.enqueue(jobs)
    assert [answer.job_id for answer in answers] == [job.id for job in jobs]
    assert (await store.stats()).jobs["queued"] == 300


async def test_enqueue_of_nothing_returns_nothing(store: Store) -> None:
    assert await store.enqueue([]) == []


async def test_get_of_an_unknown_job_returns_none(store: Store) -> None:
    assert await store.get("unknown") is None


async def test_enqueue_with_a_known_key_and_payload_returns_the_first_job(store: Store) -> None:
    first, second = a_job(key="k", payload={"a": 1}), a_job(key="k", payload={"a": 1})
    await store.enqueue([first])
    [answer] = await store.enqueue([second])
    assert (answer.job_id, answer.state) == (first.id, "existing")
    assert await store.get(second.id) is None


async def test_enqueue_with_a_known_key_and_another_payload_is_a_conflict(store: Store) -> None:
    first, second = a_job(key="k", payload={"a": 1}), a_job(key="k", payload={"a": 2})
    await store.enqueue([first])
    [answer] = await store.enqueue([second])
    assert (answer.job_id, answer.state) == (first.id, "conflict")
    assert await store.get(second.id) is None


async def test_enqueue_with_a_key_repeated_in_one_call_stores_one_job(store: Store) -> None:
    jobs = [a_job(key="k"), a_job(key="other"), a_job(key="k"), a_job(), a_job(key="k", payload={"x": 1})]
    answers = await store.enqueue(jobs)
    assert [answer.state for answer in answers] == ["created", "created", "existing", "created", "conflict"]
    assert (await store.stats()).jobs["queued"] == 3


async def test_enqueue_of_the_same_job_with_its_key_returns_existing(store: Store) -> None:
    job = a_job(key="k")
    await store.enqueue([job])
    [answer] = await store.enqueue([job])
    assert (answer.job_id, answer.state) == (job.id, "existing")


async def test_concurrent_enqueues_with_one_key_store_one_job(store: Store) -> None:
    calls = await asyncio.gather(*(store.enqueue([a_job(key="k")]) for _ in range(20)))
    states = sorted(answer.state for [answer] in calls)
    assert states == ["created"] + ["existing"] * 19
    assert len({answer.job_id for [answer] in calls}) == 1


async def test_key_can_be_used_again_after_its_job_was_pruned(store: Store, manual_clock: ManualClock) -> None:
    await run_one(store, a_job(key="k"))
    assert [answer.state for answer in await store.enqueue([a_job(key="k")])] == ["existing"]
    await store.delivered(1)
    assert (await store.prune(0.0, 10)).runs == 1
    assert [answer.state for answer in await store.enqueue([a_job(key="k")])] == ["created"]


async def test_enqueue_with_a_taken_id_raises_and_stores_nothing_of_its_call(store: Store) -> None:
    await store.enqueue([a_job(job_id="one")])
    companion = a_job()
    with pytest.raises(ValueError, match="rejected a row"):
        await store.enqueue([companion, a_job(job_id="one")])
    assert await store.get(companion.id) is None
    assert (await store.stats()).jobs["queued"] == 1


async def test_enqueue_that_raises_does_not_affect_concurrent_calls(store: Store) -> None:
    await store.enqueue([a_job(job_id="one")])
    calls = [store.enqueue([a_job()]) for _ in range(5)] + [store.enqueue([a_job(job_id="one")])]
    *good, bad = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(bad, ValueError)
    assert all(not isinstance(answer, BaseException) for answer in good)
    assert (await store.stats()).jobs["queued"] == 6


async def test_enqueued_jobs_are_kept_after_a_restart(location: StoreLocation) -> None:
    store = await location.open()
    jobs = [a_job(payload=number) for number in range(50)]
    await store.enqueue(jobs)
    store = await location.reopen(store)
    assert [job.id for job in (await store.claim(100)).jobs] == [job.id for job in jobs]
