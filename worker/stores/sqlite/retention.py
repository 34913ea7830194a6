"""What the writer does to runs that ended long ago and whose notification is settled: deletes them, in chunks.

No statement here returns more than one row. At each row sqlite3 releases the interpreter lock, and a busy event loop
gives it back only after the switch interval (5 ms): a chunk of 200 rows took a second then, with the writer waiting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from worker.core.store import PruneProgress
from worker.stores.sqlite.transaction import WriteTransaction


@dataclass(frozen=True, slots=True)
class Pruning:
    """A request to delete what has existed for `age` seconds of elapsed time, up to `limit` rows."""

    age: float
    limit: int


def prune(transaction: WriteTransaction, calls: Sequence[Pruning]) -> list[PruneProgress]:
    """Delete runs, the oldest first; return how many, and how long it took the writer."""
    return [_prune(transaction, call) for call in calls]


_OLD_MESSAGES = """
    SELECT count(*), json_group_array(id), json_group_array(notification_id), count(dead) FROM (
        SELECT id, notification_id, dead FROM outbox
        WHERE id <= ? AND (id <= ? OR dead IS NOT NULL) ORDER BY id LIMIT ?)
"""
"""Each run that ended has one message, so the old messages lead to the old runs."""

_THEIR_JOBS = """
    SELECT json_group_array(seq), sum(state = 'succeeded'), sum(state = 'failed'), sum(state = 'cancelled')
    FROM outbox JOIN jobs ON jobs.id = outbox.job_id AND jobs.run = outbox.run AND jobs.lane IS NULL
    WHERE outbox.id IN (SELECT value FROM json_each(?))
"""
"""A job that was retried since then is kept: only the notification of its earlier run is deleted."""


def _prune(transaction: WriteTransaction, call: Pruning) -> PruneProgress:
    started = transaction.clock.monotonic()
    aged = aged_ids(transaction, call.age)
    runs, messages, notifications, dead = transaction.connection.execute(
        _OLD_MESSAGES, (aged.message, transaction.counts.delivered, call.limit)
    ).fetchone()
    if runs:
        _delete_jobs(transaction, messages)
        _delete_messages(transaction, messages, notifications)
        transaction.counts.dead -= dead
        transaction.counts.work = True  # a full store may have room again
    _forget_shown(transaction, aged.shown, call.limit)
    return PruneProgress(runs, transaction.clock.monotonic() - started)


def _delete_jobs(transaction: WriteTransaction, messages: str) -> None:
    seqs, *counts = transaction.connection.execute(_THEIR_JOBS, (messages,)).fetchone()
    for table in ("jobs", "payloads", "attempts"):
        _delete(transaction, table, "seq", seqs)
    for state, count in zip(("succeeded", "failed", "cancelled"), counts, strict=True):
        transaction.counts.jobs[state] -= count or 0


def _delete_messages(transaction: WriteTransaction, messages: str, notifications: str) -> None:
    _delete(transaction, "outbox", "id", messages)
    _delete(transaction, "shown", "notification_id", notifications)
    transaction.connection.execute(
        "DELETE FROM deliveries WHERE up_to < coalesce((SELECT min(id) FROM outbox), ?)",
        (transaction.counts.delivered,),
    )


def _delete(transaction: WriteTransaction, table: str, column: str, values: Any) -> None:
    """Delete the rows whose `column` is in a JSON list."""
    transaction.connection.execute(
        f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))",
        (values,),
    )


def _forget_shown(transaction: WriteTransaction, last: int, limit: int) -> None:
    """Delete old marks of notifications that are gone or never existed: a client may report any id as shown."""
    transaction.connection.execute(
        "DELETE FROM shown WHERE place IN (SELECT place FROM shown WHERE place <= ? ORDER BY place LIMIT ?)",
        (last, limit),
    )


# -- ages --------------------------------------------------------------------------------------------------

MARK_SECONDS = 60.0
"""Elapsed time between two marks, and so the precision of ages that are longer than this."""


class AgedIds(NamedTuple):
    """The last rows that are as old as required; 0: none is."""

    message: int
    audit: int
    shown: int


def aged_ids(transaction: WriteTransaction, age: float) -> AgedIds:
    """Return the last rows that have existed for `age` seconds, by marks: each says which rows existed at a time.

    The rows themselves have times of the wall clock, which may have been wrong when they were written.
    """
    now, connection = transaction.elapsed.now(), transaction.connection
    (last,) = connection.execute("SELECT max(at) FROM ages").fetchone()
    if last is None or now - last >= min(MARK_SECONDS, age):
        connection.execute(
            "INSERT OR REPLACE INTO ages SELECT ?, ?, coalesce((SELECT max(id) FROM audit), 0), "
            "coalesce((SELECT max(place) FROM shown), 0)",
            (now, transaction.counts.last_message),
        )
    found = connection.execute(
        "SELECT message, audit, shown, at FROM ages WHERE at <= ? ORDER BY at DESC LIMIT 1", (now - age,)
    ).fetchone()
    if found is None:
        return AgedIds(0, 0, 0)
    *ids, at = found
    # Of the older marks one a day is enough, for what is kept longer.
    connection.execute(
        "DELETE FROM ages WHERE at < ?1 AND at NOT IN "
        "(SELECT max(at) FROM ages WHERE at < ?1 GROUP BY CAST(at / 86400 AS INTEGER))",
        (at,),
    )
    return AgedIds(*ids)
