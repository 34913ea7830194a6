"""Ends the processes that a handler has started, in the child process that runs it."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_KILL_SECONDS = 2.0
"""How long to wait for killed processes."""


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent ends, even of one that has started a session of its own."""
    with contextlib.suppress(ImportError, OSError, AttributeError, MemoryError):  # only Linux has it
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants() -> None:
    """Kill every process that this one has started, and what these have started; blocks until they have ended."""
    deadline = time.monotonic() + _KILL_SECONDS
    while (children := list(_children())) and time.monotonic() < deadline:
        # One generation at a time: a process that loses its parent becomes a child of this one.
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        time.sleep(0.001)


def _children() -> Iterator[int]:
    """Yield the ids of this process's children, whichever thread has started them."""
    for thread in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from map(int, thread.read_text(encoding="ascii").split())
