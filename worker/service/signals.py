"""What signals do, from the start of the event loop to the end of the process.

Until the loop runs, `worker.__main__` ends the process at the first SIGTERM or SIGINT: nothing is open yet. From the
last line of the service on, both are ignored, so that a second signal does not change the exit code.
"""

import asyncio
import contextlib
import functools
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

from worker.service.components import ShutdownSignal

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def stop_signals(shutdown: ShutdownSignal) -> Iterator[None]:
    """SIGTERM and SIGINT request a stop; the second one does not wait for jobs. Does nothing outside the main thread.

    Where the process belongs to the service, both are ignored afterwards; elsewhere they do what they did before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    guard = shutdown.guard
    if guard is not None:
        guard.attach()
    table = {number: functools.partial(shutdown.request, number.name) for number in STOP_SIGNALS}
    final = signal.SIG_IGN if shutdown.owns_process else None
    with _installed(table, final, shutdown.note_time):
        yield


@contextlib.contextmanager
def control_signals(quiet: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """SIGTSTP calls `quiet`, SIGHUP `reload`, both in the event loop. Does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _installed({signal.SIGTSTP: quiet, signal.SIGHUP: reload}):
        yield


@contextlib.contextmanager
def _installed(
    table: Mapping[signal.Signals, Callable[[], None]],
    final: "signal.Handlers | None" = None,
    at_once: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Handle signals with Python's own handlers: `at_once` where they interrupt, then the table's in the event loop.

    Those of the event loop would take the wakeup descriptor for themselves, and would be removed with a moment in
    which the default action applies.
    """
    loop = asyncio.get_running_loop()

    def handler(number: int, _frame: FrameType | None) -> None:
        at_once()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(table[signal.Signals(number)])

    before = {number: signal.signal(number, handler) for number in table}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous if final is None else final)
