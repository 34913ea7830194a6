"""Reads the end of a history from the file of a store that no process has open, or from a database."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import orjson

from tests.support.history.events import Event, JobAtEnd, NotificationAtEnd
from tests.support.history.recorder import tag_of
from worker.stores.postgres.database import DEFAULT_SCHEMA
from worker.stores.postgres.texts import from_database

_JOBS = """
    SELECT id, user_id, state, run, attempt, error, payload FROM jobs LEFT JOIN payloads USING (seq)
"""
_OUTBOX = """
    SELECT job_id, notification_id, user_id, sequence,
        CASE WHEN dead = 1 THEN 'dead' WHEN id > (SELECT delivered FROM tally) THEN 'pending' ELSE 'delivered' END
    FROM outbox WHERE notification_id <> ''
"""


def read_end(queue: Path) -> Iterator[Event]:
    """Return the jobs and notifications of the store. A job's tag is `tag` of its payload."""
    # Writable, although nothing is written: a store that was killed has a WAL, which SQLite reads only so.
    with closing(sqlite3.connect(queue)) as connection:
        yield from read_rows(connection)


def read_rows(connection: sqlite3.Connection) -> Iterator[Event]:
    """Return the same, by a connection that is open."""
    for job, user, state, run, attempt, error, payload in connection.execute(_JOBS):
        yield JobAtEnd(job, user, state, run, attempt, tag_of(orjson.loads(payload or b"{}")), error)
    for row in connection.execute(_OUTBOX):
        yield NotificationAtEnd(*row)


_JOBS_OF_DATABASE = "SELECT id, user_id, state, run, attempt, error, payload FROM jobs ORDER BY seq"
_OUTBOX_OF_DATABASE = """
    SELECT job_id, notification_id, user_id, sequence,
        CASE WHEN outbox.dead THEN 'dead' WHEN id > delivered THEN 'pending' ELSE 'delivered' END
    FROM outbox, outbox_state ORDER BY id
"""


async def read_end_of_database(url: str) -> list[Event]:
    """Return the same from a store in PostgreSQL, as it is at one moment; none if no service has created it."""
    connection = await asyncpg.connect(url, server_settings={"search_path": DEFAULT_SCHEMA})
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if not await connection.fetchval("SELECT to_regclass('outbox_state') IS NOT NULL"):
                return []
            jobs = await connection.fetch(_JOBS_OF_DATABASE)
            messages = await connection.fetch(_OUTBOX_OF_DATABASE)
    finally:
        await connection.close()
    events: list[Event] = []
    for job, user, state, run, attempt, error, payload in jobs:
        tag = tag_of(orjson.loads(from_database(payload or "{}")))
        error = None if error is None else from_database(error)
        events.append(JobAtEnd(from_database(job), from_database(user), state, run, attempt, tag, error))
    for job, notification_id, user, sequence, state in messages:
        owner = from_database(user)
        events.append(NotificationAtEnd(from_database(job), notification_id, owner, sequence, state))
    return events
