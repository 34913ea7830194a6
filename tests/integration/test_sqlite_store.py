"""The SQLite store as a file: who may open it, what may happen to it, and how calls share its syncs."""

import asyncio
import contextlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.needs import need_root, skip_without
from tests.support.process import clean_environment
from tests.support.small_disk import run_on_small_disk
from tests.support.stores import START, ManualClock, a_job, retried, run_one, success
from worker.core.clock import Clock
from worker.core.job import JobState
from worker.core.store import ClaimResult, JobQuery
from worker.disk import group_commit
from worker.disk.group_commit import SOON_SECONDS
from worker.errors import (
    SchemaTooNew,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReplaced,
    StoreUnwritable,
)
from worker.stores.sqlite.connection import connect_reader
from worker.stores.sqlite.search import find, table_scan
from worker.stores.sqlite.search.filters import filter_of
from worker.stores.sqlite.search.index_reader import SearchFile
from worker.stores.sqlite.store import SqliteStore, open_store
from worker.stores.sqlite.transaction import WriteTransaction

MAX_BYTES = 1 << 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def manual_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def opened(path: Path, manual_clock: ManualClock) -> AsyncIterator["OpenedStores"]:
    stores = OpenedStores(path, manual_clock)
    yield stores
    await stores.close_all()


class OpenedStores:
    def __init__(self, path: Path, manual_clock: ManualClock) -> None:
        self.path, self.manual_clock, self.stores = path, manual_clock, list[SqliteStore]()

    async def __call__(self, path: Path | None = None, *, max_bytes: int = MAX_BYTES) -> SqliteStore:
        owner = f"owner-{len(self.stores)}"
        store = await open_store(path or self.path, owner=owner, max_bytes=max_bytes, clock=self.manual_clock.clock)
        self.stores.append(store)
        return store

    async def close_all(self) -> None:
        for store in self.stores:
            await store.close()


# -- private and locked -----------------------------------------------------------------------------------


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_open_creates_private_files_with_any_umask(
    tmp_path: Path, opened: OpenedStores, open_umask: None
) -> None:
    store = await opened(tmp_path / "a" / "b" / "queue.db")
    await store.enqueue([a_job()])
    await store.stats()
    folder = tmp_path / "a" / "b"
    assert {_mode(tmp_path / "a"), _mode(folder)} == {0o700}
    assert {file.name: _mode(file) for file in folder.iterdir()} == dict.fromkeys(
        ("queue.db", "queue.db-wal", "queue.db-shm", "queue.db.commits", "queue.db.lock"), 0o600
    )


async def test_created_is_true_only_for_a_new_store(opened: OpenedStores) -> None:
    store = await opened()
    assert store.created
    await store.close()
    assert not (await opened()).created


async def test_open_of_an_empty_file_creates_a_store(path: Path, opened: OpenedStores) -> None:
    path.touch()
    assert (await opened()).created


async def test_open_warns_of_an_sqlite_with_the_wal_reset_bug(opened: OpenedStores) -> None:
    store = await opened()
    assert (not any("WAL-reset" in warning for warning in store.warnings)) == (
        sqlite3.sqlite_version_info >= (3, 51, 3)
        or (3, 50, 7) <= sqlite3.sqlite_version_info < (3, 51)
        or (3, 44, 6) <= sqlite3.sqlite_version_info < (3, 45)
    )


async def test_open_of_a_store_in_use_names_the_process_that_has_it_open(opened: OpenedStores) -> None:
    store = await opened()
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}") as raised:
        await opened()
    assert raised.value.exit_code == 75
    assert await store.enqueue([a_job()])


async def test_open_by_a_second_process_exits_with_75(path: Path, opened: OpenedStores) -> None:
    await opened()
    finished = await asyncio.to_thread(_open_in_another_process, path)
    assert finished.stdout.decode().strip() == "75"


