"""How every Store deletes old runs, keeps to its size limit and calls its listeners."""

import asyncio
from collections.abc import Awaitable

import pytest

from tests.support.stores import (
    START,
    ManualClock,
    StoreLocation,
    a_job,
    retried,
    run_one,
    success,
)
from worker.core.store import Store
from worker.errors import StoreFull

# -- retention -----------------------------------------------------------------------------------------------------


async def test_prune_removes_old_runs_with_a_delivered_notification(store: Store, manual_clock: ManualClock) -> None:
    for _ in range(3):
        await run_one(store, a_job(), START)
    await store.delivered(2)
    assert (await store.prune(600.0, 100)).runs == 0
    manual_clock.pass_time(600.0)
    assert (await store.prune(600.0, 100)).runs == 2
    figures = await store.stats()
    assert (figures.jobs["succeeded"], figures.outbox_depth) == (1, 1)
    assert len(await store.notifications()) == 1


async def test_prune_keeps_recent_runs(store: Store, manual_clock: ManualClock) -> None:
    await store.prune(600.0, 100)
    manual_clock.pass_time(590.0)
    await run_one(store, a_job(), START - 1000)
    await store.delivered(1)
    for _ in range(2):
        assert (await store.prune(600.0, 100)).runs == 0
        manual_clock.pass_time(590.0)
    assert (await store.stats()).jobs["succeeded"] == 1


# -- retention and wrong clocks ------------------------------------------------------------------------------------

DAY = 86400.0
RETENTION = 30 * DAY


@pytest.mark.parametrize("jump", [31 * DAY, 34 * 365 * DAY, 1000 * DAY])
@pytest.mark.parametrize("restart", [False, True])
async def test_prune_while_the_wall_clock_is_ahead_removes_nothing(
    location: StoreLocation, jump: float, restart: bool
) -> None:
    store, clock = await location.open(), location.manual_clock
    await run_one(store, a_job(key="k"), clock.wall)
    await store.delivered(1)
    await store.prune(RETENTION, 10)
    clock.set_wall(jump)
    if restart:
        store = await location.reopen(store)
    await run_one(store, a_job(clock.wall), clock.wall)
    await store.delivered(2)
    for _ in range(3):
        clock.pass_time(60.0)
        assert (await store.prune(RETENTION, 10)).runs == 0
    clock.set_wall(-jump)
    if restart:
        store = await location.reopen(store)
    assert (await store.prune(RETENTION, 10)).runs == 0
    [answer] = await store.enqueue([a_job(key="k")])
    assert answer.state == "existing"


async def test_prune_of_runs_that_ended_while_the_wall_clock_was_in_1970_removes_nothing(
    location: StoreLocation,
) -> None:
    store, clock = await location.open(), location.manual_clock
    clock.set_wall(-START)
    await run_one(store, a_job(clock.wall), clock.wall)
    await store.delivered(1)
    await store.prune(RETENTION, 10)
    clock.set_wall(START)
    clock.pass_time(60.0)
    store = await location.reopen(store)
    assert (await store.prune(RETENTION, 10)).runs == 0


async def test_prune_after_a_reboot_counts_the_time_off_once_both_clocks_have_agreed(location: StoreLocation) -> None:
    store, clock = await location.open(), location.manual_clock
    await run_one(store, a_job(), clock.wall)
    await store.delivered(1)
    await store.prune(RETENTION, 10)
    clock.reboot(after=31 * DAY)
    store = await location.reopen(store)
    assert (await store.prune(RETENTION, 10)).runs == 0
    clock.pass_time(1800.0)
    clock.set_wall(100.0)  # it is being set: they do not agree yet
    assert (await store.prune(RETENTION, 10)).runs == 0
    clock.pass_time(3000.0)
    assert (await store.prune(RETENTION, 10)).runs == 0
    clock.pass_time(700.0)
    assert (await store.prune(RETENTION, 10)).runs == 1


async def test_prune_counts_elapsed_time_across_restarts(location: StoreLocation) -> None:
    store, clock = await location.open(), location.manual_clock
    await run_one(store, a_job(), clock.wall)
    await store.delivered(1)
    await store.prune(RETENTION, 10)
    for _ in range(3):
        clock.pass_time(10 * DAY)
        store = await location.reopen(store)
    assert (await store.prune(RETENTION, 10)).runs == 1


async def test_prune_with_a_limit_removes_the_oldest_runs(store: Store) -> None:
    await store.enqueue([a_job() for _ in range(300)])
    jobs = (await store.claim(300)).jobs
    await store.settle([success(job, START - 300 + number) for number, job in enumerate(jobs)])
    ids = [job.id for job in jobs]
    await store.delivered(300)
    assert (await store.prune(0.0, 250)).runs == 250
    assert await store.get(ids[249]) is None
    assert await store.get(ids[250]) is not None
    assert (await store.prune(0.0, 250)).runs == 50


async def test_prune_removes_old_runs_with_a_dead_notification(store: Store) -> None:
    await run_one(store, a_job(), START - 50)
    await store.dead(1, "no")
    assert (await store.prune(0.0, 10)).runs == 1
    figures = await store.stats()
    assert (figures.outbox_dead, figures.jobs["succeeded"]) == (0, 0)


