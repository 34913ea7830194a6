"""The search index as a file: it may be missing, old, foreign or broken, and the store finds its jobs all the same."""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.stores import START, HandClock, a_job, run_one, success
from worker.clock import Clock
from worker.errors import StoreError
from worker.queue import JobQuery
from worker.queues import sqlite_find, sqlite_search
from worker.queues.sqlite import SqliteStore, open_store
from worker.queues.sqlite_index import SearchIndex
from worker.queues.sqlite_look import SearchFile
from worker.queues.sqlite_room import search_bytes
from worker.queues.sqlite_schema import connect_reader
from worker.queues.sqlite_search import SHELF, files_of, search_of

Opened = Callable[..., Awaitable[SqliteStore]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Opened]:
    stores: list[SqliteStore] = []

    async def opener(max_bytes: int = 1 << 30, clock: Clock | None = None) -> SqliteStore:
        owner = f"owner-{len(stores)}"
        store = await open_store(path, owner=owner, max_bytes=max_bytes, clock=clock or HandClock().clock)
        stores.append(store)
        return store

    yield opener
    for store in stores:
        await store.close()


async def found(store: SqliteStore, text: str) -> int:
    return len((await store.find(JobQuery(text=text))).jobs)


async def indexed(store: SqliteStore) -> None:
    while (await store.index()).left:
        pass


def known(path: Path) -> int | None:
    """How far the index has come; None: there is none."""
    search = SearchFile(path)
    with search.look() as look:
        up_to = None if look is None else look.up_to
    search.close()
    return up_to


async def test_the_index_is_private_and_goes_on_where_it_was(path: Path, opened: Opened) -> None:
    store = await opened()
    await run_one(store, a_job(payload="needle"))
    await indexed(store)
    await store.close()
    assert search_of(path).stat().st_mode & 0o777 == 0o600
    store = await opened()
    assert known(path) == 1
    assert (await store.index()).done == 0
    await run_one(store, a_job(payload="needle"))
    assert (await store.index()).done == 1
    assert await found(store, "needle") == 2


async def test_an_index_that_was_removed_while_the_store_was_closed_is_built_again(path: Path, opened: Opened) -> None:
    store = await opened()
    await run_one(store, a_job(payload="needle"))
    await indexed(store)
    await store.close()
    for file in files_of(path):
        file.unlink(missing_ok=True)
    store = await opened()
    assert await found(store, "needle") == 1
    await indexed(store)
    assert known(path) == 1
    assert await found(store, "needle") == 1


@pytest.mark.parametrize("spoil", [b"no database at all" * 1000, b""])
async def test_a_broken_index_is_thrown_away(path: Path, opened: Opened, spoil: bytes) -> None:
    store = await opened()
    await run_one(store, a_job(payload="needle"))
    await indexed(store)
    await store.close()
    search_of(path).write_bytes(spoil)
    store = await opened()
    assert await found(store, "needle") == 1
    if spoil:
        with pytest.raises(StoreError, match="begun anew"):
            await store.index()
    await indexed(store)
    assert known(path) == 1
    assert await found(store, "needle") == 1