async def test_open_by_another_process_after_close_succeeds(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.close()
    finished = await asyncio.to_thread(_open_in_another_process, path)
    assert finished.stdout.decode().strip() == "0"


_OPEN = """
import asyncio, os, sys
from pathlib import Path
from worker.core.clock import Clock
from worker.errors import WorkerError
from worker.stores.sqlite.store import open_store

async def main() -> int:
    try:
        store = await open_store(Path(sys.argv[1]), owner="other", max_bytes=1 << 30, clock=Clock())
    except WorkerError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    await store.close()
    return 0

if len(sys.argv) > 2:
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
print(asyncio.run(main()))
"""


def _open_in_another_process(path: Path, *, user: int | None = None) -> "subprocess.CompletedProcess[bytes]":
    arguments = [] if user is None else [str(user)]
    environ = clean_environment()
    environ.pop("COVERAGE_PROCESS_CONFIG", None)  # another user cannot write the data of coverage.py
    return subprocess.run(
        [sys.executable, "-c", _OPEN, str(path), *arguments], capture_output=True, timeout=300, check=True, env=environ
    )


async def test_cancelled_open_leaves_no_lock(path: Path, opened: OpenedStores) -> None:
    opening = asyncio.ensure_future(open_store(path, owner="cancelled", max_bytes=MAX_BYTES, clock=Clock()))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(30):
        while True:
            try:
                await opened()
            except StoreLocked:
                await asyncio.sleep(0.005)
            else:
                break


async def test_reads_of_the_process_do_not_release_the_locks_of_sqlite(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await run_one(store, a_job())
    await store.check()
    await store.stats()
    await store.find(JobQuery(text="x"))
    await store.notifications()
    assert _is_locked_by_us(path)


def _is_locked_by_us(path: Path) -> bool:
    """A connection in WAL mode holds a shared POSIX lock on the database as long as it is open."""
    locks = Path("/proc/locks")
    if not locks.exists():
        skip_without("/proc/locks", "run the tests on Linux")
    mark = f":{path.stat().st_ino} "
    return any(
        "POSIX" in line and f" {os.getpid()} " in line and mark in line for line in locks.read_text().splitlines()
    )


async def test_released_lock_is_visible_in_the_lock_table(path: Path, opened: OpenedStores) -> None:
    """Show that the test above can fail: reading the file itself releases the lock."""
    await opened()
    assert _is_locked_by_us(path)
    path.read_bytes()
    assert not _is_locked_by_us(path)


# -- what cannot be opened ---------------------------------------------------------------------------------


async def test_open_below_a_file_names_the_path(tmp_path: Path, opened: OpenedStores) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match="file") as raised:
        await opened(tmp_path / "file" / "deeper" / "queue.db")
    assert raised.value.exit_code == 73


async def test_open_of_a_folder_says_that_it_is_a_folder(path: Path, opened: OpenedStores) -> None:
    path.mkdir()
    with pytest.raises(StoreUnwritable, match="is a folder"):
        await opened()


@pytest.mark.parametrize("modes", [(0o755, 0o644), (0o777, 0o444)])
async def test_open_without_permission_exits_with_73_and_one_line(
    tmp_path: Path, opened: OpenedStores, modes: tuple[int, int]
) -> None:
    need_root("to become another user")
    folder = tmp_path / "state"
    store = await opened(folder / "queue.db")
    await store.close()
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    folder.chmod(modes[0])
    (folder / "queue.db").chmod(modes[1])
    (folder / "queue.db.lock").unlink()
    finished = await asyncio.to_thread(_open_in_another_process, folder / "queue.db", user=65534)
    assert finished.stdout.decode().strip() == "73"
    assert len(finished.stderr.decode().strip().splitlines()) == 1


async def test_open_of_a_file_that_is_not_a_database_raises_and_keeps_it(path: Path, opened: OpenedStores) -> None:
    letter = "สวัสดี".encode() * 1000
    path.write_bytes(letter)
    with pytest.raises(StoreCorrupt, match="db recover"):
        await opened()
    assert path.read_bytes() == letter


async def test_open_of_a_database_of_another_program_raises(path: Path, opened: OpenedStores) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    with pytest.raises(StoreCorrupt, match="another program"):
        await opened()


async def test_open_of_a_store_with_a_newer_schema_raises(path: Path, opened: OpenedStores) -> None:
    await (await opened()).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(SchemaTooNew, match="schema 99") as raised:
        await opened()
    assert raised.value.exit_code == 78


async def test_open_that_failed_leaves_no_lock(path: Path, opened: OpenedStores) -> None:
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StoreCorrupt):
        await opened()
    path.unlink()
    assert (await opened()).created


async def test_open_of_a_store_with_damaged_pages_raises(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job(payload="x" * 500) for _ in range(500)])
    await store.close()
    _damage(path, first_page=20, pages=5)
    with pytest.raises(StoreCorrupt, match="keep a copy"):
        await opened()


