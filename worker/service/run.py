"""Runs the service and stops it in order: from the lock of the store to the last flushed notification."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from config.loader import LoadedSettings
from worker import __version__
from worker.core.clock import Clock
from worker.core.event_bus import EventBus
from worker.core.events import Emit, LoopFailed, ServiceStarted, ServiceStopped, ServiceStopping
from worker.core.shared_store import SharedStore
from worker.core.store import SearchIndexed
from worker.errors import StoreFull, WorkerError
from worker.hub.server import HubServer
from worker.runtime.from_settings import claim_rules, error_pause
from worker.runtime.guard import forget_forced_stop, was_stop_forced
from worker.runtime.left_processes import processes_registered
from worker.runtime.maintenance import Indexer, Recovery, Tidying, sleep_or_stop
from worker.service.build import build
from worker.service.components import Host, ServiceComponents, ShutdownSignal
from worker.service.disk_room import require_room, when_there_is_room
from worker.service.health import sample_health
from worker.service.listeners import open_listeners
from worker.service.reload import SettingsSource
from worker.service.signals import control_signals, stop_signals
from worker.service.stores import open_service_store, store_location
from worker.service.systemd import Systemd

_MIN_FLUSH = 0.5
"""Seconds that the outbox may take at a stop, even when the jobs used up the deadline."""


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """Where the running service answers, and its components."""

    url: str
    socket: Path
    components: ServiceComponents


async def serve_with_restarts(
    loaded: LoadedSettings,
    emit: Emit,
    shutdown: ShutdownSignal,
    source: SettingsSource | None = None,
    dropped_log_lines: Callable[[], int] = lambda: 0,
) -> None:
    """Run `serve` as HostOptions:BackgroundServiceExceptionBehavior says: StopHost ends with the unexpected error,
    Ignore starts the service again after a pause. A WorkerError always ends it: the operator must act first."""
    settings = loaded.settings
    pause = error_pause(settings.web_socket)
    with stop_signals(shutdown):
        while True:
            try:
                await serve(
                    loaded, EventBus(emit), shutdown=shutdown, source=source, dropped_log_lines=dropped_log_lines
                )
                return
            except WorkerError:
                raise
            except Exception as exc:
                if settings.host_options.background_service_exception_behavior != "Ignore" or shutdown.event.is_set():
                    raise
                emit(LoopFailed("running the service", exc, pause))
                await sleep_or_stop(shutdown.event, pause)
                if shutdown.event.is_set():
                    return


async def serve(
    loaded: LoadedSettings,
    emit: EventBus,
    *,
    shutdown: ShutdownSignal | None = None,
    on_ready: Callable[[ServiceInfo], None] | None = None,
    source: SettingsSource | None = None,
    dropped_log_lines: Callable[[], int] = lambda: 0,
) -> None:
    """Run the service until a stop is requested. Raises WorkerError when it cannot start or must end."""
    shutdown = shutdown or ShutdownSignal()
    host = Host(Clock(), emit, Systemd.from_environment(), shutdown, dropped_log_lines=dropped_log_lines)
    async with contextlib.AsyncExitStack() as stack:
        if not host.shutdown.owns_process:
            stack.enter_context(stop_signals(host.shutdown))
        with_room = functools.partial(
            when_there_is_room, loaded=loaded, emit=emit, stop=shutdown.event, on_wait=host.systemd.extend_start
        )
        store = await with_room(lambda: stack.enter_async_context(open_service_store(loaded, host.clock, emit)))
        if store is None:
            return
        await with_room(functools.partial(require_room, loaded))
        if shutdown.event.is_set():
            return
        stack.enter_context(processes_registered(loaded.state_dir))
        components = await build(stack, loaded, host, store, source)
        rules = claim_rules(loaded.settings.worker, components.jobs.service.registry)
        await with_room(lambda: store.use_rules(rules))
        await with_room(functools.partial(_start_hub, stack, components.delivery.hub))
        if shutdown.event.is_set():
            return
        url, path = await open_listeners(stack, components)
        after_forced_stop = was_stop_forced(loaded.state_dir)
        await with_room(lambda: components.jobs.worker.recover(after_forced_stop=after_forced_stop))
        if shutdown.event.is_set():
            return
        forget_forced_stop(loaded.state_dir)
        quiet = functools.partial(components.api.controls.set_quiet, True)
        stack.enter_context(control_signals(quiet, components.reloader.request))
        await _run_until_stopped(ServiceInfo(url, path, components), on_ready)


async def _start_hub(stack: contextlib.AsyncExitStack, hub: HubServer | None) -> None:
    if hub is not None:
        await hub.start()
        stack.push_async_callback(hub.close)  # if no port opens; with a port, it is closed before that


async def _run_until_stopped(info: ServiceInfo, on_ready: Callable[[ServiceInfo], None] | None) -> None:
    """Run all loops from READY to the last flushed notification."""
    components = info.components
    jobs, delivery, maintenance = components.jobs, components.delivery, components.maintenance
    stop = components.host.shutdown.event
    stopped = asyncio.Event()
    async with single_exception(), asyncio.TaskGroup() as group:
        until_stopped = [
            group.create_task(maintenance.watchdog.run(stopped)),
            group.create_task(jobs.worker.run_settling()),
            group.create_task(delivery.relay.run(stopped)),
            group.create_task(components.reloader.run()),
            group.create_task(delivery.read_receipts.run()),
            group.create_task(jobs.success_hooks.run()),
        ]
        if components.loaded.settings.host_options.reload_on_change:
            group.create_task(components.reloader.watch(stop))
        group.create_task(maintenance.pruner.run(stop))
        if isinstance(jobs.store, SearchIndexed):
            indexer = Indexer(jobs.store, jobs.store, components.host.clock, components.host.emit)
            group.create_task(indexer.run(stop))
        group.create_task(maintenance.upload_cleaner.run(stop))
        group.create_task(maintenance.store_monitor.run(stop))
        group.create_task(sample_health(components, stop))
        if isinstance(jobs.store, SharedStore):
            group.create_task(Recovery(jobs.worker.recover, components.host.emit).run(stop))
            group.create_task(Tidying(jobs.store.tidy, components.host.emit).run(stop))
        claiming = group.create_task(jobs.worker.run(stop))
        _report_ready(info, on_ready)
        await stop.wait()
        await _stop(components, claiming)
        stopped.set()
        for task in until_stopped:
            task.cancel()


def _report_ready(info: ServiceInfo, on_ready: Callable[[ServiceInfo], None] | None) -> None:
    components = info.components
    host, loaded = components.host, components.loaded
    host.started.set()
    kinds = tuple(sorted(components.jobs.service.registry))
    host.emit(ServiceStarted(__version__, loaded.environment, store_location(loaded), info.url, kinds))
    host.systemd.ready(f"ready at {info.url}")
    if on_ready is not None:
        on_ready(info)


async def _stop(components: ServiceComponents, claiming: "asyncio.Task[None]") -> None:
    """Claim nothing more, let jobs end, release the rest and flush the outbox, all within one deadline."""
    host, worker = components.host, components.jobs.worker
    seconds = components.loaded.settings.host_options.shutdown_timeout
    requested_at = host.shutdown.requested_at
    deadline = (host.clock.monotonic() if requested_at is None else requested_at) + seconds
    host.emit(ServiceStopping(host.shutdown.reason, worker.running, seconds))
    host.systemd.stopping(f"finishing {worker.running} jobs, {seconds:g} s left")
    await claiming
    released = await worker.finish(max(0.0, deadline - host.clock.monotonic()))
    await components.delivery.relay.flush(max(_MIN_FLUSH, deadline - host.clock.monotonic()))
    figures = await components.jobs.store.stats()
    host.emit(ServiceStopped(released, figures.outbox_depth))
    error = worker.settling.error
    if error is not None and not isinstance(error, StoreFull):  # the next start waits for room by itself
        raise error


@contextlib.asynccontextmanager
async def single_exception() -> AsyncIterator[None]:
    """Raise the one error that ended the service, instead of a group of it and its consequences."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _primary_exception(group) from group


def _primary_exception(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        ours = [inner for inner in exc.exceptions if isinstance(inner, WorkerError)]
        exc = ours[0] if ours else exc.exceptions[0]
    return exc
