"""Builds the service, runs it and stops it in order. The only place that sees every room and all settings."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from config.layers import Loaded
from worker import __version__
from worker.assembly import (
    HubDesk,
    access_of,
    api_keys_of,
    cancel_own,
    child_setup_of,
    control_of,
    file_routes_of,
    hub_is_ours,
    hub_of,
    known_in,
    opened_store,
    policy_of,
    registry_of,
    secrets_in,
    sections_of,
    turned_away,
    uploads_of,
    wire_of,
)
from worker.children import ChildPool
from worker.clock import Clock
from worker.control import Control
from worker.door.access import Access
from worker.door.app import Door, serve_tcp, serve_unix
from worker.door.audit import AuditRoutes
from worker.door.bulk import BulkRoutes
from worker.door.connection import ConnectionRoutes
from worker.door.jobs import JobRoutes
from worker.door.limits import Throttle
from worker.door.live import Live, Sources
from worker.door.login import SessionRoutes
from worker.door.me import MeRoutes
from worker.door.routes import RouteSet
from worker.door.stats import Statistics
from worker.door.status import Entry, Health, StatusRoutes
from worker.errors import WorkerError
from worker.events import (
    Announced,
    Emit,
    JobSettled,
    LoopFailed,
    Pruned,
    ServiceStarted,
    ServiceStopped,
    ServiceStopping,
    WaitingJobCancelled,
)
from worker.executor import Executor
from worker.hub.events import NewsShown
from worker.hub.server import Hub
from worker.maintenance import Aftercare, Indexer, Pruner, Pulse, Receipts, Watch
from worker.observation import Observation, Steering
from worker.orgsocket.channel import OrgSocket
from worker.orgsocket.history import EVENTS as LINK_EVENTS
from worker.orgsocket.history import History
from worker.orgsocket.link import State
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
_STALE_BEAT = 5.0
"""Seconds without a heartbeat of the loop after which the service is not alive."""
_LAST_RESORT = 4.5
"""Seconds after ShutdownTimeout when the process ends whatever still holds it (P9 allows five)."""


class Emitter:
    """Hands every event to every listener; a listener that fails is left out of it, never the flow."""

    def __init__(self, *listeners: Emit) -> None:
        self._listeners: list[tuple[Emit, tuple[type, ...]]] = [(listener, ()) for listener in listeners]
        self._routes: dict[type, list[Emit]] = {}
        """Who hears what, looked up once: most events are for few, and some come ten thousand times a second."""

    def add(self, listener: Emit, *kinds: type) -> Callable[[], None]:
        """From now on it hears every event, or those of these kinds alone. Calling what this gives ends it."""
        entry = (listener, kinds)
        self._listeners.append(entry)
        self._routes.clear()

        def remove() -> None:
            self._listeners.remove(entry)
            self._routes.clear()

        return remove

    def _route(self, kind: type) -> list[Emit]:
        route = self._routes[kind] = [listen for listen, kinds in self._listeners if not kinds or kind in kinds]
        return route

    def __call__(self, event: object) -> None:
        route = self._routes.get(event.__class__)
        for listener in self._route(event.__class__) if route is None else route:
            try:  # noqa: SIM105 -- contextlib.suppress costs more than most listeners do
                listener(event)
            except Exception:  # noqa: BLE001, S110 -- a listener's fault is not the flow's
                pass


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


@dataclass(frozen=True, slots=True)
class Running:
    """What `on_ready` is told."""

    url: str
    socket: Path
    parts: Parts


async def serve_for_ever(loaded: Loaded, emit: Emit, stopping: Stopping, source: Source | None = None) -> None:
    """`serve`, by HostOptions:BackgroundServiceExceptionBehavior: StopHost ends with what went wrong, Ignore builds
    the service anew after a pause. A WorkerError ends it always: it names what somebody has to mend."""
    settings = loaded.settings
    pause = settings.web_socket.task_delay_on_error / 1000
    while True:
        try:
            return await serve(loaded, Emitter(emit), stopping=stopping, source=source)
        except WorkerError:
            raise
        except Exception as exc:
            if settings.host_options.background_service_exception_behavior != "Ignore" or stopping.event.is_set():
                raise
            emit(LoopFailed("running the service", exc, pause))
            await asyncio.sleep(pause)


async def serve(
    loaded: Loaded,
    emit: Emitter,
    *,
    stopping: Stopping | None = None,
    on_ready: Callable[[Running], None] | None = None,
    source: Source | None = None,
) -> None:
    """Run the service until it is asked to stop. WorkerError says why it could not start or had to end."""
    clock, stopping = Clock(), stopping or Stopping()
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened_store(loaded, clock, emit))
        parts = await _build(stack, loaded, clock, emit, store, stopping, source)
        url, path = await _open_doors(stack, parts)
        await parts.worker.recover()
        stack.enter_context(_signals(parts))
        await _live(parts, Running(url, path, parts), on_ready)
    stopping.finished = True


async def _build(
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


# -- doors -----------------------------------------------------------------------------------------------------------


async def _open_doors(stack: contextlib.AsyncExitStack, parts: Parts) -> tuple[str, Path]:
    """The port and the UNIX socket; both answer before READY is said."""
    settings, state = parts.loaded.settings, parts.loaded.state_dir
    door = _door(parts)
    http = settings.http
    apart = http.admin_url is not None
    public = door.public(parts.access, "public" if apart else None)
    if parts.hub is not None:
        parts.hub.mount(public)
        await parts.hub.start()
    away = turned_away(parts.emit)
    if http.admin_url is not None:
        admin = door.public(parts.access)
        if parts.hub is not None:
            parts.hub.mount(admin)
        admin_url = await stack.enter_async_context(serve_tcp(admin, http.admin_url, away, "Http:AdminUrl"))
        parts.emit(Announced(f"administration answers at {admin_url} alone"))
    url = await stack.enter_async_context(serve_tcp(public, http.url, away))
    stack.callback(parts.live.close)
    if parts.hub is not None:
        # Before the port closes: its clients' transports are dropped, never told to disconnect.
        stack.push_async_callback(parts.hub.close)
        parts.channel.connect_to(url, parts.hub.worker_token)
        parts.emit(Announced(f"the hub is on: browsers connect to {url}{settings.web_socket.path}"))
    path = await stack.enter_async_context(serve_unix(door.local(), state))
    return url, path


def _route_sets(parts: Parts) -> list[RouteSet]:
    return [
        JobRoutes(parts.control),
        BulkRoutes(parts.control),
        MeRoutes(parts.control),
        AuditRoutes(parts.control),
        SessionRoutes(
            parts.access,
            parts.control.audit,
            hub=None if parts.hub is None else HubDesk(parts.hub),
            default_user=lambda: parts.control.default_user,
        ),
        StatusRoutes(lambda: health_of(parts)),
        ConnectionRoutes(parts.observation.connection, parts.channel.reconnect),
        *parts.observation.routes(),
        *file_routes_of(parts.loaded, parts.control, parts.sweeper.uploads),
    ]


def _door(parts: Parts) -> Door:
    settings = parts.loaded.settings
    return Door(
        sets=_route_sets(parts),
        is_draining=parts.stopping.event.is_set,
        on_error=lambda error_id, path, exc: parts.emit(LoopFailed(f"answering {path} [error {error_id}]", exc, 0.0)),
        max_body=settings.http.max_body,
        open_paths=("/" + settings.web_socket.path.strip("/"),),
        audit=parts.control.audit,
        cors_origins=frozenset(settings.http.cors_origins),
    )


# -- life ------------------------------------------------------------------------------------------------------------


async def _live(parts: Parts, running: Running, on_ready: Callable[[Running], None] | None) -> None:
    """From READY to the last flushed notification."""
    stop = parts.stopping.event
    over = asyncio.Event()
    async with _unwrapped(), asyncio.TaskGroup() as group:
        behind = [
            group.create_task(parts.pulse.run(over)),
            group.create_task(parts.worker.run_settling()),
            group.create_task(parts.relay.run(over)),
            group.create_task(parts.renewal.run()),
            group.create_task(parts.receipts.run()),
            group.create_task(parts.aftercare.run()),
        ]
        group.create_task(parts.pruner.run(stop))
        group.create_task(Indexer(parts.store, parts.clock, parts.emit).run(stop))
        group.create_task(parts.sweeper.run(stop))
        group.create_task(Watch(parts.store).run(stop))
        claiming = group.create_task(parts.worker.run(stop))
        _say_ready(parts, running, on_ready)
        await stop.wait()
        await _stop(parts, claiming)
        over.set()
        for task in behind:
            task.cancel()


def _say_ready(parts: Parts, running: Running, on_ready: Callable[[Running], None] | None) -> None:
    parts.started.set()
    kinds = tuple(sorted(parts.control.registry))
    path = str(parts.loaded.resolve_state(parts.loaded.settings.queue.path))
    parts.emit(ServiceStarted(__version__, parts.loaded.environment, path, running.url, kinds))
    parts.systemd.ready(f"ready at {running.url}")
    if on_ready is not None:
        on_ready(running)


async def _stop(parts: Parts, claiming: "asyncio.Task[None]") -> None:
    """Claim nothing more, let jobs end, give the rest back, flush the outbox: all within one deadline."""
    seconds = parts.loaded.settings.host_options.shutdown_timeout
    if parts.stopping.hard:
        _last_resort(parts.stopping, seconds)
    deadline = parts.clock.monotonic() + seconds
    parts.emit(ServiceStopping(parts.stopping.reason, parts.worker.running, seconds))
    parts.systemd.stopping(f"draining {parts.worker.running} jobs, {seconds:g} s left")
    await claiming
    given_back = await parts.worker.finish(seconds)
    await parts.relay.flush(max(0.5, deadline - parts.clock.monotonic()))
    figures = await parts.store.figures()
    parts.emit(ServiceStopped(given_back, figures.outbox_depth))


def _last_resort(stopping: Stopping, seconds: float) -> None:
    """Whatever a handler or a library holds up: the process ends. What was not settled is durable, or given back."""
    timer = threading.Timer(seconds + _LAST_RESORT, lambda: os._exit(0 if stopping.finished else 70))
    timer.daemon = True
    timer.start()


@contextlib.asynccontextmanager
async def _unwrapped() -> AsyncIterator[None]:
    """The one error that ended the service, instead of a group of it and its consequences."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        ours = [inner for inner in exc.exceptions if isinstance(inner, WorkerError)]
        exc = ours[0] if ours else exc.exceptions[0]
    return exc


