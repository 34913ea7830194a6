"""The search index as a file: it may be missing, old, foreign or damaged, and the store finds its jobs nevertheless."""

import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.stores import START, ManualClock, a_job, run_one, success
from worker.core.clock import Clock
from worker.core.store import JobQuery
from worker.errors import StoreError
from worker.stores.sqlite.connection import connect_reader
from worker.stores.sqlite.disk_space import search_bytes
from worker.stores.sqlite.journal import journal_of
from worker.stores.sqlite.restore import restore
from worker.stores.sqlite.search import find, index_file
from worker.stores.sqlite.search.index_file import SHELF, files_of, search_of
from worker.stores.sqlite.search.index_reader import SearchFile
from worker.stores.sqlite.search.indexer import SearchIndex
from worker.stores.sqlite.store import SqliteStore, open_store

Opened = Callable[..., Awaitable[SqliteStore]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Opened]:
    stores: list[SqliteStore] = []

    async def opener(max_bytes: int = 1 << 30, clock: Clock | None = None) -> SqliteStore:
        owner = f"owner-{len(stores)}"
        store = await open_store(path, owner=owner, max_bytes=max_bytes, clock=clock or ManualClock().clock)
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
    """Return the highest number in the index; None: there is no index."""
    search = SearchFile(path)
    with search.snapshot() as snapshot:
        up_to = None if snapshot is None else snapshot.up_to
    search.close()
    return up_to


async def test_index_file_is_private_and_continues_after_a_restart(path: Path, opened: Opened) -> None:
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


async def test_index_removed_while_the_store_was_closed_is_built_again(path: Path, opened: Opened) -> None:
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
async def test_invalid_index_file_is_replaced(path: Path, opened: Opened, spoil: bytes) -> None:
    store = await opened()
    await run_one(store, a_job(payload="needle"))
    await indexed(store)
    await store.close()
    search_of(path).write_bytes(spoil)
    store = await opened()
    assert await found(store, "needle") == 1
    if spoil:
        with pytest.raises(StoreError, match="built again"):
            await store.index()
    await indexed(store)
    assert known(path) == 1
    assert await found(store, "needle") == 1


async def test_damaged_page_of_the_index_hides_no_job(path: Path, opened: Opened) -> None:
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


async def test_index_locked_by_another_program_is_kept(path: Path, opened: Opened) -> None:
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


async def test_folder_in_place_of_the_index_is_reported_and_searches_still_work(path: Path, opened: Opened) -> None:
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


async def test_index_of_another_store_is_not_used(path: Path, opened: Opened, tmp_path: Path) -> None:
    store = await opened()
    await run_one(store, a_job(payload="needle"))
    await indexed(store)
    await store.close()
    for file in (path, path.with_name("queue.db-wal"), journal_of(path)):
        file.unlink(missing_ok=True)
    store = await opened()
    for number in range(3):
        await run_one(store, a_job(payload=f"pin {number}"))
    assert await found(store, "pin") == 3
    assert await found(store, "needle") == 0
    await indexed(store)
    assert await found(store, "pin") == 3


async def test_index_newer_than_a_restored_backup_is_built_again(path: Path, opened: Opened) -> None:
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
    restore(path, backup, time.time())
    store = await opened()
    await indexed(store)
    assert known(path) == 1
    await run_one(store, a_job(payload="again"))
    assert (await found(store, "before"), await found(store, "after"), await found(store, "again")) == (1, 0, 1)


async def test_search_without_fts5_finds_everything_and_warns_once(
    path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_file, "unavailable", lambda: "no such tokenizer: trigram")
    store = await opened()
    assert any("no such tokenizer: trigram" in warning for warning in store.warnings)
    await run_one(store, a_job(payload="needle"))
    piece = await store.index()
    assert (piece.done, piece.left) == (0, 0)
    assert not search_of(path).exists()
    assert await found(store, "needle") == 1
    assert len(await store.notifications(user_id="somchai")) == 1


async def test_sqlite_of_this_machine_has_full_text_search(opened: Opened) -> None:
    assert not any("full-text" in warning for warning in (await opened()).warnings)


