"""What people and Prometheus may see of the running service, put together from its parts."""

import asyncio
import importlib
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from worker.clock import Clock
from worker.control import Control
from worker.door.connection import history_view
from worker.door.hubview import HubRoutes
from worker.door.kinds import KindRoutes
from worker.door.live import Live, LiveRoutes
from worker.door.routes import RouteSet
from worker.door.settings_view import SettingsRoutes
from worker.door.stats import Statistics, StatsRoutes
from worker.door.workers import WorkerRoutes
from worker.errors import StoreError
from worker.events import Announced, Emit
from worker.hub.server import Hub
from worker.metrics import Snapshot, expose
from worker.orgsocket.channel import OrgSocket
from worker.orgsocket.history import History
from worker.queue import Figures, Store
from worker.redact import Redactor
from worker.renewal import Renewal
from worker.systemd import Systemd
from worker.tally import Tally
from worker.worker import Worker


@dataclass(frozen=True, slots=True)
class Steering:
    """What may be changed by hand while the service runs."""

    worker: Worker
    renewal: Renewal
    emit: Emit
    systemd: Systemd

    def set_quiet(self, quiet: bool) -> None:
        """Finish what runs and start nothing new, or start again."""
        if quiet == self.worker.quiet:
            return
        self.worker.set_quiet(quiet)
        rest = "quiet: no new job is started, until the next start or until somebody ends it"
        self.emit(Announced(rest if quiet else "quiet no more: jobs are started again"))
        self.systemd.status("quiet" if quiet else "running")

    async def resize(self, concurrency: int) -> None:
        """So many jobs at once; never more child processes than that."""
        if concurrency != self.worker.concurrency:
            self.worker.resize(concurrency)
            self.emit(Announced(f"{concurrency} jobs at once from now on"))
        processes = self.renewal.loaded.settings.worker.processes
        await self.worker.executor.children.resize(min(processes, concurrency))


@dataclass(frozen=True, slots=True)
class Observation:
    """The parts that are looked at."""

    store: Store
    control: Control
    worker: Worker
    channel: OrgSocket
    hub: Hub | None
    tally: Tally
    history: History
    live: Live
    steering: Steering
    renewal: Renewal
    clock: Clock
    started_at: float
    """Wall clock."""
    link: Callable[[], dict[str, object]]
    """The link's figures as JSON."""

    def routes(self) -> Sequence[RouteSet]:
        """All of them are about the whole service."""
        return (
            StatsRoutes(Statistics(self.store, self.tally, self.worker, self.clock).now, self.exposition),
            LiveRoutes(self.live),
            WorkerRoutes(
                self.worker,
                f"{socket.gethostname()}:{os.getpid()}",
                self.started_at,
                self.steering.set_quiet,
                self.steering.resize,
            ),
            KindRoutes(self.control, self.worker.executor),
            HubRoutes(self.hub),
            SettingsRoutes(lambda: self.renewal.loaded),
        )

    async def connection(self) -> dict[str, Any]:
        """The link's figures, what waits for it, and how it came and went."""
        figures = await self._figures()
        return {
            **self.link(),
            "outboxDepth": None if figures is None else figures.outbox_depth,
            "oldestOutboxAge": None if figures is None else figures.oldest_outbox_age,
            "history": [history_view(entry, self.worker.executor.redact) for entry in self.history.entries()],
        }

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """The page for Prometheus, and its content type."""
        # Takes a twentieth of a second, once.
        await asyncio.to_thread(importlib.import_module, "prometheus_client")
        figures = await self._figures()
        paused = frozenset[str]() if figures is None else await self.store.paused()
        snapshot = Snapshot(
            tally=self.tally,
            running=self.worker.running,
            concurrency=self.worker.concurrency,
            processes=self.worker.executor.children.size,
            quiet=self.worker.quiet,
            link=self.channel.figures(),
            reloads=self.renewal.outcome,
            viewers=len(self.live),
            store=figures,
            hub=None if self.hub is None else self.hub.figures(clients=False),
            paused=len(paused),
        )
        return expose(snapshot, accept)

    async def _figures(self) -> Figures | None:
        try:
            return await self.store.figures()
        except StoreError:
            return None


def connection_of(channel: OrgSocket, redact: Redactor) -> dict[str, object]:
    """The link's figures, as `/api/v1/connection` and the pages show them. Addresses and reasons may hold secrets."""
    figures = channel.figures()
    return {
        "state": figures.state.value,
        "mode": figures.mode,
        "totalConnections": figures.total_connections,
        "totalMessages": figures.total_messages,
        "reconnectAttempts": figures.reconnect_attempts,
        "lastPong": figures.last_pong,
        "lastCloseCode": figures.last_close_code,
        "connectedSince": figures.connected_since,
        "inFlight": figures.in_flight,
        "ackMs": {"p50": figures.ack_ms_p50, "p99": figures.ack_ms_p99},
        "status": {"en": redact(figures.status_en), "th": redact(figures.status_th)},
    }
