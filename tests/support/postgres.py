"""Stores in the PostgreSQL server that tests may use, each in a schema of its own."""

import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tests.support.needs import skip_without
from worker.core.clock import Clock
from worker.core.store import Store
from worker.stores.postgres.database import DatabaseTarget
from worker.stores.postgres.opening import open_store

SERVER = os.environ.get("TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
"""A database in which tests may create schemas."""


@contextlib.asynccontextmanager
async def connected(url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@dataclass(frozen=True)
class PostgresPlace:
    """A schema for one test."""

    connection_string: str

    @property
    def target(self) -> DatabaseTarget:
        return DatabaseTarget.parse(self.connection_string)

    async def open(self, owner: str, max_bytes: int, clock: Clock) -> Store:
        try:
            return await open_store(self.target, owner=owner, max_bytes=max_bytes, clock=clock)
        except Exception as exc:
            if isinstance(exc.__cause__, OSError):
                skip_without(f"a PostgreSQL server at {SERVER}", "start one, or name it in TEST_POSTGRES")
            raise

    async def destroy(self) -> None:
        async with connected(self.target.dsn) as connection:
            await connection.execute(f"DROP SCHEMA IF EXISTS {self.target.schema} CASCADE")


def place_for(folder: Path) -> PostgresPlace:
    """Return the place that belongs to a test's folder."""
    name = hashlib.sha256(f"{os.getpid()}:{folder}".encode()).hexdigest()[:16]
    return PostgresPlace(f"{SERVER}?schema=test_{name}")