@contextlib.contextmanager
def _signals(parts: Parts) -> Any:
    """SIGTERM and SIGINT stop, a second one hurries; SIGTSTP makes quiet; SIGHUP reads the settings anew."""
    loop = asyncio.get_running_loop()
    stopping = parts.stopping
    table: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: lambda: stopping.ask("SIGTERM"),
        signal.SIGINT: lambda: stopping.ask("SIGINT"),
        signal.SIGTSTP: lambda: parts.steering.set_quiet(True),
        signal.SIGHUP: parts.renewal.ask,
    }
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number, action in table.items():
        loop.add_signal_handler(number, action)
    try:
        yield
    finally:
        for number in table:
            loop.remove_signal_handler(number)


# -- how it is -------------------------------------------------------------------------------------------------------


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


async def health_of(parts: Parts) -> Health:
    """A health that can fail: alive by the loop's heartbeat, ready by store and claiming, never by the hub."""
    beat = parts.clock.monotonic() - parts.pulse.last
    alive = parts.pulse.last == 0.0 or beat < _STALE_BEAT
    entries: dict[str, Entry] = {"loop": Entry("Healthy" if alive else "Unhealthy", data={"beatAge": round(beat, 3)})}
    try:
        figures = await parts.store.figures()
    except WorkerError as exc:
        entries["queue"] = Entry("Unhealthy", str(exc))
    else:
        full = figures.full
        entries["queue"] = Entry(
            "Degraded" if full else "Healthy",
            "the store is full" if full else "",
            {
                "jobs": dict(figures.jobs),
                "oldestJobAge": figures.oldest_job_age,
                "running": parts.worker.running,
                "concurrency": parts.worker.concurrency,
                "sizeBytes": figures.size_bytes,
                "maxBytes": figures.max_bytes,
            },
        )
        entries["outbox"] = Entry(
            "Degraded" if figures.outbox_dead else "Healthy",
            data={"depth": figures.outbox_depth, "dead": figures.outbox_dead, "oldestAge": figures.oldest_outbox_age},
        )
    problem, reloads = parts.renewal.problem, parts.renewal.outcome
    entries["settings"] = Entry(
        "Degraded" if problem else "Healthy",
        f"reload refused: {problem}" if problem else "",
        {"reloads": reloads.succeeded, "failedReloads": reloads.failed},
    )
    link = connection_of(parts.channel, parts.worker.executor.redact)
    entries["link"] = Entry("Healthy" if link["state"] == State.CONNECTED else "Degraded", data=link)
    if parts.hub is not None:
        entries["hub"] = Entry("Healthy", data=asdict(parts.hub.figures(clients=False)))
    draining = parts.stopping.event.is_set()
    ready = entries["queue"].status != "Unhealthy" and alive and not draining and parts.started.is_set()
    return Health(alive=alive, ready=ready, started=parts.started.is_set(), entries=entries)
