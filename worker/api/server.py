"""The HTTP API: one port for API, health and hub, and the same API on a UNIX socket for commands."""

import asyncio
import contextlib
import functools
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from config.settings import HttpSettings
from worker.api.auth.authenticator import LOCAL, Authenticator
from worker.api.cors import allow_origins
from worker.api.dispatch import (
    Audit,
    Dispatcher,
    FindCaller,
    fair_turns_middleware,
    host_middleware,
    plain_bodies_middleware,
    unmatched_middleware,
)
from worker.api.errors import problems_middleware
from worker.api.openapi import description_of
from worker.api.routes.health import PROBE_PATHS
from worker.api.routing import Route, RouteSet, Surface, add_routes, table_of
from worker.api.static_files import add_dashboard, add_page
from worker.errors import Unavailable
from worker.net import path_base
from worker.net.header_timeout import HeaderLimits, HeaderTimeout
from worker.net.http_protocol import SERVER_NAME, HttpDeadlines, HttpProtocol
from worker.net.unix_socket import SOCKET_NAME, socket_address

_CLOSE_SECONDS = 0.25
"""Seconds that aiohttp waits, twice, for open WebSockets at shutdown; the hub has closed its own before."""


async def _add_security_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Keep responses out of caches unless they say otherwise, stop browsers from guessing types, hide the versions."""
    response.headers["Server"] = SERVER_NAME
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")


async def _no_audit(_actor: str, _action: str, _target: str, _detail: Mapping[str, Any]) -> None:
    """Record nothing: for an API without a store."""


@dataclass(frozen=True, slots=True)
class HttpApi:
    """The routes and options that all listeners of the service share."""

    sets: Sequence[RouteSet]
    is_draining: Callable[[], bool]
    on_error: Callable[[str, str, BaseException], None]
    max_body: int
    open_paths: tuple[str, ...] = ()
    """Paths below /api/ that check their callers themselves: the hub's."""
    audit: Audit = _no_audit
    cors_origins: frozenset[str] = frozenset()
    page_origins: frozenset[str] = frozenset()
    """Origins whose pages may import the hub's browser modules."""
    path_base: str = ""
    recheck: float = 15.0
    """Seconds between two checks that a stream's caller is still allowed."""

    @classmethod
    def from_settings(
        cls,
        http: HttpSettings,
        sets: Sequence[RouteSet],
        audit: Audit,
        *,
        is_draining: Callable[[], bool] = lambda: False,
        on_error: Callable[[str, str, BaseException], None] = lambda _error_id, _path, _exc: None,
        open_paths: tuple[str, ...] = (),
        page_origins: Iterable[str] = (),
    ) -> "HttpApi":
        """Return the API with the limits and origins of the section `Http`."""
        return cls(
            sets=sets,
            is_draining=is_draining,
            on_error=on_error,
            max_body=http.max_body,
            open_paths=open_paths,
            audit=audit,
            cors_origins=frozenset(http.cors_origins),
            page_origins=frozenset(page_origins),
            path_base=http.path_base,
        )

    def table(self, surface: Surface | None = None) -> tuple[Route, ...]:
        """Return all routes, or those of one surface, with the description."""
        table = tuple(route for route in table_of(self.sets) if surface in (None, route.surface))
        return (*table, description_of(table))

    def app(self, find_caller: FindCaller, surface: Surface | None = None) -> web.Application:
        """Return an application whose callers are found by `find_caller`."""
        app = web.Application(
            middlewares=[
                problems_middleware(self.on_error),
                plain_bodies_middleware,
                unmatched_middleware(find_caller, self.open_paths),
            ],
            client_max_size=self.max_body,
        )
        app.on_response_prepare.append(_add_security_headers)
        add_routes(
            app,
            self.table(surface),
            Dispatcher(find_caller, self.is_draining, self.audit, self.recheck, self.max_body),
            self.table(),
        )
        return app

    def public(self, authenticator: Authenticator, surface: Surface | None = None) -> web.Application:
        """Return the application for Http:Url; with Http:AdminUrl, `surface` limits it to the public routes."""
        app = self.app(authenticator.caller, surface)
        app.middlewares.insert(0, fair_turns_middleware(PROBE_PATHS))
        probes = frozenset(route.path for route in self.table() if route.method == "GET" and route.scope is None)
        app.middlewares.append(host_middleware(authenticator.check_host, probes))
        allow_origins(app, self.cors_origins)
        if surface != "public":
            add_dashboard(app, self.path_base)  # first: its folder is inside the other one
        add_page(app, self.page_origins)
        return app

    def local(self) -> web.Application:
        """Return the application for the UNIX socket, whose callers own the service."""
        return self.app(lambda _request: LOCAL)


@contextlib.asynccontextmanager
async def serve_tcp(
    app: web.Application,
    url: str,
    on_rejected: Callable[[str, str], None],
    setting: str = "Http:Url",
    deadlines: HttpDeadlines | None = None,
    limits: HeaderLimits | None = None,
    base: str = "",
) -> AsyncIterator[str]:
    """Listen on the host and port of `url`; yield the address with the real port. `base` is Http:PathBase.

    Clients must send well-formed headers in time; `on_rejected(address, reason)` is called for those that do not.
    Raises Unavailable when the port is in use.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", 80 if parts.port is None else parts.port
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_SECONDS, handle_signals=False)
    await runner.setup()
    http_server = runner.server
    assert http_server is not None
    if base:
        http_server.request_factory = path_base.below(base, http_server.request_factory)
    new_protocol = functools.partial(HttpProtocol, http_server, deadlines or HttpDeadlines(), on_rejected)
    header_timeout = HeaderTimeout(limits or HeaderLimits(), on_rejected)
    server: asyncio.Server | None = None
    try:
        server = await _listen(header_timeout.guard(new_protocol), host, port, setting)
        real = server.sockets[0].getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{real}"
    finally:
        if server is not None:
            server.close()
        header_timeout.close()
        await runner.cleanup()


async def _listen(factory: Callable[[], asyncio.Protocol], host: str, port: int, setting: str) -> asyncio.Server:
    """Listen with this protocol; aiohttp's TCPSite allows none in front of its own. Raises Unavailable."""
    try:
        return await asyncio.get_running_loop().create_server(factory, None if host in ("*", "+") else host, port)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise Unavailable(
            f"cannot listen on {host}:{port} ({setting}): {reason}; "
            "stop the program that uses the port, or choose another one"
        ) from None


@contextlib.asynccontextmanager
async def serve_unix(app: web.Application, folder: Path) -> AsyncIterator[Path]:
    """Listen on the UNIX socket in the state directory (0600: for its owner only); yield its path.

    Only the holder of the store's lock may call this: an existing socket file belongs to a service that has ended.
    """
    path = folder / SOCKET_NAME
    path.unlink(missing_ok=True)
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=_CLOSE_SECONDS, handle_signals=False, auto_decompress=False
    )
    await runner.setup()
    try:
        mask = os.umask(0o177)
        try:
            with socket_address(path) as address:
                await web.UnixSite(runner, address).start()
        finally:
            os.umask(mask)
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        yield path
    finally:
        await runner.cleanup()
        with contextlib.suppress(OSError):  # a disk that became read-only: its own error says more
            path.unlink(missing_ok=True)
