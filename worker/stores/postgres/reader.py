"""Reads on a small pool of connections; a read that fails because its connection was lost is repeated once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from worker.errors import StoreError
from worker.stores.postgres.database import Connection, DatabaseTarget
from worker.stores.postgres.errors import is_outage, translate

_SIZE = 3
"""Connections: so many people may search while the relay reads on."""
_TRIES = 5
_PAUSE = 0.3

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class ReadPool:
    """Opens a connection when it is needed."""

    def __init__(self, target: DatabaseTarget) -> None:
        self._target = target
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def read(
        self,
        function: Callable[Concatenate[Connection, _Arguments], Awaitable[_Answer]],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        """Run `function(connection, …)`. Raises StoreError for what PostgreSQL raises."""
        for attempt in range(1, _TRIES + 1):
            if self._closed:
                raise StoreError(f"{self._target.shown} is closed")
            try:
                async with (await self._opened()).acquire(timeout=10.0) as connection:
                    return await function(connection, *arguments, **named)
            except Exception as exc:
                if not is_outage(exc) or attempt == _TRIES:
                    known = translate(exc, self._target.shown)
                    if known is exc:
                        raise
                    raise known from exc
            await asyncio.sleep(_PAUSE)
        raise AssertionError("the last attempt returns or raises")

    async def read_if_reachable(
        self,
        function: Callable[Concatenate[Connection, _Arguments], Awaitable[None]],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> None:
        """Run `function`, unless the server is away."""
        try:
            async with (await self._opened()).acquire(timeout=10.0) as connection:
                await function(connection, *arguments, **named)
        except Exception as exc:
            if is_outage(exc):
                return
            known = translate(exc, self._target.shown)
            if known is exc:
                raise
            raise known from exc

    async def close(self) -> None:
        self._closed = True
        if self._pool is not None:
            try:
                async with asyncio.timeout(2.0):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._target.create_pool(_SIZE)
            return self._pool
