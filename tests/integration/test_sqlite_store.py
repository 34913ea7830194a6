"""The SQLite store as a file among files: who may have it, what may happen to it, how it shares its syncs."""

import asyncio
import contextlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import clean_environment
from tests.support.stores import START, HandClock, a_job, retried, run_one, success
from worker.clock import Clock
from worker.errors import (
    SchemaTooNew,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReplaced,
    StoreUnwritable,
)
from worker.job import JobState
from worker.queue import JobQuery
from worker.queues import sqlite_find, sqlite_windows
from worker.queues.sqlite import SqliteStore, open_store
from worker.queues.sqlite_filter import filter_of
from worker.queues.sqlite_look import SearchFile
from worker.queues.sqlite_schema import connect_reader
from worker.queues.sqlite_writer import RIDE_SECONDS

MAX_BYTES = 1 << 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def hands() -> HandClock:
    return HandClock()


@pytest.fixture
async def opened(path: Path, hands: HandClock) -> AsyncIterator["OpenedStores"]:
    stores = OpenedStores(path, hands)
    yield stores
    await stores.close_all()


class OpenedStores:
    def __init__(self, path: Path, hands: HandClock) -> None:
        self.path, self.hands, self.stores = path, hands, list[SqliteStore]()

    async def __call__(self, path: Path | None = None, *, max_bytes: int = MAX_BYTES) -> SqliteStore:
        owner = f"owner-{len(self.stores)}"
        store = await open_store(path or self.path, owner=owner, max_bytes=max_bytes, clock=self.hands.clock)
        self.stores.append(store)
        return store

    async def close_all(self) -> None:
        for store in self.stores:
            await store.close()


# -- made private, held alone ------------------------------------------------------------------------------


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_a_new_store_is_private_whatever_the_umask(
    tmp_path: Path, opened: OpenedStores, open_umask: None
) -> None:
    store = await opened(tmp_path / "a" / "b" / "queue.db")
    await store.enqueue([a_job()])
    await store.figures()
    folder = tmp_path / "a" / "b"
    assert {_mode(tmp_path / "a"), _mode(folder)} == {0o700}
    assert {file.name: _mode(file) for file in folder.iterdir()} == dict.fromkeys(
        ("queue.db", "queue.db-wal", "queue.db-shm", "queue.db.lock"), 0o600
    )


async def test_a_store_says_whether_it_is_new(opened: OpenedStores) -> None:
    store = await opened()
    assert store.created
    await store.close()
    assert not (await opened()).created


async def test_an_empty_file_left_by_a_death_at_birth_becomes_a_store(path: Path, opened: OpenedStores) -> None:
    path.touch()
    assert (await opened()).created


async def test_the_sqlite_in_use_is_judged(opened: OpenedStores) -> None:
    store = await opened()
    assert (store.sqlite_warning is None) == (
        sqlite3.sqlite_version_info >= (3, 51, 3)
        or (3, 50, 7) <= sqlite3.sqlite_version_info < (3, 51)
        or (3, 44, 6) <= sqlite3.sqlite_version_info < (3, 45)
    )


async def test_a_second_opener_is_told_who_holds_the_store(opened: OpenedStores) -> None:
    store = await opened()
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}") as raised:
        await opened()
    assert raised.value.exit_code == 75
    assert await store.enqueue([a_job()])


async def test_a_second_process_cannot_have_the_store(path: Path, opened: OpenedStores) -> None:
    await opened()
    finished = await asyncio.to_thread(_open_in_another_process, path)
    assert finished.stdout.decode().strip() == "75"


