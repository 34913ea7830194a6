"""The search index in PostgreSQL: it finds text inside Thai phrases, and a store without it finds the same."""

import pytest

from tests.support.postgres import PostgresPlace, connected
from tests.support.postgres_server import postgres_server
from tests.support.repository import ROOT
from tests.support.stores import ManualClock, a_job, success
from worker.core.store import IndexProgress, JobQuery
from worker.stores.postgres.database import DatabaseTarget
from worker.stores.postgres.opening import migrate_target, open_store
from worker.stores.postgres.store import PostgresStore

PHRASE = {"note": "สำนักงานปลัดกระทรวงมหาดไทย"}
INSIDE = "ทรวงมหาด"


@pytest.fixture(autouse=True)
def few_jobs_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.stores.postgres.find._NEWEST", 0)


async def fill(store: PostgresStore) -> list[str]:
    """End three jobs, two of which have the phrase; return the ids of these."""
    given = [a_job(payload=PHRASE), a_job(payload={"note": "มหาดเล็ก"}), a_job(payload=PHRASE)]
    await store.enqueue(given)
    await store.settle([success(job) for job in (await store.claim(3)).jobs])
    return [given[2].id, given[0].id]


async def found(store: PostgresStore) -> list[str]:
    return [job.id for job in (await store.find(JobQuery(text=INSIDE, limit=10))).jobs]


async def execute(url: str, statement: str) -> None:
    async with connected(url) as connection:
        await connection.execute(statement)


async def test_text_inside_a_phrase_is_found_by_the_index_and_before_it_is_indexed(place: PostgresPlace) -> None:
    store = await place.open("one", 1 << 30, ManualClock().clock)
    assert isinstance(store, PostgresStore)
    ids = await fill(store)
    assert await found(store) == ids
    piece = await store.index()
    assert (piece.done, piece.left) == (3, 0)
    assert await found(store) == ids
    await execute(place.target.dsn, f"UPDATE {place.target.schema}.search_texts SET text = ''")
    assert await found(store) == []  # the index was asked
    await store.retry(ids[0])
    assert await found(store) == ids[:1]  # what is not ended is not in the index
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job)])
    assert await found(store) == ids[:1]
    await store.index()
    assert await found(store) == ids[:1]
    await store.close()


async def test_store_without_the_right_to_create_the_extension_finds_the_same(place: PostgresPlace) -> None:
    with postgres_server() as server:
        await execute(server.url, (ROOT / "deploy" / "postgres-roles.sql").read_text())
        target = DatabaseTarget.parse(server.url.replace("postgres@", "insignia_owner@"))
        store = await open_store(target, owner="one", max_bytes=1 << 30, clock=ManualClock().clock)
        ids = await fill(store)
        assert await store.index() == IndexProgress(0, 0, 0.0)
        assert await found(store) == ids
        await execute(server.url, "CREATE EXTENSION pg_trgm")
        await migrate_target(target)  # now it creates the index
        assert (await store.index()).done == 3
        assert await found(store) == ids
        await store.close()
