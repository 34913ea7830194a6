"""Finds owners of due jobs that no claim would come to, and lets all begin to wait again."""

from worker.stores.postgres.database import Connection
from worker.stores.postgres.turns import LOCK
from worker.stores.postgres.turns_schema import REBUILD

# From one owner with due jobs to the next, by the index. What is below `first` is not read by claims.
UNREACHABLE = """
    WITH RECURSIVE due AS (
        (SELECT rank, organization, user_id, kind FROM ready ORDER BY rank, organization, user_id, kind LIMIT 1)
        UNION ALL
        SELECT following.* FROM due CROSS JOIN LATERAL (
            SELECT rank, organization, user_id, kind FROM ready
            WHERE (ready.rank, ready.organization, ready.user_id, ready.kind)
                > (due.rank, due.organization, due.user_id, due.kind)
            ORDER BY rank, organization, user_id, kind LIMIT 1
        ) AS following
    )
    SELECT 1 FROM due WHERE (
        SELECT true FROM waiting_users AS users
        JOIN waiting_organizations AS organizations ON organizations.rank = users.rank
            AND organizations.organization = users.organization AND organizations.kind = users.kind
            AND organizations.first <= users.turn
        JOIN waiting_kinds AS kinds ON kinds.rank = users.rank AND kinds.kind = users.kind
            AND kinds.first <= organizations.turn
        WHERE users.rank = due.rank AND users.organization = due.organization
            AND users.user_id = due.user_id AND users.kind = due.kind LIMIT 1
    ) IS NULL AND (rank, organization, user_id, kind) NOT IN (
        SELECT rank, organization, user_id, kind FROM owner_changes)
"""


async def repair_turns(connection: Connection) -> bool:
    """Let all owners of due jobs wait for a turn again if one of them does not; return whether that was needed."""
    if not await connection.fetchval(f"{UNREACHABLE} LIMIT 1"):
        return False
    async with connection.transaction():
        await connection.execute(LOCK)
        for statement in REBUILD:
            await connection.execute(statement)
    return True
