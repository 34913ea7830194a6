"""What is read of the store as a whole, on connections that cannot write. Each function is one look at one moment."""

from pathlib import Path

from worker.job import Job
from worker.queue import Figures
from worker.queues.sqlite_claims import ORPHANS, job_of
from worker.queues.sqlite_files import OpenFiles
from worker.queues.sqlite_ledger import read_counts
from worker.queues.sqlite_room import END_BYTES, ROW_BYTES, measured
from worker.queues.sqlite_schema import BACKOFF, READY, SCHEDULED, Connection


def orphans(connection: Connection, owner: str) -> list[Job]:
    return [job_of(row) for row in connection.execute(ORPHANS, (owner,))]


def paused(connection: Connection) -> frozenset[str]:
    return frozenset(kind for (kind,) in connection.execute("SELECT kind FROM pauses"))


def counts_by_kind(connection: Connection) -> dict[str, int]:
    return dict(read_counts(connection)[0].kinds)


def check(connection: Connection, files: OpenFiles) -> None:
    """StoreReplaced, StoreUnwritable, StoreCorrupt."""
    files.verify()
    read_counts(connection)


# -- figures -----------------------------------------------------------------------------------------------


def figures(connection: Connection, path: Path, now: float, max_bytes: int) -> Figures:
    connection.execute("BEGIN")  # one moment for all that follows
    try:
        counts, _ = read_counts(connection)
        due_since = _due_since(connection, now)
        (news_since,) = connection.execute(
            "SELECT (SELECT created_at FROM outbox WHERE id > ? AND dead IS NULL ORDER BY id LIMIT 1)",
            (counts.delivered,),
        ).fetchone()
        room = measured(connection, path, max_bytes)
    finally:
        connection.execute("COMMIT")
    return Figures(
        jobs=counts.jobs,
        outbox_depth=counts.pending,
        outbox_dead=counts.dead,
        oldest_job_age=_age(due_since, now),
        oldest_outbox_age=_age(news_since, now),
        size_bytes=room.used,
        max_bytes=max_bytes,
        full=room.left < ROW_BYTES + END_BYTES * (1 + counts.jobs["queued"] + counts.jobs["running"]),
    )


def _due_since(connection: Connection, now: float) -> float | None:
    times = connection.execute(
        # One look for each rank there is, from one to the next.
        "WITH RECURSIVE ranks (rank) AS (SELECT min(rank) FROM jobs WHERE lane = :ready UNION ALL "
        "SELECT (SELECT min(rank) FROM jobs WHERE lane = :ready AND rank > ranks.rank) FROM ranks "
        "WHERE ranks.rank IS NOT NULL) "
        "SELECT (SELECT min((SELECT min(run_at) FROM jobs WHERE lane = :ready AND jobs.rank = ranks.rank)) FROM ranks),"
        " (SELECT min(run_at) FROM jobs WHERE lane = :scheduled AND rank = 0 AND run_at <= :now), "
        "(SELECT min(run_at) FROM jobs WHERE lane = :backoff AND rank = 0 AND run_at <= :now)",
        {"ready": READY, "scheduled": SCHEDULED, "backoff": BACKOFF, "now": now},
    ).fetchone()
    return min((time for time in times if time is not None), default=None)


def _age(since: float | None, now: float) -> float | None:
    return None if since is None else max(0.0, now - since)
