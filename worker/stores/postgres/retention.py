"""What the writer does to runs that ended long ago and whose notification is settled: deletes them, in chunks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from worker.core.store import PruneProgress
from worker.stores.postgres.outbox import LOCK
from worker.stores.postgres.transaction import WriteTransaction


@dataclass(frozen=True, slots=True)
class Pruning:
    """A request to delete what has existed for `age` seconds of elapsed time, up to `limit` rows."""

    age: float
    limit: int


_PRUNE = """
    WITH old AS MATERIALIZED (
        SELECT id, job_id, run, notification_id, dead FROM outbox
        WHERE id <= $1 AND (id <= $2 OR dead) ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED
    ), messages AS (
        DELETE FROM outbox USING old WHERE outbox.id = old.id
    ), marks AS (
        DELETE FROM shown USING old WHERE shown.notification_id = old.notification_id
    ), ended AS (
        DELETE FROM jobs USING old WHERE jobs.id = old.job_id AND jobs.run = old.run
            AND jobs.state IN ('succeeded', 'failed', 'cancelled')
        RETURNING jobs.seq, jobs.kind, jobs.state, jobs.bytes
    ), earlier AS (
        DELETE FROM attempts USING ended WHERE attempts.seq = ended.seq
    )
    SELECT NULL AS kind, NULL AS state, count(*) AS number, count(*) FILTER (WHERE dead) AS bytes FROM old
    UNION ALL SELECT kind, state, count(*), sum(bytes)::bigint FROM ended GROUP BY kind, state
"""


async def prune(transaction: WriteTransaction, calls: Sequence[Pruning]) -> list[PruneProgress]:
    """Delete runs, the oldest first; return how many, and how long it took the writer."""
    return [await _prune(transaction, call) for call in calls]


async def _prune(transaction: WriteTransaction, call: Pruning) -> PruneProgress:
    started = transaction.clock.monotonic()
    connection = transaction.connection
    _, watermark = await connection.fetchrow(LOCK)
    aged = await aged_ids(transaction, call.age)
    (_, _, runs, dead), *ended = await connection.fetch(_PRUNE, aged.message, watermark, call.limit)
    for kind, state, number, size in ended:
        transaction.counts.changes[kind, state] -= number
        transaction.counts.changes[kind, "bytes"] -= size
    if dead:
        await connection.execute("UPDATE outbox_state SET dead = dead - $1", dead)
    if runs:
        await connection.execute(
            "DELETE FROM deliveries WHERE up_to < coalesce((SELECT min(id) FROM outbox), $1)", watermark
        )
        transaction.wake()  # a full store may have space again
    await _forget_marks(transaction, call, aged.shown)
    return PruneProgress(runs, transaction.clock.monotonic() - started)


async def _forget_marks(transaction: WriteTransaction, call: Pruning, last: int) -> None:
    """Delete old marks of notifications that are gone or never existed, and old lines of PgQueuer's log."""
    await transaction.connection.execute(
        "DELETE FROM shown WHERE place IN (SELECT place FROM shown WHERE place <= $1 ORDER BY place LIMIT $2)",
        last,
        call.limit,
    )
    await transaction.connection.execute(
        "DELETE FROM pgqueuer_log WHERE id IN (SELECT id FROM pgqueuer_log ORDER BY id LIMIT $1) "
        "AND created < now() - interval '1 day'",
        call.limit * 4,
    )


# -- ages --------------------------------------------------------------------------------------------------

_MARK_SECONDS = 60.0
"""Elapsed time between two marks, and so the precision of ages that are longer than this."""


class AgedIds(NamedTuple):
    """The last rows that are as old as required; 0: none is."""

    message: int
    audit: int
    shown: int


async def aged_ids(transaction: WriteTransaction, age: float) -> AgedIds:
    """Return the last rows that have existed for `age` seconds, by marks: each says which rows existed at a time.

    The rows themselves have times of the wall clock, which may have been wrong when they were written.
    """
    connection = transaction.connection
    await connection.fetchrow(LOCK)
    now = await _elapsed(transaction)
    last = await connection.fetchval("SELECT max(at) FROM ages")
    if last is None or now - last >= min(_MARK_SECONDS, age):
        await connection.execute(
            "INSERT INTO ages SELECT $1, (SELECT last_id FROM outbox_state), coalesce((SELECT max(id) FROM audit), 0), "
            "coalesce((SELECT max(place) FROM shown), 0) ON CONFLICT (at) DO UPDATE SET message = excluded.message, "
            "audit = excluded.audit, shown = excluded.shown",
            now,
        )
    found = await connection.fetchrow(
        "SELECT message, audit, shown, at FROM ages WHERE at <= $1 ORDER BY at DESC LIMIT 1", now - age
    )
    if found is None:
        return AgedIds(0, 0, 0)
    *ids, at = found
    # Of the older marks one a day is enough, for what is kept longer.
    await connection.execute(
        "DELETE FROM ages WHERE at < $1 "
        "AND at NOT IN (SELECT max(at) FROM ages WHERE at < $1 GROUP BY floor(at / 86400))",
        at,
    )
    return AgedIds(*ids)


async def _elapsed(transaction: WriteTransaction) -> float:
    """Return the elapsed time, which never goes back whichever store asks, and save it."""
    saved = transaction.elapsed.save()
    elapsed: float = await transaction.connection.fetchval(
        "UPDATE elapsed SET elapsed = greatest(elapsed, $1), wall = $2, monotonic = $3, boot = $4 RETURNING elapsed",
        *saved,
    )
    return elapsed
