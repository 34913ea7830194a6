"""What the system knows about processes."""

import os
from collections.abc import Iterator
from pathlib import Path


def is_running(pid: int) -> bool:
    """Whether the process is alive; a zombie is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def children_of(pid: int) -> list[int]:
    """Return the processes that this one has started, whichever of its threads did; none if it has ended."""
    return list(_children(pid))


def _children(pid: int) -> Iterator[int]:
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            yield from map(int, (task / "children").read_text(encoding="ascii").split())
    except (FileNotFoundError, ProcessLookupError):
        return


def resident_bytes(pid: int) -> int:
    """Return the memory that the process uses."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of the process so far: steadier than the clock on a busy machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
