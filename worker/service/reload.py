"""Reloads the settings on request, and applies them to the components that can change while they run."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from config import reload as settings_reload
from config.errors import ConfigError
from config.loader import LoadedSettings
from config.reload import Change
from config.watch import FileState, fingerprint
from worker.api.auth.authenticator import Authenticator
from worker.api.routes.live import EventStream
from worker.core.clock import Clock
from worker.core.events import Emit, ReloadFailed, SettingsReloaded, Warned
from worker.core.job import Job
from worker.core.redact import Redactor
from worker.errors import WorkerError
from worker.hub.server import HubServer
from worker.net.rate_limit import RateLimiter
from worker.notifiers.socketio.notifier import SocketIoNotifier
from worker.observability.stats import Reloads
from worker.runtime.from_settings import claim_rules
from worker.runtime.maintenance import Pruner, sleep_or_stop
from worker.runtime.operations import JobService
from worker.runtime.progress import ProgressBroadcaster
from worker.runtime.relay import Relay
from worker.runtime.worker import Worker
from worker.service.factories import announce_keys, create_process_config, handler_sections, load_api_keys, secrets_in
from worker.service.systemd import Systemd

WATCH_SECONDS = 2.0
"""Between two looks at the settings files."""

ReloadListener = Callable[[LoadedSettings], Awaitable[None]]
"""Applies the new settings. Raises WorkerError when they cannot be used."""


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """Where settings come from, and what applies those of the log."""

    read: Callable[[], LoadedSettings]
    """Reads all layers, in a thread. Raises ConfigError when they cannot be used."""
    apply_logging: Callable[[LoadedSettings], None]
    """Applies levels and format of the log."""


@dataclass(slots=True)
class SettingsReloader:
    """Holds the settings in force, and replaces them by a reload."""

    loaded: LoadedSettings
    source: SettingsSource | None
    """None: the settings were passed in by the program that started the service, so they cannot be reloaded."""
    emit: Emit
    clock: Clock
    systemd: Systemd
    outcome: Reloads = field(default_factory=Reloads)
    problem: str = ""
    """Why the last reload failed; empty when it succeeded."""
    _listeners: list[ReloadListener] = field(default_factory=list)
    _requested: asyncio.Event = field(default_factory=asyncio.Event)
    _seen: tuple[FileState, ...] = ()
    """What the files looked like before they were last read."""

    def __post_init__(self) -> None:
        self._seen = self.loaded.fingerprint

    def request(self) -> None:
        """Reload soon, as after SIGHUP."""
        self._requested.set()

    def add(self, listener: ReloadListener) -> None:
        """Pass it the new settings at each reload. One that may reject them must be added before those that cannot."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Carry out requested reloads one after the other, until cancelled."""
        while True:
            await self._requested.wait()
            self._requested.clear()
            self.systemd.reloading()
            await self.reload()
            self.systemd.ready(f"reload failed: {self.problem}" if self.problem else "settings reloaded")

    async def watch(self, stop: asyncio.Event, interval: float = WATCH_SECONDS) -> None:
        """Request a reload when a settings file has changed and stays as it is for an interval. Seconds.

        Files are looked at instead of waited for: the kernel reports no change of a file whose folder was replaced,
        or that is on another machine. A file that is being written is not read yet.
        """
        changed: tuple[FileState, ...] | None = None
        while not stop.is_set():
            await sleep_or_stop(stop, interval)
            now = await asyncio.to_thread(fingerprint, self.loaded.watched)
            if now != self._seen and now == changed:
                self._seen = now
                self.request()
            changed = now

    async def reload(self) -> None:
        """Read all layers and apply what may change; on any fault the previous settings stay in effect."""
        try:
            self._seen = await asyncio.to_thread(fingerprint, self.loaded.watched)
            change = await self._read_and_apply()
        except (ConfigError, WorkerError, OSError) as exc:
            self._report_failure(_in_one_line(exc))
        except Exception as exc:  # noqa: BLE001 -- an unexpected fault in reading must not stop the service either
            self._report_failure(f"unexpected {type(exc).__name__}: {exc}")
        else:
            self.problem = ""
            self.outcome = replace(
                self.outcome,
                succeeded=self.outcome.succeeded + 1,
                last_success=self.clock.now(),
                last_failed=False,
            )
            self.emit(SettingsReloaded(change.applied, change.waiting))

    async def _read_and_apply(self) -> Change:
        if self.source is None:
            raise WorkerError("this service was started with settings of its own; there is nothing to reload")
        known = {str(warning) for warning in self.loaded.warnings}
        loaded, change = await asyncio.to_thread(settings_reload.reload, self.loaded, self.source.read)
        for listener in self._listeners:
            await listener(loaded)
        self.source.apply_logging(loaded)
        self.loaded, self._seen = loaded, loaded.fingerprint
        for warning in loaded.warnings:
            if str(warning) not in known:
                self.emit(Warned(str(warning)))
        return change

    def _report_failure(self, reason: str) -> None:
        self.problem = reason
        self.outcome = replace(self.outcome, failed=self.outcome.failed + 1, last_failed=True)
        self.emit(ReloadFailed(reason))


