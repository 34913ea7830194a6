"""Writes log lines in a thread of its own, so that a stalled or full log never delays the service."""

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

_MAX_BYTES: Final = 4 * 1024 * 1024
"""Of lines that wait; further ones are dropped and counted."""
_CHUNK_BYTES: Final = 64 * 1024
_RETRY_SECONDS: Final = 0.5
"""After a write that failed, as on a full disk."""
_PIECE_BYTES: Final = 4096
"""Of one write: a reader that is slow shows with each that it reads."""
DRAIN_SECONDS: Final = 0.5
"""How long the end of the process waits for a reader that takes nothing."""
LONGEST_DRAIN_SECONDS: Final = 3.0
"""How long it waits in all for one that takes the lines slowly: the guard of a stop allows a little more."""


class LogWriter:
    """A text stream on a descriptor: `write` takes one whole line, and never blocks or fails."""

    def __init__(self, descriptor: int, *, max_bytes: int = _MAX_BYTES) -> None:
        self.on_dropped: Callable[[int], None] = lambda _lines: None
        """Called in the writer's thread with the number of lines that were dropped, when half the room is free.

        What it writes itself is never dropped, or the number would be lost with it.
        """
        self.dropped = 0
        """Lines that were dropped since the start."""
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        """Including the lines that are being written."""
        self._written = 0
        """Steps of the thread: pieces that were written, and chunks that are done with."""
        self._unreported = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> int:
        """Queue a line, which ends with a newline; drop it when too many bytes wait."""
        data = line.encode("utf-8", "backslashreplace")
        with self._changed:
            is_full = self._waiting_bytes + len(data) > self._max_bytes
            if is_full and threading.current_thread() is not self._thread:
                self._drop(1)
                return len(line)
            self._lines.append(data)
            self._waiting_bytes += len(data)
            if self._thread is None:
                self._start()
            self._changed.notify_all()
        return len(line)

    def flush(self) -> None:
        """Do nothing: lines are written as soon as the reader takes them."""

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        with contextlib.suppress(OSError):
            return os.isatty(self._descriptor)
        return False

    def drain(self, seconds: float = DRAIN_SECONDS, longest: float = LONGEST_DRAIN_SECONDS) -> bool:
        """Wait until every line is written; return whether it is.

        Give up after `seconds` in which the reader takes nothing, or after `longest` if that is more.
        """
        end = time.monotonic() + max(seconds, longest)
        with self._changed:
            while self._waiting_bytes:
                left = max(0.0, end - time.monotonic())
                if not self._wait_for_step(min(seconds, left)):
                    break
            return self._waiting_bytes == 0

    def _wait_for_step(self, seconds: float) -> bool:
        """Wait until the thread has written something more, for `seconds` at most; return whether it has."""
        before = self._written
        return self._changed.wait_for(lambda: self._written != before, seconds)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        with contextlib.suppress(RuntimeError):  # no thread is left: the next line tries again
            thread.start()
            self._thread = thread

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self._unreported += lines

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                chunk, lines = self._take_chunk()
            written = self._write_all(chunk)
            with self._changed:
                self._waiting_bytes -= len(chunk)
                self._written += 1
                if not written:
                    self._drop(lines)
                is_back = written and self._waiting_bytes <= self._max_bytes // 2
                unreported = self._unreported if is_back else 0
                self._unreported -= unreported
                self._changed.notify_all()
            if unreported:
                self.on_dropped(unreported)
            if not written:
                time.sleep(_RETRY_SECONDS)

    def _take_chunk(self) -> tuple[bytes, int]:
        taken: list[bytes] = []
        size = 0
        while self._lines and size < _CHUNK_BYTES:
            taken.append(self._lines.popleft())
            size += len(taken[-1])
        return b"".join(taken), len(taken)

    def _write_all(self, chunk: bytes) -> bool:
        """Write the chunk, for as long as the reader needs; return False when it cannot be written."""
        view = memoryview(chunk)
        while view:
            try:
                view = view[os.write(self._descriptor, view[:_PIECE_BYTES]) :]
            except BlockingIOError:  # another process has made the pipe that it shares with this one non-blocking
                select.select([], [self._descriptor], [])
            except OSError:
                return False
            else:
                with self._changed:
                    self._written += 1
                    self._changed.notify_all()
        return True
