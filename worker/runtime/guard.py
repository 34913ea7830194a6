"""Ends the service in time when a handler keeps it from stopping, with the help of a small process of its own.

A handler that blocks the event loop, or holds the interpreter's lock, keeps every line of Python in this process from
running. Two things work nevertheless: Python's C signal handler writes the signal's number to a socket
(`signal.set_wakeup_fd`), and a signal may have a C function as its handler. So the guard process, at the other end of
the socket, learns of the stop, and at the deadline it sends a signal whose handler is `_exit`. That ends the service
with the signal's number as exit code, as process 1 of a container too, where a default action does nothing.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from config.presence import exists
from worker.core.events import Emit, Warned
from worker.core.process_tag import SERVICE_TAG
from worker.runtime import guard_process

FORCED_STOP: Final = 63
"""Exit code of a stop that was forced; also the number of the (real-time) signal that forces it."""
MARKER_FILE: Final = "forced-stop"
"""In the state directory: the last stop was forced, so the jobs that were running are not charged with a crash."""

UNBOUNDED: Final = "a stop is not bounded while a handler blocks"

_START_GUARD: Final = (
    "import sys; sys.path.append(sys.argv.pop()); from worker.runtime.guard_process import main; main()"
)


_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds before a guard that ended is started again; they double each time."""


class ShutdownGuard:
    """The service's side of the guard, which it starts again when it ends before the service."""

    def __init__(self, marker: Path, timeout: float, emit: Emit) -> None:
        """Start the guard process. Raises OSError when it cannot start.

        A forced stop creates the file `marker`; `timeout` is HostOptions:ShutdownTimeout.
        """
        self._marker = marker
        self._timeout = timeout
        self._emit = emit
        self._is_stopping = False
        self._pause = _FIRST_PAUSE
        _exit_on(FORCED_STOP)
        self._start()

    def _start(self) -> None:
        self._control, their_control = socket.socketpair()
        self._wakeup, their_wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        order = {
            "service": os.getpid(),
            "control": their_control.fileno(),
            "wakeup": their_wakeup.fileno(),
            "exit_signal": FORCED_STOP,
            "marker": str(self._marker),
            "tag": SERVICE_TAG,
            "timeout": self._timeout,
        }
        root = str(Path(guard_process.__file__).resolve().parents[2])
        with their_control, their_wakeup:
            self._process = subprocess.Popen(  # noqa: S603 -- this interpreter, and a module of this package
                [sys.executable, "-I", "-S", "-c", _START_GUARD, json.dumps(order), root],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[their_control.fileno(), their_wakeup.fileno()],
                start_new_session=True,
                cwd="/",
                env={},
            )

    def attach(self) -> None:
        """Pass signals on to the guard, and wake the running event loop with what comes back. In the main thread."""
        asyncio.get_running_loop().add_reader(self._wakeup, self._on_wakeup)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)

    def set_timeout(self, seconds: float) -> None:
        """Use another HostOptions:ShutdownTimeout from now on."""
        self._timeout = seconds
        self._send(f"{seconds}\n")

    def on_stop(self) -> None:
        """Start the deadline of a stop that no signal requested."""
        self._is_stopping = True
        self._send("stop\n")

    def _send(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the guard was killed: the next one will know
            self._control.sendall(text.encode())

    def _on_wakeup(self) -> None:
        """Read what the guard sent back. Python runs its signal handlers before the first line of this."""
        try:
            data = self._wakeup.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._on_end()

    def _on_end(self) -> None:
        """The guard has ended, although the service has not: start it again in a moment."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._wakeup)
        signal.set_wakeup_fd(-1)  # signals wake the loop without it
        self._wakeup.close()
        self._control.close()
        loop.call_later(self._pause, self._start_again)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _start_again(self) -> None:
        self._process.poll()
        try:
            self._start()
        except OSError as exc:
            self._emit(Warned(f"{UNBOUNDED}: its guard process ended and cannot start again ({exc.strerror})"))
            asyncio.get_running_loop().call_later(_LONGEST_PAUSE, self._start_again)
            return
        self.attach()
        if self._is_stopping:
            self.on_stop()
        self._emit(Warned("the guard process, which bounds a stop, had ended; it was started again"))


def _exit_on(number: int) -> None:
    """Make the C function `_exit` the handler of a signal: it is called with the signal's number.

    Where that is not possible, the signal ends the process by its default action.
    """
    with contextlib.suppress(ImportError, OSError, AttributeError, MemoryError):
        import ctypes

        libc = ctypes.CDLL(None)
        libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
        libc.signal(number, ctypes.cast(libc._exit, ctypes.c_void_p))


def was_stop_forced(state_dir: Path) -> bool:
    """Return whether the last stop was forced. Call `forget_forced_stop` when its jobs were released."""
    return exists(state_dir / MARKER_FILE)


def forget_forced_stop(state_dir: Path) -> None:
    """Remove the mark of a forced stop."""
    with contextlib.suppress(OSError):
        (state_dir / MARKER_FILE).unlink(missing_ok=True)
