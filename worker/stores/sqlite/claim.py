"""Claims due jobs, and releases claimed ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from worker.core.claim_rules import WaitingLine
from worker.core.job import Job, JobAction, JobState
from worker.core.store import ClaimResult
from worker.disk.row_statement import RowStatement
from worker.stores.sqlite.due_jobs import Head
from worker.stores.sqlite.lanes import later, move_due
from worker.stores.sqlite.line import Line
from worker.stores.sqlite.statements import READY, RUNNING, becomes, can, json_list
from worker.stores.sqlite.transaction import BatchConflict, WriteTransaction
from worker.stores.sqlite.waiting_view import view

PAYLOAD = "(SELECT payload FROM payloads WHERE payloads.seq = jobs.seq)"
"""A job's payload, in a statement on `jobs`."""

_SELECT = f"""
    SELECT json_group_array(json_array(seq, id, kind, user_id, CAST({PAYLOAD} AS TEXT), run, attempt + 1, max_attempts,
        format('%!.17g', created_at), claims + 1, suspect, cancel_requested, crashes))
    FROM jobs WHERE seq IN (SELECT value FROM json_each(?))
"""
"""Jobs in one row: sqlite3 releases the interpreter lock at each row, and gets it back late."""

_CLAIM = f"""
    UPDATE jobs SET {becomes(JobAction.CLAIM)}, lane = {RUNNING}, attempt = attempt + 1, claims = claims + 1,
        owner = ?, started_at = ? WHERE seq IN (SELECT value FROM json_each(?))
"""


def claim(transaction: WriteTransaction, calls: Sequence[int]) -> list[ClaimResult]:
    """Claim jobs for all callers by one statement; the first caller gets the first jobs."""
    transaction.room.require(0)
    now = transaction.clock.now()
    wanted = [max(limit, 0) for limit in calls]
    jobs, held_back = _take_due(transaction, sum(wanted), now)
    next_run_at = None if held_back else _next_run_at(transaction, now)
    rest = iter(jobs)
    return [ClaimResult(list(islice(rest, limit)), next_run_at) for limit in wanted]


def _take_due(transaction: WriteTransaction, limit: int, now: float) -> tuple[list[Job], bool]:
    """Claim up to `limit` jobs; return them, and whether a suspect keeps others waiting."""
    if transaction.counts.suspect_claimed:
        return [], True
    if not transaction.counts.jobs["queued"]:
        return [], False
    move_due(transaction, now)
    chosen = transaction.waiting.choose(limit)
    if not chosen:
        return [], False
    (found,) = transaction.connection.execute(_SELECT, (json_list(seq for _, (_, seq) in chosen),)).fetchone()
    by_seq = {row[0]: row for row in orjson.loads(found)}
    jobs = [_job_from_array(by_seq[seq], transaction.owner) for _, (_, seq) in chosen]
    going, held_back = _allowed(transaction, jobs)
    if going < len(jobs):
        transaction.waiting.put_back(chosen[going:])
        del jobs[going:], chosen[going:]
    if jobs:
        seqs = json_list(seq for _, (_, seq) in chosen)
        transaction.connection.execute(_CLAIM, (transaction.owner, now, seqs))
        _count_claimed(transaction, jobs, chosen)
    return jobs, held_back


def _allowed(transaction: WriteTransaction, jobs: Sequence[Job]) -> tuple[int, bool]:
    """Return how many of the chosen jobs may be claimed, and whether a suspect holds the others back."""
    if not transaction.counts.suspects:
        return len(jobs), False
    first = next((place for place, job in enumerate(jobs) if job.suspect), None)
    if first is None:
        return len(jobs), False
    return (1 if first == 0 and not transaction.counts.held else first), True


