"""Ends what jobs of an earlier service have left running, when that service could not do it itself.

Usually the supervisor of a program, or the guard of the service, ends everything. If all of them were killed at once,
the next start does: each service keeps a file with its tag in the state directory, and a lock on it while it lives.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from worker.core.process_tag import SERVICE_TAG, end_tagged
from worker.disk.private_file import open_new

_PREFIX: Final = "processes-"
_TAG: Final = re.compile(r"[A-Z_]+=(?:[0-9a-f]{32}\.\d+\.)*[0-9a-f]{32}")
"""That of a service which a job of another one has started begins with the job's."""
_OWN: Final = SERVICE_TAG[-32:]
_LONGEST: Final = 4096


@contextlib.contextmanager
def processes_registered(state_dir: Path) -> Iterator[None]:
    """End what dead services have left, and let a later start find what this one leaves."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # a store on a server has made no folder here
    _end_left(state_dir)
    path = state_dir / f"{_PREFIX}{_OWN}"
    path.unlink(missing_ok=True)  # of an earlier run within this process
    descriptor = open_new(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, f"{SERVICE_TAG}\n".encode())
        yield
    finally:
        with contextlib.suppress(OSError):  # a disk that became read-only: its own error says more
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _end_left(state_dir: Path) -> None:
    for path in state_dir.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its service lives
            tag = file.read(_LONGEST).decode("ascii", "replace").strip()
            if _TAG.fullmatch(tag) and tag != SERVICE_TAG:
                end_tagged(tag)
            path.unlink(missing_ok=True)
