"""Builds the components of the service from the settings. Opens no port and starts nothing."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from config.loader import LoadedSettings
from worker.api.routes.live import EventStream, StreamSources
from worker.api.routes.stats import Statistics
from worker.core.clock import Clock
from worker.core.events import Emit, JobSettled, WaitingJobCancelled
from worker.core.outcome import Attempt, Outcome
from worker.core.redact import Redactor
from worker.core.shared_store import Lease, SharedStore
from worker.core.store import Store
from worker.hub.server import HubServer
from worker.notifiers.socketio.event_log import EVENTS as LINK_EVENTS
from worker.notifiers.socketio.event_log import LinkEventLog
from worker.notifiers.socketio.notifier import SocketIoNotifier
from worker.observability.stats import JobStats
from worker.runtime.executor import Executor
from worker.runtime.loop_watchdog import LoopWatchdog
from worker.runtime.maintenance import Pruner, StoreMonitor
from worker.runtime.process_pool import ProcessPool
from worker.runtime.progress import ProgressBroadcaster, ProgressThrottle
from worker.runtime.read_receipts import ReadReceipts
from worker.runtime.relay import Relay
from worker.runtime.success_hooks import SuccessHooks
from worker.runtime.uploads import UploadCleaner
from worker.runtime.worker import Worker
from worker.service import factories
from worker.service.components import (
    ApiComponents,
    DeliveryComponents,
    Host,
    JobComponents,
    MaintenanceComponents,
    ServiceComponents,
)
from worker.service.monitoring import MonitoringApi, WorkerControls
from worker.service.reload import ReloadListener, SettingsApplier, SettingsReloader, SettingsSource, apply_access
from worker.service.systemd import Systemd

SERVERS_FILE = "peers.json"
"""Which servers acknowledge: remembered, so that a restart need not find out again."""


async def build(
    stack: contextlib.AsyncExitStack,
    loaded: LoadedSettings,
    host: Host,
    store: Store,
    source: SettingsSource | None,
) -> ServiceComponents:
    """Return the components of a service on this store; `stack` closes what must be closed."""
    jobs = _build_jobs(stack, loaded, host, store)
    stats = JobStats(jobs.service.registry)
    delivery = _build_delivery(loaded, host, jobs)
    host.shutdown.on_force = _forcing(jobs, delivery)
    maintenance = await _build_maintenance(loaded, host, jobs, stats, delivery.hub)
    for kind, listener in stats.listeners().items():
        host.emit.add(listener, kind)
    reloader = SettingsReloader(loaded, source, host.emit, host.clock, host.systemd)
    api = _build_api(_Built(loaded, host, jobs, delivery, stats, reloader))
    throttle = ProgressThrottle(delivery.notifier.progress, loaded.settings.web_socket.event, host.clock)
    # The first may reject the settings; what comes after it applies them.
    reloader.add(apply_access(api.authenticator, api.live, delivery.hub, host.clock, host.emit))
    reloader.add(_apply_shutdown_timeout(host))
    reloader.add(
        SettingsApplier(
            loaded=loaded,
            worker=jobs.worker,
            job_service=jobs.service,
            progress=jobs.progress,
            notifier=delivery.notifier,
            relay=delivery.relay,
            pruner=maintenance.pruner,
            send_progress=throttle,
        )
    )
    return ServiceComponents(
        host=host, reloader=reloader, jobs=jobs, delivery=delivery, maintenance=maintenance, api=api
    )


def _forcing(jobs: JobComponents, delivery: DeliveryComponents) -> Callable[[], None]:
    """Return what the second request to stop does: neither jobs nor confirmations are waited for any longer."""

    def force() -> None:
        jobs.worker.force_stop()
        delivery.relay.force_stop()

    return force


def _apply_shutdown_timeout(host: Host) -> ReloadListener:
    async def apply(loaded: LoadedSettings) -> None:
        if host.shutdown.guard is not None:
            host.shutdown.guard.set_timeout(loaded.settings.host_options.shutdown_timeout)

    return apply


def _build_jobs(stack: contextlib.AsyncExitStack, loaded: LoadedSettings, host: Host, store: Store) -> JobComponents:
    settings, emit, clock = loaded.settings, host.emit, host.clock
    service = factories.create_job_service(loaded, store, clock)
    progress = ProgressBroadcaster()
    pool = ProcessPool.from_settings(settings.worker, factories.create_process_config(loaded, service.registry))
    stack.push_async_callback(pool.close)
    executor = Executor.from_settings(
        settings.worker,
        registry=service.registry,
        sections=service.sections,
        pool=pool,
        redact=Redactor.of(factories.secrets_in(settings)),
        clock=clock,
        emit=emit,
        on_progress=progress,
    )
    success_hooks = SuccessHooks(service.registry, executor.section_of, emit)

    def on_settled(attempt: Attempt, outcome: Outcome) -> None:
        service.on_settled(attempt.job.id, outcome)
        success_hooks.on_settled(attempt.job.kind, outcome)

    worker = Worker.from_settings(
        settings.worker,
        settings.web_socket,
        store=store,
        executor=executor,
        clock=clock,
        emit=emit,
        on_settled=on_settled,
    )
    service.attach(emit=emit, interrupt=worker.cancel, progress_of=executor.progress_of)
    if isinstance(store, SharedStore):
        store.on_cancel(worker.cancel)
    return JobComponents(store=store, service=service, worker=worker, progress=progress, success_hooks=success_hooks)


def _build_delivery(loaded: LoadedSettings, host: Host, jobs: JobComponents) -> DeliveryComponents:
    settings, emit, clock = loaded.settings, host.emit, host.clock
    notifier = SocketIoNotifier.from_settings(
        settings.web_socket,
        emit=emit,
        clock=clock,
        content_root=loaded.content_root,
        servers_file=loaded.state_dir / SERVERS_FILE,
    )
    relay = Relay.from_settings(
        settings.web_socket, outbox=jobs.store, notifier=notifier, emit=emit, lease=_relay_lease(jobs.store, emit)
    )
    jobs.service.on_set_aside = relay.set_aside
    read_receipts = ReadReceipts(jobs.store, clock, emit)
    hub = None
    if factories.is_hub_enabled(settings):
        hub = factories.create_hub(loaded, clock, emit, factories.cancel_own_jobs(jobs.service))
        hub.on_shown(read_receipts.on_shown)
    elif settings.hub.enabled == "auto":
        emit(factories.why_no_hub(loaded))
    link_log = LinkEventLog(clock.now)
    emit.add(link_log, *LINK_EVENTS)
    return DeliveryComponents(
        notifier=notifier,
        relay=relay,
        hub=hub,
        link_log=link_log,
        read_receipts=read_receipts,
    )


def _relay_lease(store: Store, emit: Emit) -> Lease | None:
    """Return the right to send notifications, where other processes may have it."""
    return store.lease("relay", emit) if isinstance(store, SharedStore) else None


async def _build_maintenance(
    loaded: LoadedSettings, host: Host, jobs: JobComponents, stats: JobStats, hub: HubServer | None
) -> MaintenanceComponents:
    emit, clock, store = host.emit, host.clock, jobs.store
    results = factories.create_insignia_results(loaded)
    cleaner = UploadCleaner(
        factories.create_uploads(loaded), factories.known_jobs(store), emit, remove_results=results.remove_expired
    )
    await cleaner.uploads.measure()
    return MaintenanceComponents(
        watchdog=LoopWatchdog(
            emit, clock, on_beat=_on_beat(host.systemd, clock, stats), on_pause=jobs.worker.executor.on_pause
        ),
        store_monitor=StoreMonitor(jobs.store, clock, emit, None if hub is None else hub.check),
        pruner=Pruner.from_settings(
            loaded.settings.queue, store=store, clock=clock, emit=emit, on_pruned=cleaner.wake.set
        ),
        upload_cleaner=cleaner,
    )


@dataclass(frozen=True, slots=True)
class _Built:
    """What the components of the API look at."""

    loaded: LoadedSettings
    host: Host
    jobs: JobComponents
    delivery: DeliveryComponents
    stats: JobStats
    reloader: SettingsReloader


def _build_api(built: _Built) -> ApiComponents:
    host, jobs, delivery = built.host, built.jobs, built.delivery
    statistics = Statistics(jobs.store, built.stats, jobs.worker, host.clock)
    live = _event_stream(statistics, host, jobs.progress)
    controls = WorkerControls(jobs.worker, built.reloader, host.emit, host.systemd)
    monitoring = MonitoringApi(
        store=jobs.store,
        job_service=jobs.service,
        worker=jobs.worker,
        notifier=delivery.notifier,
        hub=delivery.hub,
        stats=built.stats,
        link_log=delivery.link_log,
        live=live,
        controls=controls,
        reloader=built.reloader,
        clock=host.clock,
        started_at=host.clock.now(),
        dropped_log_lines=host.dropped_log_lines,
    )
    return ApiComponents(
        authenticator=factories.create_authenticator(built.loaded, delivery.hub, host.clock, host.emit),
        stats=built.stats,
        live=live,
        controls=controls,
        monitoring=monitoring,
    )


def _event_stream(statistics: Statistics, host: Host, progress: ProgressBroadcaster) -> EventStream:
    """Return the stream of the pages; it listens to ends of jobs and to progress while it has subscribers."""

    def add_listener(listener: Emit) -> Callable[[], None]:
        return host.emit.add(listener, JobSettled, WaitingJobCancelled)

    sources = StreamSources(lambda: statistics.now(seconds=3), add_listener, progress.add)
    return EventStream(sources, host.clock, host.emit)


def _on_beat(systemd: Systemd, clock: Clock, stats: JobStats) -> Callable[[float], None]:
    """Return what each heartbeat of the loop does: feed systemd's watchdog, and close each second of the statistics."""
    interval, last_fed = systemd.watchdog_seconds, 0.0
    last_tick = clock.monotonic()

    def on_beat(late: float) -> None:
        nonlocal last_fed, last_tick
        now = clock.monotonic()
        stats.lag.observe(late * 1000)
        if now - last_tick >= 1.0:
            last_tick += 1.0 if now - last_tick < 2.0 else now - last_tick
            stats.tick(clock.now())
        if interval is not None and now - last_fed >= interval / 2:
            last_fed = now
            systemd.watchdog()

    return on_beat
