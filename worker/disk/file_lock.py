"""A lock that one process holds as long as it runs: an advisory lock (flock) on a file of its own."""

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from worker.disk.limits import limit_of
from worker.disk.room import write_error
from worker.errors import StoreLocked, StoreUnwritable


@dataclass(frozen=True, slots=True)
class FileLock:
    """A held lock. The kernel releases it when the process ends, however it ends."""

    path: Path
    _descriptor: int

    @classmethod
    def acquire(cls, path: Path, *, remedy: str = "stop it, or use its HTTP API") -> "FileLock":
        """Take the lock at once; return it.

        Raises StoreLocked, which names the process that holds it and says the `remedy`, and StoreUnwritable or
        StoreFull if the lock file cannot be created or locked.
        """
        while True:
            descriptor = _open(path)
            try:
                _lock(descriptor, path, remedy)
                if _is_still_at(descriptor, path):
                    _write_pid(descriptor)
                    return cls(path, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            # The file was removed after it was opened and before it was locked: this lock guards nothing.
            os.close(descriptor)

    def in_place(self) -> bool:
        """Return False if the lock file was removed or replaced, so that another process could lock its successor."""
        return _is_still_at(self._descriptor, self.path)

    def release(self) -> None:
        """Release the lock. The file stays: if it were removed, two processes could hold locks on the same name."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        limit = limit_of(exc)
        remedy = "give this user the right to write it" if limit is None else f"no more {limit}"
        raise write_error(exc, path, remedy) from exc


def _lock(descriptor: int, path: Path, remedy: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise StoreLocked(f"{path} is held by {_holder(descriptor)}; {remedy}") from exc
    except OSError as exc:
        raise StoreUnwritable(f"cannot lock {path}: {exc.strerror}; put it on a local disk") from exc


def _holder(descriptor: int) -> str:
    pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
    return f"process {pid}" if pid.isdigit() else "another process"


def _write_pid(descriptor: int) -> None:
    """Write the process id, which only the error message uses: a full disk must not stop the start."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _is_still_at(descriptor: int, path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    held = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)
