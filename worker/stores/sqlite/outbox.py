"""Writes the outbox: adds messages, and records that they were delivered, rejected, resent or shown.

Delivery is a watermark, not a mark on each row: everything up to it that is not dead has been delivered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.core.notification import Notification, redelivered
from worker.core.store import OutboxMessage
from worker.disk.row_statement import RowStatement
from worker.stores.sqlite.statements import json_list
from worker.stores.sqlite.transaction import WriteTransaction

_INSERT = RowStatement(
    "INSERT INTO outbox (notification_id, job_id, run, user_id, sequence, created_at, body) "
    "SELECT * FROM {rows} WHERE column1 IS NOT NULL",
    width=7,
)


RunNotification = tuple[Notification, int, float]
"""A notification, the number of its run, and when the run ended (wall clock)."""


def add_messages(transaction: WriteTransaction, notifications: Sequence[RunNotification]) -> None:
    """Add the messages in order, each with its user's next sequence number."""
    if not notifications:
        return
    numbers = transaction.next_sequences([notification.user_id for notification, _, _ in notifications])
    rows = [
        (one.id, one.job_id, run, one.user_id, sequence, ended_at, one.body(sequence))
        for (one, run, ended_at), sequence in zip(notifications, numbers, strict=True)
    ]
    _INSERT.run(transaction.connection, rows)
    # There is one writer, and the column is AUTOINCREMENT: each id follows the last one.
    first = transaction.counts.last_message + 1
    transaction.counts.last_message += len(rows)
    transaction.counts.pending += len(rows)
    transaction.messages.extend(
        OutboxMessage(message_id, row[0], row[1], row[3], row[6]) for message_id, row in enumerate(rows, first)
    )


def delivered(transaction: WriteTransaction, calls: Sequence[int]) -> list[None]:
    """Move the watermark to the highest of the ids, but not past the last message."""
    counts, connection = transaction.counts, transaction.connection
    up_to = min(max(calls), counts.last_message)
    if up_to > counts.delivered:
        (count,) = connection.execute(
            "SELECT count(*) FROM outbox WHERE id > ? AND id <= ? AND dead IS NULL", (counts.delivered, up_to)
        ).fetchone()
        connection.execute("INSERT INTO deliveries (up_to, at) VALUES (?, ?)", (up_to, transaction.clock.now()))
        counts.pending -= count
        counts.delivered = up_to
    return [None for _ in calls]


@dataclass(frozen=True, slots=True)
class MarkDead:
    message_id: int
    reason: str


def dead(transaction: WriteTransaction, calls: Sequence[MarkDead]) -> list[None]:
    for call in calls:
        changed = transaction.connection.execute(
            "UPDATE outbox SET dead = 1, reason = ? WHERE id = ? AND id > ? AND dead IS NULL",
            (call.reason, call.message_id, transaction.counts.delivered),
        ).rowcount
        transaction.counts.pending -= changed
        transaction.counts.dead += changed
    return [None for _ in calls]


@dataclass(frozen=True, slots=True)
class Shown:
    notification_ids: Sequence[str]
    at: float


def shown(transaction: WriteTransaction, calls: Sequence[Shown]) -> list[None]:
    for call in calls:
        transaction.connection.execute(
            "INSERT INTO shown (notification_id, at) SELECT value, ? FROM json_each(?) WHERE true "
            "ON CONFLICT DO UPDATE SET times = times + 1",
            (call.at, json_list(call.notification_ids)),
        )
    return [None for _ in calls]


@dataclass(frozen=True, slots=True)
class Resend:
    notification_id: str
    message_id: int
    """The id under which a reader found it."""


def resend(transaction: WriteTransaction, calls: Sequence[Resend]) -> list[OutboxMessage | None]:
    """Queue messages again at the end; None for those that are no longer under their id."""
    return [_resend(transaction, call) for call in calls]


def _resend(transaction: WriteTransaction, call: Resend) -> OutboxMessage | None:
    row = transaction.connection.execute(
        "SELECT job_id, user_id, body, dead, redelivery, run, sequence FROM outbox "
        "WHERE id = ? AND notification_id = ?",
        (call.message_id, call.notification_id),
    ).fetchone()
    if row is None:
        return None
    job_id, user_id, body, is_dead, redelivery, run, sequence = row
    if call.message_id > transaction.counts.delivered and not is_dead:
        return OutboxMessage(call.message_id, call.notification_id, job_id, user_id, body)
    body = redelivered(body, redelivery + 1)
    transaction.connection.execute("DELETE FROM outbox WHERE id = ?", (call.message_id,))
    # A new row, not a new id for the old one: only an INSERT moves the AUTOINCREMENT counter.
    cursor = transaction.connection.execute(
        "INSERT INTO outbox (notification_id, job_id, run, user_id, sequence, redelivery, created_at, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (call.notification_id, job_id, run, user_id, sequence, redelivery + 1, transaction.clock.now(), body),
    )
    assert cursor.lastrowid is not None
    transaction.counts.last_message = cursor.lastrowid
    transaction.counts.dead -= bool(is_dead)
    transaction.counts.pending += 1
    message = OutboxMessage(cursor.lastrowid, call.notification_id, job_id, user_id, body)
    transaction.messages.append(message)
    return message
