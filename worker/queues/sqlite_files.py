"""The store's files: made private, held by one process, and still the ones that were opened."""

import os
from dataclasses import dataclass
from pathlib import Path

from worker.errors import StoreReplaced, StoreUnwritable
from worker.queues.lock import StoreLock
from worker.queues.sqlite_room import wal_of

Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """What was opened. A file that is removed under SQLite takes writes without an error, and loses them."""

    path: Path
    lock: StoreLock
    identities: tuple[tuple[Path, Identity | None], ...]

    @classmethod
    def opened(cls, path: Path, lock: StoreLock) -> "OpenFiles":
        """Call it once SQLite has the database and its log open."""
        return cls(path, lock, tuple((file, _identity(file)) for file in (path, wal_of(path))))

    def verify(self) -> None:
        """StoreReplaced or StoreUnwritable."""
        for file, identity in self.identities:
            if identity is not None and _identity(file) != identity:
                raise StoreReplaced(f"{file} was removed or replaced while it was open: restart, and restore a backup")
        if not self.lock.in_place():
            raise StoreReplaced(f"{self.lock.path} was removed while it was held: restart, and leave the file alone")
        if os.statvfs(self.path).f_flag & os.ST_RDONLY:
            raise StoreUnwritable(f"{self.path} lies on a disk that is mounted read-only: see the system log")


def _identity(file: Path) -> Identity | None:
    # stat only: opening and closing the file here would drop the locks SQLite holds on it (POSIX, fcntl).
    try:
        state = file.stat()
    except FileNotFoundError:
        return None
    return state.st_dev, state.st_ino


def make_folder(path: Path) -> None:
    """The folder of `path`, 0700 where there is none. StoreUnwritable."""
    try:
        for folder in reversed([folder for folder in path.parents if not folder.exists()]):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise StoreUnwritable(f"cannot make {path.parent}: {exc.strerror}; make it, or set Queue:Path") from exc


def make_file(path: Path) -> None:
    """An empty database that only its owner may read; SQLite gives its log the same rights. StoreUnwritable."""
    if path.is_dir():
        raise StoreUnwritable(f"{path} is a folder: set Queue:Path to a file in it")
    try:
        # Not the forbidden opening of an open database: the file did not exist, so nobody can have a lock on it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as exc:
        raise StoreUnwritable(f"cannot write {path}: {exc.strerror}; give this user the right to its folder") from exc
    os.fchmod(descriptor, 0o600)
    os.close(descriptor)
