"""The process that keeps the promise of a bounded stop when the service itself cannot: see `guard`.

The service starts this module in a bare interpreter, so it may use the standard library only. It needs neither the
service's event loop nor its interpreter lock: signals reach it as bytes that Python's C handler writes to a socket, and
the service is ended by a signal whose handler is the C function `_exit`.
"""

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any

from worker.core.process_tag import end_tagged

FORCED_SECONDS = 4.5
"""Seconds after the time for running jobs at which the service is ended (the promise allows five)."""
_KILL_SECONDS = 0.2
"""Seconds for the service to end by its own handler, before it is killed."""
_CLEAN_UP_SECONDS = 1.0
"""Seconds for the processes of handlers to end after they were killed."""
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Guard:
    """Waits for stop signals, for commands of the service, and for its end."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._service: int = order["service"]
        self._control: int = order["control"]
        self._wakeup: int = order["wakeup"]
        self._exit_signal: int = order["exit_signal"]
        self._marker: str = order["marker"]
        self._tag: str = order["tag"]
        self._timeout: float = order["timeout"]
        self._deadline: float | None = None

    def run(self) -> None:
        """Return when the service has ended, by itself or by force."""
        poll = select.poll()
        for descriptor in (self._control, self._wakeup):
            poll.register(descriptor, select.POLLIN)
        while True:
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            ready = [descriptor for descriptor, _ in poll.poll(None if left is None else left * 1000)]
            if self._wakeup in ready and not self._read_signals():
                poll.unregister(self._wakeup)
            if self._control in ready and not self._read_commands():
                return
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._end_service()
                return

    def _read_signals(self) -> bool:
        """Count stop signals, and send every byte back: it wakes the service's event loop. False: the end."""
        data = _receive(self._wakeup)
        with contextlib.suppress(OSError):
            os.write(self._wakeup, data)
        for number in data:
            if number in _STOP_SIGNALS:
                self._request()
        return bool(data)

    def _read_commands(self) -> bool:
        """Carry out commands, one per line: `stop`, or another timeout; return False when the service has ended."""
        data = _receive(self._control)
        for line in data.split(b"\n"):
            if line == b"stop":  # after a signal, the signal has set the deadline
                if self._deadline is None:
                    self._request()
            elif line:
                self._timeout = float(line)
        return bool(data)

    def _request(self) -> None:
        """Set the deadline at the first request; the second one does not wait for jobs."""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._timeout + FORCED_SECONDS
        else:
            self._deadline = min(self._deadline, now + FORCED_SECONDS)

    def _end_service(self) -> None:
        """Write down that the stop was forced, so that no job is charged with a crash; then end the service."""
        with contextlib.suppress(OSError), open(self._marker, "w", encoding="ascii") as file:  # noqa: PTH123 -- quick to import
            file.write(f"{self._service}\n")
            file.flush()
            os.fsync(file.fileno())
        for number, seconds in ((self._exit_signal, _KILL_SECONDS), (signal.SIGKILL, 1.0)):
            if os.getppid() != self._service:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._service, number)
            _wait_for_end(self._control, seconds)

    def end_children(self) -> None:
        """Kill every process that carries this service's tag in its environment."""
        end_tagged(self._tag, _CLEAN_UP_SECONDS)


def _receive(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the connection was reset
        return b""


def _wait_for_end(control: int, seconds: float) -> None:
    """Wait until the service has closed its end of the connection, for `seconds` at most."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([control], [], [], left)[0] and not _receive(control):
            return


def main() -> None:
    """Guard the service that the first argument describes, as JSON."""
    # Signals to the service's process group are not meant for this process: it ends when the service does.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    guard = Guard(json.loads(sys.argv[1]))
    guard.run()
    guard.end_children()
