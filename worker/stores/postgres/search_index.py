"""The search index: the texts of ended runs in a table of their own, with an index on trigrams (extension pg_trgm).

A table of its own, filled later: the end of a job would have to change an index on `jobs`, and with it all others.
Rows may be out of date or missing: what is found is confirmed by `jobs`, and ends that are not indexed yet are looked
at one by one. Without the extension there is no index, and searches read the jobs.
"""

import contextlib
from time import monotonic

import asyncpg

from worker.core.store import IndexProgress
from worker.stores.postgres.claim import SEQ
from worker.stores.postgres.database import Connection, DatabaseTarget
from worker.stores.postgres.filters import Filter, folded, patterns

CREATE_SEARCH_TABLES = (
    "CREATE TABLE search_texts (seq bigint PRIMARY KEY, text text NOT NULL)",
    # Ends of runs are indexed in the order of their notifications, whose ids become visible in order.
    "CREATE TABLE search_state (singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton), "
    "up_to bigint NOT NULL DEFAULT 0)",
    "INSERT INTO search_state DEFAULT VALUES",
)

INDEX = "search_texts_trigrams"

_PIECE = 50
"""Ends of runs in one piece."""

_MOST_LATE = 10_000
"""Ends that are not indexed yet, up to which the index is used."""

_SHORTEST = 3
"""Characters of a text that has a trigram."""

_NO_EXTENSION = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedFileError,  # not installed on the server
    asyncpg.FeatureNotSupportedError,
    asyncpg.UniqueViolationError,  # created at the same moment
    asyncpg.DuplicateObjectError,
)

_BUILD_SECONDS = 86_400.0
"""How long the index may take to be built."""

_IS_THERE = f"SELECT coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{INDEX}')), false)"

_STEP = f"""
    WITH ended AS MATERIALIZED (
        SELECT id, job_id FROM outbox WHERE id > $1 ORDER BY id LIMIT {_PIECE}
    ), texts AS (
        INSERT INTO search_texts (seq, text)
        SELECT seq, concat_ws(E'\\n', {", ".join(map(folded, ("id", "user_id", "error", "payload", "result")))})
        FROM jobs WHERE id IN (SELECT job_id FROM ended)
        ON CONFLICT (seq) DO UPDATE SET text = excluded.text
    )
    SELECT count(*), max(id) FROM ended
"""

# Compared instead of IS NOT NULL: the server then uses the index even without fresh statistics.
_UNFINISHED = f"SELECT {SEQ} AS seq FROM pgqueuer UNION ALL SELECT seq FROM jobs WHERE wait_at >= '-infinity'"

_FORGET = f"""
    DELETE FROM search_texts WHERE seq IN (
        SELECT seq FROM search_texts WHERE seq < (SELECT coalesce(min(seq), 0) FROM jobs) ORDER BY seq LIMIT {_PIECE})
"""


async def create_index(connection: Connection, target: DatabaseTarget, *, is_new: bool) -> None:
    """Create the index if there is none and the extension is there or may be created; else leave it out.

    In an existing store without a lock that others wait for.
    """
    if await connection.fetchval(_IS_THERE):
        return
    with contextlib.suppress(*_NO_EXTENSION):
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public")
    place = await connection.fetchval(
        "SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace "
        "WHERE extname = 'pg_trgm'"
    )
    if place is None:
        return
    await connection.execute(f"DROP INDEX IF EXISTS {target.schema}.{INDEX}")  # of an attempt that was interrupted
    await connection.execute(
        f"CREATE INDEX {'' if is_new else 'CONCURRENTLY'} {INDEX} ON {target.schema}.search_texts "
        f"USING gin (text {place}.gin_trgm_ops)",
        timeout=_BUILD_SECONDS,
    )


async def index(connection: Connection) -> IndexProgress:
    """Index some ends of runs, unless another worker does; return what is left."""
    started = monotonic()
    async with connection.transaction():
        if not await connection.fetchval(_IS_THERE):
            return IndexProgress(0, 0, 0.0)
        up_to = await connection.fetchval("SELECT up_to FROM search_state FOR UPDATE SKIP LOCKED")
        if up_to is None:
            return IndexProgress(0, 0, 0.0)
        done, last = await connection.fetchrow(_STEP, up_to)
        if done:
            await connection.execute("UPDATE search_state SET up_to = $1", last)
        await connection.execute(_FORGET)
        last_id = await connection.fetchval("SELECT last_id FROM outbox_state")
        left = last_id - last if done == _PIECE else 0  # rather than counting them at each step
    return IndexProgress(done, left, monotonic() - started)


async def narrow(connection: Connection, filter_: Filter, text: str) -> bool:
    """Limit the filter to jobs that may contain the text, by the index; return whether that is possible."""
    if len(text) < _SHORTEST or not await connection.fetchval(_IS_THERE):
        return False
    up_to = await connection.fetchval("SELECT up_to FROM search_state")
    late = await connection.fetch(f"SELECT job_id FROM outbox WHERE id > $1 ORDER BY id LIMIT {_MOST_LATE + 1}", up_to)
    if len(late) > _MOST_LATE:
        return False
    # In statements of their own: together, the server expects so many rows that it reads whole tables.
    wanted = patterns(text)
    likes = " OR ".join(f"text LIKE ${place}" for place in range(1, len(wanted) + 1))
    rows = await connection.fetch(f"SELECT seq FROM search_texts WHERE {likes}", *wanted)
    rows += await connection.fetch("SELECT seq FROM jobs WHERE id = ANY($1::text[])", [row["job_id"] for row in late])
    rows += await connection.fetch(_UNFINISHED)
    filter_.add("seq IN (SELECT unnest({0}::bigint[]))", [row["seq"] for row in rows])
    return True
