"""Checks a store's file: every page, and whether the tables agree with each other."""

from worker.stores.sqlite.connection import Connection
from worker.stores.sqlite.statements import BACKOFF, READY, RUNNING, SCHEDULED

_MOST = 20
"""Findings after which the check of a damaged file ends."""

_RULES = {
    "the counts differ from the jobs": """
        SELECT 1 FROM tally, (
            SELECT count(*) FILTER (WHERE state = 'queued') AS queued_now,
                count(*) FILTER (WHERE state = 'running') AS running_now,
                count(*) FILTER (WHERE state = 'succeeded') AS succeeded_now,
                count(*) FILTER (WHERE state = 'failed') AS failed_now,
                count(*) FILTER (WHERE state = 'cancelled') AS cancelled_now,
                count(*) FILTER (WHERE state = 'queued' AND suspect = 1) AS suspects_now
            FROM jobs)
        WHERE queued <> queued_now OR running <> running_now OR succeeded <> succeeded_now OR failed <> failed_now
            OR cancelled <> cancelled_now OR suspects <> suspects_now
    """,
    "the counts by kind differ from the jobs": """
        SELECT 1 FROM (SELECT kind, count(*) AS waiting FROM jobs WHERE state = 'queued' GROUP BY kind) AS now
        LEFT JOIN (SELECT stored.key AS kind, stored.value AS waiting FROM tally, json_each(kinds) AS stored) AS counted
        ON counted.kind = now.kind WHERE counted.waiting IS NOT now.waiting
        UNION ALL SELECT 1 FROM tally, json_each(kinds) AS stored
        WHERE stored.value <> (SELECT count(*) FROM jobs WHERE state = 'queued' AND jobs.kind = stored.key)
    """,
    "the counts differ from the notifications": """
        SELECT 1 FROM tally, (
            SELECT count(*) FILTER (WHERE outbox.dead IS NULL AND id > (SELECT delivered FROM tally)) AS pending_now,
                count(*) FILTER (WHERE outbox.dead = 1) AS dead_now
            FROM outbox)
        WHERE pending <> pending_now OR dead <> dead_now
    """,
    "a job's state and lane differ": f"""
        SELECT 1 FROM jobs WHERE NOT CASE state
            WHEN 'queued' THEN lane IN ({READY}, {SCHEDULED}, {BACKOFF})
            WHEN 'running' THEN lane = {RUNNING} AND owner IS NOT NULL
            WHEN 'succeeded' THEN lane IS NULL WHEN 'failed' THEN lane IS NULL WHEN 'cancelled' THEN lane IS NULL
            ELSE 0 END
    """,
    "a job that waits is in no line": "SELECT 1 FROM jobs WHERE state = 'queued' AND line = 0",
    "an attempt has no job": "SELECT 1 FROM attempts WHERE seq NOT IN (SELECT seq FROM jobs)",
    "a job has no payload": "SELECT 1 FROM jobs WHERE seq NOT IN (SELECT seq FROM payloads)",
    "a payload has no job": "SELECT 1 FROM payloads WHERE seq NOT IN (SELECT seq FROM jobs)",
    "a run that ended has no notification": """
        SELECT 1 FROM jobs WHERE lane IS NULL AND (id, run) NOT IN (SELECT job_id, run FROM outbox)
    """,
    "a run has two notifications": "SELECT 1 FROM outbox GROUP BY job_id, run HAVING count(*) > 1",
    "a sequence number was used twice": "SELECT 1 FROM outbox GROUP BY user_id, sequence HAVING count(*) > 1",
    "a user's counter is behind": """
        SELECT 1 FROM (SELECT user_id, max(sequence) AS last FROM outbox GROUP BY user_id) AS given
        LEFT JOIN sequences ON sequences.user_id = given.user_id
        WHERE sequences.sequence IS NULL OR sequences.sequence < given.last
    """,
    "the watermark is past the last message": """
        SELECT 1 FROM tally WHERE delivered > coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)
    """,
}


def examine(connection: Connection) -> list[str]:
    """Return what is wrong, a line each; an empty list if nothing is. Reads the whole file, which may take minutes."""
    findings = [row[0] for row in connection.execute(f"PRAGMA integrity_check({_MOST})")]
    if findings != ["ok"]:
        return findings
    connection.execute("BEGIN")  # all rules see the same state
    try:
        return [rule for rule, query in _RULES.items() if connection.execute(f"{query} LIMIT 1").fetchone()]
    finally:
        connection.execute("COMMIT")
