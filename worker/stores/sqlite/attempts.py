"""Keeps and reads attempts that were followed by another attempt or run of their job."""

from collections.abc import Sequence

import orjson

from worker.core.job import AttemptRecord
from worker.core.outcome import Attempt
from worker.stores.sqlite.connection import Connection
from worker.stores.sqlite.transaction import WriteTransaction

_KEPT = 100
"""Attempts kept for each job."""

_COLUMNS = "run, attempt, ended, started_at, finished_at, duration_ms, error_type, error, error_id, stack_trace, result"

_KEEP_RETRIED = (
    f"INSERT INTO attempts (seq, {_COLUMNS}) "
    "SELECT seq, run, attempt, 'retried', started_at, json_extract(value, '$[1]'), duration_ms, error_type, error, "
    "error_id, stack_trace, NULL FROM json_each(?) JOIN jobs ON jobs.id = json_extract(value, '$[0]')"
)

_KEEP_ENDED = (
    f"INSERT INTO attempts (seq, {_COLUMNS}) "
    "SELECT seq, run, attempt, state, started_at, finished_at, duration_ms, error_type, error, error_id, stack_trace, "
    "result FROM jobs WHERE seq = ?"
)

_TRIM = """
    DELETE FROM attempts WHERE seq = :seq AND id <= (
        SELECT id FROM attempts WHERE seq = :seq ORDER BY id DESC LIMIT 1 OFFSET :kept)
"""


def keep_retried(transaction: WriteTransaction, attempts: Sequence[Attempt]) -> None:
    """Keep attempts that were just settled; the other values are in the rows of their jobs."""
    pairs = orjson.dumps([(attempt.job.id, attempt.finished_at) for attempt in attempts]).decode()
    transaction.connection.execute(_KEEP_RETRIED, (pairs,))
    for attempt in attempts:
        if attempt.job.attempt > _KEPT or attempt.job.run > 1:
            (seq,) = transaction.connection.execute("SELECT seq FROM jobs WHERE id = ?", (attempt.job.id,)).fetchone()
            transaction.connection.execute(_TRIM, {"seq": seq, "kept": _KEPT})


def keep_ended(transaction: WriteTransaction, seq: int) -> None:
    """Keep the last attempt of a run; to be called before the job's row starts the next run."""
    transaction.connection.execute(_KEEP_ENDED, (seq,))
    transaction.connection.execute(_TRIM, {"seq": seq, "kept": _KEPT})


def attempts(connection: Connection, job_id: str) -> list[AttemptRecord]:
    """Return the kept attempts of a job, oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM attempts WHERE seq = (SELECT seq FROM jobs WHERE id = ?) ORDER BY id",
        (job_id,),
    )
    return [AttemptRecord(*row) for row in rows]
