"""The HTTP door: one port for API, health and hub, and the same API on a UNIX socket for commands."""

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from worker.door.access import LOCAL, Access
from worker.door.cors import allow_origins
from worker.door.describe import description_of
from worker.door.entrance import Audit, Entrance, FindCaller, stray_middleware
from worker.door.pages import add_dashboard, add_page
from worker.door.problems import problems_middleware
from worker.door.routes import Route, RouteSet, Surface, add_routes, table_of
from worker.errors import Unavailable
from worker.hub.doorstep import Limits, guarded

SOCKET_NAME = "worker.sock"
_CLOSE_SECONDS = 0.25
"""aiohttp waits this long, twice, for open websockets at shutdown; the hub has dropped its own before."""


async def _guard_answer(request: web.Request, response: web.StreamResponse) -> None:
    """No cache keeps what is somebody's own, no browser guesses at types, and nobody is told our versions."""
    response.headers["Server"] = "insignia-worker"
    if request.path.startswith("/api/"):
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")


async def _nobody_writes(_actor: str, _action: str, _target: str, _detail: Mapping[str, Any]) -> None:
    """For a door without a store."""


@dataclass(frozen=True, slots=True)
class Door:
    """What every listener of the service shares."""

    sets: Sequence[RouteSet]
    is_draining: Callable[[], bool]
    on_error: Callable[[str, str, BaseException], None]
    max_body: int
    open_paths: tuple[str, ...] = ()
    """Paths below /api/ that look after themselves: the hub's."""
    audit: Audit = _nobody_writes
    cors_origins: frozenset[str] = frozenset()
    recheck: float = 15.0
    """Seconds between two looks at who reads a stream."""

    def table(self, surface: Surface | None = None) -> tuple[Route, ...]:
        """All routes, or those of one surface; the description among them."""
        table = tuple(route for route in table_of(self.sets) if surface in (None, route.surface))
        return (*table, description_of(table))

    def app(self, find_caller: FindCaller, surface: Surface | None = None) -> web.Application:
        """An application whose callers are found by `find_caller`."""
        app = web.Application(
            middlewares=[problems_middleware(self.on_error), stray_middleware(find_caller, self.open_paths)],
            client_max_size=self.max_body,
        )
        app.on_response_prepare.append(_guard_answer)
        add_routes(
            app, self.table(surface), Entrance(find_caller, self.is_draining, self.audit, self.recheck), self.table()
        )
        return app

    def public(self, access: Access, surface: Surface | None = None) -> web.Application:
        """For Http:Url; where Http:AdminUrl has a listener of its own, only what is public answers here."""
        app = self.app(access.caller, surface)
        allow_origins(app, self.cors_origins)
        if surface != "public":
            add_dashboard(app)  # first: its folder lies below the other's
        add_page(app)
        return app

    def local(self) -> web.Application:
        return self.app(lambda _request: LOCAL)


@contextlib.asynccontextmanager
async def serve_tcp(
    app: web.Application, url: str, turned_away: Callable[[str, str], None], setting: str = "Http:Url"
) -> AsyncIterator[str]:
    """Listen on the host and port of `url`; gives the address with the real port. Unavailable: it is taken.

    Who connects has to introduce himself in time; `turned_away` hears of (address, reason).
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", 80 if parts.port is None else parts.port
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_SECONDS, handle_signals=False)
    await runner.setup()
    assert runner.server is not None
    factory = guarded(runner.server, Limits(), turned_away)
    server: asyncio.Server | None = None
    try:
        try:
            # Not aiohttp's TCPSite: it gives no place for the guard before its protocol.
            server = await asyncio.get_running_loop().create_server(factory, None if host in ("*", "+") else host, port)
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise Unavailable(
                f"cannot listen on {host}:{port} ({setting}): {reason}; stop what uses the port, or choose another"
            ) from None
        real = server.sockets[0].getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{real}"
    finally:
        if server is not None:
            server.close()
        await runner.cleanup()


@contextlib.asynccontextmanager
async def serve_unix(app: web.Application, folder: Path) -> AsyncIterator[Path]:
    """Listen on the UNIX socket in the state directory, for its owner alone (0600).

    Only the holder of the store's lock may call this: a socket file found here is a dead service's.
    """
    path = folder / SOCKET_NAME
    path.unlink(missing_ok=True)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_SECONDS, handle_signals=False)
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
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address for a socket whose path may be longer than the 107 bytes that sockaddr_un holds."""
    if len(os.fsencode(path)) <= 100:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