async def test_a_closed_store_can_be_had(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.close()
    finished = await asyncio.to_thread(_open_in_another_process, path)
    assert finished.stdout.decode().strip() == "0"


_OPEN = """
import asyncio, os, sys
from pathlib import Path
from worker.clock import Clock
from worker.errors import WorkerError
from worker.queues.sqlite import open_store

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
    return subprocess.run(
        [sys.executable, "-c", _OPEN, str(path), *arguments],
        capture_output=True,
        timeout=30,
        check=True,
        env=clean_environment(),
    )


async def test_an_opening_that_is_cancelled_leaves_no_lock(path: Path, opened: OpenedStores) -> None:
    opening = asyncio.ensure_future(open_store(path, owner="hasty", max_bytes=MAX_BYTES, clock=Clock()))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(10):
        while True:
            try:
                await opened()
            except StoreLocked:
                await asyncio.sleep(0.005)
            else:
                break


async def test_our_own_reads_do_not_drop_sqlites_locks(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await run_one(store, a_job())
    await store.check()
    await store.figures()
    await store.find(JobQuery(text="x"))
    await store.notifications()
    assert _is_locked_by_us(path)


def _is_locked_by_us(path: Path) -> bool:
    """A connection in WAL mode holds a shared POSIX lock on the database as long as it is open."""
    locks = Path("/proc/locks")
    if not locks.exists():
        pytest.skip("needs /proc/locks")
    mark = f":{path.stat().st_ino} "
    return any(
        "POSIX" in line and f" {os.getpid()} " in line and mark in line for line in locks.read_text().splitlines()
    )


async def test_reading_the_lock_table_would_notice_a_dropped_lock(path: Path, opened: OpenedStores) -> None:
    """The test above can fail: this is the forbidden thing."""
    await opened()
    assert _is_locked_by_us(path)
    path.read_bytes()
    assert not _is_locked_by_us(path)


# -- what cannot be opened ---------------------------------------------------------------------------------


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, opened: OpenedStores) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match="file") as raised:
        await opened(tmp_path / "file" / "deeper" / "queue.db")
    assert raised.value.exit_code == 73


async def test_a_folder_in_place_of_the_file_is_named(path: Path, opened: OpenedStores) -> None:
    path.mkdir()
    with pytest.raises(StoreUnwritable, match="is a folder"):
        await opened()


@pytest.mark.skipif(os.geteuid() != 0, reason="root, to become somebody else")
@pytest.mark.parametrize("modes", [(0o755, 0o644), (0o777, 0o444)])
async def test_a_user_without_the_right_is_told_so(
    tmp_path: Path, opened: OpenedStores, modes: tuple[int, int]
) -> None:
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


async def test_a_file_that_is_no_database_is_left_alone(path: Path, opened: OpenedStores) -> None:
    letter = "สวัสดี".encode() * 1000
    path.write_bytes(letter)
    with pytest.raises(StoreCorrupt, match="db recover"):
        await opened()
    assert path.read_bytes() == letter


async def test_another_programs_database_is_left_alone(path: Path, opened: OpenedStores) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    with pytest.raises(StoreCorrupt, match="another program"):
        await opened()


async def test_a_store_of_a_newer_version_is_left_alone(path: Path, opened: OpenedStores) -> None:
    await (await opened()).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(SchemaTooNew, match="schema 99") as raised:
        await opened()
    assert raised.value.exit_code == 78


async def test_what_could_not_be_opened_is_not_held(path: Path, opened: OpenedStores) -> None:
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StoreCorrupt):
        await opened()
    path.unlink()
    assert (await opened()).created


async def test_a_damaged_page_is_found_at_the_start(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job(payload="x" * 500) for _ in range(500)])
    await store.close()
    _damage(path, first_page=20, pages=5)
    with pytest.raises(StoreCorrupt, match="keep a copy"):
        await opened()


def _damage(path: Path, *, first_page: int, pages: int) -> None:
    """By another process: we must not open a database that is open here."""
    program = (
        "import sys; file = open(sys.argv[1], 'r+b'); file.seek((int(sys.argv[2]) - 1) * 4096)\n"
        "file.write(b'\\xa5' * (4096 * int(sys.argv[3]))); file.close()"
    )
    subprocess.run([sys.executable, "-c", program, str(path), str(first_page), str(pages)], check=True)


# -- what happens to an open store -------------------------------------------------------------------------


async def test_damage_under_an_open_store_is_told_by_the_reading_and_by_the_check(
    path: Path, opened: OpenedStores
) -> None:
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
async def test_a_file_removed_under_an_open_store_is_noticed(path: Path, opened: OpenedStores, name: str) -> None:
    store = await opened()
    await store.enqueue([a_job()])
    await store.check()
    path.with_name(name).unlink()
    with pytest.raises(StoreReplaced, match=name):
        await store.check()


async def test_a_replaced_file_is_noticed(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job()])
    path.with_name("copy.db").write_bytes(b"")
    path.with_name("copy.db").rename(path)
    with pytest.raises(StoreReplaced):
        await store.check()


@contextmanager
def _no_file_may_grow_beyond(size: int) -> Iterator[None]:
    """Writes past `size` fail with EFBIG, as a broken disk's would: after the transaction was prepared."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_when_a_commit_fails_every_waiter_is_told_and_nothing_is_kept(path: Path, opened: OpenedStores) -> None:
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
    figures = await store.figures()
    assert (figures.jobs["queued"], figures.jobs["running"], figures.outbox_depth) == (0, 2, 0)
    assert await store.settle([success(first), success(second)]) == [True, True]
    assert [record.sequence for record in await store.notifications()] == [2, 1]
    assert await store.examine() == []


@pytest.mark.timeout(60)
async def test_another_program_that_locks_the_file_is_waited_for_then_named(path: Path, opened: OpenedStores) -> None:
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


async def test_a_store_that_is_closed_says_so(opened: OpenedStores) -> None:
    store = await opened()
    await asyncio.gather(store.close(), store.close())
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.enqueue([a_job()])
    with pytest.raises(StoreError, match="closed"):
        await store.figures()


async def test_a_closing_that_is_cancelled_goes_on(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await store.close()
    await opened()


async def test_jobs_that_could_not_be_given_back_are_given_back_later(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job() for _ in range(3)])
    claiming = asyncio.ensure_future(store.claim(3))
    limits = contextlib.ExitStack()

    def interfere() -> None:
        """In the turn of the loop in which the claim was answered: nothing can be written from now on."""
        if claiming.cancel():
            limits.enter_context(_no_file_may_grow_beyond(path.with_name("queue.db-wal").stat().st_size))

    store.on_work(interfere)
    with limits:
        await asyncio.gather(store.enqueue([a_job(START + 1)]), claiming, return_exceptions=True)
        with pytest.raises(StoreError):
            await store.enqueue([a_job(START + 2)])
        assert (await store.figures()).jobs["running"] == 3
    given_back = asyncio.Event()
    store.on_work(given_back.set)
    async with asyncio.timeout(10):
        await given_back.wait()
    assert (await store.figures()).jobs["queued"] == 4


async def test_a_claim_cancelled_at_the_very_end_leaves_nothing_running(opened: OpenedStores) -> None:
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
    assert (await store.figures()).jobs["queued"] == 10_005


async def test_close_answers_everybody_first(opened: OpenedStores) -> None:
    store = await opened()
    calls = [asyncio.ensure_future(store.enqueue([a_job()])) for _ in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert all(call.done() for call in calls)
    assert (await (await opened()).figures()).jobs["queued"] == 50


# -- a disk that is really full ----------------------------------------------------------------------------

_FULL_DISK = """
import asyncio, json, sys
from pathlib import Path
from tests.support.stores import HandClock, a_job, success
from worker.errors import StoreFull
from worker.queues.sqlite import open_store

async def main() -> dict:
    folder = Path(sys.argv[1])
    store = await open_store(folder / "queue.db", owner="me", max_bytes=1 << 20, clock=HandClock().clock)
    await store.enqueue([a_job(payload="x" * 1000) for _ in range(50)])
    jobs = (await store.claim(50)).jobs
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    seen = {}
    for name, call in (("settle", store.settle([success(job) for job in jobs])), ("figures", store.figures())):
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


def _mount_namespaces_work() -> bool:
    try:
        return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _mount_namespaces_work(), reason="the right to mount a small disk")
async def test_a_full_disk_is_told_and_the_work_goes_on_when_there_is_room(tmp_path: Path) -> None:
    finished = await asyncio.to_thread(
        subprocess.run,
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            'mount -t tmpfs -o size=1200k none "$1" && exec "$2" -c "$3" "$1"',
            "sh",
            str(tmp_path),
            sys.executable,
            _FULL_DISK,
        ],
        capture_output=True,
        timeout=60,
        check=False,
        env=clean_environment(),
    )
    assert finished.returncode == 0, finished.stderr.decode()
    seen = json.loads(finished.stdout)
    assert seen.pop("settle").startswith("StoreFull: the disk of")
    assert seen == {"figures": "ok", "settled later": True, "accepted later": 1, "findings": []}


async def test_a_disk_with_too_little_left_is_full_before_it_is(tmp_path: Path, opened: OpenedStores) -> None:
    state = os.statvfs(tmp_path)
    free = state.f_bavail * state.f_frsize
    store = await opened(max_bytes=1 << 60)
    huge = a_job()._replace(payload=_Vast(free))
    with pytest.raises(StoreFull, match="make room"):
        await store.enqueue([huge])


class _Vast(bytes):
    """A payload that says it is larger than it is."""

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
    store.on_work(lambda: commits.append(1))  # told once for each commit
    await asyncio.gather(*(store.enqueue([a_job()]) for _ in range(200)))
    assert 1 <= len(commits) <= 20
    assert (await store.figures()).jobs["queued"] == 200


async def test_delivered_rides_on_the_next_commit(opened: OpenedStores) -> None:
    store = await opened()
    for _ in range(3):
        await run_one(store, a_job())
    done: list[str] = []
    riding = asyncio.ensure_future(store.delivered(3))
    riding.add_done_callback(lambda _: done.append("delivered"))
    await asyncio.sleep(0)
    driving = asyncio.ensure_future(store.enqueue([a_job()]))
    driving.add_done_callback(lambda _: done.append("enqueue"))
    commits: list[int] = []
    store.on_work(lambda: commits.append(1))
    await asyncio.gather(riding, driving)
    assert (sorted(done), len(commits)) == (["delivered", "enqueue"], 1)


async def test_delivered_waits_for_company_but_not_for_ever(opened: OpenedStores) -> None:
    store = await opened()
    await run_one(store, a_job())
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(5):
        await store.delivered(1)
    assert loop.time() - started >= RIDE_SECONDS
    assert await store.pending(0, 10) == []


async def test_a_mixed_transaction_with_a_bad_call_serves_all_the_others(opened: OpenedStores) -> None:
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
        store.retry("nobody"),
        return_exceptions=True,
    )
    settled, refused, again, fresh, released, claimed, unknown = results
    assert (settled, again, released, unknown) == ([True], [True], None, "unknown")
    assert isinstance(refused, ValueError)
    assert not isinstance(fresh, BaseException)
    assert not isinstance(claimed, BaseException)
    assert len(claimed.jobs) == 2  # type: ignore[union-attr]
    assert await store.examine() == []


async def test_a_large_payload_is_written_once(path: Path, opened: OpenedStores) -> None:
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


async def test_the_log_does_not_grow_without_bound(path: Path, opened: OpenedStores) -> None:
    store = await opened(max_bytes=64 << 20)
    for _ in range(60):
        await store.enqueue([a_job(payload="x" * 2000) for _ in range(100)])
        await store.figures()
    log = path.with_name("queue.db-wal").stat().st_size
    assert path.stat().st_size > 2 * log
    assert log < 8 << 20


async def test_a_store_that_is_full_of_log_only_helps_itself(path: Path, opened: OpenedStores) -> None:
    store = await opened(max_bytes=4 << 20)
    await store.enqueue([a_job(payload="x" * 500) for _ in range(100)])
    reader = connect_reader(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM jobs").fetchone()  # as long as it looks, the log cannot begin anew
    with pytest.raises(StoreFull):
        await _claim_and_give_back(store, opened.hands, times=500)
    reader.execute("COMMIT")
    reader.close()
    async with asyncio.timeout(5):
        while True:
            try:
                await _claim_and_give_back(store, opened.hands, times=1)
            except StoreFull:
                continue  # each refusal is a chance to bring the log into the file
            break


async def _claim_and_give_back(store: SqliteStore, hands: HandClock, *, times: int) -> None:
    for _ in range(times):
        hands.pass_time(2)  # room is measured anew from time to time
        await store.release((await store.claim(100)).jobs)


async def test_the_file_is_whole_after_closing(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await run_one(store, a_job())
    await store.figures()
    await store.find(JobQuery())
    await store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["queue.db", "queue.db.lock"]


async def test_freed_pages_are_used_again(path: Path, opened: OpenedStores) -> None:
    store = await opened()

    sizes = []
    for _ in range(4):
        await store.enqueue([a_job(payload="x" * 1000) for _ in range(500)])
        jobs = (await store.claim(500)).jobs
        await store.settle([success(job) for job in jobs])
        await store.delivered(10_000)
        assert await store.prune(START + 1, 1000) == 500
        await store.close()
        sizes.append(path.stat().st_size)
        store = await opened()
    assert max(sizes) < 1.2 * sizes[0]


async def test_marks_of_notifications_that_never_were_go_with_their_age(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.shown(["made up", "made up too"], START)
    await store.shown(["young"], START + 100)
    assert await store.prune(START + 50, 100) == 0
    reader = connect_reader(path)
    assert reader.execute("SELECT notification_id FROM shown").fetchall() == [("young",)]
    reader.close()


# -- searching ---------------------------------------------------------------------------------------------


async def test_a_search_that_takes_too_long_gives_a_short_page_and_goes_on(path: Path, opened: OpenedStores) -> None:
    store = await opened()
    await store.enqueue([a_job(payload="needle")])
    for _ in range(5):
        await store.enqueue([a_job() for _ in range(5000)])
    connection = connect_reader(path)
    hurried = sqlite_find.find(connection, SearchFile(path), JobQuery(text="needle"), seconds=0.0)
    rest = sqlite_find.find(connection, SearchFile(path), JobQuery(text="needle", cursor=hurried.cursor), seconds=0.0)
    connection.close()
    assert (hurried.jobs, len(rest.jobs), rest.cursor) == ([], 1, None)


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
async def test_no_search_reads_all_jobs_at_once(path: Path, opened: OpenedStores, query: JobQuery) -> None:
    """By the plan: an index, or a range of `seq`; never a scan from end to end."""
    await opened()
    connection = connect_reader(path)
    asked = filter_of(query)
    statement = sqlite_windows.statement(sqlite_windows.index_for(connection, query), asked)
    steps = connection.execute(f"EXPLAIN QUERY PLAN {statement}", (*asked.parameters, 1, 10, 50)).fetchall()
    connection.close()
    details = " ".join(step[-1] for step in steps)
    assert "SEARCH jobs" in details
    assert "SCAN" not in details


async def test_a_thorough_look_finds_tables_that_disagree(path: Path, opened: OpenedStores) -> None:
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
