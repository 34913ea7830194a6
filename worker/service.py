"""Runs the service and stops it in order: from the store's lock to the last flushed notification."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.layers import Loaded
from worker import __version__
from worker.assembly import opened_store
from worker.clock import Clock
from worker.doors import open_doors
from worker.emitter import Emitter
from worker.errors import WorkerError
from worker.events import Emit, LoopFailed, ServiceStarted, ServiceStopped, ServiceStopping
from worker.maintenance import Indexer, Watch
from worker.parts import Parts, Stopping, build
from worker.renewal import Source

_LAST_RESORT = 4.5
"""Seconds after ShutdownTimeout when the process ends whatever still holds it (P9 allows five)."""


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
        parts = await build(stack, loaded, clock, emit, store, stopping, source)
        url, path = await open_doors(stack, parts)
        await parts.worker.recover()
        stack.enter_context(_signals(parts))
        await _live(parts, Running(url, path, parts), on_ready)
    stopping.finished = True


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
