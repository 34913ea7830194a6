"""Remembers the number of the last commit in a file of its own, so that a store that has lost something is recognised.

SQLite opens an empty file, an old copy, or a database without its write-ahead log without an error. The journal holds
the store's identity and the number of its last commit. It is written after each commit, without a sync: it survives the
end of the process, and after a power cut it is at most older than the store.
"""

import contextlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from config.presence import exists
from worker.disk.room import write_error
from worker.errors import StoreIncomplete
from worker.stores.sqlite.connection import Connection

_LENGTH = 64
"""Bytes of the journal. It fits in a sector, so a power cut leaves all of it or nothing."""


class StoreState(NamedTuple):
    """Which store it is, and how many commits it has."""

    store: str
    commits: int


def journal_of(path: Path) -> Path:
    """Return the journal of the store at `path`."""
    return path.with_name(f"{path.name}.commits")


def state_of(connection: Connection) -> StoreState:
    """Return what the store itself says."""
    return StoreState(*connection.execute("SELECT store, commits FROM tally").fetchone())


def expected_state(path: Path) -> StoreState | None:
    """Return what the journal of the store at `path` says; None if there is none, or it cannot be read."""
    try:
        line = journal_of(path).read_text("utf-8", "replace")
    except OSError:
        return None
    store, commits, checksum = (*line.split(), "", "", "")[:3]
    if not commits.isdigit() or checksum != _checksum(store, int(commits)):
        return None
    return StoreState(store, int(commits))


def require_file(path: Path) -> None:
    """Raise StoreIncomplete if the store must have content but its file is missing or empty."""
    expected = expected_state(path)
    if expected is None or (exists(path) and path.stat().st_size):
        return
    found = "is empty" if exists(path) else "is missing"
    raise StoreIncomplete(f"{path} {found}, although it had {expected.commits:,} commits{_REMEDY}")


def require_complete(connection: Connection, path: Path) -> None:
    """Raise StoreIncomplete if the opened store is another one, or has fewer commits, than the journal says."""
    expected, found = expected_state(path), state_of(connection)
    if expected is None:
        return
    if found.store != expected.store:
        raise StoreIncomplete(f"{path} is not the store that was used last{_REMEDY}")
    if found.commits < expected.commits:
        raise StoreIncomplete(
            f"{path} has lost its last {expected.commits - found.commits:,} commits: it is an old copy, or its "
            f"write-ahead log ({path.name}-wal) is missing or damaged{_REMEDY}"
        )


_REMEDY = (
    ": put the right files back, or run `insignia-worker db restore BACKUP`, or `insignia-worker db restore` to go on "
    "with what is there"
)


@dataclass(frozen=True, slots=True)
class CommitJournal:
    """The journal of an open store."""

    store: str
    _descriptor: int

    @classmethod
    def open(cls, path: Path, state: StoreState) -> "CommitJournal":
        """Open the journal of the store at `path`, or create it (0600); write the state and sync it."""
        try:
            return cls._opened(path, state)
        except OSError as exc:
            raise write_error(exc, journal_of(path), "give this user the right to write it") from exc

    @classmethod
    def _opened(cls, path: Path, state: StoreState) -> "CommitJournal":
        descriptor = os.open(journal_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        journal = cls(state.store, descriptor)
        try:
            journal.write(state.commits)
            os.fsync(descriptor)
        except BaseException:
            journal.close()
            raise
        return journal

    def write(self, commits: int) -> None:
        """Record the number of the last commit, which is on disk."""
        line = f"{self.store} {commits} {_checksum(self.store, commits)}"
        with contextlib.suppress(OSError):  # the commit is on disk all the same
            os.pwrite(self._descriptor, f"{line:<{_LENGTH - 1}}\n".encode(), 0)

    def close(self) -> None:
        os.close(self._descriptor)


def _checksum(store: str, commits: int) -> str:
    return f"{zlib.crc32(f'{store} {commits}'.encode()):08x}"
