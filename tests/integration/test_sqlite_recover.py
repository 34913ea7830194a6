"""Saving what can be read of a damaged store."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from tests.support.process import clean_environment
from tests.support.small_disk import run_on_small_disk
from tests.support.stores import START, WIRE, ManualClock, a_job, failed, retried, success
from worker.core.job import JobState
from worker.core.store import AuditEntry, AuditQuery, JobQuery
from worker.core.store_admin import RecoveryReport
from worker.errors import NotFound, StoreCorrupt, StoreError, StoreLocked
from worker.stores.sqlite import recovery
from worker.stores.sqlite.connection import connect_writer, migrate
from worker.stores.sqlite.recovery import recover
from worker.stores.sqlite.schema import MIGRATIONS
from worker.stores.sqlite.store import SqliteStore, open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_store(path, owner=os.urandom(8).hex(), max_bytes=1 << 30, clock=ManualClock().clock)
    try:
        yield store
    finally:
        await store.close()


async def _fill(path: Path, count: int = 1000) -> list[str]:
    """Store jobs of which two in five have ended, one in five runs, one waits for its retry, one has not begun."""
    async with opened(path) as store:
        jobs = [a_job(START - 10, user=f"user-{number % 3}", payload=["x" * 200, number]) for number in range(count)]
        await store.enqueue(jobs)
        claimed = (await store.claim(count * 4 // 5)).jobs
        ends = (success, failed, lambda job: retried(job, START + 60))
        await store.settle([ends[number % 4](job) for number, job in enumerate(claimed) if number % 4 < 3])
        await store.delivered(count // 10)
        await store.dead(count // 10 + 1, "no")
        return [job.id for job in jobs]


def _damage(path: Path, pages: range) -> None:
    with path.open("r+b") as file:
        file.seek((pages.start - 1) * 4096)
        file.write(b"\xa5" * 4096 * len(pages))


def _saved(path: Path) -> RecoveryReport:
    return recover(path, START, WIRE)


async def test_recover_of_an_undamaged_store_keeps_everything(path: Path) -> None:
    await _fill(path)
    async with opened(path) as store:
        before = (await store.stats(), await store.find(JobQuery(limit=2000)), await store.notifications(limit=2000))
    recovered = _saved(path)
    assert (recovered.jobs, recovered.unreadable, recovered.rewritten) == (1000, 0, 0)
    async with opened(path) as store:
        after = (await store.stats(), await store.find(JobQuery(limit=2000)), await store.notifications(limit=2000))
        assert (before[0].jobs, before[0].outbox_depth, before[0].outbox_dead) == (
            after[0].jobs,
            after[0].outbox_depth,
            after[0].outbox_dead,
        )
        assert before[1:] == after[1:]
        assert await store.examine() == []


@pytest.mark.parametrize("pages", [range(30, 33), range(60, 90), range(120, 121), range(150, 190)])
async def test_recover_saves_what_lies_outside_the_damage(path: Path, pages: range) -> None:
    await _fill(path)
    _damage(path, pages)
    with pytest.raises(StoreCorrupt):
        async with opened(path):
            pass
    recovered = _saved(path)
    assert recovered.jobs + recovered.notifications > 500
    async with opened(path) as store:
        assert await store.examine() == []
        figures = await store.stats()
        assert sum(figures.jobs.values()) == recovered.jobs
        payloads = [orjson.loads(record.payload) for record in (await store.find(JobQuery(limit=2000))).jobs]
        assert all(payload is None or payload[0] == "x" * 200 for payload in payloads)
        assert payloads.count(None) < len(payloads)


async def test_recovered_store_can_be_used_further(path: Path) -> None:
    await _fill(path)
    with sqlite3.connect(path) as before:
        (last,) = before.execute("SELECT max(id) FROM outbox").fetchone()
        numbers = dict(before.execute("SELECT user_id, sequence FROM sequences"))
    before.close()
    _damage(path, range(60, 63))
    _saved(path)
    async with opened(path) as store:
        await store.release(await store.orphans())
        jobs = (await store.claim(50)).jobs
        assert await store.settle([success(job) for job in jobs]) == [True] * len(jobs)
        fresh = [record for record in await store.notifications(limit=50) if record.id > last]
        assert len(fresh) == len(jobs) > 0
        assert all(record.sequence > numbers[record.user_id] for record in fresh)
        assert await store.examine() == []


async def test_recover_writes_a_lost_notification_again_as_dead(path: Path) -> None:
    await _fill(path, 50)
    with sqlite3.connect(path) as other:
        (job_id, notification_id) = other.execute("SELECT job_id, notification_id FROM outbox WHERE id = 2").fetchone()
        other.execute("DELETE FROM outbox WHERE id = 2")
    other.close()
    assert _saved(path).rewritten == 1
    async with opened(path) as store:
        lost = [record for record in await store.notifications(state="dead") if record.job_id == job_id]
        assert [record.notification_id for record in lost] == [notification_id]
        payload = orjson.loads(lost[0].body)[1]["payload"]
        assert (payload["jobId"], payload["status"], payload["error"]) == (job_id, "failed", "broken")
        assert await store.resend(notification_id) is not None
        assert await store.examine() == []


async def test_recover_saves_attempts_shown_marks_audit_trail_and_pauses(path: Path) -> None:
    entry = AuditEntry(START, "key", "cancel", "job")
    async with opened(path) as store:
        retry, urgent = a_job(kind="noop"), a_job(kind="report", priority=7, organization="กรม")
        await store.enqueue([retry, urgent])
        await store.pause("report")
        for end in (lambda job: retried(job, START), success):
            [job] = (await store.claim(5)).jobs
            await store.settle([end(job)])
        await store.delivered(1)
        [delivery] = await store.deliveries(retry.id)
        await store.shown([delivery.notification_id], START + 1)
        await store.audit(entry)
        attempts, [delivery] = await store.attempts(retry.id), await store.deliveries(retry.id)
        await store.index()
    _saved(path)
    async with opened(path) as store:
        assert await store.examine() == []
        assert await store.attempts(retry.id) == attempts
        assert await store.deliveries(retry.id) == [delivery]
        assert (await store.audit_trail(AuditQuery())).entries == [entry]
        assert await store.counts_by_kind() == {"report": 1}
        assert (await store.claim(5)).jobs == []  # still paused
        await store.resume("report")
        [job] = (await store.claim(5)).jobs
        assert job.id == urgent.id
        record = await store.get(urgent.id)
        assert record is not None
        assert (record.priority, record.organization) == (7, "กรม")
        assert [one.id for one in (await store.find(JobQuery(text=retry.id))).jobs] == [retry.id]


async def test_recover_reads_a_store_of_version_1(path: Path) -> None:
    path.touch()
    connection = connect_writer(path, 1000)
    migrate(connection, path, MIGRATIONS[:1])
    connection.execute(
        "INSERT INTO jobs (seq, id, state, lane, kind, user_id, max_attempts, run_at, created_at) "
        "VALUES (1, 'old', 'queued', 0, 'noop', 'somchai', 3, 1.0, 1.0)"
    )
    connection.execute("INSERT INTO payloads VALUES (1, x'7b7d')")
    connection.close()
    assert _saved(path).jobs == 1
    async with opened(path) as store:
        assert await store.examine() == []
        [job] = (await store.claim(5)).jobs
        assert (job.id, job.payload) == ("old", b"{}")


async def test_recover_keeps_the_damaged_files(path: Path) -> None:
    await _fill(path, 200)
    _damage(path, range(10, 12))
    damaged = path.read_bytes()
    recovered = _saved(path)
    assert recovered.kept.name == "queue.db.damaged-20270115T080000Z"
    assert recovered.kept.read_bytes() == damaged
    assert path.stat().st_mode & 0o777 == 0o600


async def test_recover_saves_what_is_only_in_the_log(path: Path) -> None:
    """After kill -9 the newest commits lie in the log."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.store_life", str(path)], stdout=subprocess.PIPE, env=clean_environment()
    )
    assert process.stdout is not None
    lines = [process.stdout.readline().decode() for _ in range(100)]
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait()
    assert path.with_name("queue.db-wal").stat().st_size > 0
    accepted = {line.split()[1] for line in lines if line.startswith("accepted ")}
    assert recover(path, START, WIRE).jobs >= len(accepted)
    async with opened(path) as store:
        assert accepted <= {job.id for job in (await store.find(JobQuery(limit=100_000))).jobs}
        assert await store.examine() == []


