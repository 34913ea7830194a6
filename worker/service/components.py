"""The components of a running service, in four groups. Builds and starts nothing."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from config.loader import LoadedSettings
from worker.api.auth.authenticator import Authenticator
from worker.api.routes.live import EventStream
from worker.core.clock import Clock
from worker.core.event_bus import EventBus
from worker.core.store import Store
from worker.hub.server import HubServer
from worker.notifiers.socketio.event_log import LinkEventLog
from worker.notifiers.socketio.notifier import SocketIoNotifier
from worker.observability.stats import JobStats
from worker.runtime.guard import ShutdownGuard
from worker.runtime.loop_watchdog import LoopWatchdog
from worker.runtime.maintenance import Pruner, StoreMonitor
from worker.runtime.operations import JobService
from worker.runtime.progress import ProgressBroadcaster
from worker.runtime.read_receipts import ReadReceipts
from worker.runtime.relay import Relay
from worker.runtime.success_hooks import SuccessHooks
from worker.runtime.uploads import UploadCleaner
from worker.runtime.worker import Worker
from worker.service.health_history import HealthHistory
from worker.service.monitoring import MonitoringApi, WorkerControls
from worker.service.reload import SettingsReloader
from worker.service.systemd import Systemd


@dataclass(slots=True)
class ShutdownSignal:
    """The request to stop: whether it was made, why, and whether it is urgent."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = "on request"
    on_force: Callable[[], None] | None = None
    """Called at the second request: running jobs are not waited for any longer."""
    owns_process: bool = False
    """Whether the process ends with the service; not where others share it, as in `demo`."""
    guard: ShutdownGuard | None = None
    """Ends the process when something delays the stop."""
    requested_at: float | None = None
    """Monotonic clock."""

    def request(self, reason: str) -> None:
        """Stop in order; at the second request, do not wait for running jobs."""
        if self.event.is_set():
            if self.on_force is not None:
                self.on_force()
            return
        self.note_time()
        self.reason = reason
        self.event.set()
        if self.guard is not None:
            self.guard.on_stop()

    def note_time(self) -> None:
        """Keep the time of the first request, which a blocked event loop carries out much later."""
        if self.requested_at is None:
            self.requested_at = time.monotonic()


@dataclass(frozen=True, slots=True)
class Host:
    """What every component is given, and how the service reports to systemd."""

    clock: Clock
    emit: EventBus
    systemd: Systemd
    shutdown: ShutdownSignal
    started: asyncio.Event = field(default_factory=asyncio.Event)
    dropped_log_lines: Callable[[], int] = lambda: 0
    """Returns how many lines of the log were dropped since the start of the process."""


@dataclass(frozen=True, slots=True)
class JobComponents:
    """What accepts, runs and settles jobs."""

    store: Store
    service: JobService
    worker: Worker
    progress: ProgressBroadcaster
    success_hooks: SuccessHooks


@dataclass(frozen=True, slots=True)
class DeliveryComponents:
    """What carries notifications to users."""

    notifier: SocketIoNotifier
    relay: Relay
    hub: HubServer | None
    link_log: LinkEventLog
    read_receipts: ReadReceipts


@dataclass(frozen=True, slots=True)
class MaintenanceComponents:
    """What keeps store, files and event loop in order."""

    watchdog: LoopWatchdog
    store_monitor: StoreMonitor
    pruner: Pruner
    upload_cleaner: UploadCleaner


@dataclass(frozen=True, slots=True)
class ApiComponents:
    """What the HTTP API and its pages use."""

    authenticator: Authenticator
    stats: JobStats
    live: EventStream
    controls: WorkerControls
    monitoring: MonitoringApi


@dataclass(frozen=True, slots=True)
class ServiceComponents:
    """Everything that exists while the service runs."""

    host: Host
    reloader: SettingsReloader
    jobs: JobComponents
    delivery: DeliveryComponents
    maintenance: MaintenanceComponents
    api: ApiComponents
    health: HealthHistory = field(default_factory=HealthHistory)

    @property
    def loaded(self) -> LoadedSettings:
        """The settings in force."""
        return self.reloader.loaded
