"""Ends sessions whose worker stopped between two messages of one statement, with a transaction and its locks open.

The server ends a session that is idle in a transaction (`idle_in_transaction_session_timeout`). It does not see a
session as idle, and no limit of the server applies, where the driver has had a statement parsed and the worker was
suspended, or cut off, before it sent the parameters: the session is `active` and waits for its client.
"""

import contextlib

import asyncpg

from worker.stores.postgres.database import APPLICATION, Connection

STALLED_SECONDS = 5.0
"""As long as idle_in_transaction_session_timeout; between the two messages of a worker that runs lie milliseconds."""

# COPY waits for its client while rows are read from another store.
_END = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND application_name = $1
        AND pid <> pg_backend_pid() AND state = 'active' AND wait_event = 'ClientRead' AND query NOT ILIKE 'COPY %'
        AND xact_start < now() - make_interval(secs => $2) AND query_start < now() - make_interval(secs => $2)
"""


async def end_stalled_sessions(connection: Connection) -> None:
    """Let the server undo what such workers had begun; a worker that comes back repeats it on a new connection."""
    with contextlib.suppress(asyncpg.InsufficientPrivilegeError):  # the operator took the right away
        await connection.fetch(_END, APPLICATION, STALLED_SECONDS)
