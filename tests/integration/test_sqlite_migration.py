"""A store that an earlier version wrote is opened, and nothing in it is lost."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.stores import START, ManualClock, success
from worker.core.job import JobState
from worker.core.store import JobQuery
from worker.stores.sqlite.connection import connect_writer, migrate
from worker.stores.sqlite.schema import MIGRATIONS
from worker.stores.sqlite.store import SqliteStore, open_store

ENDED = 100_000

_FILL = f"""
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ENDED})
    INSERT INTO jobs (seq, id, state, kind, user_id, attempt, max_attempts, claims, run_at, created_at, started_at,
        finished_at, duration_ms, result)
    SELECT n, printf('job-%07d', n), 'succeeded', 'noop', 'user-' || (n % 100), 1, 3, 1, {START}, {START}, {START},
        {START} + 1, 1000.0, x'7b7d' FROM numbers
"""
_WAITING = f"""
    INSERT INTO jobs (seq, id, state, lane, kind, user_id, attempt, max_attempts, claims, owner, run_at, created_at)
    VALUES ({ENDED} + 1, 'ready', 'queued', 0, 'noop', 'somchai', 0, 3, 0, NULL, {START} - 5, {START} - 5),
        ({ENDED} + 2, 'scheduled', 'queued', 1, 'noop', 'somchai', 0, 3, 0, NULL, {START} + 60, {START}),
        ({ENDED} + 3, 'backoff', 'queued', 2, 'noop', 'somchai', 1, 3, 1, NULL, {START} + 30, {START}),
        ({ENDED} + 4, 'running', 'running', 3, 'noop', 'somchai', 1, 3, 1, 'before', {START}, {START})
"""
_VERSION_1 = (
    _FILL,
    _WAITING,
    "INSERT INTO payloads SELECT seq, CAST(json_object('n', seq) AS BLOB) FROM jobs",
    "INSERT INTO outbox (notification_id, job_id, run, user_id, sequence, created_at, body) "
    "SELECT 'news-' || seq, id, 1, user_id, (seq + 99) / 100, finished_at, CAST('[]' AS BLOB) FROM jobs "
    "WHERE state = 'succeeded' ORDER BY seq",
    "INSERT INTO sequences SELECT user_id, max(sequence) FROM outbox GROUP BY user_id",
    f"INSERT INTO deliveries VALUES ({ENDED} - 10, {START} + 2)",
    f"UPDATE tally SET queued = 3, running = 1, succeeded = {ENDED}, pending = 10, delivered = {ENDED} - 10, "
    f"clock = {START}",
)


@pytest.fixture
async def old(tmp_path: Path, manual_clock: ManualClock) -> AsyncIterator[SqliteStore]:
    path = tmp_path / "queue.db"
    path.touch()
    connection = connect_writer(path, 4000)
    migrate(connection, path, MIGRATIONS[:1])
    connection.execute("BEGIN")
    for statement in _VERSION_1:
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.close()
    store = await open_store(path, owner="now", max_bytes=1 << 30, clock=manual_clock.clock)
    yield store
    await store.close()


@pytest.fixture
def manual_clock() -> ManualClock:
    return ManualClock()


async def test_open_of_a_store_of_version_1_upgrades_it_with_all_its_rows(
    old: SqliteStore, manual_clock: ManualClock
) -> None:
    assert not old.created
    assert (await old.stats()).jobs == {
        "queued": 3, "running": 1, "succeeded": ENDED, "failed": 0, "cancelled": 0
    }  # fmt: skip
    first = await old.get("job-0000001")
    assert first is not None
    assert (first.payload, first.priority, first.organization) == (b'{"n":1}', 0, None)
    assert len(await old.pending(0, 100)) == 10
    assert [job.id for job in await old.orphans()] == ["running"]
    assert await old.examine() == []
    page = await old.find(JobQuery(limit=4))
    assert [job.id for job in page.jobs] == ["running", "backoff", "scheduled", "ready"]


async def test_claim_after_the_upgrade_from_version_1_keeps_the_order(
    old: SqliteStore, manual_clock: ManualClock
) -> None:
    claimed = await old.claim(10)
    assert [job.id for job in claimed.jobs] == ["ready"]
    assert claimed.next_run_at == START + 30
    manual_clock.pass_time(60.0)
    rest = (await old.claim(10)).jobs
    assert [job.id for job in rest] == ["backoff", "scheduled"]
    assert await old.settle([success(job, manual_clock.wall) for job in rest]) == [True, True]
    record = await old.get("backoff")
    assert record is not None
    assert record.state == JobState.SUCCEEDED
    assert await old.examine() == []
