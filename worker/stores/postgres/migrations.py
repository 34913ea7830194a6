"""Creates the store in a database, and brings its schema up to date."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence import qb
from pgqueuer.adapters.persistence.queries import Queries

from worker.errors import NotPossible, SchemaTooNew, SchemaTooOld, StoreUnwritable
from worker.stores.postgres.database import Connection, DatabaseTarget, install_statements
from worker.stores.postgres.schema import MIGRATIONS, Migration
from worker.stores.postgres.search_index import create_index

_LOCK = 0x494E5357
"""Key of the advisory lock under which one process at a time changes the schema ("INSW")."""
_LOCK_TIMEOUT = "3s"
"""How long a change waits for a table that others use, so that they do not queue behind it for longer."""


async def migrate(
    connection: Connection, target: DatabaseTarget, migrations: Sequence[Migration] = MIGRATIONS
) -> tuple[int, int]:
    """Bring the schema up to date, each version in one transaction; return the versions before and after.

    0 before: the store is new. Raises SchemaTooNew.
    """
    async with _exclusive(connection, target):
        state = await schema_state(connection, target)
        require_usable(state, target, len(migrations))
        for number, migration in enumerate(migrations[state.version :], start=state.version + 1):
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                if number == 1:
                    await _create_schema(connection, target)
                    await connection.execute(install_statements(target))
                # Functions keep this path, and must find nothing that another user could have put into it.
                await connection.execute(f"SET LOCAL search_path = {target.schema}, pg_temp")
                for statement in migration.statements:
                    await connection.execute(statement)
                await connection.execute(
                    "UPDATE meta SET version = $1, usable_from = $2", number, migration.usable_from
                )
        if state.version:
            await _upgrade_pgqueuer(connection, target)
        await connection.execute(f"SET search_path = {target.schema}, public")
        await create_index(connection, target, is_new=state.version == 0)
        return state.version, max(state.version, len(migrations))


async def migrate_back(
    connection: Connection, target: DatabaseTarget, migrations: Sequence[Migration] = MIGRATIONS
) -> tuple[int, int]:
    """Take the newest version of the schema back, in one transaction; return the versions before and after.

    Raises SchemaTooNew, and NotPossible where there is no way back.
    """
    async with _exclusive(connection, target):
        state = await schema_state(connection, target)
        if state.version > len(migrations):
            raise SchemaTooNew(
                f"{target.shown} has schema {state.version}, this program knows {len(migrations)}: "
                "only the version that wrote it can take it back"
            )
        if state.version < 2 or not migrations[state.version - 1].undo:
            raise NotPossible(f"there is no way back from schema {state.version} of {target.shown}")
        before = state.version - 1
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            await connection.execute(f"SET LOCAL search_path = {target.schema}, pg_temp")
            for statement in migrations[before].undo:
                await connection.execute(statement)
            usable_from = migrations[before - 1].usable_from
            await connection.execute("UPDATE meta SET version = $1, usable_from = $2", before, usable_from)
        return state.version, before


async def _create_schema(connection: Connection, target: DatabaseTarget) -> None:
    """Create the schema if there is none: IF NOT EXISTS needs the right CREATE on the database even if there is one."""
    if await connection.fetchval("SELECT quote_ident($1) <> $1", target.schema):
        raise StoreUnwritable(
            f"schema {target.schema} in Queue:ConnectionString is a reserved word of SQL: use another name"
        )
    if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", target.schema):
        await connection.execute(f"CREATE SCHEMA {target.schema}")


async def _upgrade_pgqueuer(connection: Connection, target: DatabaseTarget) -> None:
    """Apply what a newer PgQueuer expects of its tables."""
    settings = target.pgqueuer()
    queries = Queries(
        AsyncpgDriver(connection),
        qbe=qb.QueryBuilderEnvironment(settings),
        qbq=qb.QueryQueueBuilder(settings),
        qbs=qb.QuerySchedulerBuilder(settings),
    )
    plan = await queries.plan_upgrade()
    for statement in plan.statements:
        await connection.execute(statement)


@contextlib.asynccontextmanager
async def _exclusive(connection: Connection, target: DatabaseTarget) -> AsyncIterator[None]:
    await connection.execute("SET statement_timeout = 0")  # a limit for ordinary statements would end that of an index
    await connection.execute("SELECT pg_advisory_lock($1, hashtext($2))", _LOCK, target.schema)
    try:
        yield
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1, hashtext($2))", _LOCK, target.schema)
        await connection.execute("RESET statement_timeout")


class SchemaState(NamedTuple):
    """What is in the database."""

    version: int
    """0: no store."""
    usable_from: int
    """The oldest version whose programs can work with it."""


async def schema_state(connection: Connection, target: DatabaseTarget) -> SchemaState:
    """Return the version of the schema."""
    if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{target.schema}.meta"):
        return SchemaState(0, 0)
    return SchemaState(*await connection.fetchrow(f"SELECT version, usable_from FROM {target.schema}.meta"))


def require_usable(state: SchemaState, target: DatabaseTarget, newest: int = len(MIGRATIONS)) -> None:
    """Raise SchemaTooNew if the schema was written by a version of this program that this one cannot work beside."""
    if state.version > newest and state.usable_from > newest:
        raise SchemaTooNew(
            f"{target.shown} has schema {state.version}, this program knows {newest}: install the version that wrote it"
        )


def require_current(state: SchemaState, target: DatabaseTarget, newest: int = len(MIGRATIONS)) -> None:
    """Raise SchemaTooOld if the schema must be migrated first, else as `require_usable` does."""
    require_usable(state, target, newest)
    if 0 < state.version < newest:
        raise SchemaTooOld(
            f"{target.shown} has schema {state.version}, this program needs {newest}: "
            "run `insignia-worker db migrate` (workers of the version before can go on)"
        )
