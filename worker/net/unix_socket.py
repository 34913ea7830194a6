"""The UNIX socket in the state directory, on which a running service answers commands."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

SOCKET_NAME = "worker.sock"
_LONGEST_ADDRESS = 100
"""Bytes; `sockaddr_un` holds 107, and the address needs an end."""


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Yield an address for the socket at `path`, also where the path is longer than `sockaddr_un` allows."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