def _damage(path: Path, *, first_page: int, pages: int) -> None:
    """Overwrite pages from another process: this one must not open a database that it has open already."""
    program = (
        "import sys; file = open(sys.argv[1], 'r+b'); file.seek((int(sys.argv[2]) - 1) * 4096)\n"
        "file.write(b'\\xa5' * (4096 * int(sys.argv[3]))); file.close()"
    )
    subprocess.run([sys.executable, "-c", program, str(path), str(first_page), str(pages)], check=True)


# -- what happens to an open store -------------------------------------------------------------------------


async def test_damage_of_an_open_store_is_reported_by_reads_and_by_check(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    # More than the writer keeps in memory, so that it meets the damage too: the check at the start reads
    # from the end, and leaves the beginning in memory.
    jobs = [a_job(START - 100 + number, payload="x" * 1_000_000) for number in range(30)]
    for job in jobs:
        await store.enqueue([job])
    await store.close()
    store = await opened()
    _damage(path, first_page=5000, pages=2000)
    with pytest.raises(StoreCorrupt):
        await store.find(JobQuery(limit=50))
    with pytest.raises(StoreCorrupt):
        await store.claim(30)
    with pytest.raises(StoreCorrupt):
        await store.check()


@pytest.mark.parametrize("name", ["queue.db", "queue.db-wal", "queue.db.lock"])
async def test_check_reports_a_removed_file_of_an_open_store(path: Path, opened: OpenedStores, name: str) -> None:
    store = await opened()
    await store.enqueue([a_job()])
    await store.check()
    path.with_name(name).unlink()
    with pytest.raises(StoreReplaced, match=name):
        await store.check()


async def test_check_reports_a_replaced_file(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job()])
    path.with_name("copy.db").write_bytes(b"")
    path.with_name("copy.db").rename(path)
    with pytest.raises(StoreReplaced):
        await store.check()


@contextmanager
def _no_file_may_grow_beyond(size: int) -> Iterator[None]:
    """Let writes past `size` fail with EFBIG after the transaction was prepared, as on a broken disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_commit_that_fails_raises_in_every_call_and_stores_nothing(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job(), a_job()])
    first, second = (await store.claim(2)).jobs
    log = path.with_name("queue.db-wal").stat().st_size
    with _no_file_may_grow_beyond(log + 100):
        answers = await asyncio.gather(
            store.settle([success(first)]),
            store.enqueue([a_job()]),
            store.settle([success(second)]),
            store.release([second]),
            return_exceptions=True,
        )
    assert [type(answer) for answer in answers] == [StoreError] * 4
    figures = await store.stats()
    assert (figures.jobs["queued"], figures.jobs["running"], figures.outbox_depth) == (0, 2, 0)
    assert await store.settle([success(first), success(second)]) == [True, True]
    assert [record.sequence for record in await store.notifications()] == [2, 1]
    assert await store.examine() == []


async def test_write_to_a_locked_file_waits_and_then_names_the_other_program(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')\n"
        "print('locked', flush=True); sys.stdin.readline(); c.execute('ROLLBACK'); c.close()\n"
        "print('free', flush=True)"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert await other.stdout.readline() == b"locked\n"
    with pytest.raises(StoreLocked, match="another program"):
        await store.enqueue([a_job()])
    waiting = asyncio.ensure_future(store.enqueue([a_job()]))
    await other.communicate(b"\n")
    assert [answer.state for answer in await waiting] == ["created"]


async def test_call_after_close_raises(opened: OpenedStores) -> None:
    store = await opened()
    await asyncio.gather(store.close(), store.close())
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.enqueue([a_job()])
    with pytest.raises(StoreError, match="closed"):
        await store.stats()


async def test_cancelled_close_is_completed(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await store.close()
    await opened()


async def test_release_that_fails_after_a_cancelled_claim_is_repeated_later(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job() for _ in range(3)])
    claiming = asyncio.ensure_future(store.claim(3))
    limits = contextlib.ExitStack()

    def interfere() -> None:
        """Prevent further writes in the turn of the loop in which the claim is answered."""
        if claiming.cancel():
            limits.enter_context(_no_file_may_grow_beyond(path.with_name("queue.db-wal").stat().st_size))

    store.on_work(interfere)
    with limits:
        await asyncio.gather(store.enqueue([a_job(START + 1)]), claiming, return_exceptions=True)
        with pytest.raises(StoreError):
            await store.enqueue([a_job(START + 2)])
        assert (await store.stats()).jobs["running"] == 3
    released = asyncio.Event()
    store.on_work(released.set)
    async with asyncio.timeout(30):
        await released.wait()
    assert (await store.stats()).jobs["queued"] == 4


async def test_claim_cancelled_during_close_leaves_no_job_running(opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job() for _ in range(5)])
    async with asyncio.TaskGroup() as group:
        # Keeps the writer busy until after `close` has begun.
        group.create_task(store.enqueue([a_job(START + 1) for _ in range(10_000)]))
        claiming = group.create_task(store.claim(5))
        await asyncio.sleep(0)
        claiming.cancel()
        await store.close()
    assert claiming.cancelled()
    store = await opened()
    assert await store.orphans() == []
    assert (await store.stats()).jobs["queued"] == 10_005


async def test_close_completes_every_pending_call(opened: OpenedStores) -> None:
    store = await opened()
    calls = [asyncio.ensure_future(store.enqueue([a_job()])) for _ in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert all(call.done() for call in calls)
    assert (await (await opened()).stats()).jobs["queued"] == 50


# -- a full disk -------------------------------------------------------------------------------------------

_FULL_DISK = """
import asyncio, json, sys
from pathlib import Path
from tests.support.small_disk import fill
from tests.support.stores import ManualClock, a_job, success
from worker.errors import StoreFull
from worker.stores.sqlite.store import open_store

