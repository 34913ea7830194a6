"""Writes, reads and prunes the audit trail. Its rows are rare, so they have indexes."""

from collections.abc import Sequence
from typing import Any

from worker.core.store import AuditEntry, AuditPage, AuditQuery
from worker.stores.sqlite.connection import Connection
from worker.stores.sqlite.retention import Pruning, aged_ids
from worker.stores.sqlite.search.filters import row_id
from worker.stores.sqlite.transaction import WriteTransaction


def write(transaction: WriteTransaction, calls: Sequence[AuditEntry]) -> list[None]:
    transaction.connection.executemany(
        "INSERT INTO audit (at, actor, action, target, detail) VALUES (?, ?, ?, ?, ?)",
        [(entry.at, entry.actor, entry.action, entry.target, entry.detail) for entry in calls],
    )
    return [None for _ in calls]


def prune(transaction: WriteTransaction, calls: Sequence[Pruning]) -> list[int]:
    """Delete the oldest entries, as far as they are old enough."""
    return [
        transaction.connection.execute(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id <= ? ORDER BY id LIMIT ?)",
            (aged_ids(transaction, call.age).audit, call.limit),
        ).rowcount
        for call in calls
    ]


def trail(connection: Connection, query: AuditQuery) -> AuditPage:
    """Return a page, newest first. Raises ValueError if the cursor is not one of this list."""
    limit = max(query.limit, 1)
    terms = [term for term, value in (("actor = ?", query.actor), ("action = ?", query.action)) if value is not None]
    values: list[Any] = [value for value in (query.actor, query.action) if value is not None]
    if query.cursor is not None:
        terms.append("id < ?")
        values.append(row_id(query.cursor))
    rows = connection.execute(
        f"SELECT id, at, actor, action, target, detail FROM audit WHERE {' AND '.join(terms) or '1'} "
        "ORDER BY id DESC LIMIT ?",
        (*values, limit + 1),
    ).fetchall()
    cursor = str(rows[limit - 1][0]) if len(rows) > limit else None
    return AuditPage([AuditEntry(*row[1:]) for row in rows[:limit]], cursor)
