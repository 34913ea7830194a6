"""Jobs that wait for a time: each gets its ticket from the first claim after it."""

from worker.stores.postgres.enqueue import TICKETS
from worker.stores.postgres.transaction import WriteTransaction

MOST = 1000
"""Jobs that get their tickets in one claim."""

_ISSUE = f"""
    WITH due AS MATERIALIZED (
        SELECT seq, kind, user_id, priority, organization, submitter, run_at FROM jobs WHERE wait_at <= $1
        ORDER BY wait_at LIMIT {MOST} FOR UPDATE SKIP LOCKED
    ), {TICKETS.format(jobs="due")}
    UPDATE jobs SET wait_at = NULL, backs_off = false FROM tickets
    WHERE jobs.seq = tickets.seq
"""


async def issue_tickets(transaction: WriteTransaction, now: float) -> None:
    """Give tickets to the jobs whose time has come."""
    await transaction.connection.execute(_ISSUE, now)
