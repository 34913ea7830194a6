"""How every Store finds and counts jobs."""

from typing import Any

import pytest

from tests.support.stores import (
    START,
    ManualClock,
    StoreLocation,
    a_job,
    cancelled,
    failed,
    success,
)
from worker.core.job import JobState
from worker.core.store import JobQuery, Store


async def _pages(store: Store, **query: Any) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        page = await store.find(JobQuery(cursor=cursor, **query))
        pages.append([job.id for job in page.jobs])
        cursor = page.cursor
        if cursor is None:
            return pages


async def test_find_lists_jobs_newest_first_in_pages(store: Store) -> None:
    jobs = [a_job() for _ in range(7)]
    await store.enqueue(jobs)
    newest_first = [job.id for job in reversed(jobs)]
    assert await _pages(store, limit=3) == [newest_first[:3], newest_first[3:6], newest_first[6:]]
    assert await _pages(store, limit=7) == [newest_first]


async def test_find_in_an_empty_store_returns_one_empty_page(store: Store) -> None:
    page = await store.find(JobQuery())
    assert (page.jobs, page.cursor) == ([], None)


async def test_find_with_a_cursor_is_not_affected_by_newer_jobs(store: Store) -> None:
    jobs = [a_job() for _ in range(4)]
    await store.enqueue(jobs)
    first = await store.find(JobQuery(limit=2))
    await store.enqueue([a_job()])
    second = await store.find(JobQuery(limit=2, cursor=first.cursor))
    assert [job.id for job in second.jobs] == [jobs[1].id, jobs[0].id]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "١", "9" * 40, "1; DROP TABLE jobs"])
async def test_find_with_a_malformed_cursor_raises(store: Store, cursor: str) -> None:
    await store.enqueue([a_job()])
    with pytest.raises(ValueError, match="cursor"):
        await store.find(JobQuery(cursor=cursor))


async def test_find_by_state_kind_and_user_returns_the_matching_jobs(store: Store) -> None:
    jobs = [a_job(user=user, kind=kind) for user in ("a", "b") for kind in ("x", "y") for _ in range(3)]
    await store.enqueue(jobs)
    running, done, bad, gone = (await store.claim(4)).jobs
    await store.settle([success(done), failed(bad), cancelled(gone)])

    async def found(**query: Any) -> set[str]:
        return {job_id for page in await _pages(store, limit=2, **query) for job_id in page}

    assert await found(user_ids=["a"]) == {job.id for job in jobs if job.user_id == "a"}
    assert await found(kind="y") == {job.id for job in jobs if job.kind == "y"}
    assert await found(user_ids=["b"], kind="y") == {job.id for job in jobs[9:]}
    assert await found(states=[JobState.RUNNING]) == {running.id}
    assert await found(states=[JobState.SUCCEEDED]) == {done.id}
    assert await found(states=[JobState.FAILED]) == {bad.id}
    assert await found(states=[JobState.CANCELLED]) == {gone.id}
    ended = {job.id for job in (running, done, bad, gone)}
    assert await found(states=[JobState.QUEUED]) == {job.id for job in jobs} - ended
    assert await found(states=[JobState.QUEUED], user_ids=["a"], kind="y") == {job.id for job in jobs[3:6]} - ended
    assert await found(states=[JobState.FAILED], kind="y") == set()


async def test_find_by_text_searches_id_payload_error_and_result(store: Store) -> None:
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


async def test_figures_count_jobs_and_notifications(store: Store, manual_clock: ManualClock) -> None:
    await store.enqueue([a_job(START - 30), a_job(START - 20), a_job(START - 10), a_job(START - 5), a_job(delay=60)])
    jobs = (await store.claim(3)).jobs
    await store.settle([success(jobs[0], START - 3), failed(jobs[1], START - 1)])
    await store.dead(2, "no")
    figures = await store.stats()
    assert figures.jobs == {"queued": 2, "running": 1, "succeeded": 1, "failed": 1, "cancelled": 0}
    assert (figures.outbox_depth, figures.outbox_dead) == (1, 1)
    assert (figures.oldest_job_age, figures.oldest_outbox_age) == (5.0, 3.0)
    assert figures.max_bytes == 1 << 30
    assert 0 < figures.size_bytes < 1 << 20


async def test_figures_of_an_empty_store_have_no_ages(store: Store) -> None:
    figures = await store.stats()
    assert (figures.oldest_job_age, figures.oldest_outbox_age) == (None, None)
    assert set(figures.jobs.values()) == {0}


async def test_delayed_job_has_no_age_until_it_is_due(store: Store, manual_clock: ManualClock) -> None:
    await store.enqueue([a_job(delay=60)])
    assert (await store.stats()).oldest_job_age is None
    manual_clock.pass_time(65)
    assert (await store.stats()).oldest_job_age == 5.0


async def test_figures_after_a_restart_are_the_same(location: StoreLocation) -> None:
    store = await location.open()
    await store.enqueue([a_job() for _ in range(6)])
    jobs = (await store.claim(4)).jobs
    await store.settle([success(jobs[0]), failed(jobs[1]), cancelled(jobs[2])])
    await store.delivered(1)
    await store.dead(2, "no")
    before = await store.stats()
    store = await location.reopen(store)
    after = await store.stats()
    assert (after.jobs, after.outbox_depth, after.outbox_dead) == (before.jobs, before.outbox_depth, before.outbox_dead)


async def test_check_of_an_undamaged_store_raises_nothing(store: Store) -> None:
    await store.check()