_FULL_DISK = """
import asyncio, json, sys
from pathlib import Path
from tests.support.small_disk import fill
from tests.support.stores import START, WIRE, ManualClock, a_job
from worker.errors import StoreFull
from worker.stores.sqlite.recovery import recover
from worker.stores.sqlite.store import open_store

async def jobs_in(path, new=()):
    store = await open_store(path, owner="me", max_bytes=4 << 20, clock=ManualClock().clock)
    if new:
        await store.enqueue(new)
    count = (await store.stats()).jobs["queued"]
    findings = await store.examine()
    await store.close()
    return count if not findings else findings

path = Path(sys.argv[1], "queue.db")
asyncio.run(jobs_in(path, [a_job(payload="x" * 1000) for _ in range(400)]))
seen = {}
for left in range(0, 3 << 20, 256 << 10):
    ballast, found = fill(path.parent, left), sorted(file.name for file in path.parent.iterdir())
    try:
        saved = recover(path, START, WIRE)
    except StoreFull as exc:
        seen[left] = str(exc)
    else:
        seen[left] = saved.jobs
        for kept in path.parent.glob(f"{saved.kept.name}*"):
            kept.unlink()
    ballast.unlink()
    left_behind = {file.name for file in path.parent.iterdir()} - set(found) - {"queue.db-shm", "queue.db-wal"}
    assert not left_behind, (left, left_behind)
    here = asyncio.run(jobs_in(path))
    assert here == 400, (left, here)
print(json.dumps(seen))
"""


