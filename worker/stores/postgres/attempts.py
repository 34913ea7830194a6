"""Attempts that were followed by another one: what the writer keeps of them, and how they are read."""

from collections.abc import Sequence
from typing import Any

from worker.core.job import AttemptRecord
from worker.stores.postgres.database import Connection
from worker.stores.postgres.texts import optional_from_database, to_database
from worker.stores.postgres.transaction import WriteTransaction

_KEPT = 100
"""Of each job."""

_COLUMNS = "run, attempt, ended, started_at, finished_at, duration_ms, error_type, error, error_id, stack_trace, result"

_KEEP_RETRIED = f"""
    INSERT INTO attempts (seq, {_COLUMNS})
    SELECT jobs.seq, run, attempt, 'retried', started_at, retried.finished_at, duration_ms, error_type, error, error_id,
        stack_trace, NULL
    FROM unnest($1::bigint[], $2::float8[]) WITH ORDINALITY AS retried(seq, finished_at, place)
    JOIN jobs ON jobs.seq = retried.seq ORDER BY place
"""

_KEEP_ENDED = f"""
    INSERT INTO attempts (seq, {_COLUMNS})
    SELECT seq, run, attempt, state, started_at, finished_at, duration_ms, error_type, error, error_id, stack_trace,
        result FROM jobs WHERE seq = $1
"""

_TRIM = f"""
    DELETE FROM attempts USING unnest($1::bigint[]) AS job(seq) WHERE attempts.seq = job.seq AND attempts.id <= (
        SELECT id FROM attempts AS kept WHERE kept.seq = job.seq ORDER BY id DESC LIMIT 1 OFFSET {_KEPT})
"""


async def keep_retried(transaction: WriteTransaction, retried: Sequence[tuple[int, float]]) -> None:
    """Record retried attempts after they are settled, given `seq` and end; the rest is in their jobs' rows."""
    places = [seq for seq, _ in retried]
    await transaction.connection.execute(_KEEP_RETRIED, places, [finished_at for _, finished_at in retried])
    await transaction.connection.execute(_TRIM, places)


async def keep_ended(transaction: WriteTransaction, seq: int) -> None:
    """Record the last attempt of a run, before its row begins the next run."""
    await transaction.connection.execute(_KEEP_ENDED, seq)
    await transaction.connection.execute(_TRIM, [seq])


async def attempts(connection: Connection, job_id: str) -> list[AttemptRecord]:
    """Return the attempts of a job, oldest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM attempts WHERE seq = (SELECT seq FROM jobs WHERE id = $1) ORDER BY id",
        to_database(job_id),
    )
    return [_record(list(row)) for row in rows]


def _record(values: list[Any]) -> AttemptRecord:
    values[6:10] = map(optional_from_database, values[6:10])
    values[10] = None if values[10] is None else values[10].encode()
    return AttemptRecord(*values)