async def main() -> dict:
    folder = Path(sys.argv[1])
    store = await open_store(folder / "queue.db", owner="me", max_bytes=1 << 20, clock=ManualClock().clock)
    await store.enqueue([a_job(payload="x" * 1000) for _ in range(50)])
    jobs = (await store.claim(50)).jobs
    ballast = fill(folder, 0)
    seen = {}
    for name, call in (("settle", store.settle([success(job) for job in jobs])), ("figures", store.stats())):
        try:
            await call
            seen[name] = "ok"
        except StoreFull as exc:
            seen[name] = f"StoreFull: {exc}"
    ballast.unlink()
    seen["settled later"] = await store.settle([success(job) for job in jobs]) == [True] * 50
    seen["accepted later"] = len(await store.enqueue([a_job()]))
    seen["findings"] = await store.examine()
    await store.close()
    return seen

print(json.dumps(asyncio.run(main())))
"""


async def test_full_disk_is_reported_and_work_continues_when_there_is_space(tmp_path: Path) -> None:
    seen = json.loads(await asyncio.to_thread(run_on_small_disk, tmp_path, "1200k", _FULL_DISK))
    assert seen.pop("settle").startswith("StoreFull: the disk of")
    assert seen == {"figures": "ok", "settled later": True, "accepted later": 1, "findings": []}


async def test_enqueue_that_would_fill_the_disk_raises_store_full(tmp_path: Path, opened: OpenedStores) -> None:
    state = os.statvfs(tmp_path)
    size = state.f_blocks * state.f_frsize  # of the whole disk: others free space in the meantime
    store = await opened(max_bytes=1 << 60)
    huge = a_job()._replace(payload=_Vast(size))
    with pytest.raises(StoreFull, match="free some space"):
        await store.enqueue([huge])


class _Vast(bytes):
    """A payload that reports a larger size than it has."""

    def __new__(cls, size: int) -> "_Vast":
        made = super().__new__(cls, b"{}")
        made.size = size
        return made

    size: int

    def __len__(self) -> int:
        return self.size


# -- sharing syncs -----------------------------------------------------------------------------------------


async def test_concurrent_calls_share_their_commits(opened: OpenedStores) -> None:
    store = await opened()
    commits: list[int] = []
    store.on_work(lambda: commits.append(1))  # called once for each commit
    await asyncio.gather(*(store.enqueue([a_job()]) for _ in range(200)))
    assert 1 <= len(commits) <= 20
    assert (await store.stats()).jobs["queued"] == 200


async def test_delivered_shares_the_next_commit(opened: OpenedStores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "SOON_SECONDS", 60.0)  # however late a busy machine comes with the other call
    store = await opened()
    for _ in range(3):
        await run_one(store, a_job())
    done: list[str] = []
    delivering = asyncio.ensure_future(store.delivered(3))
    delivering.add_done_callback(lambda _: done.append("delivered"))
    await asyncio.sleep(0)
    enqueueing = asyncio.ensure_future(store.enqueue([a_job()]))
    enqueueing.add_done_callback(lambda _: done.append("enqueue"))
    commits: list[int] = []
    store.on_work(lambda: commits.append(1))
    await asyncio.gather(delivering, enqueueing)
    assert (sorted(done), len(commits)) == (["delivered", "enqueue"], 1)


async def test_delivered_without_another_write_is_committed_after_a_delay(opened: OpenedStores) -> None:
    store = await opened()
    await run_one(store, a_job())
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(30):
        await store.delivered(1)
    assert loop.time() - started >= SOON_SECONDS
    assert await store.pending(0, 10) == []


async def test_invalid_call_in_a_shared_transaction_does_not_affect_the_others(opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job(START - 100 + number, job_id=f"job-{number}") for number in range(6)])
    one, two, three, *_ = (await store.claim(3)).jobs
    results = await asyncio.gather(
        store.settle([success(one)]),
        store.enqueue([a_job(job_id="job-0")]),
        store.settle([retried(two, START)]),
        store.enqueue([a_job(job_id="fresh")]),
        store.release([three]),
        store.claim(2),
        store.retry("unknown"),
        return_exceptions=True,
    )
    settled, refused, again, fresh, released, claimed, unknown = results
    assert (settled, again, released, unknown) == ([True], [True], None, "unknown")
    assert isinstance(refused, ValueError)
    assert not isinstance(fresh, BaseException)
    assert isinstance(claimed, ClaimResult)
    assert len(claimed.jobs) == 2
    assert await store.examine() == []


async def test_state_changes_do_not_write_the_payload_again(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job(payload="x" * 1_000_000)])
    log = path.with_name("queue.db-wal")
    before = log.stat().st_size
    [job] = (await store.claim(1)).jobs
    await store.settle([retried(job, START)])
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job)])
    assert len(job.payload) > 1_000_000
    assert log.stat().st_size - before < 200_000


async def test_log_of_the_store_stays_bounded(path: Path, opened: OpenedStores) -> None:
    store = await opened(max_bytes=64 << 20)
    for _ in range(60):
        await store.enqueue([a_job(payload="x" * 2000) for _ in range(100)])
        await store.stats()
    log = path.with_name("queue.db-wal").stat().st_size
    assert path.stat().st_size > 2 * log
    assert log < 8 << 20


async def test_store_that_is_full_because_of_its_log_recovers_by_itself(path: Path, opened: OpenedStores) -> None:
    store = await opened(max_bytes=4 << 20)
    await store.enqueue([a_job(payload="x" * 500) for _ in range(100)])
    reader = connect_reader(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM jobs").fetchone()  # the log cannot restart while this is open
    with pytest.raises(StoreFull):
        await _claim_and_release(store, opened.manual_clock, times=500)
    reader.execute("COMMIT")
    reader.close()
    async with asyncio.timeout(30):
        while True:
            try:
                await _claim_and_release(store, opened.manual_clock, times=1)
            except StoreFull:
                continue  # at each rejection the store tries to copy the log into the file
            break


async def _claim_and_release(store: SqliteStore, manual_clock: ManualClock, *, times: int) -> None:
    for _ in range(times):
        manual_clock.pass_time(2)  # free space is measured again from time to time
        await store.release((await store.claim(100)).jobs)


async def test_close_leaves_only_the_database_and_the_lock_file(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await run_one(store, a_job())
    await store.stats()
    await store.find(JobQuery())
    await store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["queue.db", "queue.db.commits", "queue.db.lock"]


async def test_prune_yields_to_calls_that_come_later(opened: OpenedStores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "IDLE_SECONDS", 60.0)  # it is not overdue, however long a busy machine takes
    store = await opened()
    await run_one(store, a_job(), START - 100)
    await store.delivered(1)
    holding, go_on, order = threading.Event(), threading.Event(), []

    def hold(_transaction: WriteTransaction, calls: Sequence[None]) -> list[None]:
        holding.set()
        assert go_on.wait(30)
        return list(calls)

    async def note(name: str, call: Awaitable[Any]) -> None:
        await call
        order.append(name)

    held = store._writer.submit(hold, None)
    assert await asyncio.to_thread(holding.wait, 30)
    pruning = asyncio.ensure_future(note("prune", store.prune(0.0, 10)))
    await asyncio.sleep(0)  # it is queued first
    others = [asyncio.ensure_future(note("enqueue", store.enqueue([a_job()]))) for _ in range(3)]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(held, pruning, *others)
    assert order == ["enqueue", "enqueue", "enqueue", "prune"]


async def test_pages_freed_by_a_prune_are_used_again(path: Path, opened: OpenedStores) -> None:
    store = await opened()

    sizes = []
    for _ in range(4):
        await store.enqueue([a_job(payload="x" * 1000) for _ in range(500)])
        jobs = (await store.claim(500)).jobs
        await store.settle([success(job) for job in jobs])
        await store.delivered(10_000)
        assert (await store.prune(0.0, 1000)).runs == 500
        await store.close()
        sizes.append(path.stat().st_size)
        store = await opened()
    assert max(sizes) < 1.2 * sizes[0]


async def test_prune_removes_old_shown_marks_of_unknown_notifications(path: Path, opened: OpenedStores) -> None:
    clock, store = opened.manual_clock, await opened()
    await store.shown(["made up", "made up too"], START)
    clock.pass_time(60.0)
    assert (await store.prune(100.0, 100)).runs == 0
    clock.pass_time(60.0)
    await store.shown(["young"], START + 100)
    clock.pass_time(60.0)
    assert (await store.prune(100.0, 100)).runs == 0
    reader = connect_reader(path)
    assert reader.execute("SELECT notification_id FROM shown").fetchall() == [("young",)]
    reader.close()


# -- searching ---------------------------------------------------------------------------------------------


async def test_find_that_takes_too_long_returns_a_short_page_with_a_cursor(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job(payload="needle")])
    for _ in range(5):
        await store.enqueue([a_job() for _ in range(5000)])
    connection = connect_reader(path)
    short = find.find(connection, SearchFile(path), JobQuery(text="needle"), seconds=0.0)
    rest = find.find(connection, SearchFile(path), JobQuery(text="needle", cursor=short.cursor), seconds=0.0)
    connection.close()
    assert (short.jobs, len(rest.jobs), rest.cursor) == ([], 1, None)


@pytest.mark.parametrize(
    "query",
    [
        JobQuery(user_ids=["u"]),
        JobQuery(user_ids=["u"], states=[JobState.FAILED], kind="k", text="t"),
        JobQuery(states=[JobState.QUEUED]),
        JobQuery(states=[JobState.RUNNING], kind="k"),
        JobQuery(states=[JobState.FAILED]),
        JobQuery(states=[JobState.CANCELLED], text="t"),
        JobQuery(states=[JobState.SUCCEEDED], text="t"),
        JobQuery(kind="k"),
        JobQuery(),
    ],
)
async def test_query_plan_of_every_search_uses_an_index_or_a_range(
    path: Path, opened: OpenedStores, query: JobQuery
) -> None:
    """The query plan has an index or a range of `seq`, never a scan of the whole table."""
    await opened()
    connection = connect_reader(path)
    asked = filter_of(query)
    statement = table_scan.statement(table_scan.choose_index(connection, query), asked)
    steps = connection.execute(f"EXPLAIN QUERY PLAN {statement}", (*asked.parameters, 1, 10, 50)).fetchall()
    connection.close()
    details = " ".join(step[-1] for step in steps)
    assert "SEARCH jobs" in details
    assert "SCAN" not in details


async def test_examine_reports_tables_that_disagree(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await run_one(store, a_job())
    await store.close()
    for change, finding in (
        ("UPDATE tally SET queued = 5", "the counts differ from the jobs"),
        ("UPDATE tally SET pending = 5", "the counts differ from the notifications"),
        ("UPDATE jobs SET lane = 3", "a job's state and lane differ"),
        ("DELETE FROM outbox", "a run that ended has no notification"),
        ("DELETE FROM sequences", "a user's counter is behind"),
        ("UPDATE tally SET delivered = 99", "the watermark is past the last message"),
    ):
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("VACUUM INTO ?", (str(path.with_name("copy.db")),))
        other.close()
        spoiled = sqlite3.connect(path.with_name("copy.db"), isolation_level=None)
        spoiled.execute(change)
        spoiled.close()
        copy = await opened(path.with_name("copy.db"))
        assert finding in await copy.examine()
        await copy.close()
        path.with_name("copy.db").unlink()
