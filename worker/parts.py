"""Everything that lives while the service runs, built from the settings. Opens no door and starts nothing."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from config.layers import Loaded
from worker.assembly import (
    access_of,
    api_keys_of,
    cancel_own,
    child_setup_of,
    control_of,
    hub_is_ours,
    hub_of,
    known_in,
    policy_of,
    registry_of,
    secrets_in,
    sections_of,
    uploads_of,
    wire_of,
)
from worker.children import ChildPool
from worker.clock import Clock
from worker.control import Control
from worker.door.access import Access
from worker.door.limits import Throttle
from worker.door.live import Live, Sources
from worker.door.stats import Statistics
from worker.emitter import Emitter
from worker.events import Emit, JobSettled, Pruned, WaitingJobCancelled
from worker.executor import Executor
from worker.hub.events import NewsShown
from worker.hub.server import Hub
from worker.maintenance import Aftercare, Pruner, Pulse, Receipts
from worker.observation import Observation, Steering, connection_of
from worker.orgsocket.channel import OrgSocket
from worker.orgsocket.history import EVENTS as LINK_EVENTS
from worker.orgsocket.history import History
from worker.orgsocket.peers import Peers
from worker.outcome import Retry
from worker.progress import ProgressFan, ProgressTeller
from worker.queue import Store
from worker.redact import Redactor
from worker.relay import Relay
from worker.renewal import Adoption, Renewal, Source, Taker
from worker.systemd import Systemd
from worker.tally import Tally
from worker.uploads import Sweeper
from worker.worker import Worker

PEERS_FILE = "peers.json"
"""Which servers acknowledge: remembered, so that a restart need not find out anew."""


@dataclass(slots=True)
class Stopping:
    """The wish to stop, how urgent it is, and who uttered it."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = "asked to"
    on_hurry: Callable[[], None] | None = None
    hard: bool = False
    """The process is ours to end when something holds it up; never where others live in it."""
    finished: bool = False

    def ask(self, reason: str) -> None:
        """The first time: stop in order. Again: do not wait for what runs."""
        if self.event.is_set():
            if self.on_hurry is not None:
                self.on_hurry()
            return
        self.reason = reason
        self.event.set()


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that lives while the service runs."""

    renewal: Renewal
    clock: Clock
    emit: Emitter
    store: Store
    worker: Worker
    channel: OrgSocket
    relay: Relay
    hub: Hub | None
    control: Control
    pulse: Pulse
    stopping: Stopping
    systemd: Systemd
    started: asyncio.Event
    tally: Tally
    history: History
    pruner: Pruner
    receipts: Receipts
    sweeper: Sweeper
    progress: ProgressFan
    live: Live
    steering: Steering
    observation: Observation
    access: Access
    aftercare: Aftercare

    @property
    def loaded(self) -> Loaded:
        """The settings in force."""
        return self.renewal.loaded


async def build(
    stack: contextlib.AsyncExitStack,
    loaded: Loaded,
    clock: Clock,
    emit: Emitter,
    store: Store,
    stopping: Stopping,
    source: Source | None,
) -> Parts:
    settings = loaded.settings
    control = control_of(loaded, store, clock)
    hub = hub_of(loaded, clock, emit, cancel_own(control)) if hub_is_ours(settings) else None
    channel = OrgSocket(
        settings.web_socket,
        clock=clock,
        emit=emit,
        content_root=loaded.content_root,
        peers=Peers(loaded.state_dir / PEERS_FILE),
    )
    progress = ProgressFan()
    executor = await _executor(stack, loaded, clock, emit, progress)
    job_worker = Worker(
        queue=store,
        executor=executor,
        policy=policy_of(settings),
        wire=wire_of(settings),
        clock=clock,
        emit=emit,
        concurrency=settings.worker.concurrency,
        pause_on_error=settings.web_socket.task_delay_on_error / 1000,
    )
    stopping.on_hurry = job_worker.hurry
    control.interrupt, control.how_far, control.emit = job_worker.cancel, executor.how_far, emit
    emit.add(_ending(control), JobSettled)
    systemd = Systemd.from_environment()
    relay = Relay(store, channel, emit, settings.web_socket.task_delay_on_error / 1000)
    tally = Tally(control.registry)
    for kind, listen in tally.listeners().items():
        emit.add(listen, kind)
    history = History(clock.now)
    emit.add(history, *LINK_EVENTS)
    pulse = Pulse(emit, clock, on_beat=_beats(systemd, clock, tally))
    pruner = Pruner(store, settings.queue.retention / 1000, clock, emit)
    receipts = Receipts(store, clock, emit)
    emit.add(lambda event: receipts.note(event.notification_id), NewsShown)
    pruner.audit_retention = settings.queue.audit_retention / 1000
    sweeper = Sweeper(uploads_of(loaded), known_in(store), emit)
    await sweeper.uploads.measure()
    emit.add(lambda _event: sweeper.wake.set(), Pruned)
    aftercare = Aftercare(control.registry, lambda handler: executor.sections.get(handler.section or ""), emit)
    if aftercare.kinds:
        emit.add(aftercare.note, JobSettled)
    renewal = Renewal(loaded, source, emit, clock, systemd)
    teller = ProgressTeller(channel.progress, settings.web_socket.event, clock)
    live = _live_of(Statistics(store, tally, job_worker, clock), emit, progress, clock)
    steering = Steering(job_worker, renewal, emit, systemd)
    observation = Observation(
        store=store,
        control=control,
        worker=job_worker,
        channel=channel,
        hub=hub,
        tally=tally,
        history=history,
        live=live,
        steering=steering,
        renewal=renewal,
        clock=clock,
        started_at=clock.now(),
        link=lambda: connection_of(channel, executor.redact),
    )
    access = access_of(loaded, hub, clock, emit)
    renewal.add(_doorkeeping(access, live, clock, emit))  # the first: it may refuse
    renewal.add(Adoption(loaded, job_worker, control, channel, relay, pruner, progress, teller))
    return Parts(
        renewal,
        clock,
        emit,
        store,
        job_worker,
        channel,
        relay,
        hub,
        control,
        pulse,
        stopping,
        systemd,
        asyncio.Event(),
        tally,
        history,
        pruner,
        receipts,
        sweeper,
        progress,
        live,
        steering,
        observation,
        access,
        aftercare,
    )


def _live_of(statistics: Statistics, emit: Emitter, progress: ProgressFan, clock: Clock) -> Live:
    """Listens to ends of jobs and to progress while somebody watches."""

    def ends(listener: Emit) -> Callable[[], None]:
        return emit.add(listener, JobSettled, WaitingJobCancelled)

    return Live(Sources(lambda: statistics.now(seconds=3), ends, progress.add), clock, emit)


async def _executor(
    stack: contextlib.AsyncExitStack, loaded: Loaded, clock: Clock, emit: Emitter, progress: ProgressFan
) -> Executor:
    settings = loaded.settings
    registry = registry_of(settings)
    sections = sections_of(loaded, registry)
    processes = min(settings.worker.processes, settings.worker.concurrency)
    children = ChildPool(processes, child_setup_of(loaded, registry))
    stack.push_async_callback(children.close)
    return Executor(
        registry=registry,
        children=children,
        clock=clock,
        redact=Redactor.of(secrets_in(settings)),
        emit=emit,
        timeout=settings.worker.timeout / 1000,
        overrides=settings.worker.execution,
        sections=sections,
        on_progress=progress,
    )


def _doorkeeping(access: Access, live: Live, clock: Clock, emit: Emit) -> Taker:
    """A key that is taken out of the settings opens nothing from the reload on; its sessions and streams end."""

    async def take(loaded: Loaded) -> None:
        http, keys = loaded.settings.http, api_keys_of(loaded, emit)
        if keys != access.keys:
            access.keys = keys
            live.drop_all()
        access.allowed_hosts = frozenset(host.lower() for host in http.allowed_hosts)
        if access.calls.rate != http.rate_limit:
            access.calls = Throttle(http.rate_limit, 2 * http.rate_limit, clock.monotonic)
        if access.guesses.burst != http.failed_logins:
            access.guesses = Throttle(http.failed_logins / 60, http.failed_logins, clock.monotonic)

    return take


def _ending(control: Control) -> Emit:
    """Wakes whoever waits for a job's end."""

    def listen(event: JobSettled) -> None:
        if not isinstance(event.outcome, Retry):
            control.ended(event.attempt.job.id)

    return listen


def _beats(systemd: Systemd, clock: Clock, tally: Tally) -> Callable[[float], None]:
    """What hangs on the loop's heartbeat: systemd's watchdog, which a blocked loop does not feed, and the tally."""
    every, fed = systemd.watchdog_seconds, 0.0
    ticked = clock.monotonic()

    def beat(late: float) -> None:
        nonlocal fed, ticked
        now = clock.monotonic()
        tally.lag.observe(late * 1000)
        if now - ticked >= 1.0:
            ticked += 1.0 if now - ticked < 2.0 else now - ticked
            tally.tick(clock.now())
        if every is not None and now - fed >= every / 2:
            fed = now
            systemd.watchdog()

    return beat
