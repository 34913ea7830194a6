"""Stands between the service and one program: starts it, keeps what it says, and ends all of it.

Run by worker.handlers.command as a script, in a bare interpreter of its own; knows nothing but the standard library.
It ends when its line to the service closes, however the service died, and with it the program and whatever that
has started, sessions of their own included: it adopts orphans, and PR_SET_PDEATHSIG covers its own sudden death.
"""

import codecs
import contextlib
import ctypes
import fcntl
import json
import os
import re
import selectors
import signal
import struct
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

HEADER = struct.Struct("!I")
PROGRESS_FD = 3
"""Where a program may write its progress, if not to stderr."""
_PROGRESS = re.compile(rb"::progress +(\d{1,3}(?:\.\d{1,6})?)%?(?: +(.*?))?\s*", re.DOTALL)
_MARK = b"::progress "
_LONGEST_LINE = 4096
_LONGEST_NOTE = 200
_INTERVAL = 0.1
"""Seconds between two frames of progress: more often nobody looks."""
_CHUNK = 1 << 18
_SPARE = 64
"""Bytes beyond the cut that are kept, to see whether the last letter is whole."""
_PATIENCE = 2.0
"""Seconds to wait for what was killed, and for its pipes to close."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


# -- what is kept of an output -------------------------------------------------------------------------------------


class Kept:
    """The beginning and the end of an output that may be endless."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        self._size += len(data)
        room = self._half + _SPARE - len(self._head)
        self._head += data[:room]
        self._tail += data[max(0, room) :]
        if len(self._tail) > 4 * self._half + _CHUNK:
            del self._tail[: -self._half - _SPARE]

    def text(self, encoding: str) -> tuple[str, bool]:
        """What is kept, and whether that is all of it; letters are whole, and what was left out is counted."""
        if self._size <= 2 * self._half:
            return (self._head + self._tail).decode(encoding, "replace"), True
        every = self._head + self._tail  # neighbours wherever the end is kept from
        first = _whole_start(bytes(self._head), self._half, encoding)
        last = _whole_end(bytes(every[-self._half - _SPARE :]), self._half, encoding)
        return f"{first}\n… {self._size - 2 * self._half} bytes left out …\n{last}", False


def _whole_start(data: bytes, most: int, encoding: str) -> str:
    """At most `most` bytes from the start, cut between two letters."""
    decode = codecs.getincrementaldecoder(encoding)
    end = len(decode("replace").decode(data[:most]))
    text = decode("replace").decode(data)
    while 0 < end < len(text) and _belongs_to_the_letter_before(text[end]):
        end -= 1
    return text[:end]


def _whole_end(data: bytes, most: int, encoding: str) -> str:
    """At most `most` bytes from the end, cut between two letters."""
    data = data[-most:]
    if encoding == "utf-8":
        start = next((at for at in range(min(3, len(data))) if data[at] & 0xC0 != 0x80), min(3, len(data)))
        data = data[start:]
    return without_broken_start(data.decode(encoding, "replace"))


def without_broken_start(text: str) -> str:
    """Without the vowels and tone marks whose letter was cut off."""
    start = next((at for at, char in enumerate(text) if not _belongs_to_the_letter_before(char)), len(text))
    return text[start:]


def _belongs_to_the_letter_before(char: str) -> bool:
    # Thai and Lao AM are letters to Unicode's categories, and part of the one before to everybody's eyes.
    return unicodedata.category(char)[0] == "M" or char in "\u0e33\u0eb3\u200d"


class Progress:
    """Takes the lines `::progress 40 note` out of an output."""

    def __init__(self, tell: Callable[[float, str], None]) -> None:
        self._tell = tell
        self._begun = b""
        self._in_a_line = False

    def feed(self, data: bytes) -> bytes:
        """What is no progress; the beginning of a line that may become some is held back."""
        *lines, last = (self._begun + data).split(b"\n")
        passed = bytearray()
        for line in lines:
            if self._in_a_line or not self._take(line):
                passed += line + b"\n"
            self._in_a_line = False
        may_be_one = not self._in_a_line and _MARK.startswith(last[: len(_MARK)]) and len(last) < _LONGEST_LINE
        self._begun = last if may_be_one else b""
        if not may_be_one:
            passed += last
            self._in_a_line = True
        return bytes(passed)

    def rest(self) -> bytes:
        """What was held back when the output ended."""
        begun, self._begun = self._begun, b""
        return b"" if self._take(begun) else begun

    def _take(self, line: bytes) -> bool:
        match = _PROGRESS.fullmatch(line)
        if match is None:
            return False
        note = " ".join((match[2] or b"").decode("utf-8", "replace").split())
        self._tell(min(100.0, float(match[1])), note[:_LONGEST_NOTE])
        return True


