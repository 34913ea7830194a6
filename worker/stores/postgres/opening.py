"""Opens the store: connects, creates or checks the schema, enters this process among the workers."""

import contextlib
from functools import partial

from worker.core.clock import Clock
from worker.core.elapsed import ElapsedTime, SavedTime
from worker.core.notification import PENDING_BYTES
from worker.stores.postgres import outbox_queries
from worker.stores.postgres.announcer import Announcer
from worker.stores.postgres.budget import Budget
from worker.stores.postgres.database import Connection, DatabaseTarget, Tickets
from worker.stores.postgres.errors import translate, translated
from worker.stores.postgres.listener import ClusterListener
from worker.stores.postgres.migrations import migrate, migrate_back, require_current, schema_state
from worker.stores.postgres.outages import LISTENER, WRITER, OnOutage, Outages
from worker.stores.postgres.reader import ReadPool
from worker.stores.postgres.registry import manager_of, register, tidy
from worker.stores.postgres.store import PostgresStore
from worker.stores.postgres.transaction import WriteTransaction
from worker.stores.postgres.turns_check import repair_turns
from worker.stores.postgres.wall_clock import remember
from worker.stores.postgres.writer import Writer

_CLOCK_SECONDS = 2.0
"""Up to this difference between a worker's clock and the server's there is no warning."""


async def open_store(
    target: DatabaseTarget,
    *,
    owner: str,
    max_bytes: int,
    clock: Clock,
    on_outage: OnOutage = lambda _part, _reason: None,
) -> PostgresStore:
    """Open the store, or create it in a schema of its own.

    `owner` names one run of this process: use a new one at each start. `on_outage` is called when the server is lost
    and when it is back. Raises StoreError.
    """
    connection = None
    try:
        connection = await target.connect()
        state = await schema_state(connection, target)
        require_current(state, target)
        if state.version == 0:
            await migrate(connection, target)
        tickets = Tickets(target)
        budget = Budget(max_bytes, target.shown, clock.monotonic)
        elapsed = await _read_elapsed(connection, clock)
        transaction = WriteTransaction(connection, tickets, clock, owner, manager_of(owner), budget, elapsed)
        last_id = await _enter(transaction)
        store = _assembled(target, transaction, last_id, on_outage)
        store.created, store.warnings = state.version == 0, await _warnings(connection, clock)
        await store.start()
    except Exception as exc:
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close(timeout=2.0)
        known = translate(exc, target.shown)
        if known is exc:
            raise
        raise known from exc
    return store


async def migrate_target(target: DatabaseTarget, *, back: bool = False) -> tuple[int, int]:
    """Create the store, or bring its schema up to date, or one version back; return the versions before and after.

    Raises StoreError, and NotPossible where there is no way back.
    """
    with translated(target.shown):
        connection = await target.connect()
        try:
            return await (migrate_back if back else migrate)(connection, target)
        finally:
            await connection.close(timeout=2.0)


async def _read_elapsed(connection: Connection, clock: Clock) -> ElapsedTime:
    """Return elapsed time as it was saved; in a new store it begins now."""
    await connection.execute(
        "INSERT INTO elapsed (elapsed, wall, monotonic, boot) VALUES ($1, $1, $2, $3) ON CONFLICT DO NOTHING",
        clock.now(),
        clock.monotonic(),
        clock.boot,
    )
    saved = await connection.fetchrow("SELECT elapsed, wall, monotonic, boot FROM elapsed")
    return ElapsedTime(clock, SavedTime(*saved))


async def _enter(transaction: WriteTransaction) -> int:
    """Enter this process; return the highest id of a message."""
    connection, clock = transaction.connection, transaction.clock
    await register(connection, transaction.owner, None)
    await tidy(connection)
    await repair_turns(connection)
    async with connection.transaction():
        seen = await connection.fetchval("SELECT clock FROM meta FOR UPDATE")
        transaction.counts.clock_offset = max(seen, clock.now()) - clock.monotonic()
        await transaction.follow_clock()
        await remember(connection, clock.now())
    last_id: int = await connection.fetchval("SELECT last_id FROM outbox_state")
    return last_id


def _assembled(
    target: DatabaseTarget, transaction: WriteTransaction, last_id: int, on_outage: OnOutage
) -> PostgresStore:
    reads, outages = ReadPool(target), Outages(on_outage)
    writer = Writer(
        transaction, target.connect, lambda _work, _messages: None, partial(outages.note, WRITER), target.shown
    )
    listener = ClusterListener(
        target,
        transaction.tickets,
        transaction.owner,
        kinds=lambda: transaction.rules.kinds,
        on_work=lambda: None,
        on_message=lambda: None,
        on_cancel=lambda _job_id: None,
        own_pids=lambda: _own_pids(transaction),
        connect=target.connect,
        on_outage=partial(outages.note, LISTENER),
    )
    announcer = Announcer(lambda after, limit: reads.read(outbox_queries.pending, after, limit, PENDING_BYTES), last_id)
    return PostgresStore(target, writer, listener, reads, announcer)


def _own_pids(transaction: WriteTransaction) -> set[int]:
    """Return the server process of the writer's connection; nothing while it has none."""
    connection = transaction.connection
    return set() if connection.is_closed() else {connection.get_server_pid()}


async def _warnings(connection: Connection, clock: Clock) -> list[str]:
    """Return what an operator should know about this server, a sentence each."""
    return [*await _clock_warnings(connection, clock), *await _durability_warnings(connection)]


async def _clock_warnings(connection: Connection, clock: Clock) -> list[str]:
    before = clock.now()
    server = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    # What the answer took is not a difference.
    ahead = before - server if before > server else min(clock.now() - server, 0.0)
    if abs(ahead) < _CLOCK_SECONDS:
        return []
    direction, effect = ("ahead of", "early") if ahead > 0 else ("behind", "late")
    return [
        f"this machine's clock is {abs(ahead):,.0f} s {direction} PostgreSQL's: jobs with a time start too {effect} "
        "here; set the clocks of all machines by NTP"
    ]


async def _durability_warnings(connection: Connection) -> list[str]:
    settings = dict(
        await connection.fetch("SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit')")
    )
    return [
        f"PostgreSQL has {name} = off: a power cut loses jobs that were accepted; set it to on"
        for name in ("fsync", "synchronous_commit")
        if settings[name] == "off"
    ]
