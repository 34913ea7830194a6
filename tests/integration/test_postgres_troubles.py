"""What a PostgreSQL store does when the server refuses, delays or forgets: nothing is lost, doubled or stuck."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tests.support.event_collector import EventCollector
from tests.support.eventually import eventually
from tests.support.lossy_connection import LossyConnection
from tests.support.postgres import PostgresPlace
from tests.support.stores import ManualClock, a_job, success
from worker.core.claim_rules import ClaimRules, Limit
from worker.core.clock import Clock
from worker.core.events import LoopFailed, LoopRecovered, StoreBack, StoreLost
from worker.core.store import JobQuery
from worker.errors import StoreError, StoreUnwritable
from worker.service.stores import _report_outages
from worker.stores.postgres.database import DatabaseTarget
from worker.stores.postgres.migrations import migrate
from worker.stores.postgres.opening import open_store
from worker.stores.postgres.outages import Outages
from worker.stores.postgres.registry import tidy
from worker.stores.postgres.schema import MIGRATIONS, Migration
from worker.stores.postgres.store import PostgresStore


class Reports:
    """The outages that a store reported, and the end of each."""

    def __init__(self) -> None:
        self.all: list[str | None] = []
        self.parts: list[str] = []
        self.changed = asyncio.Event()

    def note(self, part: str, reason: str | None) -> None:
        """Receive what the store reports."""
        self.parts.append(part)
        self.add(reason)

    def add(self, reason: str | None) -> None:
        """Receive what the listener reports to its store."""
        self.all.append(reason)
        self.changed.set()

    async def until(self, number: int) -> None:
        """Return when there are this many."""
        async with asyncio.timeout(60):
            while len(self.all) < number:
                self.changed.clear()
                await self.changed.wait()


Open = Callable[..., Awaitable[PostgresStore]]


@pytest.fixture
async def open_one(place: PostgresPlace) -> AsyncIterator[Open]:
    stores: list[PostgresStore] = []

    async def open_one(parameters: str = "", clock: Clock | None = None, **options: Any) -> PostgresStore:
        target = DatabaseTarget.parse(place.connection_string + parameters)
        clock = clock or ManualClock().clock
        store = await open_store(target, owner=f"worker-{len(stores)}", max_bytes=1 << 30, clock=clock, **options)
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        await store.close()


@contextlib.asynccontextmanager
async def other_user(place: PostgresPlace) -> AsyncIterator[Any]:
    """Open a connection next to the store's own, whose transactions may be idle for as long as a slow machine needs."""
    connection = await place.target.connect()
    try:
        await connection.execute("SET idle_in_transaction_session_timeout = 0")
        yield connection
    finally:
        await connection.close()


# -- signs of life -----------------------------------------------------------------------------------------


async def test_signs_of_life_go_on_after_a_statement_that_the_server_gave_up(
    open_one: Open, place: PostgresPlace
) -> None:
    reports = Reports()
    store = await open_one("&lock_timeout=100", on_outage=reports.note)
    async with other_user(place) as holder:
        async with holder.transaction():
            before = await holder.fetchval("SELECT seen_at FROM workers FOR UPDATE")
            await reports.until(1)
        await reports.until(2)
        assert await holder.fetchval("SELECT seen_at FROM workers") > before
    assert reports.all == ["canceling statement due to lock timeout", None]
    assert len(await store.workers()) == 1


async def test_worker_whose_signs_of_life_find_no_connection_reports_it_once(open_one: Open) -> None:
    reports = Reports()
    store = await open_one(on_outage=reports.note)
    listener, connect = store._listener, store._listener.connect

    async def refused() -> Any:
        raise asyncpg.TooManyConnectionsError("too many connections for role")

    listener.connect = refused
    assert listener._connection is not None
    await listener._connection.close()
    await reports.until(1)
    await store.enqueue([a_job()])  # the writer has its connection, which does not end the trouble
    listener.connect = connect
    await reports.until(2)
    assert reports.all == ["too many connections for role", None]
    assert reports.parts == ["listener", "listener"]


