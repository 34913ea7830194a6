"""Receives what other stores committed, on a connection of its own, and gives this store's signs of life."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from worker.stores.postgres.database import Connection, DatabaseTarget, Tickets
from worker.stores.postgres.liveness import BEAT_SECONDS, LEASE_SECONDS
from worker.stores.postgres.registry import beat
from worker.stores.postgres.stalled import end_stalled_sessions

_PAUSE = 0.5
"""Seconds before the connection is opened again."""
_MOST_SECONDS = LEASE_SECONDS / 2
"""How long a sign of life may take; a new connection after that can still give one before the lease is over."""


@dataclass(slots=True)
class ClusterListener:
    """Runs until cancelled, with a new connection whenever one is lost."""

    target: DatabaseTarget
    tickets: Tickets
    owner: str
    kinds: Callable[[], frozenset[str] | None]
    on_work: Callable[[], None]
    on_message: Callable[[], None]
    on_cancel: Callable[[str], None]
    own_pids: Callable[[], set[int]]
    """Server processes whose notifications are this store's own."""
    connect: Callable[[], Awaitable[Connection]]
    on_outage: Callable[[str | None], None]
    """Called with the reason when signs of life fail again and again, and with None after each one that is given."""
    _connection: Connection = None
    _failures: int = 0
    _lost: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Listen; what is committed from now on is received."""
        await self._subscribe()

    async def run(self) -> None:
        """Whatever fails is tried again: without signs of life others would take this store's jobs."""
        while True:
            try:
                if self._connection is None:
                    await self._subscribe()
                    # what was committed in the time without a connection
                    self.on_work()
                    self.on_message()
                await self._give_signs_of_life(self._connection)
            except Exception as exc:  # noqa: BLE001 -- also a deadlock, a time limit or a right that was taken away
                self._failures += 1
                if self._failures > 1:  # one that was lost and is there again is not worth a report
                    self.on_outage(str(exc) or type(exc).__name__)
            finally:
                await self.close()
            await asyncio.sleep(_PAUSE)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close(timeout=2.0)

    async def _subscribe(self) -> None:
        self._lost.clear()
        connection = self._connection = await self.connect()
        connection.add_termination_listener(lambda _connection: self._lost.set())
        await connection.add_listener(self.target.pgqueuer().channel, self._on_queue)
        await connection.add_listener(self.target.events, self._on_event)

    async def _give_signs_of_life(self, connection: Connection) -> None:
        while not self._lost.is_set():
            async with asyncio.timeout(_MOST_SECONDS):
                await end_stalled_sessions(connection)  # which the sign of life may have to wait for
                cancelled = await beat(connection, self.tickets, self.owner, self.kinds())
            self._failures = 0
            self.on_outage(None)
            for job_id in cancelled:
                self.on_cancel(job_id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._lost.wait()

    def _on_queue(self, _connection: object, pid: int, _channel: str, payload: str) -> None:
        """PgQueuer's trigger tells of every change of a ticket; only new ones are work."""
        if pid not in self.own_pids() and '"insert"' in payload:
            self.on_work()

    def _on_event(self, _connection: object, pid: int, _channel: str, payload: str) -> None:
        if payload.startswith("cancel "):
            self.on_cancel(payload.removeprefix("cancel "))
        elif pid not in self.own_pids():
            if payload == "work":
                self.on_work()
            else:
                self.on_message()
