"""A listener for the routes of one test, on a real port; every caller is allowed."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from tests.support.web_server import serving
from worker.api.auth.authenticator import LOCAL
from worker.api.routing import RouteSet
from worker.api.server import HttpApi


@dataclass
class RouteServer:
    """The listener, and the unexpected errors of its handlers."""

    url: str
    session: aiohttp.ClientSession
    draining: bool = False
    errors: list[tuple[str, str, BaseException]] = field(default_factory=list)

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        """Return status, JSON (or bytes), headers."""
        async with self.session.request(method, self.url + path, **options) as response:
            content = await response.read()
            is_json = "json" in response.content_type and "attachment" not in str(response.headers)
            return response.status, orjson.loads(content) if is_json else content, response.headers


@contextlib.asynccontextmanager
async def serve_routes(
    sets: Sequence[RouteSet], find: Callable[[web.Request], Any] | None = None
) -> AsyncIterator[RouteServer]:
    """Serve the routes until the end of the block; unexpected errors fail the test."""
    async with contextlib.AsyncExitStack() as stack:
        api = HttpApi(
            sets=sets,
            is_draining=lambda: server.draining,
            on_error=lambda *error: server.errors.append(error),
            max_body=20_000,
        )
        port = await stack.enter_async_context(serving(api.app(find or (lambda _request: LOCAL))))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        server = RouteServer(f"http://127.0.0.1:{port}", session)
        yield server
        assert server.errors == [], server.errors