def test_writer_that_fails_while_signs_of_life_do_is_reported_too_and_once() -> None:
    collector = EventCollector()
    note = Outages(_report_outages("db", ManualClock().clock, collector)).note
    note("listener", "refused")
    assert collector.events == [StoreLost("db", "refused", jobs_wait=False)]
    for reason in ("away", None, "away again"):
        note("writer", reason)
    note("listener", None)
    assert collector.events[1:] == [StoreLost("db", "away")]
    note("writer", None)
    assert collector.events[2:] == [StoreBack("db", 0.0)]
    note("writer", "away")
    note("listener", "away")
    assert collector.events[3:] == [StoreLost("db", "away")]


def test_signs_of_life_that_go_on_failing_after_the_writer_recovered_are_reported_once() -> None:
    collector = EventCollector()
    note = Outages(_report_outages("db", ManualClock().clock, collector)).note
    note("writer", "the server is away")
    for _ in range(9):
        note("listener", "the server is away")
    note("writer", None)
    for _ in range(9):
        note("listener", "too many connections")
    lost = StoreLost("db", "the server is away"), StoreLost("db", "too many connections", jobs_wait=False)
    assert collector.events == [*lost]
    note("listener", None)
    assert collector.events == [*lost, StoreBack("db", 0.0)]


def test_signs_of_life_that_recover_soon_after_the_writer_are_not_reported_again() -> None:
    """As at each restart of the server: an attempt that began before may still fail."""
    collector = EventCollector()
    note = Outages(_report_outages("db", ManualClock().clock, collector)).note
    for _ in range(2):
        note("writer", "away")
        note("listener", "away")
        note("writer", None)
        note("listener", "starting up")
        note("listener", "starting up")
        note("listener", None)
    assert collector.events == 2 * [StoreLost("db", "away"), StoreBack("db", 0.0)]


