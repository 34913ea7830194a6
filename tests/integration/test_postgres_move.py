"""A store is moved from its file into PostgreSQL, with everything that it holds."""

from pathlib import Path

import pytest

from tests.support.moved_stores import assert_goes_on, content, fill, ignore
from tests.support.postgres import PostgresPlace
from tests.support.stores import ManualClock, a_job, success
from worker.errors import NotPossible, StoreLocked
from worker.stores.postgres.move import MOVED, move_from_sqlite
from worker.stores.sqlite.store import open_store


async def test_moved_store_has_the_same_content_and_goes_on(tmp_path: Path, place: PostgresPlace) -> None:
    clock, path = ManualClock(), tmp_path / "queue.db"
    store = await open_store(path, owner="one", max_bytes=1 << 30, clock=clock.clock)
    await fill(store, clock)
    await store.close()
    store = await open_store(path, owner="two", max_bytes=1 << 30, clock=clock.clock)
    await store.release(await store.orphans())
    before = await content(store)
    await store.close()
    counts = await move_from_sqlite(path, place.target, clock.clock, ignore)
    assert (counts["jobs"], counts["outbox"]) == (42, 10)
    assert not path.exists()
    assert path.with_name(path.name + MOVED).exists()
    moved = await place.open("three", 1 << 30, clock.clock)
    assert await content(moved) == before
    await assert_goes_on(moved)
    await moved.close()


async def test_move_that_ended_before_the_file_was_renamed_is_completed(tmp_path: Path, place: PostgresPlace) -> None:
    clock, path = ManualClock(), tmp_path / "queue.db"
    store = await open_store(path, owner="one", max_bytes=1 << 30, clock=clock.clock)
    await fill(store, clock)
    await store.close()
    counts = await move_from_sqlite(path, place.target, clock.clock, ignore)
    path.with_name(path.name + MOVED).rename(path)
    assert await move_from_sqlite(path, place.target, clock.clock, ignore) == counts
    assert not path.exists()
    moved = await place.open("two", 1 << 30, clock.clock)
    assert await moved.examine() == []
    [job] = (await moved.claim(1)).jobs
    await moved.settle([success(job)])
    await moved.close()
    path.with_name(path.name + MOVED).rename(path)
    with pytest.raises(NotPossible, match="empty"):  # both went their own ways
        await move_from_sqlite(path, place.target, clock.clock, ignore)


async def test_move_of_a_store_whose_jobs_were_pruned_is_completed(tmp_path: Path, place: PostgresPlace) -> None:
    clock, path = ManualClock(), tmp_path / "queue.db"
    store = await open_store(path, owner="one", max_bytes=1 << 30, clock=clock.clock)
    await store.enqueue([a_job()])
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job)])
    await store.delivered((await store.notifications(limit=1))[0].id)
    await store.prune(60.0, 10)  # notes which ends are older than now
    clock.pass_time(7200.0)
    await store.prune(60.0, 10)
    await store.close()
    counts = await move_from_sqlite(path, place.target, clock.clock, ignore)
    assert (counts["jobs"], counts["outbox"], counts["sequences"]) == (0, 0, 1)
    path.with_name(path.name + MOVED).rename(path)
    assert await move_from_sqlite(path, place.target, clock.clock, ignore) == counts
    assert not path.exists()
    other = tmp_path / "other.db"
    await (await open_store(other, owner="two", max_bytes=1 << 30, clock=clock.clock)).close()
    with pytest.raises(NotPossible, match="empty"):
        await move_from_sqlite(other, place.target, clock.clock, ignore)


async def test_move_while_a_service_has_the_file_is_rejected(tmp_path: Path, place: PostgresPlace) -> None:
    path = tmp_path / "queue.db"
    store = await open_store(path, owner="one", max_bytes=1 << 30, clock=ManualClock().clock)
    with pytest.raises(StoreLocked):
        await move_from_sqlite(path, place.target, ManualClock().clock, ignore)
    await store.close()


async def test_move_into_a_store_with_jobs_changes_neither(tmp_path: Path, place: PostgresPlace) -> None:
    clock, path = ManualClock().clock, tmp_path / "queue.db"
    await (await open_store(path, owner="one", max_bytes=1 << 30, clock=clock)).close()
    other = await place.open("one", 1 << 30, clock)
    await other.enqueue([a_job()])
    await other.close()
    with pytest.raises(NotPossible, match="empty"):
        await move_from_sqlite(path, place.target, clock, ignore)
    assert path.exists()
