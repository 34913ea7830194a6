"""Inserts accepted jobs: a row for each job whose key is new.

Like all operations of the writer it takes the arguments of all callers at once and answers each in order: the rows of
all of them go into one statement. If that cannot be done it raises, and the writer calls it again for one caller at a
time, each in a savepoint.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any

from worker.core.claim_rules import Limit
from worker.core.job import JobState, NewJob
from worker.core.store import EnqueueResult
from worker.disk.row_statement import RowStatement
from worker.stores.sqlite.disk_space import END_BYTES, ROW_BYTES
from worker.stores.sqlite.gauges import GaugeName
from worker.stores.sqlite.line import Line
from worker.stores.sqlite.statements import READY, SCHEDULED, json_list
from worker.stores.sqlite.transaction import WriteTransaction

_INSERT_PLAIN = RowStatement(
    "INSERT INTO jobs (seq, id, lane, kind, user_id, max_attempts, run_at, created_at, key, line, state) "
    "SELECT *, 'queued' FROM {rows} WHERE column1 IS NOT NULL",
    width=10,
)
"""Most jobs have no priority, organisation and API key; without these columns it takes a twentieth less time."""

_INSERT = RowStatement(
    "INSERT INTO jobs (seq, id, lane, kind, user_id, max_attempts, run_at, created_at, key, line, rank, "
    "priority, organization, submitter, state) SELECT *, 'queued' FROM {rows} WHERE column1 IS NOT NULL",
    width=14,
)
_INSERT_PAYLOADS = RowStatement(
    "INSERT INTO payloads (seq, payload) SELECT * FROM {rows} WHERE column1 IS NOT NULL", width=2
)


def enqueue(transaction: WriteTransaction, calls: Sequence[Sequence[NewJob]]) -> list[list[EnqueueResult]]:
    """Insert all jobs whose key is new; raises StoreFull or LimitReached, then none is inserted."""
    jobs = list(chain.from_iterable(calls))
    taken = _taken_keys(transaction, jobs)
    fresh: list[NewJob] = []
    answers = [_accept(job, taken, fresh) for job in jobs]
    if fresh:
        _insert(transaction, fresh)
    return _split(answers, calls)


def _taken_keys(transaction: WriteTransaction, jobs: Iterable[NewJob]) -> dict[str, tuple[str, bytes, JobState]]:
    keys = [job.key for job in jobs if job.key is not None]
    if not keys:
        return {}
    rows = transaction.connection.execute(
        "SELECT key, id, payload, state FROM jobs JOIN payloads USING (seq) "
        "WHERE key IN (SELECT value FROM json_each(?))",
        (json_list(keys),),
    )
    return {key: (job_id, payload, JobState(state)) for key, job_id, payload, state in rows}


def _accept(job: NewJob, taken: dict[str, tuple[str, bytes, JobState]], fresh: list[NewJob]) -> EnqueueResult:
    first = None if job.key is None else taken.get(job.key)
    if first is not None:
        job_id, payload, state = first
        return EnqueueResult(job_id, "existing" if payload == job.payload else "conflict", state)
    if job.key is not None:
        taken[job.key] = (job.id, job.payload, JobState.QUEUED)
    fresh.append(job)
    return EnqueueResult(job.id, "created")


def _insert(transaction: WriteTransaction, jobs: Sequence[NewJob]) -> None:
    waiting = transaction.waiting
    lines = waiting.lines_of(jobs)
    waiting.require_places(lines)
    if transaction.counts.waiting_bytes is not None:
        _take_bytes(transaction, transaction.counts.waiting_bytes, lines, jobs)
    _require_space(transaction, jobs)
    now, first = transaction.clock.now(), transaction.counts.last_seq + 1
    rows = [_row(seq, job, line, now) for seq, (job, line) in enumerate(zip(jobs, lines, strict=True), first)]
    if any(job.priority or job.organization is not None or job.submitter is not None for job in jobs):
        more = [(-job.priority, job.priority, job.organization, job.submitter) for job in jobs]
        _INSERT.run(transaction.connection, [(*row, *rest) for row, rest in zip(rows, more, strict=True)])
    else:
        _INSERT_PLAIN.run(transaction.connection, rows)
    _INSERT_PAYLOADS.run(transaction.connection, [(seq, job.payload) for seq, job in enumerate(jobs, first)])
    waiting.queue(
        [(line, (row[6], row[0]) if row[2] == READY else None) for line, row in zip(lines, rows, strict=True)]
    )
    transaction.waits_until(min((job.run_at for job in jobs if job.run_at > now), default=math.inf))
    transaction.counts.last_seq += len(jobs)
    transaction.counts.jobs[JobState.QUEUED] += len(jobs)
    transaction.counts.kinds.update(job.kind for job in jobs)
    transaction.counts.work = True


def _take_bytes(
    transaction: WriteTransaction, counts: Counter[GaugeName], lines: Sequence[Line], jobs: Sequence[NewJob]
) -> None:
    """Count the bytes of new jobs; raises LimitReached if they are more than may wait."""
    wanted: dict[GaugeName, tuple[Limit, int, int]] = {}
    for line, job in zip(lines, jobs, strict=True):
        for name, limit in transaction.waiting.byte_limits(line):
            _, size, number = wanted.get(name, (limit, 0, 0))
            wanted[name] = (limit, size + len(job.payload), number + 1)
    for each, (limit, size, number) in wanted.items():
        limit.require_bytes(each[1], counts[each], size, number)
    for each, (_, size, _) in wanted.items():
        counts[each] += size


def _require_space(transaction: WriteTransaction, jobs: Sequence[NewJob]) -> None:
    """Raise StoreFull unless the jobs fit and all unfinished jobs can still end."""
    rows = sum(len(job.payload) for job in jobs) + ROW_BYTES * len(jobs)
    transaction.room.require(rows, kept=END_BYTES * (transaction.unfinished() + len(jobs)))


def _row(seq: int, job: NewJob, line: Line, now: float) -> tuple[Any, ...]:
    # A job that was due when it was accepted stays due, even if the clock is set back before it gets here.
    lane = READY if job.run_at <= max(now, job.created_at) else SCHEDULED
    return (seq, job.id, lane, job.kind, job.user_id, job.max_attempts, job.run_at, job.created_at, job.key, line.id)


def _split(answers: Sequence[EnqueueResult], calls: Sequence[Sequence[NewJob]]) -> list[list[EnqueueResult]]:
    rest = iter(answers)
    return [list(islice(rest, len(call))) for call in calls]
