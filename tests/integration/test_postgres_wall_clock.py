"""A wall clock that is set back while the only worker on a PostgreSQL store is killed."""

from typing import Any

import pytest

from tests.support.postgres import PostgresPlace
from tests.support.stores import ManualClock, a_job, retried
from worker.core.store import Store
from worker.stores.postgres.wall_clock import set_back


async def _killed_in_backoff(place: PostgresPlace, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a job wait for 30 s, long after its store was opened, and end that store as kill -9 does."""

    async def _leaves_its_row(_transaction: object, calls: list[None]) -> list[None]:
        return [None for _ in calls]

    store = await place.open("killed", 1 << 30, clock.clock)
    clock.pass_time(10_000)
    await store.enqueue([a_job(clock.wall)])
    [job] = (await store.claim(1)).jobs
    await store.settle([retried(job, clock.wall + 30)])
    with monkeypatch.context() as patched:
        patched.setattr("worker.stores.postgres.store._leave", _leaves_its_row)
        await store.close()


async def _next_run(store: Store) -> float | None:
    return (await store.claim(1)).next_run_at


async def test_backoff_keeps_its_duration_when_the_clock_is_set_back_and_the_worker_killed(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    await _killed_in_backoff(place, clock, monkeypatch)
    clock.set_wall(-7200)
    store = await place.open("next", 1 << 30, clock.clock)
    # The one that was killed seems to be open until its row is a minute old, and its clock may be right.
    connection = await place.target.connect()
    await connection.execute("UPDATE workers SET seen_at = now() - interval '2 minutes' WHERE owner = 'killed'")
    await connection.close()
    clock.pass_time(1.0)  # the store is asked about others at most once a second
    assert await _next_run(store) == pytest.approx(clock.wall + 29, abs=2)
    await store.close()


async def test_store_is_asked_about_other_workers_at_most_once_a_second(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    asked = 0

    async def counting(connection: Any, owner: str, seconds: float, now: float) -> bool:
        nonlocal asked
        asked += seconds < 0
        return await set_back(connection, owner, seconds, now)

    store, other = await place.open("one", 1 << 30, clock.clock), await place.open("other", 1 << 30, clock.clock)
    monkeypatch.setattr("worker.stores.postgres.transaction.set_back", counting)
    clock.set_wall(-7200)
    for seconds in (0.0, 0.0, 0.5, 0.5, 0.0):
        clock.pass_time(seconds)
        await store.enqueue([a_job(clock.wall)])
    assert asked == 2
    await other.close()
    await store.close()


async def test_backoff_keeps_its_duration_when_the_killed_worker_was_gone_for_long(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    await _killed_in_backoff(place, clock, monkeypatch)
    connection = await place.target.connect()
    await connection.execute("DELETE FROM workers")
    await connection.close()
    clock.set_wall(-7200)
    store = await place.open("next", 1 << 30, clock.clock)
    assert await _next_run(store) == pytest.approx(clock.wall + 30, abs=2)
    await store.close()