def _in_one_line(exc: Exception) -> str:
    first, *others = str(exc).splitlines() or [type(exc).__name__]
    return f"{first} (and {len(others)} more)" if others else first


def apply_access(
    authenticator: Authenticator, live: EventStream, hub: HubServer | None, clock: Clock, emit: Emit
) -> ReloadListener:
    """Return a listener for API keys, hosts and rate limits.

    A key that is removed or changed loses its sessions, streams, hub tokens and hub connections at once.
    """

    async def apply(loaded: LoadedSettings) -> None:
        http, keys = loaded.settings.http, load_api_keys(loaded, emit)
        if keys != authenticator.keys:
            authenticator.keys = keys
            live.drop_all()
            announce_keys(authenticator, hub)
        authenticator.allowed_hosts = http.host_names
        if authenticator.calls.rate != http.rate_limit:
            authenticator.calls = RateLimiter(http.rate_limit, 2 * http.rate_limit, clock.monotonic)
        if authenticator.guesses.burst != http.failed_logins:
            authenticator.guesses = RateLimiter(http.failed_logins / 60, http.failed_logins, clock.monotonic)

    return apply


@dataclass(slots=True)
class SettingsApplier:
    """A reload listener: passes each component its settings. Running attempts keep those they started with."""

    loaded: LoadedSettings
    worker: Worker
    job_service: JobService
    progress: ProgressBroadcaster
    notifier: SocketIoNotifier
    relay: Relay
    pruner: Pruner
    send_progress: Callable[[Job, float, str], None]
    """Sends progress over the link."""
    _stop_progress: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self._switch_progress(wanted=self.loaded.settings.web_socket.progress)

    async def __call__(self, loaded: LoadedSettings) -> None:
        before, self.loaded = self.loaded.settings, loaded
        settings = loaded.settings
        self._switch_progress(wanted=settings.web_socket.progress)
        self.relay.apply(settings.web_socket)
        self.pruner.apply(settings.queue)
        if settings.web_socket != before.web_socket:
            self.notifier.apply(settings.web_socket)
        self.worker.apply(settings.worker, settings.web_socket)
        if settings.worker.limits != before.worker.limits:
            await self.worker.store.use_rules(claim_rules(settings.worker, self.worker.executor.registry))
        # A concurrency that was set by hand stays, unless the setting itself has changed.
        if settings.worker.concurrency != before.worker.concurrency:
            self.worker.resize(settings.worker.concurrency)
        await self._apply_to_handlers(loaded)

    async def _apply_to_handlers(self, loaded: LoadedSettings) -> None:
        settings, executor = loaded.settings, self.worker.executor
        sections = handler_sections(loaded, executor.registry)
        executor.apply(settings.worker, sections, Redactor.of(secrets_in(settings)))
        self.job_service.apply(settings.worker, settings.web_socket, sections)
        await executor.pool.reconfigure(create_process_config(loaded, executor.registry))
        await executor.pool.resize(min(settings.worker.processes, self.worker.concurrency))

    def _switch_progress(self, *, wanted: bool) -> None:
        if wanted and self._stop_progress is None:
            self._stop_progress = self.progress.add(self.send_progress)
        elif not wanted and self._stop_progress is not None:
            self._stop_progress()
            self._stop_progress = None
