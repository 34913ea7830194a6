"""Whether the store is still the one that was opened, and whether its tables agree with each other."""

from worker.errors import StoreReplaced
from worker.stores.postgres.claim import SEQ
from worker.stores.postgres.database import Connection, DatabaseTarget
from worker.stores.postgres.migrations import require_usable, schema_state
from worker.stores.postgres.turns_check import UNREACHABLE


async def check_identity(connection: Connection, target: DatabaseTarget) -> None:
    """Raise StoreReplaced when the schema is gone, SchemaTooNew when a newer version of this program changed it."""
    state = await schema_state(connection, target)
    if not state.version:
        raise StoreReplaced(f"{target.shown} was deleted while it was open: its jobs and notifications are gone")
    require_usable(state, target)


_RULES = {
    "the counts differ from the jobs": """
        SELECT 1 FROM (SELECT kind, sum(queued) AS queued, sum(running) AS running, sum(succeeded) AS succeeded,
            sum(failed) AS failed, sum(cancelled) AS cancelled, sum(bytes) AS bytes FROM tally GROUP BY kind) AS counted
        FULL JOIN (SELECT kind, count(*) FILTER (WHERE state = 'queued') AS queued,
            count(*) FILTER (WHERE state = 'running') AS running,
            count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
            count(*) FILTER (WHERE state = 'failed') AS failed,
            count(*) FILTER (WHERE state = 'cancelled') AS cancelled, sum(bytes) AS bytes
            FROM jobs GROUP BY kind) AS found USING (kind)
        WHERE (coalesce(counted.queued, 0), coalesce(counted.running, 0), coalesce(counted.succeeded, 0),
            coalesce(counted.failed, 0), coalesce(counted.cancelled, 0), coalesce(counted.bytes, 0))
            <> (coalesce(found.queued, 0), coalesce(found.running, 0), coalesce(found.succeeded, 0),
            coalesce(found.failed, 0), coalesce(found.cancelled, 0), coalesce(found.bytes, 0))
    """,
    "the counts differ from the notifications": """
        SELECT 1 FROM outbox_state AS state WHERE
            state.pending <> (SELECT count(*) FROM outbox WHERE outbox.dead IS NULL AND id > state.delivered)
            OR state.dead <> (SELECT count(*) FROM outbox WHERE outbox.dead)
    """,
    "the watermark is past the last message": "SELECT 1 FROM outbox_state WHERE delivered > last_id",
    "a job's ticket does not fit its state": f"""
        SELECT 1 FROM jobs LEFT JOIN pgqueuer ON jobs.seq = {SEQ} WHERE NOT CASE jobs.state
            WHEN 'queued' THEN (wait_at IS NULL) = coalesce(status = 'queued', false)
            WHEN 'running' THEN coalesce(status = 'picked', false) AND owner IS NOT NULL AND wait_at IS NULL
            ELSE status IS NULL AND wait_at IS NULL END
    """,
    "a due job cannot be claimed": """
        SELECT 1 FROM jobs FULL JOIN ready USING (seq)
        WHERE coalesce(jobs.state = 'queued' AND jobs.wait_at IS NULL, false) <> (ready.ticket IS NOT NULL)
    """,
    "the owner of a due job does not wait for a turn": UNREACHABLE,
    "a ticket has no job": f"SELECT 1 FROM pgqueuer WHERE NOT EXISTS (SELECT FROM jobs WHERE seq = {SEQ})",
    "an attempt has no job": "SELECT 1 FROM attempts WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.seq = attempts.seq)",
    "a run that ended has no notification": """
        SELECT 1 FROM jobs WHERE state IN ('succeeded', 'failed', 'cancelled')
            AND NOT EXISTS (SELECT FROM outbox WHERE job_id = jobs.id AND outbox.run = jobs.run)
    """,
    "a run has two notifications": "SELECT 1 FROM outbox GROUP BY job_id, run HAVING count(*) > 1",
    "a sequence number was given twice": "SELECT 1 FROM outbox GROUP BY user_id, sequence HAVING count(*) > 1",
    "a user's counter is behind": """
        SELECT 1 FROM (SELECT user_id, max(sequence) AS last FROM outbox GROUP BY user_id) AS given
        LEFT JOIN sequences USING (user_id)
        WHERE sequences.sequence IS NULL OR sequences.sequence < given.last
    """,
}


async def examine(connection: Connection) -> list[str]:
    """Return what is wrong, a line each; an empty list if nothing is. Reads all tables at one moment."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return [rule for rule, query in _RULES.items() if await connection.fetchval(f"{query} LIMIT 1")]
