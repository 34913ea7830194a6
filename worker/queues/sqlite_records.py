"""Jobs as they lie in the store, for people."""

from collections.abc import Sequence
from typing import Any

from worker.job import JobRecord, JobState
from worker.queues.sqlite_claims import PAYLOAD
from worker.queues.sqlite_schema import Connection, json_list

RECORD = (
    f"id, kind, user_id, {PAYLOAD}, state, run, attempt, max_attempts, created_at, run_at, started_at, finished_at, "
    "duration_ms, cancel_requested, error_type, error, error_id, stack_trace, result, key, priority, "
    "organization"
)
"""The columns of a record."""

BRIEF = RECORD.replace(PAYLOAD, "x''").replace("stack_trace, result", "NULL, NULL")
"""The same without what may be long."""


def record_of(row: Sequence[Any]) -> JobRecord:
    """A row of RECORD or BRIEF."""
    record = list(row)
    record[4], record[13] = JobState(row[4]), bool(row[13])
    return JobRecord(*record)


def get(connection: Connection, job_id: str) -> JobRecord | None:
    row = connection.execute(f"SELECT {RECORD} FROM jobs WHERE id = ?", (job_id,)).fetchone()  # noqa: S608
    return None if row is None else record_of(row)


def get_many(connection: Connection, job_ids: Sequence[str]) -> list[JobRecord]:
    rows = connection.execute(
        f"SELECT {RECORD} FROM jobs WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
        (json_list(job_ids),),
    )
    there = {record.id: record for record in map(record_of, rows)}
    return [there[job_id] for job_id in job_ids if job_id in there]
