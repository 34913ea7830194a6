"""What the system knows about processes."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

_START_TIME = 19
"""Index of the start, in ticks since the machine's, among the fields after the name in /proc/PID/stat."""


def is_running(pid: int, since: float | None = None) -> bool:
    """Whether the process is alive; a zombie is not.

    With `since` (monotonic seconds), a process that started later does not count: the system gives the ids of ended
    processes to new processes and threads, after less than a minute on a busy machine.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    if since is not None and _started_at(fields) > since:
        return False
    return fields[0] not in ("Z", "X")


def _started_at(fields: list[str]) -> float:
    since_boot = int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
    return since_boot - time.clock_gettime(time.CLOCK_BOOTTIME) + time.monotonic()


def environment_value(pid: int, name: str) -> str | None:
    """Return what a variable had at the start of the process; None if the process did not have it, or has ended."""
    try:
        assignments = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    prefix = f"{name}=".encode()
    return next((os.fsdecode(each.removeprefix(prefix)) for each in assignments if each.startswith(prefix)), None)


def describe(pid: int) -> str:
    """Return what the system says about a process, for the message of a test that waited for its end in vain."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return f"process {pid}: {command}\n{Path(f'/proc/{pid}/status').read_text(encoding='utf-8')}"
    except (FileNotFoundError, ProcessLookupError):
        return f"process {pid} has ended"


def children_of(pid: int) -> list[int]:
    """Return the processes that this one has started, whichever of its threads did; none if it has ended."""
    return list(_children(pid))


def _children(pid: int) -> Iterator[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return
    for task in tasks:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread has ended; the others go on
            yield from map(int, (task / "children").read_text(encoding="ascii").split())


def resident_bytes(pid: int) -> int:
    """Return the memory that the process uses."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of the process so far: steadier than the clock on a busy machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
