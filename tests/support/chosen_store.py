"""Which store the services of a test use: by default the file, or a PostgreSQL database for each service's folder.

`tests/acceptance` and `tests/browser` run what is marked `both_stores` on either; the services learn of the database
by their environment, as an operator would tell them, so that the tests are the same.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.postgres import connected
from tests.support.postgres_server import PostgresServer

Provider = str
"""A value of Queue:Provider."""
_T = TypeVar("_T")

_numbers = itertools.count(1)
_servers: list[PostgresServer] = []
"""The server that new services use, if they use one."""
_databases: dict[Path, str] = {}


def split_by_store(metafunc: pytest.Metafunc) -> None:
    """Run a test that is marked `both_stores` once for each, the second time with the mark `matrix`."""
    marker = metafunc.definition.get_closest_marker
    if marker("both_stores") is not None and marker("sqlite_only") is None:
        providers = ["sqlite", pytest.param("postgres", marks=pytest.mark.matrix)]
        metafunc.parametrize("store_provider", providers, indirect=True, scope="module")


@contextlib.contextmanager
def services_use(server: PostgresServer) -> Iterator[None]:
    """Give each service that starts in this block a database of its own on the server."""
    _servers.append(server)
    try:
        yield
    finally:
        _servers.remove(server)


def store_environment(folder: Path) -> dict[str, str]:
    """Return the settings that name the store of the services and commands on this folder; none for the file."""
    if folder not in _databases and not _servers:
        return {}
    return {"Queue__Provider": "postgres", "Queue__ConnectionString": _database(folder)}


def database_of(folder: Path) -> str | None:
    """Return the URL of the database that services on this folder have used; None: the file."""
    return _databases.get(folder)


def _database(folder: Path) -> str:
    if folder not in _databases:
        server, name = _servers[-1], f"service_{next(_numbers)}"
        run_apart(lambda: _create(server.url, name))
        _databases[folder] = server.url.rpartition("/")[0] + f"/{name}"
    return _databases[folder]


async def _create(url: str, name: str) -> None:
    async with connected(url) as connection:
        await connection.execute(f"CREATE DATABASE {name}")


def run_apart(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run it in an event loop of its own; also where one is running, which waits."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()
