"""Signs of life: how often a worker gives them, and after how long without one it is taken for dead."""

from worker.stores.postgres.database import Connection

LEASE_SECONDS = 10.0
"""A worker that was not seen for this long is taken for dead, and its jobs are recovered."""
BEAT_SECONDS = 2.0
"""Between two signs of life."""
FRESH_SECONDS = LEASE_SECONDS / 2
"""How long ago a worker's last sign of life may be in a claim.

The server ends a claim that stands still for the rest of the lease (idle_in_transaction_session_timeout).
"""


async def show_life(connection: Connection, owner: str) -> bool:
    """Give a sign of life; return False if the worker is not entered any more: it was taken for dead long ago."""
    status: str = await connection.execute("UPDATE workers SET seen_at = now() WHERE owner = $1", owner)
    return status != "UPDATE 0"
