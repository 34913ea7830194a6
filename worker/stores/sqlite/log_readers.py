"""Finds the programs whose reading keeps SQLite from emptying the write-ahead log.

A reader sees the store as it was when it began. While it reads on, nothing that was written since can be removed from
the log. SQLite marks readers by locks on bytes of the `-shm` file, which the system lists with their processes.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_LOCKS = Path("/proc/locks")
_FIRST_READER, _LAST_READER = 123, 127
"""The bytes that readers lock: WAL_READ_LOCK(0) to (4) of SQLite's wal.c, which never change."""


def readers_of(path: Path) -> list[str]:
    """Return the other processes that read the store at `path`, such as "process 4711 (sqlite3)"; empty: unknown."""
    try:
        inode = path.with_name(f"{path.name}-shm").stat().st_ino
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    return [f"process {pid} ({_name_of(pid)})" for pid in sorted(set(_readers(lines, inode)))]


def why_log_is_kept(path: Path, size: int) -> str:
    """Return a sentence about a log of `size` bytes that is too long, with the programs that read the store."""
    readers = ", ".join(readers_of(path)) or "another program"
    return (
        f"the write-ahead log of {path} has {size:,} bytes and cannot be emptied while {readers} keeps reading the "
        "store as it was"
    )


def _readers(lines: list[str], inode: int) -> Iterator[int]:
    # 1: POSIX  ADVISORY  READ  4711 fd:01:131 124 124
    for line in lines:
        fields = line.split()
        if len(fields) != 8 or fields[1] != "POSIX" or not fields[5].endswith(f":{inode}"):
            continue
        pid, first, last = int(fields[4]), int(fields[6]), fields[7]
        reads = first <= _LAST_READER and (last == "EOF" or int(last) >= _FIRST_READER)
        if reads and pid not in (os.getpid(), 0, -1):
            yield pid


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "name unknown"
