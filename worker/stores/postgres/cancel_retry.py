"""What the writer does when an operator orders it: cancel a job, run it again, pause a kind."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.core.job import TERMINAL, TRANSITIONS, JobAction, JobState
from worker.core.notification import Notification
from worker.core.store import CancelAnswer, RetryAnswer
from worker.stores.postgres.attempts import keep_ended
from worker.stores.postgres.outbox import add_messages
from worker.stores.postgres.texts import to_database
from worker.stores.postgres.transaction import WriteTransaction

_CANCEL_WAITING = """
    UPDATE jobs SET state = 'cancelled', unlucky = 'cancelled', wait_at = NULL, backs_off = false, suspect = false,
        finished_at = $2, duration_ms = 0.0, error_type = 'Cancelled', error = 'Cancelled', error_id = NULL,
        stack_trace = NULL
    WHERE seq = $1
"""

_RUN_AGAIN = """
    UPDATE jobs SET state = 'queued', unlucky = NULL, wait_at = '-infinity', backs_off = false, run = run + 1,
        attempt = 0, crashes = 0, cancel_requested = false, suspect = false, owner = NULL, run_at = $2,
        started_at = NULL, finished_at = NULL, duration_ms = NULL, error_type = NULL, error = NULL, error_id = NULL,
        stack_trace = NULL, result = NULL
    WHERE seq = $1
"""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """A request to cancel a run of a job, with the notification for a job that waits."""

    job_id: str
    run: int
    notification: Notification


async def cancel(transaction: WriteTransaction, calls: Sequence[Cancellation]) -> list[CancelAnswer]:
    """Cancel jobs that wait; ask those that run to stop."""
    return [await _cancel(transaction, call) for call in calls]


async def _cancel(transaction: WriteTransaction, call: Cancellation) -> CancelAnswer:
    row = await transaction.connection.fetchrow(
        "SELECT seq, state, run, kind, wait_at, ticket_of(run_at, seq) AS ticket FROM jobs WHERE id = $1 FOR UPDATE",
        to_database(call.job_id),
    )
    if row is None:
        return "unknown"
    if row["run"] != call.run:
        return "changed"
    if row["state"] in TERMINAL:
        return "ended"
    if row["state"] not in TRANSITIONS[JobAction.CANCEL_WAITING].sources:
        await transaction.connection.execute("UPDATE jobs SET cancel_requested = true WHERE seq = $1", row["seq"])
        transaction.counts.cancels += (call.job_id,)
        return "requested"
    now = transaction.clock.now()
    await transaction.connection.execute(_CANCEL_WAITING, row["seq"], now)
    if row["wait_at"] is None:
        await transaction.connection.execute(transaction.tickets.finish, [row["ticket"]], ["canceled"], [None])
        await transaction.connection.execute("DELETE FROM ready WHERE seq = $1", row["seq"])
    transaction.count(row["kind"], JobAction.CANCEL_WAITING)
    await add_messages(transaction, [(call.notification, call.run, now)])
    return "cancelled"


async def retry(transaction: WriteTransaction, calls: Sequence[str]) -> list[RetryAnswer]:
    """Start the next run of jobs that have ended."""
    return [await _retry(transaction, job_id) for job_id in calls]


async def _retry(transaction: WriteTransaction, job_id: str) -> RetryAnswer:
    row = await transaction.connection.fetchrow(
        "SELECT seq, state, kind FROM jobs WHERE id = $1 FOR UPDATE", to_database(job_id)
    )
    if row is None:
        return "unknown"
    if row["state"] not in TRANSITIONS[JobAction.RUN_AGAIN].sources:
        return "active"
    await keep_ended(transaction, row["seq"])
    await transaction.connection.execute(_RUN_AGAIN, row["seq"], transaction.clock.now())
    transaction.count(row["kind"], JobAction.RUN_AGAIN, source=JobState(row["state"]))
    transaction.wake()
    return "queued"


async def pause(transaction: WriteTransaction, calls: Sequence[str]) -> list[None]:
    """Pause kinds; their tickets stay, and every store's claims pass over them."""
    for kind in calls:
        await transaction.connection.execute(
            "INSERT INTO pauses (kind, at) VALUES ($1, $2) ON CONFLICT (kind) DO NOTHING",
            to_database(kind),
            transaction.clock.now(),
        )
    return [None for _ in calls]


async def resume(transaction: WriteTransaction, calls: Sequence[str]) -> list[None]:
    """Resume kinds."""
    for kind in calls:
        await transaction.connection.execute("DELETE FROM pauses WHERE kind = $1", to_database(kind))
    transaction.wake()
    return [None for _ in calls]
