"""What the writer does to runs that are long over and told: it deletes them, a chunk at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.queues.sqlite_ledger import Ledger
from worker.queues.sqlite_schema import json_list


@dataclass(frozen=True, slots=True)
class Pruning:
    before: float
    limit: int


@dataclass(frozen=True, slots=True)
class PrunedChunk:
    runs: int
    seconds: float
    """How long it took the writer."""


def prune(ledger: Ledger, calls: Sequence[Pruning]) -> list[PrunedChunk]:
    return [_prune(ledger, call) for call in calls]


def _prune(ledger: Ledger, call: Pruning) -> PrunedChunk:
    """Every run that ended has one message, so the old messages lead to the old runs."""
    started = ledger.clock.monotonic()
    messages = _old_messages(ledger, call)
    if messages:
        _delete_jobs(ledger, messages)
        _delete_messages(ledger, messages)
        ledger.counts.work = True  # a full store may have room again
    _forget_shown(ledger, call)
    return PrunedChunk(len(messages), ledger.clock.monotonic() - started)


def _forget_shown(ledger: Ledger, call: Pruning) -> None:
    """Marks of notifications that went before, or that never were: whoever says they were shown may say anything."""
    ledger.connection.execute(
        "DELETE FROM shown WHERE place IN (SELECT place FROM shown ORDER BY place LIMIT ?) AND at < ?",
        (call.limit, call.before),
    )


def _old_messages(ledger: Ledger, call: Pruning) -> list[int]:
    rows = ledger.connection.execute(
        "SELECT id FROM outbox WHERE created_at < ? AND (id <= ? OR dead IS NOT NULL) ORDER BY created_at LIMIT ?",
        (call.before, ledger.counts.delivered, call.limit),
    )
    return [message_id for (message_id,) in rows]


def _delete_jobs(ledger: Ledger, messages: list[int]) -> None:
    """A job that was retried since lives on: only the news of its earlier run goes."""
    rows = ledger.connection.execute(
        "DELETE FROM jobs WHERE seq IN ("
        "SELECT seq FROM outbox JOIN jobs ON jobs.id = outbox.job_id AND jobs.run = outbox.run AND jobs.lane IS NULL "
        "WHERE outbox.id IN (SELECT value FROM json_each(?))) RETURNING seq, state",
        (json_list(messages),),
    ).fetchall()
    seqs = json_list(seq for seq, _ in rows)
    for table in ("payloads", "attempts"):
        ledger.connection.execute(
            f"DELETE FROM {table} WHERE seq IN (SELECT value FROM json_each(?))",  # noqa: S608
            (seqs,),
        )
    for _, state in rows:
        ledger.counts.jobs[state] -= 1


def _delete_messages(ledger: Ledger, messages: list[int]) -> None:
    rows = ledger.connection.execute(
        "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?)) RETURNING notification_id, dead",
        (json_list(messages),),
    ).fetchall()
    ledger.counts.dead -= sum(1 for _, dead in rows if dead)
    ledger.connection.execute(
        "DELETE FROM shown WHERE notification_id IN (SELECT value FROM json_each(?))",
        (json_list(notification_id for notification_id, _ in rows),),
    )
    ledger.connection.execute(
        "DELETE FROM deliveries WHERE up_to < coalesce((SELECT min(id) FROM outbox), ?)", (ledger.counts.delivered,)
    )
