"""Several processes on one PostgreSQL store: claims, order, leases, lost connections, dead workers."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tests.support.eventually import eventually
from tests.support.lossy_connection import LossyConnection
from tests.support.postgres import PostgresPlace
from tests.support.stores import ManualClock, a_job, cancel_notification, run_one, sequence_in, success
from worker.core.claim_rules import ClaimRules, Limit
from worker.core.clock import Clock
from worker.core.job import JobState
from worker.errors import SchemaTooNew, SchemaTooOld, StoreError, StoreLocked
from worker.stores.postgres.lease import DatabaseLease
from worker.stores.postgres.liveness import LEASE_SECONDS
from worker.stores.postgres.migrations import migrate, require_current, schema_state
from worker.stores.postgres.opening import open_store
from worker.stores.postgres.reader import ReadPool
from worker.stores.postgres.schema import MIGRATIONS, Migration
from worker.stores.postgres.store import PostgresStore

Open = Callable[..., Awaitable[PostgresStore]]


@pytest.fixture
async def open_one(place: PostgresPlace) -> AsyncIterator[Open]:
    stores: list[PostgresStore] = []

    async def open_one(owner: str, clock: Clock | None = None, **options: Any) -> PostgresStore:
        clock = clock or ManualClock().clock
        store = await open_store(place.target, owner=owner, max_bytes=1 << 30, clock=clock, **options)
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        await store.close()


async def sql(place: PostgresPlace, statement: str, *arguments: Any) -> Any:
    connection = await place.target.connect()
    try:
        return await connection.fetchval(statement, *arguments)
    finally:
        await connection.close()


# -- claims ------------------------------------------------------------------------------------------------


async def test_claim_by_two_stores_at_once_hands_each_job_to_one(open_one: Open) -> None:
    one, two = await open_one("one"), await open_one("two")
    await one.enqueue([a_job() for _ in range(200)])
    claims = await asyncio.gather(*((one if number % 2 else two).claim(7) for number in range(40)))
    ids = [job.id for claimed in claims for job in claimed.jobs]
    assert len(ids) == len(set(ids)) == 200
    assert {job.owner for claimed in claims for job in claimed.jobs} == {"one", "two"}
    assert (await one.stats()).jobs == (await two.stats()).jobs
    assert (await two.stats()).jobs["running"] == 200


async def test_enqueue_with_one_key_in_two_stores_makes_one_job(open_one: Open) -> None:
    one, two = await open_one("one"), await open_one("two")
    answers = await asyncio.gather(*(store.enqueue([a_job(key="k")]) for _ in range(10) for store in (one, two)))
    assert sorted(answer.state for [answer] in answers) == ["created"] + ["existing"] * 19
    assert len({answer.job_id for [answer] in answers}) == 1
    assert await one.examine() == []


async def test_claim_takes_only_the_kinds_of_its_worker(open_one: Open) -> None:
    reports, everything = await open_one("one"), await open_one("two")
    await reports.use_rules(ClaimRules(frozenset({"report"})))
    await everything.use_rules(ClaimRules(frozenset({"report", "noop"})))
    await reports.enqueue([a_job(kind="noop")])
    assert (await reports.claim(5)).jobs == []
    [job] = (await everything.claim(5)).jobs
    assert job.kind == "noop"


async def test_limit_of_a_kind_counts_the_jobs_of_all_workers(open_one: Open) -> None:
    one, two = await open_one("one"), await open_one("two")
    for store in (one, two):
        await store.use_rules(ClaimRules(limits=[Limit("kind", "noop", running=3)]))
    await one.enqueue([a_job() for _ in range(10)])
    first = (await one.claim(2)).jobs
    second = (await two.claim(10)).jobs
    assert (len(first), len(second)) == (2, 1)
    assert (await one.claim(10)).jobs == []
    await one.settle([success(first[0])])
    assert len((await two.claim(10)).jobs) == 1


async def test_users_take_turns_over_the_claims_of_all_workers(open_one: Open) -> None:
    one, two = await open_one("one"), await open_one("two")
    await one.enqueue([a_job(user="first") for _ in range(20)])
    await two.enqueue([a_job(user="second") for _ in range(20)])
    jobs = [job for number in range(10) for job in (await (one, two)[number % 2].claim(1)).jobs]
    assert [job.user_id for job in jobs].count("first") == 5


async def test_enqueue_in_one_store_wakes_the_other(open_one: Open) -> None:
    one, two = await open_one("one"), await open_one("two")
    woken = asyncio.Event()
    two.on_work(woken.set)
    await one.enqueue([a_job()])
    await asyncio.wait_for(woken.wait(), 30)
    assert len((await two.claim(1)).jobs) == 1


async def test_cancel_in_one_store_reaches_the_store_that_runs_the_job(open_one: Open) -> None:
    one, two = await open_one("one"), await open_one("two")
    received: asyncio.Queue[str] = asyncio.Queue()
    one.on_cancel(received.put_nowait)
    await two.enqueue([a_job()])
    [job] = (await one.claim(1)).jobs
    record = await two.get(job.id)
    assert record is not None
    assert await two.cancel(job.id, 1, cancel_notification(record)) == "requested"
    assert await asyncio.wait_for(received.get(), 30) == job.id


# -- order -------------------------------------------------------------------------------------------------


async def test_ids_from_two_stores_become_visible_in_their_order(open_one: Open) -> None:
    one, two = await open_one("one"), await open_one("two")
    announced: dict[str, list[int]] = {"one": [], "two": []}
    for name, store in (("one", one), ("two", two)):
        store.on_message(lambda messages, name=name: announced[name].extend(one.id for one in messages))  # type: ignore[misc]  # mypy infers no default
    await one.enqueue([a_job(user=f"user-{number % 5}") for number in range(300)])
    held = {one: (await one.claim(150)).jobs, two: (await two.claim(150)).jobs}
    settling = [
        asyncio.ensure_future(store.settle([success(job)])) for pair in zip(held[one], held[two], strict=True)
        for store, job in zip((one, two), pair, strict=True)
    ]  # fmt: skip
    seen: set[int] = set()
    while len(seen) < 300:
        ids = [message.id for message in await two.pending(0, 1000)]
        assert not [late for late in set(ids) - seen if late < max(seen, default=0)]
        seen.update(ids)
    await asyncio.gather(*settling)
    await eventually(lambda: len(announced["one"]) == len(announced["two"]) == 300)
    assert announced["one"] == announced["two"] == list(range(1, 301))
    numbers: dict[str, list[int]] = {}
    for message in await one.pending(0, 1000):
        numbers.setdefault(message.user_id, []).append(sequence_in(message.body))
    assert all(drawn == list(range(1, 61)) for drawn in numbers.values())
    assert await one.examine() == []


async def test_lease_passes_on_only_after_the_holder_stopped_using_it(open_one: Open, place: PostgresPlace) -> None:
    await open_one("one")
    first, second = (DatabaseLease(ReadPool(place.target), "relay", name, seconds=1.0) for name in ("first", "second"))
    holding = asyncio.create_task(first.run())
    await asyncio.wait_for(first.wait(), 30)
    competing = asyncio.create_task(second.run())
    await first.reads.close()  # cut off: it can no longer renew
    while first.is_held:
        assert not second.is_held
        await asyncio.sleep(0.005)
    await asyncio.wait_for(second.wait(), 30)
    assert not first.is_held
    for task in (holding, competing):
        task.cancel()
    await asyncio.gather(holding, competing, return_exceptions=True)
    await second.reads.close()


async def test_lease_that_is_given_up_is_free_before_its_time_is_over(open_one: Open, place: PostgresPlace) -> None:
    await open_one("one")
    reads = [ReadPool(place.target) for _ in range(2)]
    first, second = (DatabaseLease(pool, "relay", str(id(pool)), seconds=600.0) for pool in reads)
    holding = asyncio.create_task(first.run())
    await asyncio.wait_for(first.wait(), 30)
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    competing = asyncio.create_task(second.run())
    await asyncio.wait_for(second.wait(), 30)
    competing.cancel()
    await asyncio.gather(competing, return_exceptions=True)
    for pool in reads:
        await pool.close()


# -- dead workers ------------------------------------------------------------------------------------------


async def test_jobs_of_a_worker_that_is_not_seen_any_more_are_orphans(open_one: Open, place: PostgresPlace) -> None:
    one, two = await open_one("one"), await open_one("two")
    await one.enqueue([a_job(), a_job()])
    job, _ = (await one.claim(2)).jobs
    assert await two.orphans() == []
    await _be_silent(one, place)  # as a process that hangs
    assert job in await two.orphans()
    await two.release(await two.orphans())
    again = (await two.claim(5)).jobs
    assert len(again) == 2
    assert await one.settle([success(job)]) == [False]
    assert await two.settle([success(one) for one in again]) == [True, True]
    assert await two.examine() == []


async def test_worker_that_comes_back_and_claims_at_once_is_not_taken_for_dead(
    open_one: Open, place: PostgresPlace
) -> None:
    """It was suspended or cut off for so long that the others recover its jobs, and has given no sign of life since."""
    one, two = await open_one("one"), await open_one("two")
    await one.enqueue([a_job()])
    await _be_silent(one, place)
    (job,) = (await one.claim(1)).jobs
    assert await two.orphans() == []
    assert await one.settle([success(job)]) == [True]


async def test_worker_that_was_forgotten_claims_nothing_until_it_is_entered_again(
    open_one: Open, place: PostgresPlace
) -> None:
    one = await open_one("one")
    await one.enqueue([a_job()])
    await _be_silent(one, place)
    await sql(place, "DELETE FROM workers WHERE owner = 'one'")
    claimed = await one.claim(1)
    assert claimed.jobs == []
    assert claimed.next_run_at is not None  # it looks again by itself
    one._listening = asyncio.create_task(one._listener.run())
    async with asyncio.timeout(60):
        while not (jobs := (await one.claim(1)).jobs):
            await asyncio.sleep(0.05)
    assert await one.settle([success(jobs[0])]) == [True]


async def _be_silent(store: PostgresStore, place: PostgresPlace) -> None:
    """Let the store give no more signs of life, and its last one be too long ago."""
    assert store._listening is not None
    store._listening.cancel()
    await asyncio.gather(store._listening, return_exceptions=True)  # a sign of life that was under way is over
    await sql(place, "UPDATE workers SET seen_at = now() - make_interval(secs => $2) WHERE owner = $1",
              store.owner, LEASE_SECONDS + 1)  # fmt: skip


async def test_workers_are_listed_with_what_they_run(open_one: Open) -> None:
    one = await open_one("one")
    await one.use_rules(ClaimRules(frozenset({"noop"})))
    two = await open_one("two")
    await one.enqueue([a_job(), a_job()])
    await one.claim(2)
    first, second = await two.workers()
    assert (first.owner, first.kinds, first.running) == ("one", ("noop",), 2)
    assert (second.owner, second.kinds, second.running) == ("two", None, 0)


async def test_open_under_the_name_of_a_worker_that_is_alive_is_rejected(open_one: Open) -> None:
    await open_one("one")
    with pytest.raises(StoreLocked, match="name of its own"):
        await open_one("one")


# -- a server that is away ---------------------------------------------------------------------------------


async def test_work_goes_on_after_the_server_ended_all_connections(open_one: Open, place: PostgresPlace) -> None:
    reports: list[tuple[str, str | None]] = []
    store = await open_one("one", on_outage=lambda *report: reports.append(report))
    await store.enqueue([a_job() for _ in range(20)])
    settled = 0
    for round_number in range(4):
        await _end_connections(store, place)
        jobs = (await store.claim(5)).jobs
        answers = await store.settle([success(job) for job in jobs])
        assert answers == [True] * len(jobs)
        settled += len(jobs)
        assert (await store.enqueue([a_job(key=f"k{round_number}")]))[0].state == "created"
    assert settled == 20
    assert (await store.stats()).jobs["succeeded"] == 20
    assert await store.examine() == []
    assert reports == []  # the server was there again at once


async def _end_connections(store: PostgresStore, place: PostgresPlace) -> None:
    listener = store._listener
    # Signs of life that fail twice in a row would be reported: each time they have gone on since the last time.
    await eventually(lambda: listener._connection is not None and not listener._failures)
    pids = [one.get_server_pid() for one in (store._writer.transaction.connection, listener._connection)]
    await sql(place, "SELECT count(pg_terminate_backend(pid)) FROM unnest($1::int[]) AS pid", pids)


@pytest.mark.parametrize("committed", [True, False])
async def test_commit_whose_answer_is_lost_is_done_exactly_once(open_one: Open, committed: bool) -> None:
    store = await open_one("one")
    await store.enqueue([a_job()])
    [job] = (await store.claim(1)).jobs
    transaction = store._writer.transaction
    transaction.connection = LossyConnection(transaction.connection, committed=committed)
    assert await store.settle([success(job)]) == [True]
    transaction.connection = LossyConnection(transaction.connection, committed=committed)
    [answer] = await store.enqueue([a_job(key="k")])
    assert answer.state == "created"
    assert len(await store.pending(0, 10)) == 1
    figures = await store.stats()
    assert (figures.jobs["queued"], figures.jobs["succeeded"]) == (1, 1)
    assert await store.examine() == []


async def test_intake_fails_while_the_server_is_away_and_ends_of_jobs_wait(
    open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[tuple[str, str | None]] = []
    store = await open_one("one", on_outage=lambda *report: reports.append(report))
    await store.enqueue([a_job()])
    [job] = (await store.claim(1)).jobs
    monkeypatch.setattr("worker.stores.postgres.store._PATIENCE", 0.3)
    back, connect = asyncio.Event(), store._writer.connect

    async def away() -> Any:
        if not back.is_set():
            raise ConnectionRefusedError("no server")
        return await connect()

    store._writer.connect = away
    await store._writer.transaction.connection.close()
    settling = asyncio.ensure_future(store.settle([success(job)]))
    with pytest.raises(StoreError, match="cannot be reached"):
        await store.enqueue([a_job()])
    assert not settling.done()
    back.set()
    assert await asyncio.wait_for(settling, 30) == [True]
    assert reports == [("writer", "no server"), ("writer", None)]


# -- the schema --------------------------------------------------------------------------------------------


async def test_open_rejects_a_schema_that_a_newer_program_wrote(open_one: Open, place: PostgresPlace) -> None:
    await (await open_one("one")).close()
    newer = len(MIGRATIONS) + 1
    await sql(place, "UPDATE meta SET version = $1, usable_from = $1", newer)
    with pytest.raises(SchemaTooNew, match=f"has schema {newer}"):
        await open_one("two")


async def test_open_accepts_a_newer_schema_that_this_program_can_work_with(
    open_one: Open, place: PostgresPlace
) -> None:
    await (await open_one("one")).close()
    connection = await place.target.connect()
    added = Migration(("ALTER TABLE jobs ADD COLUMN later text",), usable_from=len(MIGRATIONS))
    assert await migrate(connection, place.target, [*MIGRATIONS, added]) == (len(MIGRATIONS), len(MIGRATIONS) + 1)
    await connection.close()
    store = await open_one("two")
    await run_one(store, a_job())
    assert [one.state for one in (await store.get_many([]))] == []
    assert (await store.stats()).jobs[JobState.SUCCEEDED] == 1


async def test_program_rejects_an_older_schema_until_it_is_migrated(open_one: Open, place: PostgresPlace) -> None:
    await open_one("one")
    connection = await place.target.connect()
    state = await schema_state(connection, place.target)
    with pytest.raises(SchemaTooOld, match="db migrate"):
        require_current(state, place.target, len(MIGRATIONS) + 1)
    assert await migrate(connection, place.target) == (len(MIGRATIONS), len(MIGRATIONS))
    await connection.close()


async def test_migration_that_cannot_get_its_lock_gives_up_and_changes_nothing(
    open_one: Open, place: PostgresPlace
) -> None:
    await open_one("one")
    holder, other = await place.target.connect(), await place.target.connect()
    await holder.execute("SET idle_in_transaction_session_timeout = 0")  # the lock is waited for almost as long
    async with holder.transaction():
        await holder.execute("LOCK TABLE jobs IN ACCESS SHARE MODE")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await migrate(other, place.target, [*MIGRATIONS, Migration(("ALTER TABLE jobs ADD COLUMN later text",))])
    assert (await schema_state(other, place.target)).version == len(MIGRATIONS)
    await holder.close()
    await other.close()


def test_provider_without_the_extra_packages_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['asyncpg'] = None\n"
        "try:\n    import worker.stores.postgres.opening\n"
        "except Exception as exc:\n    print(type(exc).__name__, exc)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("Unavailable")
    assert "insignia-worker[postgres]" in ran.stdout
