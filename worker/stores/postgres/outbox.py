"""What the writer does to the outbox. Delivery is a watermark: every message up to it that is not dead was delivered.

The row of outbox_state is locked from the moment ids are drawn until the commit, by every store alike. So ids become
visible in their order, sequence numbers are drawn in it, and no two transactions can wait for each other.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from worker.core.notification import Notification, redelivered
from worker.core.store import OutboxMessage
from worker.stores.postgres.texts import from_database, to_database
from worker.stores.postgres.transaction import WriteTransaction

_DRAW = """
    WITH drawn AS (
        UPDATE outbox_state SET last_id = last_id + $1, pending = pending + $1 RETURNING last_id
    ), counted AS (
        INSERT INTO sequences (user_id, sequence)
        SELECT users.id, users.messages FROM drawn, unnest($2::text[], $3::bigint[]) AS users(id, messages)
        ON CONFLICT (user_id) DO UPDATE SET sequence = sequences.sequence + excluded.sequence
        RETURNING user_id, sequence
    )
    SELECT last_id, user_id, sequence FROM drawn, counted
"""

_INSERT = """
    INSERT INTO outbox (id, notification_id, job_id, run, user_id, sequence, created_at, body)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::int[], $5::text[], $6::bigint[], $7::float8[],
        $8::bytea[])
"""

RunNotification = tuple[Notification, int, float]
"""A notification, its run, and when the run ended (wall clock)."""


async def add_messages(transaction: WriteTransaction, notifications: Sequence[RunNotification]) -> None:
    """Add the messages in order, each with its user's next sequence number."""
    if not notifications:
        return
    users = Counter(to_database(notification.user_id) for notification, _, _ in notifications)
    for user in users:
        user.encode()  # what cannot be stored must not draw a number
    rows = await transaction.connection.fetch(_DRAW, len(notifications), list(users), list(users.values()))
    first_id = rows[0]["last_id"] - len(notifications) + 1
    numbers = {row["user_id"]: count(row["sequence"] - users[row["user_id"]] + 1) for row in rows}
    messages, details = [], []
    for message_id, (notification, run, ended_at) in enumerate(notifications, first_id):
        sequence = next(numbers[to_database(notification.user_id)])
        body = notification.body(sequence)
        messages.append(OutboxMessage(message_id, notification.id, notification.job_id, notification.user_id, body))
        details.append((run, sequence, ended_at))
    # positional: the parameters of a statement
    await transaction.connection.execute(
        _INSERT,
        [message.id for message in messages],
        [message.notification_id for message in messages],
        [to_database(message.job_id) for message in messages],
        [run for run, _, _ in details],
        [to_database(message.user_id) for message in messages],
        [sequence for _, sequence, _ in details],
        [ended_at for _, _, ended_at in details],
        [message.body for message in messages],
    )
    transaction.messages.extend(messages)


LOCK = "SELECT last_id, delivered FROM outbox_state FOR UPDATE"
"""Keeps all other stores from drawing ids until the commit."""


_DELIVERED = """
    WITH counted AS (SELECT count(*) AS number FROM outbox WHERE id > $1 AND id <= $2 AND dead IS NULL),
        noted AS (INSERT INTO deliveries (up_to, at) VALUES ($2, $3))
    UPDATE outbox_state SET delivered = $2, pending = pending - number FROM counted
"""


async def delivered(transaction: WriteTransaction, calls: Sequence[int]) -> list[None]:
    """Move the watermark to the highest of these ids, but not past the last message."""
    # Locked by a statement of its own: the next one sees what was committed while this one waited.
    last_id, watermark = await transaction.connection.fetchrow(LOCK)
    up_to = min(max(calls), last_id)
    if up_to > watermark:
        await transaction.connection.execute(_DELIVERED, watermark, up_to, transaction.clock.now())
    return [None for _ in calls]


@dataclass(frozen=True, slots=True)
class MarkDead:
    """A request to mark a message dead."""

    message_id: int
    reason: str


async def dead(transaction: WriteTransaction, calls: Sequence[MarkDead]) -> list[None]:
    """Mark pending messages dead; others are left alone."""
    _, watermark = await transaction.connection.fetchrow(LOCK)
    for call in calls:
        status = await transaction.connection.execute(
            "UPDATE outbox SET dead = true, reason = $2 WHERE id = $1 AND id > $3 AND dead IS NULL",
            call.message_id,
            to_database(call.reason),
            watermark,
        )
        if status == "UPDATE 1":
            await transaction.connection.execute("UPDATE outbox_state SET pending = pending - 1, dead = dead + 1")
    return [None for _ in calls]


@dataclass(frozen=True, slots=True)
class Shown:
    """A request to record that a browser showed notifications at this time (wall clock)."""

    notification_ids: Sequence[str]
    at: float


async def shown(transaction: WriteTransaction, calls: Sequence[Shown]) -> list[None]:
    """Record when notifications were first shown, and how often."""
    for call in calls:
        await transaction.connection.execute(
            "INSERT INTO shown (notification_id, at) "
            "SELECT DISTINCT id, $2::float8 FROM unnest($1::text[]) AS id ORDER BY id "
            "ON CONFLICT (notification_id) DO UPDATE SET times = shown.times + 1",
            [to_database(one) for one in call.notification_ids],
            call.at,
        )
    return [None for _ in calls]


_FOUND = """
    SELECT id, job_id, user_id, body, dead, redelivery, run, sequence FROM outbox
    WHERE notification_id = $1 ORDER BY id DESC LIMIT 1
"""

_AGAIN = """
    INSERT INTO outbox (id, notification_id, job_id, run, user_id, sequence, redelivery, created_at, body)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


async def resend(transaction: WriteTransaction, calls: Sequence[str]) -> list[OutboxMessage | None]:
    """Queue notifications again; None for an unknown one."""
    last_id, watermark = await transaction.connection.fetchrow(LOCK)
    answers = []
    for notification_id in calls:
        answer = await _resend(transaction, notification_id, last_id, watermark)
        last_id = last_id if answer is None else max(last_id, answer.id)
        answers.append(answer)
    return answers


async def _resend(
    transaction: WriteTransaction, notification_id: str, last_id: int, watermark: int
) -> OutboxMessage | None:
    connection = transaction.connection
    row = await connection.fetchrow(_FOUND, to_database(notification_id))
    if row is None:
        return None
    message_id, job_id, user_id, body, is_dead, redelivery, run, sequence = row
    job, user = from_database(job_id), from_database(user_id)
    if message_id > watermark and not is_dead:
        return OutboxMessage(message_id, notification_id, job, user, body)
    body, new_id = redelivered(body, redelivery + 1), last_id + 1
    await connection.execute("DELETE FROM outbox WHERE id = $1", message_id)
    # positional: the parameters of a statement
    await connection.execute(
        _AGAIN, new_id, notification_id, job_id, run, user_id, sequence, redelivery + 1, transaction.clock.now(), body
    )
    await connection.execute(
        "UPDATE outbox_state SET last_id = $1, pending = pending + 1, dead = dead - $2", new_id, int(bool(is_dead))
    )
    message = OutboxMessage(new_id, notification_id, job, user, body)
    transaction.messages.append(message)
    return message
