"""Who waits for a turn in PostgreSQL: what a claim reads, what other versions and producers leave, what is repaired."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.postgres import PostgresPlace, connected
from tests.support.postgres_server import PostgresServer
from tests.support.stores import START, ManualClock, a_job, cancel_notification, record_of, success
from worker.core.claim_rules import ClaimRules
from worker.core.clock import Clock
from worker.core.job import Job
from worker.core.store import Store
from worker.stores.postgres.opening import migrate_target
from worker.stores.postgres.store import PostgresStore
from worker.stores.postgres.turns import CANDIDATES, LOCK


async def opened(place: PostgresPlace, owner: str = "one", clock: Clock | None = None) -> Store:
    return await place.open(owner, 1 << 30, clock or ManualClock().clock)


async def claimed(store: Store, limit: int) -> list[Job]:
    return (await store.claim(limit)).jobs


async def sql(place: PostgresPlace, *statements: str) -> Any:
    """Run the statements in one transaction; return the first value of the last one."""
    async with connected(place.target.dsn) as connection, connection.transaction():
        await connection.execute(f"SET LOCAL search_path = {place.target.schema}, public")
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])


async def pages_read(place: PostgresPlace, kinds: list[str] | None = None) -> int:
    """Return how many pages a claim of ten jobs reads to choose them, those read twice counted twice."""
    async with connected(place.target.dsn) as connection, connection.transaction():
        await connection.execute(f"SET LOCAL search_path = {place.target.schema}, public")
        await connection.execute(LOCK)
        arguments: tuple[object, ...] = (10, kinds, [], [], [], [])
        [[answer]] = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {CANDIDATES}", *arguments)
        plan = json.loads(answer)[0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


# -- what a claim reads --------------------------------------------------------------------------------------------


async def test_claim_with_many_owners_reads_about_as_much_as_with_few(place: PostgresPlace) -> None:
    store = await opened(place)
    await store.enqueue([a_job(user=f"user-{number % 20}") for number in range(200)])
    await store.claim(0)
    few = await pages_read(place)
    await store.enqueue([a_job(user=f"user-{number}", organization=f"office-{number % 50}") for number in range(5000)])
    while await sql(place, "SELECT count(*) FROM owner_changes"):
        await store.claim(0)
    assert await pages_read(place) < 3 * few
    await store.close()


async def test_claim_does_not_read_owners_of_kinds_that_may_not_run(place: PostgresPlace) -> None:
    store = await opened(place)
    await store.enqueue([a_job(user=f"user-{number % 20}", kind="here") for number in range(200)])
    await store.claim(0)
    alone = await pages_read(place, ["here"])
    await store.enqueue([a_job(START - 10, user=f"user-{number}", kind="elsewhere") for number in range(5000)])
    await store.claim(0)
    assert await pages_read(place, ["here"]) < 3 * alone
    await store.use_rules(ClaimRules(kinds=frozenset({"here"})))
    assert {job.kind for job in await claimed(store, 100)} == {"here"}
    await store.close()


@pytest.fixture
async def place_apart(own_postgres: PostgresServer) -> AsyncIterator[PostgresPlace]:
    """A place that no other test has in its database.

    A transaction of another session, open for as long as a test needs, keeps all that is deleted in the database.
    """
    place = PostgresPlace(f"{own_postgres.url}?schema=apart")
    yield place
    await place.destroy()


async def test_claim_does_not_read_what_earlier_claims_left_dead(place_apart: PostgresPlace) -> None:
    place = place_apart
    store = await opened(place)
    await store.enqueue([a_job(user=f"user-{number % 50}", organization=f"o-{number % 5}") for number in range(500)])
    await store.claim(0)
    fresh = await pages_read(place)
    for _ in range(200):
        await store.settle([success(job) for job in await claimed(store, 50)])
        await store.enqueue([a_job(user=f"user-{number}", organization=f"o-{number % 5}") for number in range(50)])
    await store.claim(0)
    assert await pages_read(place) < 4 * fresh
    await store.close()


# -- who waits -----------------------------------------------------------------------------------------------------


async def test_owner_whose_change_has_an_id_that_was_given_twice_gets_a_turn(place_apart: PostgresPlace) -> None:
    place = place_apart  # a transaction that another test has open would let the claim read all changes
    store = await place.open("one", 1 << 30, ManualClock().clock)
    assert isinstance(store, PostgresStore)
    await store.enqueue([a_job()])
    # As after a crash: the claims of this store had come to this id before it was given to the job's transaction.
    store._writer.transaction.counts.owners_seen = await sql(place, "SELECT pg_current_xact_id()::text")
    await sql(place, "SELECT pg_current_xact_id()")
    assert await claimed(store, 5) == []
    server_process = store._writer.transaction.connection.get_server_pid()
    await sql(place, f"SELECT pg_terminate_backend({server_process})")
    assert len(await claimed(store, 5)) == 1
    await store.close()


async def test_claim_reads_a_part_of_many_new_owners_and_the_next_claims_the_others(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.stores.postgres.turns.MOST_OWNERS", 10)
    store = await opened(place)
    for intake in "abcde":
        await store.enqueue([a_job(user=f"{intake}-{number}") for number in range(7)])
    assert len((await store.claim(4)).jobs) == 4
    assert await sql(place, "SELECT count(*) FROM waiting_users") == 10
    assert await store.examine() == []
    first = await store.claim(20)
    assert 0 < len(first.jobs) < 20
    assert first.next_run_at is not None  # others are due
    users = [job.user_id for job in first.jobs]
    while jobs := await claimed(store, 20):
        users += [job.user_id for job in jobs]
    assert [user[0] for user in users] == [*"aaabbbbbbbcccccccdddddddeeeeeee"]
    assert len(set(users)) == 31
    assert await store.examine() == []
    await store.close()


async def test_claim_without_a_job_that_may_go_reads_a_few_parts_of_the_new_owners(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.stores.postgres.turns.MOST_OWNERS", 10)
    store = await opened(place)
    await store.pause("paused")
    await store.enqueue([a_job(user=f"user-{number:02}", kind="paused") for number in range(55)])
    await store.enqueue([a_job(user="last")])
    first = await store.claim(5)
    assert first.jobs == []
    assert first.next_run_at == START  # at once: others are unread
    assert await sql(place, "SELECT count(*) FROM waiting_users") == 40
    assert [job.user_id for job in await claimed(store, 5)] == ["last"]
    assert (await store.claim(5)).next_run_at is None
    await store.close()


async def test_owner_whose_jobs_were_cancelled_waits_no_longer(place: PostgresPlace) -> None:
    store = await opened(place)
    jobs = [a_job(user=f"user-{number}", organization="office") for number in range(3)]
    await store.enqueue(jobs)
    await store.claim(0)
    for job in jobs:
        await store.cancel(job.id, 1, cancel_notification(await record_of(store, job.id)))
    await store.claim(0)
    for table in ("waiting_users", "waiting_organizations", "waiting_kinds", "owner_changes"):
        assert await sql(place, f"SELECT count(*) FROM {table}") == 0
    await store.close()


async def test_producers_in_open_transactions_wait_neither_for_each_other_nor_for_workers(place: PostgresPlace) -> None:
    store = await opened(place, clock=Clock())
    dsn, path = place.target.dsn, f"SET LOCAL search_path = {place.target.schema}, public"
    async with connected(dsn) as first, connected(dsn) as second:
        async with first.transaction():
            await first.execute(path)
            one = await first.fetchval("SELECT insignia_enqueue('noop', 'somchai', '{}')")
            async with second.transaction():
                await second.execute(path)
                two = await second.fetchval("SELECT insignia_enqueue('noop', 'somchai', '{}')")
                [three] = await store.enqueue([a_job()])
                assert [job.id for job in await claimed(store, 10)] == [three.job_id]
            assert [job.id for job in await claimed(store, 10)] == [two]
        assert [job.id for job in await claimed(store, 10)] == [one]
    assert await store.examine() == []
    await store.close()


# -- the version before --------------------------------------------------------------------------------------------


async def test_jobs_that_wait_when_the_schema_is_migrated_are_claimed_in_turns(place: PostgresPlace) -> None:
    store = await opened(place)
    await store.enqueue([a_job(user=user, organization="office") for user in ("a", "b", "c") for _ in range(4)])
    await store.close()
    while (await migrate_target(place.target, back=True))[1] >= 4:
        pass
    await sql(place, "SELECT insignia_enqueue('noop', 'd', '{}', now() - interval '1 hour')")
    assert (await migrate_target(place.target))[0] == 3
    store = await opened(place, "two")
    assert await store.examine() == []
    users = Counter(job.user_id for job in await claimed(store, 4))
    assert users == dict.fromkeys("abcd", 1)
    assert len(await claimed(store, 100)) == 9
    await store.close()


async def test_claims_of_the_version_before_leave_no_owner_behind(place: PostgresPlace) -> None:
    # It takes rows out of `ready` and knows nothing of who waits.
    store = await opened(place)
    await store.enqueue([a_job(user="taken"), a_job(user="left"), a_job(user="left")])
    await store.claim(0)
    await sql(
        place,
        "DELETE FROM ready WHERE user_id = '=taken'",
        "UPDATE pgqueuer SET status = 'picked' FROM jobs WHERE jobs.user_id = 'taken' AND pgqueuer.id = "
        "ticket_of(run_at, seq)",
        "UPDATE jobs SET state = 'running', owner = 'other', claims = 1, ticket = ticket_of(run_at, seq) "
        "WHERE user_id = 'taken'",
        "SELECT 1",
    )
    assert [job.user_id for job in await claimed(store, 10)] == ["left", "left"]
    assert await sql(place, "SELECT count(*) FROM waiting_users WHERE user_id = '=taken'") == 0
    await store.close()


# -- check and repair ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM waiting_users WHERE user_id = '=a'",
        "DELETE FROM waiting_organizations WHERE organization = ''",
        "DELETE FROM waiting_kinds",
        "UPDATE waiting_kinds SET first = first + 1000000000",
        "UPDATE waiting_organizations SET first = first + 1000000000",
    ],
)
async def test_owner_that_does_not_wait_is_found_by_the_check_and_repaired_at_the_next_start(
    place: PostgresPlace, damage: str
) -> None:
    store = await opened(place)
    await store.enqueue([a_job(user="a"), a_job(user="b", organization="office")])
    await store.claim(0)
    assert await store.examine() == []
    await sql(place, damage, "SELECT 1")
    assert await store.examine() == ["the owner of a due job does not wait for a turn"]
    await store.close()
    store = await opened(place, "two")
    assert await store.examine() == []
    assert {job.user_id for job in await claimed(store, 10)} == {"a", "b"}
    await store.close()
