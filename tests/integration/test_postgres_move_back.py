"""A store is moved from PostgreSQL back into a file, with everything that it holds, and interrupted on the way."""

import errno
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.moved_stores import assert_goes_on, content, fill, ignore
from tests.support.postgres import PostgresPlace, connected
from tests.support.stores import ManualClock, a_job, success
from worker.errors import NotPossible, StoreFull
from worker.stores.postgres import move_back
from worker.stores.postgres.move import move_from_sqlite
from worker.stores.postgres.move_back import MOVED_SCHEMA, move_to_sqlite
from worker.stores.sqlite.store import SqliteStore, open_store


@pytest.fixture
async def place(place: PostgresPlace) -> AsyncIterator[PostgresPlace]:
    yield place
    async with connected(place.target.dsn) as connection:
        await connection.execute(f"DROP SCHEMA IF EXISTS {place.target.schema}{MOVED_SCHEMA} CASCADE")


async def open_file(path: Path, clock: ManualClock) -> SqliteStore:
    return await open_store(path, owner="file", max_bytes=1 << 30, clock=clock.clock)


async def filled(place: PostgresPlace, clock: ManualClock) -> dict[str, Any]:
    """Fill a store in PostgreSQL, as after an orderly stop, and return what it shows."""
    store = await place.open("one", 1 << 30, clock.clock)
    await fill(store, clock)
    await store.close()
    store = await place.open("two", 1 << 30, clock.clock)
    await store.release(await store.orphans())
    before = await content(store)
    await store.close()
    return before


async def test_store_moved_back_has_the_same_content_and_goes_on(tmp_path: Path, place: PostgresPlace) -> None:
    clock, path = ManualClock(), tmp_path / "new" / "queue.db"
    before = await filled(place, clock)
    counts = await move_to_sqlite(place.target, path, ignore)
    assert (counts["jobs"], counts["outbox"]) == (42, 10)
    moved = await open_file(path, clock)
    assert await content(moved) == before
    await assert_goes_on(moved)
    await moved.close()


async def test_store_moved_there_and_back_is_the_same(tmp_path: Path, place: PostgresPlace) -> None:
    clock, path = ManualClock(), tmp_path / "queue.db"
    store = await open_file(path, clock)
    await fill(store, clock)
    await store.close()
    store = await open_file(path, clock)
    await store.release(await store.orphans())
    before = await content(store)
    await store.close()
    there = await move_from_sqlite(path, place.target, clock.clock, ignore)
    back = await move_to_sqlite(place.target, path, ignore)
    assert {name: count for name, count in back.items() if name != "payloads"} == there
    store = await open_file(path, clock)
    assert await content(store) == before
    await store.close()


async def test_running_jobs_of_a_dead_worker_are_queued_again_in_the_file(tmp_path: Path, place: PostgresPlace) -> None:
    clock, path = ManualClock(), tmp_path / "queue.db"
    store = await place.open("one", 1 << 30, clock.clock)
    await store.enqueue([a_job()])
    [job] = (await store.claim(1)).jobs
    await store.close()
    await move_to_sqlite(place.target, path, ignore)
    moved = await open_file(path, clock)
    [again] = (await moved.claim(1)).jobs
    assert (again.id, again.attempt) == (job.id, 1)
    assert again.claim > job.claim
    await moved.close()


class Interrupted(Exception):
    """Ends a move in the middle."""


@pytest.mark.parametrize("table", ["jobs", "outbox", "audit", "jobs compared"])
async def test_interrupted_move_goes_on_where_it_was_even_if_the_store_changed(
    tmp_path: Path, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr("worker.stores.postgres.move_back.CHUNK", 10)
    clock, path = ManualClock(), tmp_path / "queue.db"
    await filled(place, clock)

    def interrupt(at: str, done: int, _total: int) -> None:
        if at == table and (done >= 20 or table != "jobs"):
            raise Interrupted

    with pytest.raises(Interrupted):
        await move_to_sqlite(place.target, path, interrupt)
    assert not path.exists()
    store = await place.open("three", 1 << 30, clock.clock)  # the service goes on in PostgreSQL
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job)])
    await store.enqueue([a_job(key="later")])
    before = await content(store)
    await store.close()
    first: dict[str, int] = {}

    def note(at: str, done: int, _total: int) -> None:
        first.setdefault(at, done)

    await move_to_sqlite(place.target, path, note)
    assert first["jobs"] == (30 if table == "jobs" else 43)
    moved = await open_file(path, clock)
    assert await content(moved) == before
    assert await moved.examine() == []
    await moved.close()


async def test_move_that_ended_before_the_file_got_its_name_is_completed(tmp_path: Path, place: PostgresPlace) -> None:
    clock, path = ManualClock(), tmp_path / "queue.db"
    before = await filled(place, clock)
    await move_to_sqlite(place.target, path, ignore)
    path.rename(path.with_name("queue.db.arrived"))
    await move_to_sqlite(place.target, path, ignore)
    moved = await open_file(path, clock)
    assert await content(moved) == before
    await moved.close()


@pytest.mark.parametrize("step", ["write_out_log", "sync"])
async def test_move_back_onto_a_full_disk_says_so_and_goes_on_when_it_is_repeated(
    tmp_path: Path, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    clock, path = ManualClock(), tmp_path / "queue.db"
    before = await filled(place, clock)

    def without_room(_target: object) -> None:
        if step == "sync":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(move_back, step, without_room)
        with pytest.raises(StoreFull, match=r"queue\.db.*free some space"):
            await move_to_sqlite(place.target, path, ignore)
    assert not path.exists()
    await move_to_sqlite(place.target, path, ignore)
    moved = await open_file(path, clock)
    assert await content(moved) == before
    await moved.close()


async def test_move_back_while_a_worker_runs_or_onto_a_store_is_rejected(tmp_path: Path, place: PostgresPlace) -> None:
    clock, path = ManualClock(), tmp_path / "queue.db"
    store = await place.open("one", 1 << 30, clock.clock)
    with pytest.raises(NotPossible, match="workers"):
        await move_to_sqlite(place.target, path, ignore)
    await store.close()
    await (await open_file(path, clock)).close()
    with pytest.raises(NotPossible, match="there is a store"):
        await move_to_sqlite(place.target, path, ignore)


async def test_producer_of_a_store_that_was_moved_gets_an_error(tmp_path: Path, place: PostgresPlace) -> None:
    await (await place.open("one", 1 << 30, ManualClock().clock)).close()
    await move_to_sqlite(place.target, tmp_path / "queue.db", ignore)
    call = "insignia_enqueue(task_type => 'noop', user_id => 'u')"
    for schema in (place.target.schema, place.target.schema + MOVED_SCHEMA):
        async with connected(place.target.dsn) as connection:
            with pytest.raises(asyncpg.PostgresError):
                await connection.fetchval(f"SELECT {schema}.{call}")