async def test_session_that_stopped_between_the_messages_of_a_statement_is_ended(
    open_one: Open, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a worker that was suspended, or cut off, at the first use of a statement in a transaction."""
    monkeypatch.setattr("worker.stores.postgres.listener.BEAT_SECONDS", 0.05)
    monkeypatch.setattr("worker.stores.postgres.stalled.STALLED_SECONDS", 0.2)
    # Other tests use the same database, and a busy machine suspends them for longer.
    monkeypatch.setattr("worker.stores.postgres.stalled.APPLICATION", place.target.schema)
    store = await open_one()
    suspended = await place.target.connect()
    await suspended.execute(f"SET application_name = '{place.target.schema}'")
    await suspended.execute("BEGIN; UPDATE outbox_state SET pending = pending")
    await suspended.prepare("UPDATE outbox_state SET pending = pending + $1")  # the parameters are never sent
    await store.enqueue([a_job()])
    async with asyncio.timeout(30):
        await store.settle([success(job) for job in (await store.claim(1)).jobs])
    await eventually(suspended.is_closed)


async def test_signs_of_life_do_not_wait_for_tidying(
    open_one: Open, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.stores.postgres.listener.BEAT_SECONDS", 0.05)
    reports, given = Reports(), Reports()
    store = await open_one(on_outage=reports.note)
    monkeypatch.setattr("worker.stores.postgres.registry._TIDY_LOCK_SECONDS", 1)
    async with other_user(place) as holder, holder.transaction():
        await holder.execute("LOCK TABLE starts IN ACCESS EXCLUSIVE MODE")
        store._listener.on_outage = given.add
        assert store._listener._connection is not None
        await store._listener._connection.close()  # tidying was done at the beginning of each connection
        await given.until(3)
        with pytest.raises(StoreError, match="others use"):
            await store.tidy()
    assert given.all == [None] * len(given.all)
    assert await store.tidy() is False
    assert reports.all == []


@pytest.mark.parametrize(
    ("table", "statements"),
    [
        (
            "turns",
            (
                "INSERT INTO turns SELECT 0, '', n::text, n FROM generate_series(1, 25) AS n",
                "SELECT setval('turn_numbers', 200000)",
            ),
        ),
        ("starts", ("INSERT INTO starts SELECT n * 1000, 'noop', 'somchai' FROM generate_series(1, 26) AS n",)),
    ],
)
async def test_old_rows_about_turns_are_removed_a_part_at_a_time(
    open_one: Open, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch, table: str, statements: tuple[str, ...]
) -> None:
    monkeypatch.setattr("worker.stores.postgres.registry._TIDY_ROWS", 10)
    store = await open_one()
    async with other_user(place) as connection:
        for statement in statements:
            await connection.execute(statement)
        left = []
        while await store.tidy():
            left.append(await connection.fetchval(f"SELECT count(*) FROM {table}"))
        left.append(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    assert left == ([15, 5, 0] if table == "turns" else [16, 6, 1])


async def test_work_of_another_store_is_noticed_while_the_writer_has_no_connection(open_one: Open) -> None:
    store, other = await open_one(), await open_one()
    woken = asyncio.Event()
    store.on_work(woken.set)
    store._writer.transaction.connection.terminate()
    await other.enqueue([a_job()])
    await asyncio.wait_for(woken.wait(), 60)
    assert len((await store.claim(1)).jobs) == 1


async def test_lease_that_cannot_be_renewed_says_why_and_once_that_it_can(
    open_one: Open, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, collector = await open_one(), EventCollector()
    lease = store.lease("relay", collector)
    monkeypatch.setattr("worker.stores.postgres.lease._RENEW_SECONDS", 0.01)
    async with other_user(place) as connection:
        await connection.execute("ALTER TABLE leases RENAME COLUMN until TO later")
        running = asyncio.create_task(lease.run())
        [failure, *_] = await collector.until(LoopFailed)
        assert failure.where == "renewing the lease of the relay"
        assert "until" in str(failure.error)
        assert not lease.is_held
        await connection.execute("ALTER TABLE leases RENAME COLUMN later TO until")
    await asyncio.wait_for(lease.wait(), 60)
    assert await collector.until(LoopRecovered) == [LoopRecovered(failure.where)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# -- commits in doubt --------------------------------------------------------------------------------------


@pytest.mark.parametrize("committed", [True, False])
async def test_intake_in_doubt_that_was_given_up_is_counted_once_or_not_at_all(
    open_one: Open, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    store = await open_one()
    monkeypatch.setattr("worker.stores.postgres.store._PATIENCE", 0.1)
    writer = store._writer
    back, connect = asyncio.Event(), writer.connect

    async def away() -> Any:
        if not back.is_set():
            raise ConnectionRefusedError("no server")
        return await connect()

    writer.connect = away
    writer.transaction.connection = LossyConnection(writer.transaction.connection, committed=committed)
    with pytest.raises(StoreError, match="cannot be reached"):
        await store.enqueue([a_job()])
    back.set()
    [job] = (await store.claim(5)).jobs if committed else [None]
    if job is not None:
        assert await store.settle([success(job)]) == [True]
    await store.enqueue([a_job()])
    assert await store.examine() == []


async def test_commit_that_the_server_lost_in_a_failover_is_repeated(open_one: Open) -> None:
    store = await open_one()
    await store.enqueue([a_job()])
    [job] = (await store.claim(1)).jobs
    transaction = store._writer.transaction
    # The server that took over has not come to this number yet.
    later = str((1 << 50) + 1000)
    transaction.connection = LossyConnection(transaction.connection, committed=False, transaction_id=later)
    assert await store.settle([success(job)]) == [True]
    assert await store.examine() == []


async def test_commit_that_the_server_lost_in_a_crash_is_repeated_although_another_transaction_has_its_id(
    open_one: Open, place: PostgresPlace
) -> None:
    """Ids that were not on the disk yet are given out again after a crash."""
    store = await open_one()
    async with other_user(place) as connection:
        foreign_id = await connection.fetchval("SELECT pg_current_xact_id()::text")
    transaction = store._writer.transaction
    transaction.connection = LossyConnection(transaction.connection, committed=False, transaction_id=foreign_id)
    [answer] = await store.enqueue([a_job(key="k")])
    assert [found.id for found in (await store.find(JobQuery())).jobs] == [answer.job_id]
    [job] = (await store.claim(1)).jobs
    transaction.connection = LossyConnection(transaction.connection, committed=False, transaction_id=foreign_id)
    assert await store.settle([success(job)]) == [True]
    assert len(await store.pending(0, 10)) == 1
    assert await store.examine() == []


# -- statements that the server ends -----------------------------------------------------------------------


async def test_intake_that_the_server_ends_by_its_time_limit_is_refused_with_the_reason(
    open_one: Open, place: PostgresPlace
) -> None:
    store = await open_one()
    connection = store._writer.transaction.connection
    await connection.execute("SET statement_timeout = 200")
    async with other_user(place) as holder, holder.transaction():
        await holder.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreError, match="statement_timeout"):
            await store.enqueue([a_job()])
    await connection.execute("RESET statement_timeout")
    await store.enqueue([a_job()])
    assert len((await store.claim(5)).jobs) == 1
    assert await store.examine() == []


async def test_intake_that_does_not_get_its_lock_is_refused_with_the_reason(
    open_one: Open, place: PostgresPlace
) -> None:
    store = await open_one()
    connection = store._writer.transaction.connection
    await connection.execute("SET lock_timeout = 20")
    async with other_user(place) as holder, holder.transaction():
        await holder.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreError, match="others use"):
            await store.enqueue([a_job()])
    await connection.execute("RESET lock_timeout")
    await store.enqueue([a_job()])
    assert await store.examine() == []


async def test_migration_is_not_ended_by_the_time_limit_for_statements(open_one: Open, place: PostgresPlace) -> None:
    await (await open_one()).close()
    target = DatabaseTarget.parse(place.connection_string + "&statement_timeout=1000")
    slow = [*MIGRATIONS, Migration(("SELECT pg_sleep(1.5)",))]
    connection = await target.connect()
    try:
        assert await migrate(connection, target, slow) == (len(MIGRATIONS), len(slow))
        assert await connection.fetchval("SHOW statement_timeout") == "1s"
    finally:
        await connection.close()


# -- clocks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [(0.0, []), (-90.0, ["behind PostgreSQL's"]), (7200.0, ["ahead of PostgreSQL's"])],
)
async def test_worker_whose_clock_differs_from_the_servers_says_so_at_its_start(
    open_one: Open, ahead: float, expected: list[str]
) -> None:
    store = await open_one(clock=Clock(now=lambda: time.time() + ahead))
    found = [warning for warning in store.warnings if "clock" in warning]
    assert len(found) == len(expected)
    assert all(words in warning for words, warning in zip(expected, found, strict=True))


async def test_rate_limit_does_not_wait_for_the_time_of_a_worker_whose_clock_is_ahead(
    open_one: Open, place: PostgresPlace
) -> None:
    early, right = ManualClock(), ManualClock()
    early.set_wall(3600.0)
    ahead, store = await open_one(clock=early.clock), await open_one(clock=right.clock)
    for one in (ahead, store):
        await one.use_rules(ClaimRules(limits=[Limit("kind", "noop", per_minute=2)]))
    await store.enqueue([a_job() for _ in range(10)])
    assert len((await ahead.claim(5)).jobs) == 2
    assert len((await store.claim(5)).jobs) == 2
    async with other_user(place) as connection:
        await tidy(connection)
    assert (await store.claim(5)).jobs == []


# -- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", ["user", "order", "pg_jobs", "information_schema"])
async def test_schema_whose_name_postgresql_does_not_allow_is_rejected_with_the_reason(
    place: PostgresPlace, schema: str
) -> None:
    with pytest.raises(StoreUnwritable, match="use another name"):
        await open_store(
            DatabaseTarget.parse(place.connection_string.replace(place.target.schema, schema)),
            owner="one",
            max_bytes=1 << 30,
            clock=Clock(),
        )
