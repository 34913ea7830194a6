"""A store is moved from its file into PostgreSQL, with everything that it holds."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.moved_stores import assert_goes_on, content, fill, ignore
from tests.support.postgres import PostgresPlace, connected
from tests.support.stores import ManualClock, a_job, success
from worker.core.store import JobQuery
from worker.errors import NotPossible, StoreLocked
from worker.stores.postgres.move import MOVED, move_from_sqlite
from worker.stores.sqlite.store import open_store


async def filled(path: Path, clock: ManualClock) -> dict[str, Any]:
    """Make a file with something of everything, whose service died; return what a store shows of it."""
    for owner in ("one", "two"):
        store = await open_store(path, owner=owner, max_bytes=1 << 30, clock=clock.clock)
        if owner == "one":
            await fill(store, clock)
        await store.release(await store.orphans())
        before = await content(store)
        await store.close()
    return before


async def test_moved_store_has_the_same_content_and_goes_on(tmp_path: Path, place: PostgresPlace) -> None:
    clock, path = ManualClock(), tmp_path / "queue.db"
    before = await filled(path, clock)
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
    await filled(path, clock)
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


class Interrupted(Exception):
    """Raised by the progress of a move, which ends it as a crash does: nothing after it is executed."""


async def interrupted_move(path: Path, place: PostgresPlace, clock: ManualClock, table: str, rows: int) -> None:
    def progress(name: str, done: int, _total: int) -> None:
        if name == table and done >= rows:
            raise Interrupted

    with pytest.raises(Interrupted):
        await move_from_sqlite(path, place.target, clock.clock, progress)
    assert path.exists()


@pytest.mark.parametrize(("table", "rows"), [("jobs", 20), ("outbox", 10), ("jobs compared", 1)])
async def test_interrupted_move_continues_behind_the_rows_that_have_arrived(
    tmp_path: Path, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch, table: str, rows: int
) -> None:
    monkeypatch.setattr("worker.stores.postgres.move_rows.CHUNK", 10)
    clock, path = ManualClock(), tmp_path / "queue.db"
    before = await filled(path, clock)
    await interrupted_move(path, place, clock, table, rows)
    empty = await place.open("two", 1 << 30, clock.clock)
    assert (await empty.find(JobQuery())).jobs == []  # workers see all of it or nothing
    await empty.close()
    sent: list[tuple[str, int]] = []
    counts = await move_from_sqlite(path, place.target, clock.clock, lambda name, done, _: sent.append((name, done)))
    assert counts["jobs"] == 42
    first = next((done for name, done in sent if name == "jobs"), None)
    assert first == {"jobs": 30, "outbox": None, "jobs compared": None}[table]
    moved = await place.open("three", 1 << 30, clock.clock)
    assert await content(moved) == before
    await assert_goes_on(moved)
    await moved.close()
    async with connected(place.target.dsn) as connection:
        left = "SELECT count(*) FROM pg_tables WHERE schemaname = $1 AND tablename LIKE 'arriving%'"
        assert await connection.fetchval(left, place.target.schema) == 0


async def test_interrupted_move_begins_again_if_the_service_went_on(
    tmp_path: Path, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.stores.postgres.move_rows.CHUNK", 10)
    clock, path = ManualClock(), tmp_path / "queue.db"
    await filled(path, clock)
    await interrupted_move(path, place, clock, "audit", 1)
    store = await open_store(path, owner="again", max_bytes=1 << 30, clock=clock.clock)
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job)])
    before = await content(store)
    await store.close()
    await move_from_sqlite(path, place.target, clock.clock, ignore)
    moved = await place.open("four", 1 << 30, clock.clock)
    assert await content(moved) == before
    await moved.close()


async def test_rows_of_an_interrupted_move_by_another_version_are_sent_again(
    tmp_path: Path, place: PostgresPlace
) -> None:
    clock, path = ManualClock(), tmp_path / "queue.db"
    await filled(path, clock)
    await (await place.open("two", 1 << 30, clock.clock)).close()
    async with connected(place.target.dsn) as connection:
        await connection.execute(f"CREATE TABLE {place.target.schema}.arriving_jobs (seq bigint, other text)")
        await connection.execute(f"INSERT INTO {place.target.schema}.arriving_jobs VALUES (7, 'x')")
    assert (await move_from_sqlite(path, place.target, clock.clock, ignore))["jobs"] == 42


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