def _count_claimed(transaction: WriteTransaction, jobs: Sequence[Job], chosen: Sequence[tuple[Line, Head]]) -> None:
    counts = transaction.counts
    transaction.count(JobAction.CLAIM, len(jobs))
    counts.kinds.subtract(job.kind for job in jobs)
    counts.held += len(jobs)
    transaction.waiting.hold([job.id for job in jobs], chosen)
    if counts.waiting_bytes is not None:
        for job, (line, _) in zip(jobs, chosen, strict=True):
            transaction.count_bytes(line, -len(job.payload))
    if jobs[0].suspect:
        counts.suspects -= 1
        counts.suspect_claimed = True


def _next_run_at(transaction: WriteTransaction, now: float) -> float | None:
    if not transaction.counts.jobs[JobState.QUEUED]:
        return None
    ready = transaction.waiting.next_head()
    if ready is not None:
        return min(ready, now)  # due even if the clock was set back to before its time
    reopens_at = transaction.waiting.reopens_at()
    times = [later(transaction), None if reopens_at is None else now + reopens_at - transaction.clock.monotonic()]
    return min((time for time in times if time is not None), default=None)


def _job_from_array(row: list[Any], owner: str) -> Job:
    """Return the job of an array of _SELECT."""
    _, job_id, kind, user_id, payload, run, attempt, most, created_at, claim, suspect, cancelled, crashes = row
    # positional: it is created for every job, and keywords would make it slower
    return Job(
        job_id, kind, user_id, payload.encode(), run, attempt, most, float(created_at), owner, claim,
        bool(suspect), bool(cancelled), crashes,
    )  # fmt: skip


def job_from_row(row: tuple[Any, ...]) -> Job:
    """Return the job of a row of ORPHANS."""
    return Job(*row[:10])._replace(suspect=bool(row[10]), cancel_requested=bool(row[11]), crashes=row[12])


ORPHANS = f"""
    SELECT id, kind, user_id, {PAYLOAD}, run, attempt, max_attempts, created_at, owner, claims, suspect,
        cancel_requested, crashes
    FROM jobs WHERE lane = {RUNNING} AND owner <> ? ORDER BY run_at, seq
"""


def waiting_lines(transaction: WriteTransaction, calls: Sequence[int]) -> list[list[WaitingLine]]:
    return [view(transaction.waiting, limit, transaction.clock.monotonic()) for limit in calls]


# -- releasing --------------------------------------------------------------------------------------------

_RELEASE = RowStatement(
    f"UPDATE jobs SET {becomes(JobAction.RELEASE)}, lane = {READY}, rank = -priority, "
    "attempt = max(attempt - 1, 0), suspect = max(suspect, released.column4), crashes = crashes + released.column5, "
    "owner = NULL, started_at = NULL "
    "FROM {rows} AS released WHERE jobs.id = released.column1 AND jobs.owner = released.column2 "
    f"AND jobs.claims = released.column3 AND {can(JobAction.RELEASE)}",
    width=5,
)


@dataclass(frozen=True, slots=True)
class Release:
    jobs: Sequence[Job]
    suspect: bool = False
    crashed: bool = False


def release(transaction: WriteTransaction, calls: Sequence[Release]) -> list[None]:
    """Queue claimed jobs again, in the places they had: `run_at` is unchanged, so they are the oldest."""
    jobs = [(job, call.suspect) for call in calls for job in call.jobs]
    rows = [(job.id, job.owner, job.claim, int(call.suspect), int(call.crashed)) for call in calls for job in call.jobs]
    if not transaction.one_by_one:
        if _RELEASE.run(transaction.connection, rows) != len(rows):
            raise BatchConflict
        released = jobs
    else:
        released = [job for job, row in zip(jobs, rows, strict=True) if _RELEASE.run(transaction.connection, [row])]
    for job, suspect in released:
        transaction.count(JobAction.RELEASE)
        transaction.counts.kinds[job.kind] += 1
        transaction.counts.suspects += job.suspect or suspect
        transaction.claim_ended(job)
    ids = [job.id for job, _ in released]
    transaction.waiting.end(ids)
    transaction.queue_again(ids)
    transaction.counts.work = transaction.counts.work or bool(released)
    return [None for _ in calls]