async def test_index_is_deleted_when_jobs_need_its_space(path: Path, opened: Opened) -> None:
    store = await opened(max_bytes=3 << 20)
    while (await store.stats()).size_bytes < 1 << 20:
        await store.enqueue([a_job(payload="needle " * 100) for _ in range(50)])
        await store.settle([success(job) for job in (await store.claim(50)).jobs])
    await indexed(store)
    assert search_bytes(path) > 0
    with_index = (await store.stats()).size_bytes
    while not (await store.stats()).full:
        await store.enqueue([a_job(payload="needle " * 100) for _ in range(10)])
        await store.settle([success(job) for job in (await store.claim(50)).jobs])
    await store.index()
    assert search_bytes(path) == 0
    figures = await store.stats()
    assert not figures.full
    assert with_index > 0
    await store.index()
    assert search_bytes(path) == 0  # it is not built only to be deleted again
    assert await found(store, "needle") == 50


async def test_part_of_the_index_without_jobs_is_deleted(path: Path, opened: Opened) -> None:
    """Jobs on two shelves: pruning the older ones deletes their entries, except that of a job that is kept."""
    manual_clock = ManualClock()
    store = await opened(clock=manual_clock.clock)
    old = [a_job(payload="needle") for _ in range(10)]
    await store.enqueue(old)
    await store.settle([success(job) for job in (await store.claim(10)).jobs])
    await store.delivered(10)
    await store.enqueue([a_job(START + 60, payload="needle kept", job_id="kept", delay=-60.0)])
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job, START + 1000)])
    await store.close()
    writer = sqlite3.connect(path, isolation_level=None)  # as if a hundred thousand jobs had been stored and pruned
    for table in ("jobs", "payloads"):
        writer.execute(f"UPDATE {table} SET seq = seq + {SHELF} WHERE seq > 5 AND seq < 11")
    writer.close()
    store = await opened(clock=manual_clock.clock)
    await indexed(store)
    reader = connect_reader(path)
    shelves = "SELECT number FROM shelves"
    index = sqlite3.connect(search_of(path))
    assert index.execute(shelves).fetchall() == [(0,), (1,)]
    assert index.execute("SELECT count(*) FROM told").fetchone() == (11,)
    manual_clock.pass_time(500.0)
    assert (await store.prune(0.0, 100)).runs == 10
    for _ in range(4):
        await store.index()
    assert index.execute("SELECT count(*) FROM told").fetchone() == (6,)
    assert index.execute(shelves).fetchall() == [(0,), (1,)]
    [kept] = (await store.find(JobQuery(text="needle"))).jobs
    assert kept.id == "kept"
    search = SearchFile(path)
    with search.snapshot() as snapshot:
        assert snapshot is not None
        assert snapshot.candidates(0, '"nee"', 0, SHELF, 100) == [11]
        assert snapshot.created_between(None, None)[0] == 0
    search.close()
    index.close()
    reader.close()


async def test_index_step_adds_50_jobs_and_searches_find_all(path: Path, opened: Opened) -> None:
    store = await opened()
    for _ in range(4):
        await store.enqueue([a_job(payload="needle") for _ in range(100)])
        await store.settle([success(job) for job in (await store.claim(100)).jobs])
    piece = await store.index()
    assert (piece.done, piece.left) == (50, 350)
    assert known(path) == 50
    page = await store.find(JobQuery(text="needle", limit=1000))
    assert len(page.jobs) == 400


async def test_index_deleted_while_it_is_open_is_no_longer_used(path: Path, opened: Opened) -> None:
    store = await opened()
    await run_one(store, a_job(payload="needle"))
    await indexed(store)
    assert await found(store, "needle") == 1  # the reader has it open now
    SearchIndex(path).delete()
    await run_one(store, a_job(payload="needle"))
    assert await found(store, "needle") == 2
    await store.close()
    store = await opened()
    await indexed(store)
    assert (known(path), await found(store, "needle")) == (2, 2)


async def test_pages_cut_short_by_time_contain_each_job_once(path: Path, opened: Opened) -> None:
    """With no time, each page ends after the first group of candidates."""
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
            page = find.find(connection, search, JobQuery(text=text, cursor=cursor, limit=2), seconds=0.0)
            ids += [job.id for job in page.jobs]
            cursor, pages = page.cursor, pages + 1
            if cursor is None:
                break
        wanted = [job.id for job in reversed(jobs) if text.encode() in job.payload or text in job.id]
        assert ids == wanted
        assert pages >= len(wanted) // 2
    search.close()
    connection.close()
