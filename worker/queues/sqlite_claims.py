"""What the writer does when jobs are claimed and given back."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from worker.job import Job, JobState
from worker.queue import Claimed
from worker.queues.sqlite_lanes import fill_ready, later
from worker.queues.sqlite_ledger import Ledger, OneByOne
from worker.queues.sqlite_schema import READY, RUNNING, RowStatement, json_list

_DUE = f"SELECT seq, suspect FROM jobs WHERE lane = {READY} ORDER BY rank, run_at, seq LIMIT :limit"  # noqa: S608
"""The next to go. They are due whatever the clock says now."""

PAYLOAD = "(SELECT payload FROM payloads WHERE payloads.seq = jobs.seq)"
"""A job's payload, where a statement is about `jobs`."""

_LOOK = f"""
    SELECT json_group_array(json_array(run_at, seq, id, kind, user_id, payload, run, attempt + 1, max_attempts,
        format('%!.17g', created_at), claims + 1, suspect, cancel_requested))
    FROM (SELECT *, CAST({PAYLOAD} AS TEXT) AS payload FROM jobs WHERE lane = {READY}
          ORDER BY rank, run_at, seq LIMIT ?)
"""  # noqa: S608 -- put together from constants
"""The next to go in one row: at each row sqlite3 gives the GIL away, and gets it back when the event loop lets it."""

_CLAIM = f"""
    UPDATE jobs SET state = 'running', lane = {RUNNING}, attempt = attempt + 1, claims = claims + 1,
        owner = ?, started_at = ? WHERE seq IN (SELECT value FROM json_each(?))
"""  # noqa: S608


def claim(ledger: Ledger, calls: Sequence[int]) -> list[Claimed]:
    """One statement for all who ask; the first go to whoever asked first."""
    ledger.room.require(0)
    ledger.follow_clock()
    now = ledger.clock.now()
    wanted = [max(limit, 0) for limit in calls]
    taken = _take_due(ledger, sum(wanted), now)
    next_run_at = None if taken.held_back else _next_run_at(ledger, now, taken.ready)
    rest = iter(taken.jobs)
    return [Claimed(list(islice(rest, limit)), next_run_at) for limit in wanted]


@dataclass(frozen=True, slots=True)
class _Taken:
    jobs: list[Job]
    held_back: bool
    """A suspect keeps others waiting."""
    ready: float | None
    """The time of the next in the ready lane; None: it is empty."""


def _take_due(ledger: Ledger, limit: int, now: float) -> _Taken:
    if not ledger.counts.jobs["queued"]:
        return _Taken([], ledger.counts.suspect_held, None)
    allowed, held_back = _allowed(ledger, fill_ready(ledger, now, limit))
    # One more than may go: it tells when the next falls due.
    (found,) = ledger.connection.execute(_LOOK, (allowed + 1,)).fetchone()
    rows = orjson.loads(found)
    going, waiting = rows[:allowed], rows[allowed:]
    if going:
        ledger.connection.execute(_CLAIM, (ledger.owner, now, json_list(row[1] for row in going)))
    jobs = [_claimed(row, ledger.owner) for row in going]
    _count_claimed(ledger, jobs)
    return _Taken(jobs, held_back, waiting[0][0] if waiting else None)


def _allowed(ledger: Ledger, limit: int) -> tuple[int, bool]:
    """How many of the first `limit` may go, in order; and whether a suspect holds the others back."""
    counts = ledger.counts
    if counts.suspect_held:
        return 0, True
    if not counts.suspects:
        return limit, False
    suspects = [suspect for _, suspect in ledger.connection.execute(_DUE, {"limit": limit})]
    if not any(suspects):
        return limit, False
    if suspects[0] and not counts.held:
        return 1, True
    return suspects.index(1), True


def _count_claimed(ledger: Ledger, jobs: Sequence[Job]) -> None:
    counts = ledger.counts
    ledger.move(JobState.QUEUED, JobState.RUNNING, len(jobs))
    counts.kinds.subtract(job.kind for job in jobs)
    counts.held += len(jobs)
    if jobs and jobs[0].suspect:
        counts.suspects -= 1
        counts.suspect_held = True


def _next_run_at(ledger: Ledger, now: float, ready: float | None) -> float | None:
    if not ledger.counts.jobs[JobState.QUEUED]:
        return None
    if ready is not None:
        return min(ready, now)  # due even if the clock was set back behind its time
    return now if ledger.counts.resumed else later(ledger)


def _claimed(row: list[Any], owner: str) -> Job:
    """An array of _LOOK."""
    _, _, job_id, kind, user_id, payload, run, attempt, most, created_at, claim, suspect, cancelled = row
    return Job(
        job_id, kind, user_id, payload.encode(), run, attempt, most, float(created_at), owner, claim,
        bool(suspect), bool(cancelled),
    )  # fmt: skip


def job_of(row: tuple[Any, ...]) -> Job:
    """A row of ORPHANS."""
    return Job(*row[:10], *map(bool, row[10:]))


ORPHANS = f"""
    SELECT id, kind, user_id, {PAYLOAD}, run, attempt, max_attempts, created_at, owner, claims, suspect,
        cancel_requested
    FROM jobs WHERE lane = {RUNNING} AND owner <> ? ORDER BY run_at, seq
"""  # noqa: S608


# -- giving back -------------------------------------------------------------------------------------------

_RELEASE = RowStatement(
    f"UPDATE jobs SET state = 'queued', lane = {READY}, attempt = max(attempt - 1, 0), "  # noqa: S608
    "suspect = max(suspect, released.column4), owner = NULL, started_at = NULL "
    "FROM {rows} AS released WHERE jobs.id = released.column1 AND jobs.owner = released.column2 "
    "AND jobs.claims = released.column3 AND jobs.state = 'running'",
    width=4,
)


@dataclass(frozen=True, slots=True)
class GivenBack:
    jobs: Sequence[Job]
    suspect: bool = False


def release(ledger: Ledger, calls: Sequence[GivenBack]) -> list[None]:
    """Back to the place they had: `run_at` stays, so they are the oldest again."""
    jobs = [(job, call.suspect) for call in calls for job in call.jobs]
    rows = [(job.id, job.owner, job.claim, int(suspect)) for job, suspect in jobs]
    if not ledger.alone:
        if _RELEASE.run(ledger.connection, rows) != len(rows):
            raise OneByOne
        released = jobs
    else:
        released = [job for job, row in zip(jobs, rows, strict=True) if _RELEASE.run(ledger.connection, [row])]
    for job, suspect in released:
        ledger.move(JobState.RUNNING, JobState.QUEUED)
        ledger.counts.kinds[job.kind] += 1
        ledger.counts.suspects += job.suspect or suspect
        ledger.let_go(job.owner)
    ledger.counts.work = ledger.counts.work or bool(released)
    return [None for _ in calls]
