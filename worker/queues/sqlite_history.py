"""Attempts that another one followed: what the writer keeps of them, and how they are read."""

from collections.abc import Sequence

import orjson

from worker.job import AttemptRecord
from worker.outcome import Attempt
from worker.queues.sqlite_ledger import Ledger
from worker.queues.sqlite_schema import Connection

_KEPT = 100
"""Of each job."""

_COLUMNS = "run, attempt, ended, started_at, finished_at, duration_ms, error_type, error, error_id, stack_trace, result"

_KEEP_RETRIED = (
    f"INSERT INTO attempts (seq, {_COLUMNS}) "  # noqa: S608 -- put together from constants
    "SELECT seq, run, attempt, 'retried', started_at, json_extract(value, '$[1]'), duration_ms, error_type, error, "
    "error_id, stack_trace, NULL FROM json_each(?) JOIN jobs ON jobs.id = json_extract(value, '$[0]')"
)

_KEEP_ENDED = (
    f"INSERT INTO attempts (seq, {_COLUMNS}) "  # noqa: S608
    "SELECT seq, run, attempt, state, started_at, finished_at, duration_ms, error_type, error, error_id, stack_trace, "
    "result FROM jobs WHERE seq = ?"
)

_TRIM = """
    DELETE FROM attempts WHERE seq = :seq AND id <= (
        SELECT id FROM attempts WHERE seq = :seq ORDER BY id DESC LIMIT 1 OFFSET :kept)
"""


def keep_retried(ledger: Ledger, attempts: Sequence[Attempt]) -> None:
    """Call it when they are settled: what else there is to keep stands in their jobs' rows."""
    pairs = orjson.dumps([(attempt.job.id, attempt.finished_at) for attempt in attempts]).decode()
    ledger.connection.execute(_KEEP_RETRIED, (pairs,))
    for attempt in attempts:
        if attempt.job.attempt > _KEPT or attempt.job.run > 1:
            (seq,) = ledger.connection.execute("SELECT seq FROM jobs WHERE id = ?", (attempt.job.id,)).fetchone()
            ledger.connection.execute(_TRIM, {"seq": seq, "kept": _KEPT})


def keep_ended(ledger: Ledger, seq: int) -> None:
    """Call it before the job's row begins its next run."""
    ledger.connection.execute(_KEEP_ENDED, (seq,))
    ledger.connection.execute(_TRIM, {"seq": seq, "kept": _KEPT})


def attempts(connection: Connection, job_id: str) -> list[AttemptRecord]:
    """Oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM attempts WHERE seq = (SELECT seq FROM jobs WHERE id = ?) ORDER BY id",  # noqa: S608
        (job_id,),
    )
    return [AttemptRecord(*row) for row in rows]
