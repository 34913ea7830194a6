"""What the writer does when people order it: cancel a job, run it again."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.job import TERMINAL, JobState
from worker.notification import Notification
from worker.queue import CancelAnswer, RetryAnswer
from worker.queues.sqlite_history import keep_ended
from worker.queues.sqlite_ledger import Ledger
from worker.queues.sqlite_outbox import put
from worker.queues.sqlite_schema import READY


@dataclass(frozen=True, slots=True)
class Cancellation:
    job_id: str
    run: int
    notification: Notification


def cancel(ledger: Ledger, calls: Sequence[Cancellation]) -> list[CancelAnswer]:
    return [_cancel(ledger, call) for call in calls]


def _cancel(ledger: Ledger, call: Cancellation) -> CancelAnswer:
    row = ledger.connection.execute(
        "SELECT seq, state, run, suspect, kind FROM jobs WHERE id = ?", (call.job_id,)
    ).fetchone()
    if row is None:
        return "unknown"
    seq, state, run, suspect, kind = row
    if run != call.run:
        return "changed"
    if state in TERMINAL:
        return "ended"
    if state == JobState.RUNNING:
        ledger.connection.execute("UPDATE jobs SET cancel_requested = 1 WHERE seq = ?", (seq,))
        return "requested"
    _end_waiting(ledger, seq, call)
    ledger.counts.suspects -= suspect
    ledger.counts.kinds[kind] -= 1
    return "cancelled"


def _end_waiting(ledger: Ledger, seq: int, call: Cancellation) -> None:
    now = ledger.clock.now()
    ledger.connection.execute(
        "UPDATE jobs SET state = 'cancelled', lane = NULL, suspect = 0, finished_at = ?, duration_ms = 0.0, "
        "error_type = 'Cancelled', error = 'Cancelled', error_id = NULL, stack_trace = NULL WHERE seq = ?",
        (now, seq),
    )
    put(ledger, [(call.notification, call.run, now)])
    ledger.move(JobState.QUEUED, JobState.CANCELLED)


def retry(ledger: Ledger, calls: Sequence[str]) -> list[RetryAnswer]:
    return [_retry(ledger, job_id) for job_id in calls]


def _retry(ledger: Ledger, job_id: str) -> RetryAnswer:
    row = ledger.connection.execute("SELECT seq, state, kind FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        return "unknown"
    seq, state, kind = row
    if state not in TERMINAL:
        return "active"
    keep_ended(ledger, seq)
    ledger.connection.execute(
        f"UPDATE jobs SET state = 'queued', lane = {READY}, rank = -priority, run = run + 1, attempt = 0, "  # noqa: S608
        "cancel_requested = 0, suspect = 0, owner = NULL, run_at = ?, started_at = NULL, finished_at = NULL, "
        "duration_ms = NULL, error_type = NULL, error = NULL, error_id = NULL, stack_trace = NULL, result = NULL "
        "WHERE seq = ?",
        (ledger.clock.now(), seq),
    )
    ledger.move(state, JobState.QUEUED)
    ledger.counts.kinds[kind] += 1
    ledger.counts.work = True
    return "queued"