async def test_a_page_of_the_index_that_is_damaged_costs_time_and_no_jobs(path: Path, opened: Opened) -> None:
    store = await opened()
    for number in range(20):
        await run_one(store, a_job(payload=f"needle {number}"))
    await indexed(store)
    await store.close()
    data = bytearray(search_of(path).read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    search_of(path).write_bytes(data)
    store = await opened()
    assert await found(store, "needle") == 20
    assert len(await store.notifications(user_id="somchai")) == 20
    await indexed(store)
    assert known(path) == 20
    assert await found(store, "needle") == 20


async def test_an_index_that_another_program_locks_is_kept(path: Path, opened: Opened) -> None:
    store = await opened()
    await run_one(store, a_job(payload="needle"))
    await indexed(store)
    other = sqlite3.connect(search_of(path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await run_one(store, a_job(payload="needle"))
    with pytest.raises(StoreError, match="had to wait"):
        await store.index()
    assert await found(store, "needle") == 2
    other.close()
    assert (await store.index()).done == 1
    assert known(path) == 2


async def test_a_folder_in_the_place_of_the_index_is_no_index(path: Path, opened: Opened) -> None:
    search_of(path).mkdir()
    store = await opened()
    await run_one(store, a_job(payload="needle"))
    assert await found(store, "needle") == 1
    assert len(await store.notifications(user_id="somchai")) == 1
    with pytest.raises(StoreError, match="is a folder"):
        await store.index()
    search_of(path).rmdir()
    await indexed(store)
    assert (known(path), await found(store, "needle")) == (1, 1)


async def test_another_stores_index_is_not_believed(path: Path, opened: Opened, tmp_path: Path) -> None:
    store = await opened()
    await run_one(store, a_job(payload="needle"))
    await indexed(store)
    await store.close()
    for file in (path, path.with_name("queue.db-wal")):
        file.unlink(missing_ok=True)
    store = await opened()
    for number in range(3):
        await run_one(store, a_job(payload=f"pin {number}"))
    assert await found(store, "pin") == 3
    assert await found(store, "needle") == 0
    await indexed(store)
    assert await found(store, "pin") == 3


async def test_a_backup_that_is_restored_gets_an_index_of_its_own_day(path: Path, opened: Opened) -> None:
    store = await opened()
    await run_one(store, a_job(payload="before"))
    backup = path.with_name("backup.db")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("VACUUM INTO ?", (str(backup),))
    other.close()
    for number in range(3):
        await run_one(store, a_job(payload=f"after {number}"))
    await indexed(store)
    await store.close()
    shutil.move(backup, path)
    store = await opened()
    await indexed(store)
    assert known(path) == 1
    await run_one(store, a_job(payload="again"))
    assert (await found(store, "before"), await found(store, "after"), await found(store, "again")) == (1, 0, 1)


async def test_without_full_text_search_everything_is_found_and_it_is_said_once(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_search, "unavailable", lambda: "no such tokenizer: trigram")
    store = await opened()
    assert store.search_warning is not None
    assert "no such tokenizer: trigram" in store.search_warning
    await run_one(store, a_job(payload="needle"))
    piece = await store.index()
    assert (piece.done, piece.left) == (0, 0)
    assert not search_of(path).exists()
    assert await found(store, "needle") == 1
    assert len(await store.notifications(user_id="somchai")) == 1


async def test_here_is_full_text_search(opened: Opened) -> None:
    assert (await opened()).search_warning is None


async def test_the_index_leaves_room_for_jobs(path: Path, opened: Opened) -> None:
    store = await opened(max_bytes=3 << 20)
    while (await store.figures()).size_bytes < 1 << 20:
        await store.enqueue([a_job(payload="needle " * 100) for _ in range(50)])
        await store.settle([success(job) for job in (await store.claim(50)).jobs])
    await indexed(store)
    assert search_bytes(path) > 0
    with_index = (await store.figures()).size_bytes
    while not (await store.figures()).full:
        await store.enqueue([a_job(payload="needle " * 100) for _ in range(10)])
        await store.settle([success(job) for job in (await store.claim(50)).jobs])
    await store.index()
    assert search_bytes(path) == 0
    figures = await store.figures()
    assert not figures.full
    assert with_index > 0
    await store.index()
    assert search_bytes(path) == 0  # it does not come back only to go again
    assert await found(store, "needle") == 50


async def test_a_part_of_the_index_without_jobs_goes(path: Path, opened: Opened) -> None:
    """Jobs on two shelves; when the older ones were pruned, their shelf goes, but for the one that lives on."""
    hands = HandClock()
    store = await opened(clock=hands.clock)
    old = [a_job(payload="needle") for _ in range(10)]
    await store.enqueue(old)
    await store.settle([success(job) for job in (await store.claim(10)).jobs])
    await store.delivered(10)
    await store.enqueue([a_job(START + 60, payload="needle kept", job_id="kept", delay=-60.0)])
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job, START + 1000)])
    await store.close()
    writer = sqlite3.connect(path, isolation_level=None)  # as if a hundred thousand had come and gone
    for table in ("jobs", "payloads"):
        writer.execute(f"UPDATE {table} SET seq = seq + {SHELF} WHERE seq > 5 AND seq < 11")
    writer.close()
    store = await opened(clock=hands.clock)
    await indexed(store)
    reader = connect_reader(path)
    shelves = "SELECT number FROM shelves"
    index = sqlite3.connect(search_of(path))
    assert index.execute(shelves).fetchall() == [(0,), (1,)]
    assert index.execute("SELECT count(*) FROM told").fetchone() == (11,)
    hands.pass_time(500.0)
    assert await store.prune(START + 500, 100) == 10
    for _ in range(4):
        await store.index()
    assert index.execute("SELECT count(*) FROM told").fetchone() == (6,)
    assert index.execute(shelves).fetchall() == [(0,), (1,)]
    [kept] = (await store.find(JobQuery(text="needle"))).jobs
    assert kept.id == "kept"
    search = SearchFile(path)
    with search.look() as look:
        assert look is not None
        assert look.candidates(0, '"nee"', 0, SHELF, 100) == [11]
        assert look.created_between(None, None)[0] == 0
    search.close()
    index.close()
    reader.close()


async def test_pieces_of_the_index_are_small_and_each_is_whole(path: Path, opened: Opened) -> None:
    store = await opened()
    for _ in range(4):
        await store.enqueue([a_job(payload="needle") for _ in range(100)])
        await store.settle([success(job) for job in (await store.claim(100)).jobs])
    piece = await store.index()
    assert (piece.done, piece.left) == (50, 350)
    assert known(path) == 50
    page = await store.find(JobQuery(text="needle", limit=1000))
    assert len(page.jobs) == 400


async def test_an_index_that_is_read_while_it_is_thrown_away_is_seen_to_be_gone(path: Path, opened: Opened) -> None:
    store = await opened()
    await run_one(store, a_job(payload="needle"))
    await indexed(store)
    assert await found(store, "needle") == 1  # the reader has it open now
    SearchIndex(path).throw_away()
    await run_one(store, a_job(payload="needle"))
    assert await found(store, "needle") == 2
    await store.close()
    store = await opened()
    await indexed(store)
    assert (known(path), await found(store, "needle")) == (2, 2)


async def test_pages_that_are_cut_short_leave_nothing_out_and_repeat_nothing(path: Path, opened: Opened) -> None:
    """No time at all: each page ends after the first piece of candidates, whoever else had found more."""
    store = await opened()
    jobs = [a_job(payload=f"needle {number % 7}") for number in range(300)]
    await store.enqueue(jobs)
    claimed = (await store.claim(250)).jobs
    await store.settle([success(job) for number, job in enumerate(claimed) if number % 3])
    await store.index()
    connection, search = connect_reader(path), SearchFile(path)
    for text in ("needle 3", "3", "edle 3", ""):
        ids: list[str] = []
        cursor, pages = None, 0
        while True:
            page = sqlite_find.find(connection, search, JobQuery(text=text, cursor=cursor, limit=2), seconds=0.0)
            ids += [job.id for job in page.jobs]
            cursor, pages = page.cursor, pages + 1
            if cursor is None:
                break
        wanted = [job.id for job in reversed(jobs) if text.encode() in job.payload or text in job.id]
        assert ids == wanted
        assert pages >= len(wanted) // 2
    search.close()
    connection.close()
