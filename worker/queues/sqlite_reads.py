"""What is read from the store, on connections that cannot write. Each function is one look at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from worker.job import Job, JobRecord, JobState
from worker.queue import Figures, JobPage, JobQuery, NotificationRecord, OutboxMessage
from worker.queues.sqlite_claims import ORPHANS, PAYLOAD, job_of
from worker.queues.sqlite_files import OpenFiles
from worker.queues.sqlite_ledger import read_counts
from worker.queues.sqlite_room import END_BYTES, ROW_BYTES, measured
from worker.queues.sqlite_schema import BACKOFF, PAUSED, READY, RUNNING, SCHEDULED, Connection

SEARCH_SECONDS = 0.2
"""A page of search results is cut short when looking for it takes longer; its cursor goes on from there."""

_WINDOW = 20_000
"""Jobs looked at between two looks at the clock."""

_WAITING = (READY, SCHEDULED, BACKOFF, PAUSED)

_FEW = 10_000
"""Up to so many unfinished jobs are sorted rather than looked for among all jobs."""

_RECORD = (
    f"id, kind, user_id, {PAYLOAD}, state, run, attempt, max_attempts, created_at, run_at, started_at, finished_at, "
    "duration_ms, cancel_requested, error_type, error, error_id, stack_trace, result, key, priority, "
    "organization"
)


def get(connection: Connection, job_id: str) -> JobRecord | None:
    row = connection.execute(f"SELECT {_RECORD} FROM jobs WHERE id = ?", (job_id,)).fetchone()  # noqa: S608
    return None if row is None else _record(row)


def _record(row: Sequence[Any]) -> JobRecord:
    record = list(row)
    record[4], record[13] = JobState(row[4]), bool(row[13])
    return JobRecord(*record)


def paused(connection: Connection) -> frozenset[str]:
    return frozenset(kind for (kind,) in connection.execute("SELECT kind FROM pauses"))


def orphans(connection: Connection, owner: str) -> list[Job]:
    return [job_of(row) for row in connection.execute(ORPHANS, (owner,))]


# -- finding jobs ------------------------------------------------------------------------------------------


def find(connection: Connection, query: JobQuery, seconds: float = SEARCH_SECONDS) -> JobPage:
    """Newest first. The page may be short and still have a cursor: then the search goes on there."""
    limit = max(query.limit, 1)
    plan = _plan(connection, query)
    first, below = _range(connection, query.cursor)
    deadline = monotonic() + seconds
    found: list[tuple[Any, ...]] = []
    while below > first and len(found) <= limit:
        low = first if plan.narrow else max(below - _WINDOW, first)
        rows = connection.execute(plan.statement, (*plan.parameters, low, below, limit + 1 - len(found)))
        found.extend(rows)
        below = low
        if monotonic() > deadline:
            break
    return _page(found, limit, below if below > first else None)


def _range(connection: Connection, cursor: str | None) -> tuple[int, int]:
    """The jobs to look at, as `seq` in [first, below). ValueError: the cursor is none of ours."""
    # Two subqueries: asked for both at once, SQLite would read the whole table.
    first, last = connection.execute(
        "SELECT coalesce((SELECT min(seq) FROM jobs), 1), coalesce((SELECT max(seq) FROM jobs), 0)"
    ).fetchone()
    if cursor is None:
        return first, last + 1
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise ValueError(f"not a cursor: {cursor[:40]!r}; give back the one of the page before, unchanged")
    return first, int(cursor)


def _page(found: list[tuple[Any, ...]], limit: int, below: int | None) -> JobPage:
    jobs = [_record(row[1:]) for row in found[:limit]]
    if len(found) > limit:
        below = found[limit - 1][0]
    return JobPage(jobs, None if below is None else str(below))


@dataclass(frozen=True, slots=True)
class _Plan:
    statement: str
    """Its last parameters are the range of `seq` and the limit."""
    parameters: list[Any]
    narrow: bool
    """Hardly any row is looked at that is not found."""


def _plan(connection: Connection, query: JobQuery) -> _Plan:
    index, answered = _index(connection, query)
    terms, parameters = _terms(query)
    statement = (
        f"SELECT seq, {_RECORD} FROM jobs {index} "  # noqa: S608
        f"{''.join(f'AND {term} ' for term in terms)}AND seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?"
    )
    return _Plan(statement, parameters, narrow=len(terms) <= answered)


def _terms(query: JobQuery) -> tuple[list[str], list[Any]]:
    terms: list[str] = []
    parameters: list[Any] = []
    for column, value in (("state", query.state), ("kind", query.kind), ("user_id", query.user_id)):
        if value is not None:
            terms.append(f"{column} = ?")
            parameters.append(str(value))
    if query.text:
        terms.append(_TEXT)
        parameters.extend([f"%{_escaped(query.text)}%"] * 4)
    return terms, parameters


_TEXT = (
    rf"(id LIKE ? ESCAPE '\' OR CAST({PAYLOAD} AS TEXT) LIKE ? ESCAPE '\' OR error LIKE ? ESCAPE '\' "
    r"OR CAST(result AS TEXT) LIKE ? ESCAPE '\')"
)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _index(connection: Connection, query: JobQuery) -> tuple[str, int]:
    """The start of the WHERE clause, and how many terms it answers. Without statistics SQLite would guess."""
    every = 4
    if query.user_id is not None:
        return "INDEXED BY jobs_user WHERE 1", 1
    match query.state:
        case JobState.FAILED | JobState.CANCELLED:
            return "INDEXED BY jobs_unlucky WHERE state IN ('failed', 'cancelled')", 1
        case JobState.RUNNING:
            return f"INDEXED BY jobs_unfinished WHERE lane = {RUNNING}", every
        case JobState.QUEUED if read_counts(connection)[0].jobs[JobState.QUEUED] <= _FEW:
            return f"INDEXED BY jobs_unfinished WHERE lane IN {_WAITING}", every
        case _:
            return "NOT INDEXED WHERE 1", 0


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


# -- the outbox --------------------------------------------------------------------------------------------


def pending(connection: Connection, after: int, limit: int) -> list[OutboxMessage]:
    rows = connection.execute(
        "SELECT id, notification_id, job_id, user_id, body FROM outbox "
        "WHERE id > max(?, (SELECT delivered FROM tally)) AND dead IS NULL ORDER BY id LIMIT ?",
        (after, max(limit, 0)),
    )
    return [OutboxMessage(*row) for row in rows]


_STATES = {
    "pending": "dead IS NULL AND id > delivered",
    "delivered": "dead IS NULL AND id <= delivered",
    "dead": "dead = 1",
}


def notifications(
    connection: Connection, state: str | None, user_id: str | None, before: int | None, limit: int
) -> list[NotificationRecord]:
    """Newest first. ValueError: no such state."""
    if state is not None and state not in _STATES:
        raise ValueError(f"no notification is {state[:40]!r}; states are {', '.join(_STATES)}")
    conditions = ["1" if state is None else _STATES[state]]
    parameters: list[Any] = []
    for condition, value in (("user_id = ?", user_id), ("id < ?", before)):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    rows = connection.execute(
        "SELECT id, notification_id, job_id, user_id, sequence, "  # noqa: S608
        "CASE WHEN dead = 1 THEN 'dead' WHEN id > delivered THEN 'pending' ELSE 'delivered' END AS news, created_at, "
        "CASE WHEN dead IS NULL AND id <= delivered "
        "THEN (SELECT at FROM deliveries WHERE up_to >= outbox.id ORDER BY up_to LIMIT 1) END, "
        "redelivery, reason, body "
        f"FROM outbox, (SELECT delivered FROM tally) WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?",
        (*parameters, max(limit, 0)),
    )
    return [NotificationRecord(*row) for row in rows]


def message_id_of(connection: Connection, notification_id: str) -> int | None:
    """Looks through the ids from the newest on: resending is done by hand, and no index is worth its price."""
    row = connection.execute(
        "SELECT id FROM outbox INDEXED BY outbox_age WHERE notification_id = ? ORDER BY created_at DESC LIMIT 1",
        (notification_id,),
    ).fetchone()
    return None if row is None else int(row[0])


# -- looking after -----------------------------------------------------------------------------------------


def check(connection: Connection, files: OpenFiles) -> None:
    """StoreReplaced, StoreUnwritable, StoreCorrupt."""
    files.verify()
    read_counts(connection)
