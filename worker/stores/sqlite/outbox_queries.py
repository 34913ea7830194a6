"""Reads the outbox, for the relay and for users."""

from collections.abc import Iterator
from typing import Any

from worker.core.store import DeliveryRecord, NotificationRecord, OutboxMessage
from worker.stores.sqlite.connection import Connection
from worker.stores.sqlite.search.index_reader import IndexSnapshot, SearchFile
from worker.stores.sqlite.statements import json_list

_END = 1 << 62
"""Higher than every id."""

_PIECE = 1_000
"""Messages of a user that are read by one statement."""

_ALL_DEAD = 20_000
"""Up to this number, dead messages are scanned for those of a user."""


def pending(connection: Connection, after: int, limit: int, max_bytes: int) -> list[OutboxMessage]:
    rows = connection.execute(
        "SELECT id, notification_id, job_id, user_id, body FROM outbox "
        "WHERE id > max(?, (SELECT delivered FROM tally)) AND dead IS NULL ORDER BY id LIMIT ?",
        (after, max(limit, 0)),
    )
    found: list[OutboxMessage] = []
    size = 0
    for row in rows:
        found.append(OutboxMessage(*row))
        size += len(row[4])
        if size >= max_bytes:
            rows.close()
            break
    return found


def message_id_of(connection: Connection, notification_id: str) -> int | None:
    """Return the id of a notification's message. Scans from the newest: an index would cost more than it saves."""
    row = connection.execute(
        "SELECT id FROM outbox INDEXED BY outbox_age WHERE notification_id = ? ORDER BY created_at DESC LIMIT 1",
        (notification_id,),
    ).fetchone()
    return None if row is None else int(row[0])


_STATES = {
    "pending": "dead IS NULL AND outbox.id > delivered",
    "delivered": "dead IS NULL AND outbox.id <= delivered",
    "dead": "dead = 1",
}

_STATE = "CASE WHEN dead = 1 THEN 'dead' WHEN outbox.id > delivered THEN 'pending' ELSE 'delivered' END"

_DELIVERED_AT = (
    "CASE WHEN dead IS NULL AND outbox.id <= delivered "
    "THEN (SELECT at FROM deliveries WHERE up_to >= outbox.id ORDER BY up_to LIMIT 1) END"
)

_RECORD = (
    f"SELECT outbox.id, notification_id, job_id, user_id, sequence, {_STATE}, created_at, {_DELIVERED_AT}, "
    "redelivery, reason, body FROM (SELECT delivered FROM tally)"
)

# CROSS JOIN: from the ids to the messages, in their order; left to choose, SQLite may go through all messages.
_NAMED = "CROSS JOIN (SELECT value AS named FROM json_each(?)) CROSS JOIN outbox ON outbox.id = named"

_DELIVERY = (
    f"SELECT outbox.notification_id, run, sequence, {_STATE}, created_at, {_DELIVERED_AT}, shown.at, "
    f"coalesce(shown.times, 0), redelivery, reason FROM (SELECT delivered FROM tally) {_NAMED} "
    "LEFT JOIN shown ON shown.notification_id = outbox.notification_id"
)


def notifications(
    connection: Connection,
    search: SearchFile,
    state: str | None,
    user_id: str | None,
    job_id: str | None,
    before: int | None,
    limit: int,
) -> list[NotificationRecord]:
    """Newest first. ValueError: no such state."""
    if state is not None and state not in _STATES:
        raise ValueError(f"no notification is {state[:40]!r}; states are {', '.join(_STATES)}")
    terms, values = ["1" if state is None else _STATES[state]], []
    for term, value in (("user_id = ?", user_id), ("job_id = ?", job_id)):
        if value is not None:
            terms.append(term)
            values.append(value)
    where, below, limit = " AND ".join(terms), _END if before is None else before, max(limit, 0)
    return search.with_snapshot(
        connection,
        lambda snapshot: _notifications(connection, snapshot, (user_id, job_id), state, where, values, below, limit),
    )


def _notifications(
    connection: Connection,
    snapshot: IndexSnapshot | None,
    whose: tuple[str | None, str | None],
    state: str | None,
    where: str,
    values: list[str],
    below: int,
    limit: int,
) -> list[NotificationRecord]:
    user_id, job_id = whose
    helps = snapshot is not None and snapshot.store == _store(connection) and not _few_dead(connection, state)
    indexed = snapshot.up_to if snapshot is not None and helps and (user_id or job_id) is not None else 0
    rows = _newer(connection, state, where, values, indexed, below, limit)
    if snapshot is not None and indexed:
        for ids in _pieces(connection, snapshot, user_id, job_id, min(below, indexed + 1)):
            if len(rows) >= limit:
                break
            rows += connection.execute(
                f"{_RECORD} {_NAMED} WHERE {where} LIMIT ?",
                (json_list(ids), *values, limit - len(rows)),
            )
    return [NotificationRecord(*row) for row in rows]


def _newer(
    connection: Connection, state: str | None, where: str, values: list[str], after: int, below: int, limit: int
) -> list[Any]:
    """Return the messages that are not in the index."""
    index = "INDEXED BY outbox_dead" if state == "dead" and _few_dead(connection, state) else "NOT INDEXED"
    return connection.execute(
        f"{_RECORD} CROSS JOIN outbox {index} WHERE {where} AND outbox.id > ? AND outbox.id < ? "
        "ORDER BY outbox.id DESC LIMIT ?",
        (*values, after, below, limit),
    ).fetchall()


def _few_dead(connection: Connection, state: str | None) -> bool:
    if state != "dead":
        return False
    (dead,) = connection.execute("SELECT dead FROM tally").fetchone()
    return bool(dead <= _ALL_DEAD)


def _pieces(
    connection: Connection, snapshot: IndexSnapshot, user_id: str | None, job_id: str | None, below: int
) -> Iterator[list[int]]:
    """Yield message ids below `below`, the highest first, in pieces."""
    seq = None if job_id is None else _seq_of(connection, job_id)
    if job_id is not None and seq is None:
        return
    while True:
        if seq is not None:
            ids = snapshot.messages_of_job(seq, below, _PIECE)
        else:
            assert user_id is not None
            ids = snapshot.messages_of_user(user_id, below, _PIECE)
        if not ids:
            return
        yield ids
        below = ids[-1]


def deliveries(connection: Connection, search: SearchFile, job_id: str) -> list[DeliveryRecord]:
    """Return the deliveries of a job's runs, the oldest run first."""
    return search.with_snapshot(connection, lambda snapshot: _deliveries(connection, snapshot, job_id))


def _deliveries(connection: Connection, snapshot: IndexSnapshot | None, job_id: str) -> list[DeliveryRecord]:
    seq = _seq_of(connection, job_id)
    if seq is None:
        return []
    known, after = [], 0
    if snapshot is not None and snapshot.store == _store(connection):
        known, after = snapshot.messages_of_job(seq, _END, _PIECE), snapshot.up_to
    newer = connection.execute("SELECT id FROM outbox NOT INDEXED WHERE id > ? AND job_id = ?", (after, job_id))
    ids = {*known, *(message_id for (message_id,) in newer)}
    rows = connection.execute(f"{_DELIVERY} WHERE job_id = ? ORDER BY run", (json_list(ids), job_id))
    return [DeliveryRecord(*row) for row in rows]


def _seq_of(connection: Connection, job_id: str) -> int | None:
    row = connection.execute("SELECT seq FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return None if row is None else int(row[0])


def _store(connection: Connection) -> str:
    (store,) = connection.execute("SELECT store FROM tally").fetchone()
    return str(store)
