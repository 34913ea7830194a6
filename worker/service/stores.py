"""Opens the store that the settings name, and says where it is."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from config.loader import LoadedSettings
from worker.core.clock import Clock
from worker.core.events import Emit, StoreBack, StoreCreated, StoreLost, Warned
from worker.core.owner import new_owner
from worker.core.store import Store
from worker.disk.private_file import require_closed
from worker.stores.sqlite import store as sqlite

if TYPE_CHECKING:
    from worker.stores.postgres.database import DatabaseTarget
    from worker.stores.postgres.outages import OnOutage


@contextlib.asynccontextmanager
async def open_service_store(loaded: LoadedSettings, clock: Clock, emit: Emit) -> AsyncIterator[Store]:
    """Open the store, a file under its lock; at the end, write everything to disk and close it."""
    store = await _open(loaded, clock, emit)
    try:
        if store.created:
            emit(StoreCreated(store_location(loaded)))
        for warning in store.warnings:
            emit(Warned(warning))
        yield store
    finally:
        await store.close()


async def _open(loaded: LoadedSettings, clock: Clock, emit: Emit) -> Store:
    settings = loaded.settings.queue
    if settings.provider == "postgres":
        from worker.stores.postgres.opening import open_store

        return await open_store(
            postgres_target(loaded),
            owner=new_owner(""),  # another machine cannot tell whether ours was started again
            max_bytes=settings.max_bytes,
            clock=clock,
            on_outage=_report_outages(store_location(loaded), clock, emit),
        )
    path = loaded.resolve_state(settings.path)
    if loaded.is_state_dir_in_shared:
        require_closed(loaded.state_dir)
    require_closed(path)
    return await sqlite.open_store(path, owner=new_owner(clock.boot), max_bytes=settings.max_bytes, clock=clock)


def postgres_target(loaded: LoadedSettings) -> "DatabaseTarget":
    """Return where the store of Queue:ConnectionString is. Raises Unavailable without the extra packages."""
    from worker.stores.postgres.database import DatabaseTarget

    connection_string = loaded.settings.queue.connection_string
    assert connection_string is not None  # config.cross_checks
    return DatabaseTarget.parse(connection_string.get_secret_value())


def store_location(loaded: LoadedSettings) -> str:
    """Return the path of the store's file, or the address of its database without the password."""
    if loaded.settings.queue.provider == "postgres":
        return postgres_target(loaded).shown
    return str(loaded.resolve_state(loaded.settings.queue.path))


def _report_outages(location: str, clock: Clock, emit: Emit) -> "OnOutage":
    """Return a function that reports when the server is lost, and once when it is back."""
    from worker.stores.postgres.outages import WRITER

    lost_at: float | None = None

    def on_outage(part: str, reason: str | None) -> None:
        nonlocal lost_at
        now = clock.monotonic()
        since = now if lost_at is None else lost_at
        if reason is not None:
            lost_at = since
            emit(StoreLost(location, reason, jobs_wait=part == WRITER))
        else:
            lost_at = None
            emit(StoreBack(location, now - since))

    return on_outage
