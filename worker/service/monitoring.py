"""What the API and Prometheus show of the running service, collected from its components."""

import asyncio
import importlib
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from worker.api.routes.hub import HubRoutes
from worker.api.routes.kinds import KindRoutes
from worker.api.routes.link import link_event
from worker.api.routes.live import EventStream, LiveRoutes
from worker.api.routes.settings import SettingsRoutes
from worker.api.routes.stats import Statistics, StatsRoutes
from worker.api.routes.workers import WorkerRoutes
from worker.api.routing import RouteSet
from worker.api.views import timestamp
from worker.core.clock import Clock
from worker.core.events import Announced, Emit
from worker.core.redact import Redactor
from worker.core.store import Store, StoreStats
from worker.errors import StoreError
from worker.hub.server import HubServer
from worker.notifiers.socketio.event_log import LinkEventLog
from worker.notifiers.socketio.notifier import SocketIoNotifier
from worker.observability.prometheus import Snapshot, expose
from worker.observability.stats import JobStats
from worker.runtime.operations import JobService
from worker.runtime.worker import Worker
from worker.service.reload import SettingsReloader
from worker.service.systemd import Systemd


@dataclass(frozen=True, slots=True)
class WorkerControls:
    """What an operator may change while the service runs."""

    worker: Worker
    reloader: SettingsReloader
    emit: Emit
    systemd: Systemd

    def set_quiet(self, quiet: bool) -> None:
        """Finish running jobs and claim no new ones, or claim again."""
        if quiet == self.worker.quiet:
            return
        self.worker.set_quiet(quiet)
        on = "quiet: no new job is started until quiet is switched off, or until the next start"
        self.emit(Announced(on if quiet else "quiet is off: new jobs are started"))
        self.systemd.status("quiet" if quiet else "running")

    async def resize(self, concurrency: int) -> None:
        """Run up to `concurrency` jobs at once; there are never more child processes than that."""
        if concurrency != self.worker.concurrency:
            self.worker.resize(concurrency)
            self.emit(Announced(f"up to {concurrency} jobs run at once from now on"))
        processes = self.reloader.loaded.settings.worker.processes
        await self.worker.executor.pool.resize(min(processes, concurrency))


@dataclass(frozen=True, slots=True)
class MonitoringApi:
    """Routes and views that look at several components."""

    store: Store
    job_service: JobService
    worker: Worker
    notifier: SocketIoNotifier
    hub: HubServer | None
    stats: JobStats
    link_log: LinkEventLog
    live: EventStream
    controls: WorkerControls
    reloader: SettingsReloader
    clock: Clock
    started_at: float
    """Wall clock."""
    dropped_log_lines: Callable[[], int]

    def routes(self) -> Sequence[RouteSet]:
        """Return the routes about the service as a whole."""
        return (
            StatsRoutes(Statistics(self.store, self.stats, self.worker, self.clock).now, self.exposition),
            LiveRoutes(self.live, streams_per_caller=self.reloader.loaded.settings.http.streams_per_caller),
            WorkerRoutes(
                self.worker,
                f"{socket.gethostname()}:{os.getpid()}",
                self.started_at,
                self.controls.set_quiet,
                self.controls.resize,
            ),
            KindRoutes(self.job_service, self.worker.executor),
            HubRoutes(self.hub),
            SettingsRoutes(lambda: self.reloader.loaded),
        )

    async def connection(self) -> dict[str, Any]:
        """Return the figures of the link, how much waits for it, and its latest events."""
        figures = await self._figures()
        return {
            **link_view(self.notifier, self.worker.executor.redact),
            "outboxDepth": None if figures is None else figures.outbox_depth,
            "oldestOutboxAgeSeconds": None if figures is None else figures.oldest_outbox_age,
            "oldestOutboxAge": None if figures is None else figures.oldest_outbox_age,
            "history": [link_event(entry, self.worker.executor.redact) for entry in self.link_log.entries()],
        }

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the page for Prometheus and its content type."""
        # The first import takes 50 ms.
        await asyncio.to_thread(importlib.import_module, "prometheus_client")
        figures = await self._figures()
        paused = frozenset[str]() if figures is None else await self.store.paused()
        snapshot = Snapshot(
            stats=self.stats,
            running=self.worker.running,
            concurrency=self.worker.concurrency,
            processes=self.worker.executor.pool.size,
            quiet=self.worker.quiet,
            link=self.notifier.status(),
            reloads=self.reloader.outcome,
            subscribers=len(self.live),
            store=figures,
            hub=None if self.hub is None else self.hub.stats(clients=False),
            paused=len(paused),
            dropped_log_lines=self.dropped_log_lines(),
        )
        return expose(snapshot, accept)

    async def _figures(self) -> StoreStats | None:
        try:
            return await self.store.stats()
        except StoreError:
            return None


def link_view(notifier: SocketIoNotifier, redact: Redactor) -> dict[str, object]:
    """Return the figures of the link for `/api/v1/connection` and the pages, without secrets."""
    figures = notifier.status()
    description = {"en": redact(figures.status_en), "th": redact(figures.status_th)}
    return {
        "state": figures.state.value,
        "mode": figures.mode,
        "totalConnections": figures.total_connections,
        "totalMessages": figures.total_messages,
        "reconnectAttempts": figures.reconnect_attempts,
        "lastPong": figures.last_pong,
        "lastPongAt": timestamp(figures.last_pong),
        "lastCloseCode": figures.last_close_code,
        "connectedSince": figures.connected_since,
        "connectedAt": timestamp(figures.connected_since),
        "inFlight": figures.in_flight,
        "ackMs": {"p50": figures.ack_ms_p50, "p99": figures.ack_ms_p99},
        "description": description,
        "status": description,  # the name before 1.0
    }
