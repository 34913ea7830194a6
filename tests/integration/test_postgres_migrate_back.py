"""The schema of a store in PostgreSQL goes one version back and forward again, without losing a job."""

import pytest

from tests.support.postgres import PostgresPlace, connected
from tests.support.stores import a_job
from worker.core.clock import Clock
from worker.core.store import JobQuery
from worker.errors import NotPossible, SchemaTooNew, SchemaTooOld
from worker.stores.postgres.migrations import migrate, migrate_back
from worker.stores.postgres.opening import migrate_target
from worker.stores.postgres.schema import MIGRATIONS, Migration

NEWEST = len(MIGRATIONS)


async def test_schema_goes_back_to_the_first_version_and_forward_with_all_jobs(place: PostgresPlace) -> None:
    store = await place.open("one", 1 << 30, Clock())
    [job] = await store.enqueue([a_job()])
    await store.close()
    for version in range(NEWEST, 1, -1):
        assert await migrate_target(place.target, back=True) == (version, version - 1)
    with pytest.raises(NotPossible, match="no way back"):
        await migrate_target(place.target, back=True)
    with pytest.raises(SchemaTooOld):
        await place.open("two", 1 << 30, Clock())
    assert await migrate_target(place.target) == (1, NEWEST)
    store = await place.open("three", 1 << 30, Clock())
    assert [found.id for found in (await store.find(JobQuery())).jobs] == [job.job_id]
    assert await store.examine() == []
    await store.close()


async def test_only_the_version_that_knows_a_schema_takes_it_back(place: PostgresPlace) -> None:
    await (await place.open("one", 1 << 30, Clock())).close()
    added = [
        *MIGRATIONS,
        Migration(
            ("ALTER TABLE jobs ADD COLUMN later text",),
            usable_from=NEWEST,
            undo=("ALTER TABLE jobs DROP COLUMN later",),
        ),
    ]
    async with connected(place.target.dsn) as connection:
        await migrate(connection, place.target, added)
        with pytest.raises(SchemaTooNew, match="take it back"):
            await migrate_back(connection, place.target)
        assert await migrate_back(connection, place.target, added) == (NEWEST + 1, NEWEST)
    await (await place.open("two", 1 << 30, Clock())).close()