async def test_prune_keeps_unfinished_jobs(store: Store) -> None:
    await store.enqueue([a_job(START - 1000), a_job(START - 1000)])
    await store.claim(1)
    assert (await store.prune(0.0, 10)).runs == 0


@pytest.mark.parametrize("claim", [True, False])
async def test_prune_keeps_a_job_whose_next_run_has_begun(store: Store, claim: bool) -> None:
    job_id = await run_one(store, a_job(), START - 50)
    await store.delivered(1)
    await store.retry(job_id)
    if claim:
        await store.claim(1)
    assert (await store.prune(0.0, 10)).runs == 1
    assert await store.get(job_id) is not None


async def test_ids_and_sequences_continue_after_everything_was_pruned(store: Store) -> None:
    await run_one(store, a_job())
    await store.delivered(1)
    await store.prune(0.0, 10)
    await run_one(store, a_job())
    [message] = await store.pending(0, 10)
    [record] = await store.notifications()
    assert (message.id, record.sequence) == (2, 2)


# -- the size limit ----------------------------------------------------------------------------------------------


SMALL = 1 << 20


async def _fill(store: Store, *, jobs: int = 10, payload: str = "x" * 2000) -> int:
    """Enqueue until the store rejects a call; return how many jobs were accepted."""
    accepted = 0
    while True:
        try:
            await store.enqueue([a_job(payload=payload) for _ in range(jobs)])
        except StoreFull:
            return accepted
        accepted += jobs


async def test_figures_of_a_full_store_report_it_as_full(location: StoreLocation) -> None:
    store = await location.open(max_bytes=SMALL)
    assert not (await store.stats()).full
    await _fill(store)
    await _fill(store, jobs=1, payload="")
    assert (await store.stats()).full


async def test_enqueue_into_a_full_store_raises_and_names_the_setting(location: StoreLocation) -> None:
    store = await location.open(max_bytes=SMALL)
    accepted = await _fill(store)
    with pytest.raises(StoreFull, match="MaxBytes"):
        await store.enqueue([a_job(payload="x" * 2000) for _ in range(10)])
    figures = await store.stats()
    assert figures.jobs["queued"] == accepted > 50
    assert figures.size_bytes <= SMALL


async def test_accepted_jobs_of_a_full_store_can_be_settled_and_delivered(location: StoreLocation) -> None:
    store = await location.open(max_bytes=SMALL)
    await _fill(store)
    ended = 0
    while jobs := (await store.claim(20)).jobs:
        assert all(await store.settle([success(job) for job in jobs]))
        ended += len(jobs)
    await store.delivered(ended)
    figures = await store.stats()
    assert (figures.jobs["succeeded"], figures.outbox_depth) == (ended, 0)
    assert figures.size_bytes <= SMALL


async def test_claim_from_a_store_over_its_limit_raises_and_running_jobs_can_be_settled(
    location: StoreLocation,
) -> None:
    store = await location.open()
    await store.enqueue([a_job(payload="x" * 2000) for _ in range(600)])
    [running] = (await store.claim(1)).jobs
    store = await location.reopen(store, max_bytes=SMALL)
    with pytest.raises(StoreFull):
        await store.claim(1)
    with pytest.raises(StoreFull):
        await store.enqueue([a_job()])
    assert await store.settle([success(running)]) == [True]
    await store.delivered(1)
    figures = await store.stats()
    assert (figures.jobs["succeeded"], figures.jobs["queued"]) == (1, 599)


async def test_prune_of_a_full_store_makes_room_for_new_jobs(location: StoreLocation) -> None:
    store = await location.open(max_bytes=SMALL)
    await _fill(store)
    while jobs := (await store.claim(20)).jobs:
        await store.settle([success(job) for job in jobs])
    await store.delivered(10_000)
    work = asyncio.Event()
    store.on_work(work.set)
    assert (await store.prune(0.0, 10_000)).runs > 50
    await asyncio.wait_for(work.wait(), 30)
    assert await _fill(store) > 50


async def test_enqueue_with_a_known_key_into_a_full_store_returns_the_first_job(location: StoreLocation) -> None:
    store = await location.open(max_bytes=SMALL)
    job = a_job(key="k")
    await store.enqueue([job])
    await _fill(store)
    [answer] = await store.enqueue([job])
    assert answer.state == "existing"


# -- listeners ----------------------------------------------------------------------------------------------------


async def test_on_work_calls_every_listener_after_an_enqueue(store: Store) -> None:
    called: list[str] = []
    store.on_work(lambda: called.append("one"))
    store.on_work(lambda: called.append("two"))
    await store.enqueue([a_job()])
    await asyncio.sleep(0)
    assert called == ["one", "two"]


async def test_on_work_listener_is_called_for_retries_releases_and_next_runs(store: Store) -> None:
    await store.enqueue([a_job(), a_job(), a_job()])
    back, again, done = (await store.claim(3)).jobs
    work = asyncio.Event()
    store.on_work(work.set)

    async def wakes(change: Awaitable[object]) -> bool:
        work.clear()
        await change
        await asyncio.sleep(0)
        return work.is_set()

    assert not await wakes(store.settle([success(done)]))
    assert await wakes(store.release([back]))
    assert await wakes(store.settle([retried(again, START + 5)]))
    assert await wakes(store.retry(done.id))
