"""Ports for servers that tests start, stop and start again."""

import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_FIRST, _LAST, _BLOCK = 12_000, 32_000, 100
"""Below 32768, where the ports that Linux gives to outgoing connections begin: one of those connections could otherwise
take the port of a server while it restarts."""


def free_port() -> int:
    """Return a port on which nothing listens, and which no other process of the tests is given."""
    for port in itertools.islice(_ports(), _BLOCK):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("all ports of this process are in use")


@cache
def _ports() -> Iterator[int]:
    """Yield the ports of one block in turn. The block is this process's own until the process ends."""
    folder = Path(tempfile.gettempdir()) / f"insignia-worker-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in range(_FIRST, _LAST, _BLOCK):
        descriptor = os.open(folder / str(first), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return itertools.cycle(range(first, first + _BLOCK))
    raise RuntimeError(f"every block of ports is locked: see {folder}")
