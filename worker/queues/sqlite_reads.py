"""What is read from the store, on connections that cannot write. Each function is one look at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from worker.job import Job, JobRecord, JobState
from worker.queue import DeliveryRecord, Figures, JobIds, JobPage, JobQuery, NotificationRecord, OutboxMessage
from worker.queues.sqlite_claims import ORPHANS, PAYLOAD, job_of
from worker.queues.sqlite_files import OpenFiles
from worker.queues.sqlite_ledger import read_counts
from worker.queues.sqlite_room import END_BYTES, ROW_BYTES, measured
from worker.queues.sqlite_schema import BACKOFF, PAUSED, READY, RUNNING, SCHEDULED, Connection, json_list

SEARCH_SECONDS = 0.2
"""A page of search results is cut short when looking for it takes longer; its cursor goes on from there."""

_WINDOW = 20_000
"""Jobs looked at between two looks at the clock."""

_UNFINISHED = (READY, SCHEDULED, BACKOFF, RUNNING, PAUSED)

ALL_STATES = frozenset(JobState)

_FEW = 10_000
"""Up to so many unfinished jobs are sorted rather than looked for among all jobs."""

_RECORD = (
    f"id, kind, user_id, {PAYLOAD}, state, run, attempt, max_attempts, created_at, run_at, started_at, finished_at, "
    "duration_ms, cancel_requested, error_type, error, error_id, stack_trace, result, key, priority, "
    "organization"
)

_BRIEF = _RECORD.replace(PAYLOAD, "x''").replace("stack_trace, result", "NULL, NULL")


def get(connection: Connection, job_id: str) -> JobRecord | None:
    row = connection.execute(f"SELECT {_RECORD} FROM jobs WHERE id = ?", (job_id,)).fetchone()  # noqa: S608
    return None if row is None else _record(row)


def get_many(connection: Connection, job_ids: Sequence[str]) -> list[JobRecord]:
    rows = connection.execute(
        f"SELECT {_RECORD} FROM jobs WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
        (json_list(job_ids),),
    )
    there = {record.id: record for record in map(_record, rows)}
    return [there[job_id] for job_id in job_ids if job_id in there]


def counts_by_kind(connection: Connection) -> dict[str, int]:
    return dict(read_counts(connection)[0].kinds)


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
    if any(values is not None and not values for values in (query.states, query.user_ids, query.organizations)):
        return JobPage([], None)
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


def find_ids(connection: Connection, query: JobQuery) -> JobIds:
    page = find(connection, replace(query, brief=True))
    return JobIds([job.id for job in page.jobs], page.cursor)


def _range(connection: Connection, cursor: str | None) -> tuple[int, int]:
    """The jobs to look at, as `seq` in [first, below). ValueError: the cursor is none of ours."""
    # Two subqueries: asked for both at once, SQLite would read the whole table.
    first, last = connection.execute(
        "SELECT coalesce((SELECT min(seq) FROM jobs), 1), coalesce((SELECT max(seq) FROM jobs), 0)"
    ).fetchone()
    if cursor is None:
        return first, last + 1
    return first, row_id(cursor)


def row_id(cursor: str) -> int:
    """The number a cursor stands for. ValueError: it is none of ours."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise ValueError(f"not a cursor: {cursor[:40]!r}; give back the one of the page before, unchanged")
    return int(cursor)


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
        f"SELECT seq, {_BRIEF if query.brief else _RECORD} FROM jobs {index} "  # noqa: S608
        f"{''.join(f'AND {term} ' for term in terms)}AND seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?"
    )
    return _Plan(statement, parameters, narrow=len(terms) <= answered)


def _terms(query: JobQuery) -> tuple[list[str], list[Any]]:
    terms: list[str] = []
    parameters: list[Any] = []
    kinds = None if query.kind is None else (query.kind,)
    for column, values in (
        ("state", query.states),
        ("kind", kinds),
        ("user_id", query.user_ids),
        ("organization", query.organizations),
    ):
        if values is not None:
            terms.append(f"{column} IN ({', '.join('?' * len(values))})")
            parameters.extend(map(str, values))
    for term, value in (("created_at >= ?", query.since), ("created_at < ?", query.until)):
        if value is not None:
            terms.append(term)
            parameters.append(value)
    if query.text:
        terms.append(_TEXT)
        parameters.extend([f"%{_escaped(query.text)}%"] * 5)
    return terms, parameters


_TEXT = (
    rf"(id LIKE ? ESCAPE '\' OR user_id LIKE ? ESCAPE '\' OR CAST({PAYLOAD} AS TEXT) LIKE ? ESCAPE '\' "
    r"OR error LIKE ? ESCAPE '\' OR CAST(result AS TEXT) LIKE ? ESCAPE '\')"
)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _index(connection: Connection, query: JobQuery) -> tuple[str, int]:
    """The start of the WHERE clause, and how many terms it answers. Without statistics SQLite would guess."""
    every = 9
    if query.user_ids is not None and len(query.user_ids) == 1:
        return "INDEXED BY jobs_user WHERE 1", 1
    states = ALL_STATES if query.states is None else set(query.states)
    if states <= {JobState.FAILED, JobState.CANCELLED}:
        return "INDEXED BY jobs_unlucky WHERE state IN ('failed', 'cancelled')", 1
    if states == {JobState.RUNNING}:
        return f"INDEXED BY jobs_unfinished WHERE lane = {RUNNING}", every
    if states <= {JobState.QUEUED, JobState.RUNNING} and read_counts(connection)[0].jobs[JobState.QUEUED] <= _FEW:
        return f"INDEXED BY jobs_unfinished WHERE lane IN {_UNFINISHED}", every
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
    connection: Connection, state: str | None, user_id: str | None, job_id: str | None, before: int | None, limit: int
) -> list[NotificationRecord]:
    """Newest first. ValueError: no such state."""
    if state is not None and state not in _STATES:
        raise ValueError(f"no notification is {state[:40]!r}; states are {', '.join(_STATES)}")
    conditions = ["1" if state is None else _STATES[state]]
    parameters: list[Any] = []
    for condition, value in (("user_id = ?", user_id), ("job_id = ?", job_id), ("id < ?", before)):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    rows = connection.execute(
        "SELECT id, notification_id, job_id, user_id, sequence, "  # noqa: S608
        f"{_NEWS_STATE}, created_at, {_DELIVERED_AT}, "
        "redelivery, reason, body "
        f"FROM outbox, (SELECT delivered FROM tally) WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?",
        (*parameters, max(limit, 0)),
    )
    return [NotificationRecord(*row) for row in rows]


_DELIVERED_AT = (
    "CASE WHEN dead IS NULL AND outbox.id <= delivered "
    "THEN (SELECT at FROM deliveries WHERE up_to >= outbox.id ORDER BY up_to LIMIT 1) END"
)
_NEWS_STATE = "CASE WHEN dead = 1 THEN 'dead' WHEN outbox.id > delivered THEN 'pending' ELSE 'delivered' END"


def deliveries(connection: Connection, job_id: str) -> list[DeliveryRecord]:
    """The oldest run first."""
    rows = connection.execute(
        f"SELECT outbox.notification_id, run, sequence, {_NEWS_STATE}, created_at, {_DELIVERED_AT}, "  # noqa: S608
        "shown.at, coalesce(shown.times, 0), redelivery, reason FROM (SELECT delivered FROM tally), outbox "
        "LEFT JOIN shown ON shown.notification_id = outbox.notification_id WHERE job_id = ? ORDER BY run",
        (job_id,),
    )
    return [DeliveryRecord(*row) for row in rows]


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
