"""Marks the processes that jobs start in their environment, and ends those whose supervisor is gone.

An id alone does not identify a process: after its end another one may get it. The mark is random, so a process that
has it was started by this service, in this boot of the machine. Standard library only, and quick to import: the guard
of the service runs in a bare interpreter.
"""

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator
from typing import Final

SERVICE_VARIABLE: Final = "INSIGNIA_WORKER_CHILD_OF"
"""In the environment of every process that a job starts, and so of what that starts."""
SERVICE_TAG: Final = f"{SERVICE_VARIABLE}={os.environ.get(SERVICE_VARIABLE, '')}{os.urandom(16).hex()}"
"""The beginning of that variable for all processes of this process. One that was started by a job, such as the child
process of its handler, has the job's tag before its own: what it starts belongs to that job too."""
_KILL_SECONDS: Final = 2.0
"""How long to wait for killed processes."""
_numbers = itertools.count(1)


def next_tag() -> str:
    """Return the variable, `NAME=value`, for the processes of one more job; none is the beginning of another."""
    return f"{SERVICE_TAG}.{next(_numbers)}."


def tagged(tag: str) -> Iterator[int]:
    """Yield the ids of the processes that were started with `tag` in their environment; zombies have none."""
    if not os.path.isdir("/proc/self"):  # noqa: PTH112 -- not Linux
        return
    own_pid = os.getpid()
    for name in os.listdir("/proc"):  # noqa: PTH208 -- only names are needed, and there may be thousands
        if name.isdigit() and int(name) != own_pid and _has_tag(int(name), tag):
            yield int(name)


def end_tagged(tag: str, seconds: float = _KILL_SECONDS) -> None:
    """Kill every process with this tag until none is left; gives up after `seconds`."""
    deadline = time.monotonic() + seconds
    while left := list(tagged(tag)):
        for pid in left:
            _kill(pid, tag)
        if time.monotonic() >= deadline:
            return
        time.sleep(0.005)


def _kill(pid: int, tag: str) -> None:
    """Kill this process, unless it has ended and its id belongs to another one by now."""
    with contextlib.suppress(OSError):
        if not hasattr(os, "pidfd_open"):  # not Linux
            os.kill(pid, signal.SIGKILL)
            return
        handle = os.pidfd_open(pid)
        try:
            if _has_tag(pid, tag):  # now the handle is known to be that process
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


def _has_tag(pid: int, tag: str) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as environ:  # noqa: PTH123 -- quick to import
        return tag.encode() in environ.read()
    return False
