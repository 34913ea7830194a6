"""What is read of the store as a whole, on connections of the read pool."""

from collections.abc import Sequence
from typing import Any

from worker.core.job import Job, JobRecord, JobState
from worker.core.store import StoreStats
from worker.stores.postgres.budget import END_BYTES, ROW_BYTES, reserve
from worker.stores.postgres.claim import JOB, SEQ, job_of
from worker.stores.postgres.database import Connection
from worker.stores.postgres.texts import from_database, optional_from_database, to_database

_ORPHANS = f"""
    SELECT {JOB} FROM pgqueuer JOIN jobs ON jobs.seq = {SEQ}
    WHERE status = 'picked' AND state = 'running' AND owner <> $1 AND NOT EXISTS (
        SELECT FROM workers WHERE workers.owner = jobs.owner AND seen_at > now() - make_interval(secs => $2))
    ORDER BY run_at, seq
"""


async def orphans(connection: Connection, owner: str, lease: float) -> list[Job]:
    """Return the running jobs whose owner closed the store, or was not seen for `lease` seconds."""
    return [job_of(row) for row in await connection.fetch(_ORPHANS, owner, lease)]


async def paused(connection: Connection) -> frozenset[str]:
    return frozenset(from_database(row["kind"]) for row in await connection.fetch("SELECT kind FROM pauses"))


async def counts_by_kind(connection: Connection) -> dict[str, int]:
    rows = await connection.fetch(
        "SELECT kind, sum(queued)::bigint AS queued FROM tally GROUP BY kind HAVING sum(queued) <> 0"
    )
    return {from_database(row["kind"]): row["queued"] for row in rows}


# -- statistics --------------------------------------------------------------------------------------------

# One look for each kind and priority, from one to the next: a ticket's id says when its job fell due.
_OLDEST_TICKET = """
    WITH RECURSIVE lanes AS (
        (SELECT entrypoint, priority, id FROM pgqueuer WHERE status = 'queued'
         ORDER BY entrypoint, priority DESC, id LIMIT 1)
        UNION ALL
        SELECT following.* FROM lanes CROSS JOIN LATERAL (
            (SELECT entrypoint, priority, id FROM pgqueuer
             WHERE status = 'queued' AND entrypoint = lanes.entrypoint AND priority < lanes.priority
             ORDER BY entrypoint, priority DESC, id LIMIT 1)
            UNION ALL
            (SELECT entrypoint, priority, id FROM pgqueuer WHERE status = 'queued' AND entrypoint > lanes.entrypoint
             ORDER BY entrypoint, priority DESC, id LIMIT 1)
            LIMIT 1
        ) AS following
    )
    SELECT (min(id) >> 20) / 1000.0::float8 FROM lanes WHERE entrypoint NOT IN (SELECT kind FROM pauses)
"""

_FIGURES = f"""
    SELECT queued, running, succeeded, failed, cancelled, used, pending, dead,
        ({_OLDEST_TICKET}) AS due_since,
        (SELECT min(run_at) FROM jobs WHERE wait_at <= $1 AND kind NOT IN (SELECT kind FROM pauses)) AS waits_since,
        (SELECT created_at FROM outbox WHERE id > delivered AND dead IS NULL ORDER BY id LIMIT 1) AS pending_since
    FROM outbox_state, (
        SELECT coalesce(sum(queued), 0)::bigint AS queued, coalesce(sum(running), 0)::bigint AS running,
            coalesce(sum(succeeded), 0)::bigint AS succeeded, coalesce(sum(failed), 0)::bigint AS failed,
            coalesce(sum(cancelled), 0)::bigint AS cancelled, coalesce(sum(bytes), 0)::bigint AS used FROM tally
    ) AS counts
"""


async def store_stats(connection: Connection, now: float, max_bytes: int) -> StoreStats:
    """Return the statistics of one moment."""
    row = await connection.fetchrow(_FIGURES, now)
    since = [time for time in (row["due_since"], row["waits_since"]) if time is not None]
    left = max_bytes - reserve(max_bytes) - row["used"]
    return StoreStats(
        jobs={state.value: row[state.value] for state in JobState},
        outbox_depth=row["pending"],
        outbox_dead=row["dead"],
        oldest_job_age=_age(min(since, default=None), now),
        oldest_outbox_age=_age(row["pending_since"], now),
        size_bytes=row["used"],
        max_bytes=max_bytes,
        full=left < ROW_BYTES + END_BYTES * (1 + row["queued"] + row["running"]),
    )


def _age(since: float | None, now: float) -> float | None:
    return None if since is None else max(0.0, now - since)


# -- jobs --------------------------------------------------------------------------------------------------

RECORD = (
    "id, kind, user_id, payload, state, run, attempt, max_attempts, created_at, run_at, started_at, finished_at, "
    "duration_ms, cancel_requested, error_type, error, error_id, stack_trace, result, key, priority, organization"
)
"""The columns of a record."""

_WORDS_OF_A_FAILURE = "CASE WHEN state = 'failed' THEN result END"
BRIEF = RECORD.replace("payload", "''").replace("stack_trace, result", f"NULL, {_WORDS_OF_A_FAILURE}")
"""The same without what may be long; a failed job's result is its code and Thai text."""


def record_of(row: Sequence[Any]) -> JobRecord:
    """Return the record in a row of RECORD or BRIEF."""
    values = list(row)
    for place in (0, 1, 2):
        values[place] = from_database(values[place])
    for place in (14, 15, 16, 17, 19, 21):
        values[place] = optional_from_database(values[place])
    values[3] = values[3].encode()
    values[4] = JobState(values[4])
    values[18] = None if values[18] is None else values[18].encode()
    return JobRecord(*values)


async def get(connection: Connection, job_id: str) -> JobRecord | None:
    row = await connection.fetchrow(f"SELECT {RECORD} FROM jobs WHERE id = $1", to_database(job_id))
    return None if row is None else record_of(tuple(row))


async def get_many(connection: Connection, job_ids: Sequence[str]) -> list[JobRecord]:
    """Return those that exist, in the order of `job_ids`."""
    rows = await connection.fetch(
        f"SELECT {RECORD} FROM jobs WHERE id = ANY($1::text[])",
        [to_database(job_id) for job_id in job_ids],
    )
    found = {record.id: record for record in (record_of(tuple(row)) for row in rows)}
    return [found[job_id] for job_id in job_ids if job_id in found]
