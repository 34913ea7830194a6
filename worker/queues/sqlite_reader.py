"""A thread that reads, on a connection of its own that cannot write. Knows nothing of what it reads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from worker.errors import StoreError
from worker.queues.sqlite_errors import translated
from worker.queues.sqlite_schema import Connection, connect_reader

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class Reader:
    """One read at a time, never in the event loop. The file must exist before the first."""

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
        """`function(connection, …)` in the thread; its SQLite errors in our words."""
        if self._closed:
            raise StoreError(f"{self._path} is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: self._read(function, *arguments, **named))

    async def close(self) -> None:
        """Let what is under way end, then close the connection."""
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
            known = translated(exc, self._path)
            if known is exc:
                raise
            raise known from exc

    def _disconnect(self) -> None:
        self._on_close()
        if self._connection is not None:
            self._connection.close()
