"""The audit trail: what the writer adds and takes away, and how it is read. Rare rows, so they may have indexes."""

from collections.abc import Sequence
from typing import Any

from worker.queue import AuditEntry, AuditPage, AuditQuery
from worker.queues.sqlite_filter import row_id
from worker.queues.sqlite_ledger import Ledger
from worker.queues.sqlite_retention import Pruning
from worker.queues.sqlite_schema import Connection


def write(ledger: Ledger, calls: Sequence[AuditEntry]) -> list[None]:
    ledger.connection.executemany(
        "INSERT INTO audit (at, actor, action, target, detail) VALUES (?, ?, ?, ?, ?)",
        [(entry.at, entry.actor, entry.action, entry.target, entry.detail) for entry in calls],
    )
    return [None for _ in calls]


def prune(ledger: Ledger, calls: Sequence[Pruning]) -> list[int]:
    """They were written in the order of time, or nearly so: the first that is young enough ends the search."""
    return [
        ledger.connection.execute(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT ?) AND at < ?",
            (call.limit, call.before),
        ).rowcount
        for call in calls
    ]


def trail(connection: Connection, query: AuditQuery) -> AuditPage:
    """Newest first. ValueError: the cursor is none of ours."""
    limit = max(query.limit, 1)
    terms = [term for term, value in (("actor = ?", query.actor), ("action = ?", query.action)) if value is not None]
    values: list[Any] = [value for value in (query.actor, query.action) if value is not None]
    if query.cursor is not None:
        terms.append("id < ?")
        values.append(row_id(query.cursor))
    rows = connection.execute(
        f"SELECT id, at, actor, action, target, detail FROM audit WHERE {' AND '.join(terms) or '1'} "  # noqa: S608
        "ORDER BY id DESC LIMIT ?",
        (*values, limit + 1),
    ).fetchall()
    cursor = str(rows[limit - 1][0]) if len(rows) > limit else None
    return AuditPage([AuditEntry(*row[1:]) for row in rows[:limit]], cursor)
