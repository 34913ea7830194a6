"""Reads jobs and figures, on connections that cannot write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worker.core.job import Job, JobRecord, JobState
from worker.core.store import StoreStats
from worker.disk.open_files import OpenFiles
from worker.stores.sqlite.claim import ORPHANS, PAYLOAD, job_from_row
from worker.stores.sqlite.connection import Connection
from worker.stores.sqlite.disk_space import END_BYTES, ROW_BYTES, longest_log, measure_usage, wal_bytes, wal_of
from worker.stores.sqlite.log_readers import why_log_is_kept
from worker.stores.sqlite.statements import BACKOFF, SCHEDULED, json_list
from worker.stores.sqlite.transaction import read_counts


def orphans(connection: Connection, owner: str) -> list[Job]:
    return [job_from_row(row) for row in connection.execute(ORPHANS, (owner,))]


def paused(connection: Connection) -> frozenset[str]:
    return frozenset(kind for (kind,) in connection.execute("SELECT kind FROM pauses"))


def counts_by_kind(connection: Connection) -> dict[str, int]:
    return dict(read_counts(connection).kinds)


def check(connection: Connection, files: OpenFiles) -> None:
    """Raise StoreReplaced, StoreUnwritable or StoreCorrupt if the store cannot be used any more."""
    files.verify()
    read_counts(connection)


# -- statistics --------------------------------------------------------------------------------------------


def store_stats(
    connection: Connection, path: Path, now: float, max_bytes: int, ready_since: float | None
) -> StoreStats:
    """`ready_since`: since when the oldest job of the ready lane is due (wall clock)."""
    connection.execute("BEGIN")  # all reads see the same state
    try:
        counts = read_counts(connection)
        due_since = _due_since(connection, now, ready_since)
        (oldest_message,) = connection.execute(
            "SELECT (SELECT created_at FROM outbox WHERE id > ? AND dead IS NULL ORDER BY id LIMIT 1)",
            (counts.delivered,),
        ).fetchone()
        room = measure_usage(connection, path, max_bytes)
    finally:
        connection.execute("COMMIT")
    log = wal_bytes(wal_of(path))
    return StoreStats(
        jobs=counts.jobs,
        outbox_depth=counts.pending,
        outbox_dead=counts.dead,
        oldest_job_age=_age(due_since, now),
        oldest_outbox_age=_age(oldest_message, now),
        size_bytes=room.used,
        max_bytes=max_bytes,
        full=room.left < ROW_BYTES + END_BYTES * (1 + counts.jobs["queued"] + counts.jobs["running"]),
        log_bytes=log,
        log_kept=why_log_is_kept(path, log) if log > longest_log(max_bytes) else "",
    )


def _due_since(connection: Connection, now: float, ready_since: float | None) -> float | None:
    times = connection.execute(
        "SELECT (SELECT min(run_at) FROM jobs WHERE lane = :scheduled AND run_at <= :now), "
        "(SELECT min(run_at) FROM jobs WHERE lane = :backoff AND run_at <= :now)",
        {"scheduled": SCHEDULED, "backoff": BACKOFF, "now": now},
    ).fetchone()
    return min((time for time in (*times, ready_since) if time is not None), default=None)


def _age(since: float | None, now: float) -> float | None:
    return None if since is None else max(0.0, now - since)


RECORD = (
    f"id, kind, user_id, {PAYLOAD}, state, run, attempt, max_attempts, created_at, run_at, started_at, finished_at, "
    "duration_ms, cancel_requested, error_type, error, error_id, stack_trace, result, key, priority, "
    "organization"
)
"""The columns of a record."""

_WORDS_OF_A_FAILURE = "CASE WHEN state = 'failed' THEN result END"
BRIEF = RECORD.replace(PAYLOAD, "x''").replace("stack_trace, result", f"NULL, {_WORDS_OF_A_FAILURE}")
"""The same, without the columns that may be long; a failed job's result is its code and Thai text."""


def record_of(row: Sequence[Any]) -> JobRecord:
    """Return the record of a row of RECORD or BRIEF."""
    record = list(row)
    record[4], record[13] = JobState(row[4]), bool(row[13])
    return JobRecord(*record)


def get(connection: Connection, job_id: str) -> JobRecord | None:
    row = connection.execute(f"SELECT {RECORD} FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return None if row is None else record_of(row)


def get_many(connection: Connection, job_ids: Sequence[str]) -> list[JobRecord]:
    rows = connection.execute(
        f"SELECT {RECORD} FROM jobs WHERE id IN (SELECT value FROM json_each(?))",
        (json_list(job_ids),),
    )
    there = {record.id: record for record in map(record_of, rows)}
    return [there[job_id] for job_id in job_ids if job_id in there]
