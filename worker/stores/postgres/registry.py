"""The processes that have the store open: who is alive, and what each may claim."""

import os
import socket
from uuid import NAMESPACE_OID, uuid5

from worker import __version__
from worker.core.shared_store import WorkerRecord
from worker.errors import StoreLocked
from worker.stores.postgres.claim import SEQ
from worker.stores.postgres.database import Connection, Tickets
from worker.stores.postgres.liveness import LEASE_SECONDS, show_life
from worker.stores.postgres.texts import from_database, to_database


def manager_of(owner: str) -> str:
    """Return the owner's name in PgQueuer's tables, a UUID."""
    return str(uuid5(NAMESPACE_OID, owner))


_DISOWN = f"""
    WITH stranded AS (
        UPDATE jobs SET owner = owner || '~' FROM pgqueuer
        WHERE jobs.seq = {SEQ} AND status = 'picked' AND queue_manager_id = $1::text::uuid AND owner = $2
        RETURNING ticket
    )
    UPDATE pgqueuer SET queue_manager_id = gen_random_uuid() FROM stranded WHERE pgqueuer.id = stranded.ticket
"""

_REGISTER = """
    INSERT INTO workers (owner, manager, host, pid, version, kinds) VALUES ($1, $2::text::uuid, $3, $4, $5, $6)
"""


async def register(connection: Connection, owner: str, kinds: frozenset[str] | None) -> None:
    """Enter this process. Running jobs that have its name belong to a process that died. Raises StoreLocked."""
    manager = manager_of(owner)
    alive = await connection.fetchval(
        "SELECT seen_at > now() - make_interval(secs => $2) FROM workers WHERE owner = $1",
        owner,
        LEASE_SECONDS,
    )
    if alive:
        raise StoreLocked(f"a worker named {owner!r} has the store open: give each process a name of its own")
    async with connection.transaction():
        await connection.execute("DELETE FROM workers WHERE owner = $1", owner)
        await connection.execute(_DISOWN, manager, owner)
        names = None if kinds is None else sorted(map(to_database, kinds))
        await connection.execute(_REGISTER, owner, manager, socket.gethostname(), os.getpid(), __version__, names)


async def beat(connection: Connection, tickets: Tickets, owner: str, kinds: frozenset[str] | None) -> list[str]:
    """Give a sign of life; return the running jobs of this owner that were asked to stop."""
    if not await show_life(connection, owner):
        await register(connection, owner, kinds)
    held = await connection.fetch(
        f"SELECT pgqueuer.id AS ticket, jobs.id, cancel_requested FROM pgqueuer JOIN jobs ON jobs.seq = {SEQ} "
        "WHERE status = 'picked' AND queue_manager_id = $1::text::uuid",
        manager_of(owner),
    )
    await connection.execute(tickets.beat, [row["ticket"] for row in held])
    return [from_database(row["id"]) for row in held if row["cancel_requested"]]


_FOLD = """
    WITH dead AS (
        DELETE FROM tally WHERE shard IN (
            SELECT shard FROM tally WHERE shard <> '' AND NOT EXISTS (SELECT FROM workers WHERE owner = shard)
            FOR UPDATE SKIP LOCKED)
        RETURNING *
    )
    INSERT INTO tally (shard, kind, queued, running, succeeded, failed, cancelled, bytes)
    SELECT '', kind, sum(queued), sum(running), sum(succeeded), sum(failed), sum(cancelled), sum(bytes)
    FROM dead GROUP BY kind ORDER BY kind
    ON CONFLICT (shard, kind) DO UPDATE SET queued = tally.queued + excluded.queued,
        running = tally.running + excluded.running, succeeded = tally.succeeded + excluded.succeeded,
        failed = tally.failed + excluded.failed, cancelled = tally.cancelled + excluded.cancelled,
        bytes = tally.bytes + excluded.bytes
"""


_TIDY_ROWS = 10_000
"""Rows that are deleted at a time, so that no statement comes to its time limit and is undone each time."""
_TIDY_LOCK_SECONDS = 2
"""How long deleting waits for a lock of another session: it occupies one of few connections."""

_OLD_TURNS = 100_000
"""Claims after which `turns`, which only version 3 of the schema uses, forgets an owner without due jobs."""

_FORGET_TURNS = """
    DELETE FROM turns WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM turns WHERE served < (SELECT last_value << 20 FROM turn_numbers) - $1 AND NOT EXISTS (
            SELECT FROM ready WHERE ready.rank = turns.rank AND ready.organization = turns.organization
                AND (turns.user_id = '' OR ready.user_id = turns.user_id))
        LIMIT $2))
"""


# By the server's clock as well: one worker's clock that is far ahead must not make others' starts old.
_FORGET_STARTS = """
    DELETE FROM starts WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM starts
        WHERE at < least((SELECT max(at) FROM starts), extract(epoch FROM now())::float8) - 120 LIMIT $1))
"""


_FORGET_COMMITS = "DELETE FROM last_commits WHERE at < now() - interval '30 days'"
"""Far beyond the time for which a transaction can be in doubt."""


async def tidy(connection: Connection) -> bool:
    """Forget workers that died long ago and hold no jobs, and add up the counts of those that are gone.

    Old rows about turns are deleted a part at a time; returns whether others may be left.
    """
    await connection.execute(
        "DELETE FROM workers WHERE seen_at < now() - interval '1 hour' AND NOT EXISTS "
        "(SELECT FROM pgqueuer WHERE queue_manager_id = manager)"
    )
    await connection.execute(_FOLD)
    await connection.execute(_FORGET_COMMITS)
    full = f"DELETE {_TIDY_ROWS}"
    turns = await connection.execute(_FORGET_TURNS, _OLD_TURNS << 20, _TIDY_ROWS)
    return full in (turns, await connection.execute(_FORGET_STARTS, _TIDY_ROWS))


async def tidy_in_pool(connection: Connection) -> bool:
    """Tidy on a connection of a pool, which resets its settings; locks are waited for only shortly."""
    await connection.execute(f"SET lock_timeout = '{_TIDY_LOCK_SECONDS}s'")
    return await tidy(connection)


async def leave(connection: Connection, owner: str) -> None:
    """Take this process out: what it still runs is an orphan from now on."""
    await connection.execute("DELETE FROM workers WHERE owner = $1", owner)


async def workers(connection: Connection) -> list[WorkerRecord]:
    """Return the processes that are alive, the oldest first."""
    rows = await connection.fetch(
        "SELECT owner, host, pid, version, kinds, started_at, seen_at, "
        "(SELECT count(*) FROM pgqueuer WHERE queue_manager_id = manager) AS running FROM workers "
        "WHERE seen_at > now() - make_interval(secs => $1) ORDER BY started_at, owner",
        LEASE_SECONDS,
    )
    return [
        WorkerRecord(
            row["owner"],
            row["host"],
            row["pid"],
            row["version"],
            None if row["kinds"] is None else tuple(map(from_database, row["kinds"])),
            row["started_at"].timestamp(),
            row["seen_at"].timestamp(),
            row["running"],
        )
        for row in rows
    ]
