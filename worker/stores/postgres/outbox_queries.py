"""The outbox as the relay and operators read it."""

from typing import Any

from worker.core.store import DeliveryRecord, NotificationRecord, OutboxMessage
from worker.stores.postgres.database import Connection
from worker.stores.postgres.texts import from_database, optional_from_database, to_database


async def pending(connection: Connection, after: int, limit: int, max_bytes: int) -> list[OutboxMessage]:
    """Return unsettled messages with higher ids than `after`, in order, until their bodies reach `max_bytes`."""
    rows = await connection.fetch(
        "SELECT id, notification_id, job_id, user_id, body FROM ("
        "SELECT *, sum(octet_length(body)) OVER (ORDER BY id) - octet_length(body) AS bytes_before FROM ("
        "SELECT id, notification_id, job_id, user_id, body FROM outbox "
        "WHERE id > greatest($1, (SELECT delivered FROM outbox_state)) AND dead IS NULL ORDER BY id LIMIT $2"
        ") AS oldest) AS measured WHERE bytes_before < $3 ORDER BY id",
        after,
        max(limit, 0),
        max_bytes,
    )
    return [
        OutboxMessage(message_id, notification_id, from_database(job_id), from_database(user_id), body)
        for message_id, notification_id, job_id, user_id, body in rows
    ]


_STATES = {
    "pending": "outbox.dead IS NULL AND id > delivered",
    "delivered": "outbox.dead IS NULL AND id <= delivered",
    "dead": "outbox.dead",
}

_STATE = "CASE WHEN outbox.dead THEN 'dead' WHEN id > delivered THEN 'pending' ELSE 'delivered' END"

_DELIVERED_AT = (
    "CASE WHEN outbox.dead IS NULL AND id <= delivered "
    "THEN (SELECT at FROM deliveries WHERE up_to >= id ORDER BY up_to LIMIT 1) END"
)

_FROM = "FROM (SELECT delivered FROM outbox_state) AS state CROSS JOIN outbox"


async def notifications(
    connection: Connection,
    state: str | None,
    user_id: str | None,
    job_id: str | None,
    before: int | None,
    limit: int,
) -> list[NotificationRecord]:
    """Return notifications, newest first. Raises ValueError for an unknown state."""
    if state is not None and state not in _STATES:
        raise ValueError(f"no notification is {state[:40]!r}; states are {', '.join(_STATES)}")
    terms, values = ["true" if state is None else _STATES[state]], list[Any]()
    for column, value in (("user_id", user_id), ("job_id", job_id)):
        if value is not None:
            values.append(to_database(value))
            terms.append(f"{column} = ${len(values)}")
    if before is not None:
        values.append(before)
        terms.append(f"id < ${len(values)}")
    rows = await connection.fetch(
        f"SELECT id, notification_id, job_id, user_id, sequence, {_STATE}, created_at, {_DELIVERED_AT}, "
        f"redelivery, reason, body {_FROM} WHERE {' AND '.join(terms)} ORDER BY id DESC LIMIT {max(limit, 0):d}",
        *values,
    )
    return [NotificationRecord(*_decoded(row, 2, 3, 9)) for row in rows]


async def deliveries(connection: Connection, job_id: str) -> list[DeliveryRecord]:
    """Return the deliveries of a job's notifications, the oldest run first."""
    rows = await connection.fetch(
        f"SELECT outbox.notification_id, run, sequence, {_STATE}, created_at, {_DELIVERED_AT}, shown.at, "
        f"coalesce(shown.times, 0), redelivery, reason {_FROM} "
        "LEFT JOIN shown ON shown.notification_id = outbox.notification_id WHERE job_id = $1 ORDER BY run",
        to_database(job_id),
    )
    return [DeliveryRecord(*_decoded(row, 9)) for row in rows]


def _decoded(row: Any, *places: int) -> list[Any]:
    """Return the values of a row, with the texts at these places as they were before they were stored."""
    values = list(row)
    for place in places:
        values[place] = optional_from_database(values[place])
    return values
