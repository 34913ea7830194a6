"""Supervises one program: starts it, keeps its output within limits, and ends every process that it leaves.

The service starts this module in a bare interpreter, so it may use the standard library only. It ends when its channel
to the service closes, however the service died, and ends the program and all its descendants with it, even those that
started sessions of their own: it adopts orphans, and PR_SET_PDEATHSIG kills the program if the supervisor is killed.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import selectors
import signal
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from worker.core.secret_mask import SecretMask
from worker.handlers.command.output import OutputCapture, ProgressFilter

_HEADER = struct.Struct("!I")
_PROGRESS_INTERVAL = 0.1
"""Seconds between two progress frames."""
_CHUNK = 1 << 18
_KILL_TIMEOUT = 2.0
"""Seconds to wait for killed processes, and for their pipes to close."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


# -- the channel to the service ------------------------------------------------------------------------------------


class ControlChannel:
    """Exchanges length-prefixed JSON frames with the service."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def send(self, frame: object) -> None:
        """Send a frame. Raises OSError if the service has gone."""
        data = json.dumps(frame).encode()
        view = memoryview(_HEADER.pack(len(data)) + data)
        while view:
            view = view[os.write(self.descriptor, view) :]

    def receive(self) -> dict[str, Any] | None:
        """Return the next frame; None if the service has gone."""
        try:
            header = self._read_exactly(_HEADER.size)
            frame: dict[str, Any] = json.loads(self._read_exactly(_HEADER.unpack(header)[0]))
        except (EOFError, OSError):
            return None
        return frame

    def _read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = os.read(self.descriptor, size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data


# -- the program ---------------------------------------------------------------------------------------------------


class NotStarted(Exception):
    """The program cannot be started: `setting` is the one at fault, `number` the error number."""

    def __init__(self, setting: str, number: int) -> None:
        super().__init__(setting, number)
        self.setting, self.number = setting, number


class Program:
    """The program, its pipes, and all its descendants."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.ended: tuple[int, float] | None = None
        """Wait status and CPU seconds; None while the program runs."""
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        self.progress, progress = os.pipe()
        of_program = (stdin, stdout, stderr, progress)
        self.pid = _start(request, of_program)
        for descriptor in of_program:
            os.close(descriptor)
        for descriptor in (self.stdin, self.stdout, self.stderr, self.progress):
            os.set_blocking(descriptor, False)

    def reap(self) -> bool:
        """Collect the processes that have ended; return whether any process of the program is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.ended = status, usage.ru_utime + usage.ru_stime

    def signal_group(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the program's process group, unless it was reaped and its id may belong to another."""
        if self.ended is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL to every process that is left, until none is; gives up after two seconds."""
        deadline = time.monotonic() + _KILL_TIMEOUT
        self.signal_group(signal.SIGKILL)
        while self.reap() and time.monotonic() < deadline:
            # One generation at a time: a process that loses its parent becomes a child of this one.
            for pid in _children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)


def _start(request: dict[str, Any], streams: tuple[int, int, int, int]) -> int:
    result, report = os.pipe()  # a successful exec closes it
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        _exec_program(request, streams, report, supervisor)
    os.close(report)
    with os.fdopen(result, "rb") as file:
        text = file.read().decode()
    if text:
        os.waitpid(pid, 0)
        setting, _, number = text.partition(" ")
        raise NotStarted(setting, int(number))
    return pid


def _exec_program(
    request: dict[str, Any], streams: tuple[int, int, int, int], report: int, supervisor: int
) -> NoReturn:
    """Become the program, in the forked process; the supervisor has a single thread, so Python may run here."""
    setting = "Path"
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # it died before that took effect
            os._exit(1)
        # First to high numbers: the descriptors 0 to 3 may be in use by one of the others.
        high = [_above(stream, 10) for stream in streams]
        report = _above(report, 10)
        for number, stream in enumerate(high):
            os.dup2(stream, number)
        _reset_signals()
        setting = "Folder"
        os.chdir(request["folder"])
        setting = "Path"
        os.execve(request["argv"][0], request["argv"], request["env"])  # noqa: S606 -- there must be no shell
    except OSError as exc:
        os.write(report, f"{setting} {exc.errno}".encode())
    finally:
        os._exit(127)


def _reset_signals() -> None:
    """Undo what the service inherited: under nohup, or in the background of a shell, it ignores signals."""
    for number in signal.valid_signals():
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _above(descriptor: int, lowest: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _children() -> Iterator[int]:
    """Yield the ids of this process's children."""
    own_pid = os.getpid()
    if not os.path.isdir("/proc/self"):  # noqa: PTH112 -- not Linux: only the process group is killed
        return
    for name in os.listdir("/proc"):  # noqa: PTH208 -- only names are needed, and there may be thousands
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123 -- quick to import
                if int(stat.read().rpartition(b")")[2].split()[1]) == own_pid:
                    yield int(name)


# -- the monitor ---------------------------------------------------------------------------------------------------


