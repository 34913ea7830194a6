"""The files of a database that is open: locked by one process, and still those that were opened."""

from dataclasses import dataclass
from pathlib import Path

from worker.disk.file_lock import FileLock
from worker.disk.room import read_only_disk
from worker.errors import StoreReplaced, StoreUnwritable

Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """The files as they were opened. SQLite writes to a removed file without an error, and loses it."""

    path: Path
    lock: FileLock
    identities: tuple[tuple[Path, Identity | None], ...]
    sizes: list[int]
    """The largest size of the database that was seen: it never shrinks."""

    @classmethod
    def opened(cls, path: Path, lock: FileLock) -> "OpenFiles":
        """Remember the files; to be called once SQLite has the database and its log open."""
        files = (path, path.with_name(f"{path.name}-wal"))
        return cls(path, lock, tuple((file, _identity(file)) for file in files), [path.stat().st_size])

    def verify(self) -> None:
        """Raise StoreReplaced or StoreUnwritable if they are not the same files any more, or cannot be written.

        Blocks for as long as the disk takes to answer.
        """
        try:
            self._verify()
        except FileNotFoundError as exc:
            raise _replaced(self.path) from exc
        except OSError as exc:
            raise StoreUnwritable(
                f"cannot look at {exc.filename or self.path}: {exc.strerror}; give this user the right to its folder"
            ) from exc

    def _verify(self) -> None:
        for file, identity in self.identities:
            if identity is not None and _identity(file) != identity:
                raise _replaced(file)
        size = self.path.stat().st_size
        if size < self.sizes[0]:
            raise StoreReplaced(
                f"{self.path} was cut from {self.sizes[0]:,} to {size:,} bytes while it was open: restore a backup"
            )
        self.sizes[0] = size
        if not self.lock.in_place():
            raise StoreReplaced(
                f"{self.lock.path} was removed while the lock was held: restart, and do not remove this file"
            )
        if (reason := read_only_disk(self.path)) is not None:
            raise StoreUnwritable(reason)


def _replaced(file: Path) -> StoreReplaced:
    return StoreReplaced(f"{file} was removed or replaced while it was open: restore a backup and restart")


def _identity(file: Path) -> Identity | None:
    # stat only: opening and closing the file here would drop the locks SQLite holds on it (POSIX, fcntl).
    try:
        state = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return state.st_dev, state.st_ino
