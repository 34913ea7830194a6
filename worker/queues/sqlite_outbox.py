"""What the writer does to the outbox. Same shape as the jobs: all callers at once, an answer for each.

Delivery is a watermark, not a mark on each row: everything up to it that is not dead has been delivered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.notification import Notification, redelivered
from worker.queue import OutboxMessage
from worker.queues.sqlite_ledger import Ledger
from worker.queues.sqlite_schema import RowStatement, json_list

_INSERT = RowStatement(
    "INSERT INTO outbox (notification_id, job_id, run, user_id, sequence, created_at, body) "
    "SELECT * FROM {rows} WHERE column1 IS NOT NULL",
    width=7,
)


News = tuple[Notification, int, float]
"""A notification, the run it tells of, and when that ended (wall clock)."""


def put(ledger: Ledger, news: Sequence[News]) -> None:
    """Add the messages in order, each with its user's next sequence number."""
    if not news:
        return
    numbers = ledger.sequences([notification.user_id for notification, _, _ in news])
    rows = [
        (one.id, one.job_id, run, one.user_id, sequence, ended_at, one.body(sequence))
        for (one, run, ended_at), sequence in zip(news, numbers, strict=True)
    ]
    _INSERT.run(ledger.connection, rows)
    # One writer, and AUTOINCREMENT: each id is the last one's successor.
    first = ledger.counts.last_message + 1
    ledger.counts.last_message += len(rows)
    ledger.counts.pending += len(rows)
    ledger.news.extend(
        OutboxMessage(message_id, row[0], row[1], row[3], row[6]) for message_id, row in enumerate(rows, first)
    )


def delivered(ledger: Ledger, calls: Sequence[int]) -> list[None]:
    """Move the watermark to the furthest of them, but not past the last message there is."""
    counts, connection = ledger.counts, ledger.connection
    up_to = min(max(calls), counts.last_message)
    if up_to > counts.delivered:
        (count,) = connection.execute(
            "SELECT count(*) FROM outbox WHERE id > ? AND id <= ? AND dead IS NULL", (counts.delivered, up_to)
        ).fetchone()
        connection.execute("INSERT INTO deliveries (up_to, at) VALUES (?, ?)", (up_to, ledger.clock.now()))
        counts.pending -= count
        counts.delivered = up_to
    return [None for _ in calls]


@dataclass(frozen=True, slots=True)
class Refusal:
    message_id: int
    reason: str


def dead(ledger: Ledger, calls: Sequence[Refusal]) -> list[None]:
    for call in calls:
        changed = ledger.connection.execute(
            "UPDATE outbox SET dead = 1, reason = ? WHERE id = ? AND id > ? AND dead IS NULL",
            (call.reason, call.message_id, ledger.counts.delivered),
        ).rowcount
        ledger.counts.pending -= changed
        ledger.counts.dead += changed
    return [None for _ in calls]


@dataclass(frozen=True, slots=True)
class Shown:
    notification_ids: Sequence[str]
    at: float


def shown(ledger: Ledger, calls: Sequence[Shown]) -> list[None]:
    for call in calls:
        ledger.connection.execute(
            "INSERT INTO shown (notification_id, at) SELECT value, ? FROM json_each(?) WHERE true "
            "ON CONFLICT DO UPDATE SET times = times + 1",
            (call.at, json_list(call.notification_ids)),
        )
    return [None for _ in calls]


@dataclass(frozen=True, slots=True)
class Resend:
    notification_id: str
    message_id: int
    """Where a reader found it."""


def resend(ledger: Ledger, calls: Sequence[Resend]) -> list[OutboxMessage | None]:
    """None: it is not there any more."""
    return [_resend(ledger, call) for call in calls]


def _resend(ledger: Ledger, call: Resend) -> OutboxMessage | None:
    row = ledger.connection.execute(
        "SELECT job_id, user_id, body, dead, redelivery, run, sequence FROM outbox "
        "WHERE id = ? AND notification_id = ?",
        (call.message_id, call.notification_id),
    ).fetchone()
    if row is None:
        return None
    job_id, user_id, body, is_dead, redelivery, run, sequence = row
    if call.message_id > ledger.counts.delivered and not is_dead:
        return OutboxMessage(call.message_id, call.notification_id, job_id, user_id, body)
    body = redelivered(body, redelivery + 1)
    ledger.connection.execute("DELETE FROM outbox WHERE id = ?", (call.message_id,))
    # A new row, not a new id for the old one: only an INSERT moves the AUTOINCREMENT counter.
    cursor = ledger.connection.execute(
        "INSERT INTO outbox (notification_id, job_id, run, user_id, sequence, redelivery, created_at, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (call.notification_id, job_id, run, user_id, sequence, redelivery + 1, ledger.clock.now(), body),
    )
    assert cursor.lastrowid is not None
    ledger.counts.last_message = cursor.lastrowid
    ledger.counts.dead -= bool(is_dead)
    ledger.counts.pending += 1
    message = OutboxMessage(cursor.lastrowid, call.notification_id, job_id, user_id, body)
    ledger.news.append(message)
    return message
