"""Cancels jobs, and starts their next runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.core.job import TERMINAL, TRANSITIONS, JobAction, JobState
from worker.core.notification import Notification
from worker.core.store import CancelAnswer, RetryAnswer
from worker.stores.sqlite.attempts import keep_ended
from worker.stores.sqlite.outbox import add_messages
from worker.stores.sqlite.statements import READY, becomes
from worker.stores.sqlite.transaction import WriteTransaction

_CANCEL_WAITING = f"""
    UPDATE jobs SET {becomes(JobAction.CANCEL_WAITING)}, lane = NULL, suspect = 0, finished_at = ?, duration_ms = 0.0,
        error_type = 'Cancelled', error = 'Cancelled', error_id = NULL, stack_trace = NULL WHERE seq = ?
"""

_RUN_AGAIN = f"""
    UPDATE jobs SET {becomes(JobAction.RUN_AGAIN)}, lane = {READY}, rank = -priority, run = run + 1, attempt = 0,
        cancel_requested = 0, suspect = 0, crashes = 0, owner = NULL, run_at = ?, started_at = NULL, finished_at = NULL,
        duration_ms = NULL, error_type = NULL, error = NULL, error_id = NULL, stack_trace = NULL, result = NULL
    WHERE seq = ?
"""


@dataclass(frozen=True, slots=True)
class Cancellation:
    job_id: str
    run: int
    notification: Notification


def cancel(transaction: WriteTransaction, calls: Sequence[Cancellation]) -> list[CancelAnswer]:
    return [_cancel(transaction, call) for call in calls]


def _cancel(transaction: WriteTransaction, call: Cancellation) -> CancelAnswer:
    row = transaction.connection.execute(
        "SELECT seq, state, run, suspect, kind, line, lane, run_at FROM jobs WHERE id = ?", (call.job_id,)
    ).fetchone()
    if row is None:
        return "unknown"
    seq, state, run, suspect, kind, line, lane, run_at = row
    if run != call.run:
        return "changed"
    if state in TERMINAL:
        return "ended"
    if state not in TRANSITIONS[JobAction.CANCEL_WAITING].sources:
        transaction.connection.execute("UPDATE jobs SET cancel_requested = 1 WHERE seq = ?", (seq,))
        return "requested"
    _end_waiting(transaction, seq, call)
    transaction.counts.suspects -= suspect
    transaction.counts.kinds[kind] -= 1
    if transaction.counts.waiting_bytes is not None:
        (size,) = transaction.connection.execute(
            "SELECT length(payload) FROM payloads WHERE seq = ?", (seq,)
        ).fetchone()
        transaction.count_bytes(transaction.waiting.by_id[line], -size)
    transaction.waiting.unqueue(transaction.waiting.by_id[line], (run_at, seq) if lane == READY else None)
    return "cancelled"


def _end_waiting(transaction: WriteTransaction, seq: int, call: Cancellation) -> None:
    now = transaction.clock.now()
    transaction.connection.execute(
        _CANCEL_WAITING,
        (now, seq),
    )
    add_messages(transaction, [(call.notification, call.run, now)])
    transaction.count(JobAction.CANCEL_WAITING)


def retry(transaction: WriteTransaction, calls: Sequence[str]) -> list[RetryAnswer]:
    return [_retry(transaction, job_id) for job_id in calls]


def _retry(transaction: WriteTransaction, job_id: str) -> RetryAnswer:
    row = transaction.connection.execute("SELECT seq, state, kind FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        return "unknown"
    seq, state, kind = row
    if state not in TRANSITIONS[JobAction.RUN_AGAIN].sources:
        return "active"
    keep_ended(transaction, seq)
    transaction.connection.execute(
        _RUN_AGAIN,
        (transaction.clock.now(), seq),
    )
    transaction.queue_again([job_id])
    transaction.count(JobAction.RUN_AGAIN, source=JobState(state))
    transaction.counts.kinds[kind] += 1
    transaction.counts.work = True
    return "queued"