# -- the line to the service ---------------------------------------------------------------------------------------


class Line:
    """Length-prefixed JSON, both ways."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def send(self, frame: object) -> None:
        """Raises OSError: the service has gone."""
        data = json.dumps(frame).encode()
        view = memoryview(HEADER.pack(len(data)) + data)
        while view:
            view = view[os.write(self.descriptor, view) :]

    def receive(self) -> dict[str, Any] | None:
        """The next frame; None: the service has gone."""
        try:
            header = self._exactly(HEADER.size)
            frame: dict[str, Any] = json.loads(self._exactly(HEADER.unpack(header)[0]))
        except (EOFError, OSError):
            return None
        return frame

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = os.read(self.descriptor, size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data


# -- the program ---------------------------------------------------------------------------------------------------


class NotStarted(Exception):
    """What was tried, and the number of the error."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(what, number)
        self.what, self.number = what, number


class Program:
    """The program, its pipes, and everything it has started."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.ended: tuple[int, float] | None = None
        """Wait status and seconds of processor time."""
        inward, self.stdin = os.pipe()
        self.stdout, outward = os.pipe()
        self.stderr, complaints = os.pipe()
        self.progress, steps = os.pipe()
        self.pid = _start(order, (inward, outward, complaints, steps))
        for theirs in (inward, outward, complaints, steps):
            os.close(theirs)
        for ours in (self.stdin, self.stdout, self.stderr, self.progress):
            os.set_blocking(ours, False)

    def reap(self) -> bool:
        """Take what has died; False: nothing is left, neither the program nor an heir of it."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.ended = status, usage.ru_utime + usage.ru_stime

    def ask(self, number: int = signal.SIGTERM) -> None:
        """A signal to the program and its group, as long as the number is its own: until it is reaped."""
        if self.ended is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to all that is left, until nothing is."""
        deadline = time.monotonic() + _PATIENCE
        self.ask(signal.SIGKILL)
        while self.reap() and time.monotonic() < deadline:
            # One generation after the other: who loses its parent becomes ours.
            for pid in _children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)


def _start(order: dict[str, Any], streams: tuple[int, int, int, int]) -> int:
    told, tell = os.pipe()  # closed by a successful exec
    warden = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(order, streams, tell, warden)
    os.close(tell)
    with os.fdopen(told, "rb") as trouble:
        text = trouble.read().decode()
    if text:
        os.waitpid(pid, 0)
        what, _, number = text.partition(" ")
        raise NotStarted(what, int(number))
    return pid


def _become(order: dict[str, Any], streams: tuple[int, int, int, int], tell: int, warden: int) -> NoReturn:
    """In the forked process; this one has a single thread, so Python may run here."""
    what = "Path"
    try:
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != warden:  # it died before that took effect
            os._exit(1)
        # First out of the way: the new places may be where others still stand.
        high = [_above(stream, 10) for stream in streams]
        tell = _above(tell, 10)
        for place, stream in enumerate(high):
            os.dup2(stream, place)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        what = "Folder"
        os.chdir(order["folder"])
        what = "Path"
        os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606 -- no shell is the point
    except OSError as exc:
        os.write(tell, f"{what} {exc.errno}".encode())
    finally:
        os._exit(127)


def _above(descriptor: int, lowest: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _children() -> Iterator[int]:
    """The processes whose parent we are."""
    us = os.getpid()
    if not os.path.isdir("/proc/self"):  # noqa: PTH112 -- no Linux: the group has to do
        return
    for name in os.listdir("/proc"):  # noqa: PTH208 -- a thousand Path objects would be made for their names
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
                if int(stat.read().rpartition(b")")[2].split()[1]) == us:
                    yield int(name)


# -- the watch -----------------------------------------------------------------------------------------------------


class Watch:
    """One loop over everything that may happen until the program has ended."""

    def __init__(self, line: Line, program: Program, order: dict[str, Any]) -> None:
        self._line, self._program, self._order = line, program, order
        self._outputs = {program.stdout: Kept(order["keep"]), program.stderr: Kept(order["keep"])}
        self._progress = {program.stderr: Progress(self._note), program.progress: Progress(self._note)}
        self._input = memoryview((order["stdin"] or "").encode(order["encoding"]))
        self._news: tuple[float, str] | None = None
        self._told = 0.0
        self._deadline: float | None = None
        self._selector = selectors.DefaultSelector()

    def run(self, wake: int) -> None:
        """Until the program has ended and all it said is read, or the service has gone."""
        program, register = self._program, self._selector.register
        register(self._line.descriptor, selectors.EVENT_READ, self._hear)
        register(wake, selectors.EVENT_READ, lambda: _empty(wake))
        for stream in (program.stdout, program.stderr, program.progress):
            register(stream, selectors.EVENT_READ, lambda stream=stream: self._read(stream))
        register(program.stdin, selectors.EVENT_WRITE, self._feed)
        while program.ended is None:
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            program.reap()
            self._tell_news()
            if self._deadline is not None and time.monotonic() >= self._deadline:
                program.kill()
        program.kill()  # what it leaves behind would go on after its job
        self._read_the_rest()
        self._told = 0.0  # its last word is not held back
        self._tell_news()

    def end(self) -> dict[str, Any]:
        """What the service is told."""
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

    def _hear(self) -> None:
        frame = self._line.receive()
        if frame is None:
            self._program.kill()
            os._exit(0)
        self._deadline = time.monotonic() + frame["stop"]
        self._program.ask()

    def _read(self, stream: int) -> bool:
        """False: the stream has ended."""
        try:
            data = os.read(stream, _CHUNK)
        except BlockingIOError:
            return True
        progress, kept = self._progress.get(stream), self._outputs.get(stream)
        said = data if progress is None else progress.feed(data) if data else progress.rest()
        if kept is not None:
            kept.add(said)
        if not data:
            self._selector.unregister(stream)
        return bool(data)

    def _feed(self) -> None:
        try:
            if self._input:
                self._input = self._input[os.write(self._program.stdin, self._input[: 1 << 16]) :]
        except BlockingIOError:
            return
        except OSError:  # it does not want to read
            self._input = memoryview(b"")
        if not self._input:
            self._selector.unregister(self._program.stdin)
            os.close(self._program.stdin)

    def _read_the_rest(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        for stream in (self._program.stdout, self._program.stderr, self._program.progress):
            while stream in self._selector.get_map() and self._read(stream) and time.monotonic() < deadline:
                pass

    def _note(self, percent: float, note: str) -> None:
        self._news = percent, note

    def _tell_news(self) -> None:
        now = time.monotonic()
        if self._news is not None and now - self._told >= _INTERVAL:
            (percent, note), self._news, self._told = self._news, None, now
            with contextlib.suppress(OSError):
                self._line.send({"percent": percent, "note": note})

    def _timeout(self) -> float | None:
        """Seconds until something is due by itself."""
        due = [] if self._deadline is None else [self._deadline]
        if self._news is not None:
            due.append(self._told + _INTERVAL)
        return max(0.0, min(due) - time.monotonic()) if due else None


def _empty(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(descriptor, 4096)


def _wake_on_deaths() -> int:
    """A descriptor that becomes readable when a child dies."""
    wake, bell = os.pipe()
    for end in (wake, bell):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return wake


def main() -> None:
    # A signal to the service's whole group is not for us: we end when our line closes.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    line = Line(int(sys.argv[1]))
    os.set_inheritable(line.descriptor, False)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    order = line.receive()
    if order is None:
        return
    wake = _wake_on_deaths()
    try:
        program = Program(order)
    except NotStarted as exc:
        line.send({"refused": exc.what, "errno": exc.number})
        return
    watch = Watch(line, program, order)
    watch.run(wake)
    line.send(watch.end())


if __name__ == "__main__":
    main()
