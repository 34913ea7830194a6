"""One process per store: a lock file beside it, held while the store is open. Knows nothing of what it guards."""

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from worker.errors import StoreLocked, StoreUnwritable


@dataclass(frozen=True, slots=True)
class StoreLock:
    """A held lock. The kernel drops it when the process ends, however it ends."""

    path: Path
    _descriptor: int

    @classmethod
    def acquire(cls, path: Path) -> "StoreLock":
        """Take the lock or raise StoreLocked, which names the process that holds it. StoreUnwritable: no lock file."""
        while True:
            descriptor = _open(path)
            try:
                _lock(descriptor, path)
                if _is_still_at(descriptor, path):
                    _write_pid(descriptor)
                    return cls(path, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            # Somebody removed the file between our opening and our locking it: what we hold guards nothing.
            os.close(descriptor)

    def in_place(self) -> bool:
        """False: the lock file was removed or replaced, so a second process could take "the" lock."""
        return _is_still_at(self._descriptor, self.path)

    def release(self) -> None:
        """The file stays: removing it would let two processes hold two locks of the same name."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise StoreUnwritable(f"cannot write {path}: {exc.strerror}; give this user the right to it") from exc


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise StoreLocked(f"{path} is held by {_holder(descriptor)}; stop it, or use its HTTP API") from exc
    except OSError as exc:
        raise StoreUnwritable(f"cannot lock {path}: {exc.strerror}; the store needs a local disk") from exc


def _holder(descriptor: int) -> str:
    pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
    return f"process {pid}" if pid.isdigit() else "another process"


def _write_pid(descriptor: int) -> None:
    """For people and for the error text only: a full disk must not keep the service from starting."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _is_still_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    held = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
