"""What the writer does for intake: a row for each job whose key is new.

Like all the writer's functions it takes the arguments of all callers at once and answers each in order: rows of all
of them go into one statement. Where that finds anything unusual it raises, and the writer asks again with one caller
at a time, each in a savepoint.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from worker.job import JobState, NewJob
from worker.queue import Accepted
from worker.queues.sqlite_ledger import Ledger
from worker.queues.sqlite_room import END_BYTES, ROW_BYTES
from worker.queues.sqlite_schema import PAUSED, READY, SCHEDULED, RowStatement, json_list

_INSERT_PLAIN = RowStatement(
    "INSERT INTO jobs (seq, id, lane, kind, user_id, max_attempts, run_at, created_at, key, state) "
    "SELECT *, 'queued' FROM {rows} WHERE column1 IS NOT NULL",
    width=9,
)
"""Most jobs have no priority and no organisation, and three columns less are a twentieth of the time."""

_INSERT = RowStatement(
    "INSERT INTO jobs (seq, id, lane, kind, user_id, max_attempts, run_at, created_at, key, rank, priority, "
    "organization, state) SELECT *, 'queued' FROM {rows} WHERE column1 IS NOT NULL",
    width=12,
)
_INSERT_PAYLOADS = RowStatement(
    "INSERT INTO payloads (seq, payload) SELECT * FROM {rows} WHERE column1 IS NOT NULL", width=2
)


def enqueue(ledger: Ledger, calls: Sequence[Sequence[NewJob]]) -> list[list[Accepted]]:
    """Rows for all jobs whose key is new. StoreFull: for nobody."""
    jobs = list(chain.from_iterable(calls))
    taken = _taken_keys(ledger, jobs)
    fresh: list[NewJob] = []
    answers = [_accept(job, taken, fresh) for job in jobs]
    if fresh:
        _insert(ledger, fresh)
    return _split(answers, calls)


def _taken_keys(ledger: Ledger, jobs: Iterable[NewJob]) -> dict[str, tuple[str, bytes, JobState]]:
    keys = [job.key for job in jobs if job.key is not None]
    if not keys:
        return {}
    rows = ledger.connection.execute(
        "SELECT key, id, payload, state FROM jobs JOIN payloads USING (seq) "
        "WHERE key IN (SELECT value FROM json_each(?))",
        (json_list(keys),),
    )
    return {key: (job_id, payload, JobState(state)) for key, job_id, payload, state in rows}


def _accept(job: NewJob, taken: dict[str, tuple[str, bytes, JobState]], fresh: list[NewJob]) -> Accepted:
    first = None if job.key is None else taken.get(job.key)
    if first is not None:
        job_id, payload, state = first
        return Accepted(job_id, "existing" if payload == job.payload else "conflict", state)
    if job.key is not None:
        taken[job.key] = (job.id, job.payload, JobState.QUEUED)
    fresh.append(job)
    return Accepted(job.id, "created")


def _insert(ledger: Ledger, jobs: Sequence[NewJob]) -> None:
    _require_room(ledger, jobs)
    now, first, pauses = ledger.clock.now(), ledger.counts.last_seq + 1, ledger.counts.pauses
    if pauses or any(job.priority or job.organization is not None for job in jobs):
        _INSERT.run(ledger.connection, [_row(seq, job, now, pauses) for seq, job in enumerate(jobs, first)])
    else:
        _INSERT_PLAIN.run(ledger.connection, [_plain_row(seq, job, now) for seq, job in enumerate(jobs, first)])
    _INSERT_PAYLOADS.run(ledger.connection, [(seq, job.payload) for seq, job in enumerate(jobs, first)])
    ledger.wait_until(min((job.run_at for job in jobs if job.run_at > now), default=math.inf))
    ledger.counts.last_seq += len(jobs)
    ledger.counts.jobs[JobState.QUEUED] += len(jobs)
    ledger.counts.kinds.update(job.kind for job in jobs)
    ledger.counts.work = True


def _require_room(ledger: Ledger, jobs: Sequence[NewJob]) -> None:
    """What is accepted must also be able to end, so the ends of all unfinished jobs count with it."""
    rows = sum(len(job.payload) for job in jobs) + ROW_BYTES * len(jobs)
    ledger.room.require(rows, kept=END_BYTES * (ledger.unfinished() + len(jobs)))


def _plain_row(seq: int, job: NewJob, now: float) -> tuple[Any, ...]:
    # A job for "now" stays one, even if the clock is set back before it gets here.
    lane = READY if job.run_at <= max(now, job.created_at) else SCHEDULED
    return (seq, job.id, lane, job.kind, job.user_id, job.max_attempts, job.run_at, job.created_at, job.key)


def _row(seq: int, job: NewJob, now: float, pauses: Mapping[str, int]) -> tuple[Any, ...]:
    seq, job_id, lane, *rest = _plain_row(seq, job, now)
    rank = -job.priority if lane == READY else 0
    if lane == READY and job.kind in pauses:
        lane, rank = PAUSED, pauses[job.kind]
    return (seq, job_id, lane, *rest, rank, job.priority, job.organization)


def _split(answers: Sequence[Accepted], calls: Sequence[Sequence[NewJob]]) -> list[list[Accepted]]:
    rest = iter(answers)
    return [list(islice(rest, len(call))) for call in calls]