class ProcessMonitor:
    """Handles output, input, progress and stop requests in one loop until the program has ended."""

    def __init__(self, channel: ControlChannel, program: Program, request: dict[str, Any]) -> None:
        self._channel, self._program, self._order = channel, program, request
        mask = SecretMask(request["secrets"])
        self._outputs = {
            stream: OutputCapture(request["max_output"], mask) for stream in (program.stdout, program.stderr)
        }
        self._progress = {
            stream: ProgressFilter(self._on_progress, mask) for stream in (program.stderr, program.progress)
        }
        self._input = memoryview((request["stdin"] or "").encode(request["encoding"]))
        self._pending: tuple[float, str] | None = None
        """The latest progress that was not sent yet."""
        self._sent_at = 0.0
        self._deadline: float | None = None
        self._selector = selectors.DefaultSelector()

    def run(self, wake: int) -> None:
        """Run until the program has ended and its output is read; exits if the service has gone."""
        program, register = self._program, self._selector.register
        register(self._channel.descriptor, selectors.EVENT_READ, self._on_frame)
        register(wake, selectors.EVENT_READ, lambda: _empty(wake))
        for stream in (program.stdout, program.stderr, program.progress):
            register(stream, selectors.EVENT_READ, lambda stream=stream: self._read(stream))
        register(program.stdin, selectors.EVENT_WRITE, self._feed)
        while program.ended is None:
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            program.reap()
            self._send_progress()
            if self._deadline is not None and time.monotonic() >= self._deadline:
                program.kill()
        program.kill()  # processes that it left running must not outlive the job
        self._read_the_rest()
        self._sent_at = 0.0  # the last progress is sent at once
        self._send_progress()

    def result(self) -> dict[str, Any]:
        """Return the last frame for the service."""
        assert self._program.ended is not None
        status, seconds = self._program.ended
        encoding = self._order["encoding"]
        out, all_out = self._outputs[self._program.stdout].text(encoding)
        err, all_err = self._outputs[self._program.stderr].text(encoding)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "stdout": out,
            "stderr": err,
            "truncated": not (all_out and all_err),
            "cpu": seconds,
        }

    def _on_frame(self) -> None:
        frame = self._channel.receive()
        if frame is None:
            self._program.kill()
            os._exit(0)
        self._deadline = time.monotonic() + frame["stop"]
        self._program.signal_group()

    def _read(self, stream: int) -> bool:
        """Read what is there; return False once the stream has ended."""
        try:
            data = os.read(stream, _CHUNK)
        except BlockingIOError:
            return True
        progress, output = self._progress.get(stream), self._outputs.get(stream)
        text = data if progress is None else progress.feed(data) if data else progress.finish()
        if output is not None:
            output.add(text)
        if not data:
            self._selector.unregister(stream)
        return bool(data)

    def _feed(self) -> None:
        try:
            if self._input:
                self._input = self._input[os.write(self._program.stdin, self._input[: 1 << 16]) :]
        except BlockingIOError:
            return
        except OSError:  # the program has closed its input
            self._input = memoryview(b"")
        if not self._input:
            self._selector.unregister(self._program.stdin)
            os.close(self._program.stdin)

    def _read_the_rest(self) -> None:
        deadline = time.monotonic() + _KILL_TIMEOUT
        for stream in (self._program.stdout, self._program.stderr, self._program.progress):
            while stream in self._selector.get_map() and self._read(stream) and time.monotonic() < deadline:
                pass

    def _on_progress(self, percent: float, note: str) -> None:
        self._pending = percent, note

    def _send_progress(self) -> None:
        now = time.monotonic()
        if self._pending is not None and now - self._sent_at >= _PROGRESS_INTERVAL:
            (percent, note), self._pending, self._sent_at = self._pending, None, now
            with contextlib.suppress(OSError):
                self._channel.send({"percent": percent, "note": note})

    def _timeout(self) -> float | None:
        """Return the seconds until the next deadline; None if there is none."""
        due = [] if self._deadline is None else [self._deadline]
        if self._pending is not None:
            due.append(self._sent_at + _PROGRESS_INTERVAL)
        return max(0.0, min(due) - time.monotonic()) if due else None


def _empty(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(descriptor, 4096)


def _wake_on_child_exit() -> int:
    """Return a descriptor that becomes readable when a child ends."""
    wake, signalled = os.pipe()
    for end in (wake, signalled):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return wake


def main() -> None:
    """Supervise the program that the service names on the channel whose descriptor is the first argument."""
    # Signals to the service's process group are not meant for this process: it ends when its channel closes.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel = ControlChannel(int(sys.argv[1]))
    os.set_inheritable(channel.descriptor, False)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    request = channel.receive()
    if request is None:
        return
    wake = _wake_on_child_exit()
    try:
        program = Program(request)
    except NotStarted as exc:
        channel.send({"refused": exc.setting, "errno": exc.number})
        return
    monitor = ProcessMonitor(channel, program, request)
    monitor.run(wake)
    channel.send(monitor.result())
