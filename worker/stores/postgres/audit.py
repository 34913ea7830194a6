"""The audit trail: what the writer adds and deletes, and how it is read."""

from collections.abc import Sequence
from typing import Any

from worker.core.store import AuditEntry, AuditPage, AuditQuery
from worker.stores.postgres.database import Connection
from worker.stores.postgres.filters import row_number
from worker.stores.postgres.retention import Pruning, aged_ids
from worker.stores.postgres.texts import from_database, to_database
from worker.stores.postgres.transaction import WriteTransaction


async def write(transaction: WriteTransaction, calls: Sequence[AuditEntry]) -> list[None]:
    """Add entries."""
    await transaction.connection.executemany(
        "INSERT INTO audit (at, actor, action, target, detail) VALUES ($1, $2, $3, $4, $5)",
        [(one.at, *map(to_database, (one.actor, one.action, one.target)), one.detail) for one in calls],
    )
    return [None for _ in calls]


async def prune(transaction: WriteTransaction, calls: Sequence[Pruning]) -> list[int]:
    """Delete the oldest entries, as far as they are old enough; return how many."""
    deleted = []
    for call in calls:
        status = await transaction.connection.execute(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id <= $1 ORDER BY id LIMIT $2)",
            (await aged_ids(transaction, call.age)).audit,
            call.limit,
        )
        deleted.append(int(status.rpartition(" ")[2]))
    return deleted


async def trail(connection: Connection, query: AuditQuery) -> AuditPage:
    """Return a page of entries, newest first. Raises ValueError for a cursor that is not one of the store's."""
    limit = max(query.limit, 1)
    terms, values = ["true"], list[Any]()
    for column, value in (("actor", query.actor), ("action", query.action)):
        if value is not None:
            values.append(to_database(value))
            terms.append(f"{column} = ${len(values)}")
    if query.cursor is not None:
        values.append(row_number(query.cursor))
        terms.append(f"id < ${len(values)}")
    rows = await connection.fetch(
        f"SELECT id, at, actor, action, target, detail FROM audit WHERE {' AND '.join(terms)} "
        f"ORDER BY id DESC LIMIT {limit + 1:d}",
        *values,
    )
    cursor = str(rows[limit - 1]["id"]) if len(rows) > limit else None
    entries = [
        AuditEntry(
            row["at"],
            from_database(row["actor"]),
            from_database(row["action"]),
            from_database(row["target"]),
            row["detail"],
        )
        for row in rows[:limit]
    ]
    return AuditPage(entries, cursor)
