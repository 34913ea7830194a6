"""Lets a start wait until the disks that it writes to have room."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from config.loader import LoadedSettings
from worker.core.events import Emit, Warned
from worker.disk.room import shortage_in
from worker.errors import StoreError, StoreFull
from worker.runtime.maintenance import sleep_or_stop

_Result = TypeVar("_Result")

_ROOM_SECONDS = 2.0
"""Seconds between two attempts on a full disk."""


async def when_there_is_room(
    step: Callable[[], Awaitable[_Result]],
    loaded: LoadedSettings,
    emit: Emit,
    *,
    stop: asyncio.Event,
    on_wait: Callable[[str], None],
) -> _Result | None:
    """Take a step of the start, again and again while the disk is full; return None if `stop` is set in the meantime.

    `on_wait` is called before each wait. Other errors are raised.
    """
    is_reported = False
    while not stop.is_set():
        try:
            return await step()
        except StoreError as exc:
            shortage = _shortage(loaded)
            if shortage is None and not _is_of_full_store(exc, loaded):
                raise
            if not is_reported:
                emit(Warned(f"{shortage or exc}; the start waits until there is free space"))
            is_reported = True
            on_wait("waiting for free disk space")
            await sleep_or_stop(stop, _ROOM_SECONDS)
    return None


async def require_room(loaded: LoadedSettings) -> None:
    """Raise StoreFull unless a start can create its files: keys, the hub's inbox, and what tells of its processes."""
    shortage = _shortage(loaded)
    if shortage is not None:
        raise StoreFull(shortage)


def _is_of_full_store(exc: StoreError, loaded: LoadedSettings) -> bool:
    return isinstance(exc, StoreFull) and loaded.settings.queue.provider == "sqlite"


def _shortage(loaded: LoadedSettings) -> str | None:
    """Return what a disk lacks, and what to do about it; None if each has room."""
    settings = loaded.settings
    files = [loaded.state_dir / "any", loaded.resolve_state(settings.hub.inbox_path)]
    if settings.queue.provider == "sqlite":
        files.append(loaded.resolve_state(settings.queue.path))
    return next(filter(None, map(shortage_in, dict.fromkeys(file.parent for file in files))), None)
