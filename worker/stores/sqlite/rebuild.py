"""Fills what a store derives from its rows, for a file whose rows were copied from elsewhere: lanes, lines, counts."""

from worker.stores.sqlite.connection import Connection
from worker.stores.sqlite.statements import READY


def put_in_lanes(target: Connection) -> None:
    """Set what the lanes need; an earlier schema had a lane 4, of paused jobs, and no lines."""
    target.execute(
        f"UPDATE jobs SET lane = iif(lane = 4, {READY}, lane), rank = -priority, line = iif(line = 0, "
        "line_id(-priority, organization, user_id, kind, submitter), line) WHERE lane IS NOT NULL"
    )


def recount(target: Connection, *, delivered: int, last_id: int, now: float) -> None:
    """Count the rows. `last_id` is the highest id that a notification ever had: none is used again."""
    (last,) = target.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()
    if max(last_id, delivered) > last:
        target.execute("INSERT INTO outbox (id, notification_id, job_id, run, user_id, sequence, created_at, body) "
                       "VALUES (?, '', '', 0, '', 0, 0.0, x'')", (max(last_id, delivered),))  # fmt: skip
        target.execute("DELETE FROM outbox WHERE notification_id = ''")  # AUTOINCREMENT never uses its id again
    states = ("queued", "running", "succeeded", "failed", "cancelled")
    counts = [target.execute("SELECT count(*) FROM jobs WHERE state = ?", (state,)).fetchone()[0] for state in states]
    target.execute(
        "UPDATE tally SET queued = ?, running = ?, succeeded = ?, failed = ?, cancelled = ?, delivered = ?, clock = ?, "
        "suspects = (SELECT count(*) FROM jobs WHERE state = 'queued' AND suspect = 1), "
        "dead = (SELECT count(*) FROM outbox WHERE dead = 1), kinds = (SELECT json_group_object(kind, waiting) FROM "
        "(SELECT kind, count(*) AS waiting FROM jobs WHERE state = 'queued' GROUP BY kind))",
        (*counts, delivered, now),
    )
    target.execute("UPDATE tally SET pending = (SELECT count(*) FROM outbox WHERE dead IS NULL AND id > delivered)")