async def test_recover_on_a_disk_with_any_room_saves_everything_or_changes_nothing(tmp_path: Path) -> None:
    """Rows that only reached the log of the new file would be lost when it is renamed."""
    seen = json.loads(await asyncio.to_thread(run_on_small_disk, tmp_path, "16m", _FULL_DISK))
    assert set(seen.values()) > {400}
    reasons = [reason for reason in seen.values() if reason != 400]
    assert all("free some space" in reason for reason in reasons), reasons


async def test_recover_does_not_count_as_lost_what_it_has_no_memory_to_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fill(path, 50)

    def without_memory(_source: object, _query: str, _otherwise: int) -> int:
        error = sqlite3.OperationalError("out of memory")
        error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_NOMEM, "SQLITE_NOMEM"
        recovery._require_damage(error)
        return 0

    monkeypatch.setattr(recovery, "_number_or", without_memory)
    with pytest.raises(StoreError, match="out of memory"):
        _saved(path)
    assert not list(path.parent.glob("*.recovering*"))


class _FailingConnection:
    """A connection on which statements about the counters fail once a row was handed over."""

    def __init__(self, connection: sqlite3.Connection, code: int) -> None:
        self._connection = connection
        self._code = code

    def execute(self, sql: str, parameters: tuple[object, ...] = ()) -> object:
        if "sequences VALUES (?, ?)" in sql:
            raise self._error()
        return self._rows(sql) if "FROM sequences" in sql else self._connection.execute(sql, parameters)

    def _rows(self, sql: str) -> Iterator[tuple[object, ...]]:
        yield self._connection.execute(sql).fetchone()
        raise self._error()

    def _error(self) -> sqlite3.OperationalError:
        error = sqlite3.OperationalError("a statement about the counters failed")
        error.sqlite_errorcode, error.sqlite_errorname = self._code, "SQLITE_NOMEM"
        return error

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize(
    ("which", "code"),
    [("_source", sqlite3.SQLITE_NOMEM), ("_target", sqlite3.SQLITE_NOMEM), ("_target", sqlite3.SQLITE_CORRUPT)],
)
async def test_recover_that_cannot_copy_a_counter_for_now_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, which: str, code: int
) -> None:
    """A user whose notifications were all pruned would start again at number 1."""
    await _fill(path, 50)
    before, original = path.read_bytes(), getattr(recovery, which)
    monkeypatch.setattr(recovery, which, lambda of: _FailingConnection(original(of), code))
    with pytest.raises(StoreError, match="counters failed"):
        _saved(path)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.recovering*"))


async def test_recover_saves_the_counters_before_a_damaged_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await _fill(path, 50)
    original = recovery._source
    monkeypatch.setattr(
        recovery, "_source", lambda of: _FailingConnection(original(of), sqlite3.SQLITE_CORRUPT_SEQUENCE)
    )
    assert _saved(path).jobs == 50


async def test_recover_leaves_running_jobs_as_orphans(path: Path) -> None:
    await _fill(path, 100)
    _saved(path)
    async with opened(path) as store:
        assert len(await store.orphans()) == (await store.stats()).jobs[JobState.RUNNING] == 20


async def test_recover_of_a_store_in_use_raises(path: Path) -> None:
    async with opened(path) as store:
        with pytest.raises(StoreLocked):
            _saved(path)
        await store.check()


async def test_recover_of_a_file_damaged_at_its_beginning_raises_and_keeps_it(path: Path) -> None:
    await _fill(path, 50)
    _damage(path, range(1, 2))
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="restore a backup"):
        _saved(path)
    assert path.read_bytes() == before


async def test_recover_of_a_database_of_another_program_raises(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    with pytest.raises(StoreCorrupt, match="another program"):
        _saved(path)


def test_recover_of_a_missing_file_raises(path: Path) -> None:
    with pytest.raises(NotFound):
        _saved(path)
    assert not path.exists()
