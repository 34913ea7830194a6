"""Reads the settings anew when asked, and hands them to the parts that can take them while they run."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from config.layers import Loaded
from config.problems import ConfigError
from config.reload import Change, again
from worker.assembly import child_setup_of, policy_of, secrets_in, sections_of, wire_of
from worker.clock import Clock
from worker.control import Control
from worker.errors import WorkerError
from worker.events import Emit, ReloadFailed, SettingsReloaded, Warned
from worker.job import Job
from worker.maintenance import Pruner
from worker.metrics import Reloads
from worker.orgsocket.channel import OrgSocket
from worker.progress import ProgressFan
from worker.redact import Redactor
from worker.relay import Relay
from worker.systemd import Systemd
from worker.worker import Worker

Taker = Callable[[Loaded], Awaitable[None]]
"""Puts the new settings to use. A WorkerError from it means that they cannot be used."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings come from, and where lines go."""

    read: Callable[[], Loaded]
    """All layers once more, in a thread. ConfigError: they cannot be used."""
    logging: Callable[[Loaded], None]
    """Log as these settings want it."""


@dataclass(slots=True)
class Renewal:
    """The settings in force."""

    loaded: Loaded
    source: Source | None
    """None: whoever started the service has made the settings himself."""
    emit: Emit
    clock: Clock
    systemd: Systemd
    outcome: Reloads = field(default_factory=Reloads)
    problem: str = ""
    """Why the last reload was refused; empty: it was not."""
    _takers: list[Taker] = field(default_factory=list)
    _asked: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self) -> None:
        """Reload soon: SIGHUP came."""
        self._asked.set()

    def add(self, taker: Taker) -> None:
        """Tell it of new settings. Those that may refuse come first: what is told after them is told for good."""
        self._takers.append(taker)

    async def run(self) -> None:
        """One reload after the other, as they are asked for; until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            self.systemd.reloading()
            await self.reload()
            self.systemd.ready((self.problem and f"reload refused: {self.problem}") or "settings reloaded")

    async def reload(self) -> None:
        """Read all layers; on any fault the settings from before stay, and one line says why."""
        try:
            change = await self._renew()
        except (ConfigError, WorkerError, OSError) as exc:
            self._failed(_in_one_line(exc))
        except Exception as exc:  # noqa: BLE001 -- a fault of ours in reading must not stop the service either
            self._failed(f"unexpected {type(exc).__name__}: {exc}")
        else:
            self.problem = ""
            self.outcome = replace(
                self.outcome,
                succeeded=self.outcome.succeeded + 1,
                last_success=self.clock.now(),
                last_failed=False,
            )
            self.emit(SettingsReloaded(change.applied, change.waiting))

    async def _renew(self) -> Change:
        if self.source is None:
            raise WorkerError("this service was started with settings of its own; there is nothing to read")
        told = {str(warning) for warning in self.loaded.warnings}
        loaded, change = await asyncio.to_thread(again, self.loaded, self.source.read)
        for taker in self._takers:
            await taker(loaded)
        self.source.logging(loaded)
        self.loaded = loaded
        for warning in loaded.warnings:
            if str(warning) not in told:
                self.emit(Warned(str(warning)))
        return change

    def _failed(self, reason: str) -> None:
        self.problem = reason
        self.outcome = replace(self.outcome, failed=self.outcome.failed + 1, last_failed=True)
        self.emit(ReloadFailed(reason))


def _in_one_line(exc: Exception) -> str:
    first, *others = str(exc).splitlines() or [type(exc).__name__]
    return f"{first} (and {len(others)} more)" if others else first


@dataclass(slots=True)
class Adoption:
    """Puts new settings into the flow: what runs goes on as it began, what begins from now on follows them."""

    loaded: Loaded
    worker: Worker
    control: Control
    channel: OrgSocket
    relay: Relay
    pruner: Pruner
    progress: ProgressFan
    tell_progress: Callable[[Job, float, str], None]
    """Sends progress over the link."""
    _silence: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self._follow_progress(self.loaded)

    async def __call__(self, loaded: Loaded) -> None:
        before, self.loaded = self.loaded.settings, loaded
        settings = loaded.settings
        self._follow_progress(loaded)
        self._wording(loaded)
        self.relay.pause_on_error = self.worker.pause_on_error = settings.web_socket.task_delay_on_error / 1000
        self.pruner.retention = settings.queue.retention / 1000
        self.pruner.audit_retention = settings.queue.audit_retention / 1000
        if settings.web_socket != before.web_socket:
            self.channel.adopt(settings.web_socket)
        # What was set by hand meanwhile stays, unless the setting itself has changed.
        if settings.worker.concurrency != before.worker.concurrency:
            self.worker.resize(settings.worker.concurrency)
        await self._handlers(loaded)

    def _wording(self, loaded: Loaded) -> None:
        settings = loaded.settings
        self.worker.policy = policy_of(settings)
        self.worker.wire = self.control.wire = wire_of(settings)
        self.control.default_user = settings.web_socket.default_user_id
        self.control.max_attempts = settings.worker.max_attempts

    async def _handlers(self, loaded: Loaded) -> None:
        settings, executor = loaded.settings, self.worker.executor
        executor.timeout = settings.worker.timeout / 1000
        executor.overrides = settings.worker.execution
        executor.redact = Redactor.of(secrets_in(settings))
        executor.sections = self.control.sections = sections_of(loaded, executor.registry)
        await executor.children.renew(child_setup_of(loaded, executor.registry))
        await executor.children.resize(min(settings.worker.processes, self.worker.concurrency))

    def _follow_progress(self, loaded: Loaded) -> None:
        wanted = loaded.settings.web_socket.progress
        if wanted and self._silence is None:
            self._silence = self.progress.add(self.tell_progress)
        elif not wanted and self._silence is not None:
            self._silence()
            self._silence = None
