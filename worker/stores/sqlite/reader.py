"""Runs read functions in a thread with a read-only connection of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from worker.errors import StoreError
from worker.stores.sqlite.connection import Connection, connect_reader
from worker.stores.sqlite.errors import translate

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class ReadPool:
    """Reads one at a time, outside the event loop. The file must exist before the first read."""

    def __init__(self, path: Path, name: str, on_close: Callable[[], None] = lambda: None) -> None:
        """`on_close` is called in the thread at its end, to close what else was opened there."""
        self._path = path
        self._on_close = on_close
        self._connection: Connection | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def read(
        self,
        function: Callable[Concatenate[Connection, _Arguments], _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        """Call `function(connection, …)` in the thread and return its result; SQLite errors are translated."""
        if self._closed:
            raise StoreError(f"{self._path} is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: self._read(function, *arguments, **named))

    async def close(self) -> None:
        """Wait for the reads that have begun, then close the connection."""
        self._closed = True
        self._thread.submit(self._disconnect)
        await asyncio.to_thread(self._thread.shutdown)

    def _read(
        self,
        function: Callable[Concatenate[Connection, _Arguments], _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        try:
            if self._connection is None:
                self._connection = connect_reader(self._path)
            return function(self._connection, *arguments, **named)
        except Exception as exc:
            known = translate(exc, self._path)
            if known is exc:
                raise
            raise known from exc

    def _disconnect(self) -> None:
        self._on_close()
        if self._connection is not None:
            self._connection.close()
