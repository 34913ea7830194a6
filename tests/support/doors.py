"""A door over a real store for tests of a few routes, on a real port; everybody who comes is let in."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from worker.door.access import LOCAL
from worker.door.app import Door
from worker.door.routes import RouteSet


@dataclass
class Ajar:
    """The door, and what it said when something broke."""

    url: str
    session: aiohttp.ClientSession
    draining: bool = False
    errors: list[tuple[str, str, BaseException]] = field(default_factory=list)

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        """Status, JSON (or bytes), headers."""
        async with self.session.request(method, self.url + path, **options) as response:
            content = await response.read()
            is_json = "json" in response.content_type and "attachment" not in str(response.headers)
            return response.status, orjson.loads(content) if is_json else content, response.headers


@contextlib.asynccontextmanager
async def ajar(sets: Sequence[RouteSet], find: Callable[[web.Request], Any] | None = None) -> AsyncIterator[Ajar]:
    """Open until the end of the block."""
    async with contextlib.AsyncExitStack() as stack:
        door = Door(
            sets=sets,
            is_draining=lambda: it.draining,
            on_error=lambda *error: it.errors.append(error),
            max_body=20_000,
        )
        runner = web.AppRunner(door.app(find or (lambda _request: LOCAL)), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        session = await stack.enter_async_context(aiohttp.ClientSession())
        it = Ajar(f"http://127.0.0.1:{runner.addresses[0][1]}", session)
        yield it
        assert it.errors == [], it.errors
