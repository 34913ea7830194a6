"""A command's access to the store: through the running service, or by serving the same API itself for a moment.

One process writes the store. Where a service runs, commands send it requests; where none runs, the command takes the
store's lock, serves the same routes on the same socket, sends its requests there, and releases the lock. So there is
one path to test.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from worker.cli.api_client import ApiClient
from worker.cli.invocation import Invocation
from worker.errors import StoreLocked

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from config.loader import LoadedSettings

_LOCKED_SECONDS = 5.0
"""How long to wait for a service that holds the lock but does not answer yet: it is starting or stopping."""


@contextlib.contextmanager
def store_client(invocation: Invocation) -> Iterator[ApiClient]:
    """Yield a client of the service, or of a service of the command's own. Nothing is loaded where one runs.

    Raises ConfigError when the settings are needed and faulty; Unavailable when there is no store; StoreLocked when
    the lock is held by a process that does not answer.
    """
    state_dir = invocation.find_state_dir()
    if state_dir is not None and (client := ApiClient.in_folder(state_dir)).answers():
        yield client
        return
    with connected(invocation.load()) as client:
        yield client


def service_client(invocation: Invocation) -> ApiClient:
    """Return a client of the service that runs, or will run, with these settings."""
    return ApiClient.in_folder(invocation.find_state_dir() or invocation.load().state_dir)


@contextlib.contextmanager
def keep_owner(state_dir: Path) -> Iterator[None]:
    """Give files that root creates in the block to the owner of the folder, or its service could not open them."""
    yield
    if os.geteuid() != 0 or (owner := state_dir.stat()).st_uid == 0:
        return
    for folder, folders, files in os.walk(state_dir):
        for name in (*folders, *files):
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                if path.lstat().st_uid == 0:
                    os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


@contextlib.contextmanager
def connected(loaded: "LoadedSettings") -> Iterator[ApiClient]:
    """Yield a client with a service at the other end. Raises StoreLocked as `store_client` does."""
    from worker.cli.service_thread import running_in_thread

    def serve(stop: "asyncio.Event", ready: "Callable[[], None]") -> "Awaitable[None]":
        from worker.service.standalone import serve_commands

        return serve_commands(loaded, stop, ready)

    client = ApiClient.in_folder(loaded.state_dir)
    deadline = time.monotonic() + _LOCKED_SECONDS
    while not client.answers():
        try:
            with keep_owner(loaded.state_dir), running_in_thread(serve):
                yield client
                return
        except StoreLocked:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    yield client
