"""The real store and the real inbox, on databases of the simulated disk."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from tests.simulation.disk import SimulatedDisk, on_disk
from worker.core.clock import Clock
from worker.errors import StoreFull
from worker.stores.sqlite.connection import add_functions, migrate
from worker.stores.sqlite.disk_space import DiskBudget
from worker.stores.sqlite.store import SqliteStore
from worker.stores.sqlite.transaction import WriteTransaction

STORE_PATH = Path("/simulated-queue.db")
_INBOX = "hub.db"


class _Database(sqlite3.Connection):
    """Lies on the disk: it stays when a process closes it."""

    def close(self) -> None:
        if self.in_transaction:
            self.rollback()


def _database(disk: SimulatedDisk, name: str) -> tuple[sqlite3.Connection, bool]:
    """Return the database, and whether it is new."""
    found = disk.databases.get(name)
    if found is not None:
        return found, False
    disk.databases[name] = sqlite3.connect(":memory:", isolation_level=None, factory=_Database, cached_statements=256)
    return disk.databases[name], True


_templates: dict[str, bytes] = {}
"""New databases, which take longer to make than many jobs."""


class _Budget(DiskBudget):
    """Full when the simulated disk is."""

    def require(self, size: int, *, kept: int = 0) -> None:
        if self.max_bytes < 0:
            raise StoreFull("the disk is full")


class SimulatedStore(SqliteStore):
    """Opens its database on the simulated disk, without files and locks."""

    disk: SimulatedDisk

    def _open_transaction(self) -> WriteTransaction:
        connection, is_new = _database(self.disk, str(self.path))
        if is_new and "store" in _templates:
            connection.deserialize(_templates["store"])
            add_functions(connection)
        elif is_new:
            migrate(connection, self.path)
            _templates["store"] = connection.serialize()
        transaction = WriteTransaction(
            connection, _Budget(connection, self.path, self.max_bytes, self._clock.monotonic), self._clock, self.owner
        )
        transaction.load()
        self._waiting = transaction.waiting
        return transaction


async def open_simulated_store(
    disk: SimulatedDisk, owner: str, clock: Clock, path: Path = STORE_PATH
) -> SimulatedStore:
    """Open the store as another owner; `on_disk` must be in force."""
    store = SimulatedStore(path, owner=owner, max_bytes=1 << 40, clock=clock)
    store.disk = disk
    await store._writer.start()
    return store


@contextmanager
def simulated_storage(disk: SimulatedDisk) -> Iterator[None]:
    """Keep stores and inboxes on this disk."""

    def open_inbox(path: Path | None) -> tuple[sqlite3.Connection, bool]:
        from worker.hub.inboxes.sqlite_tables import _prepare

        connection, is_new = _database(disk, _INBOX)
        if is_new and "inbox" in _templates:
            connection.deserialize(_templates["inbox"])
        elif is_new:
            _prepare(connection, path)
            _templates["inbox"] = connection.serialize()
        return connection, is_new

    with on_disk(disk), patch("worker.hub.inboxes.sqlite.open_inbox_file", open_inbox):
        yield
