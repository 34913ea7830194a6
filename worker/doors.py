"""The ways in: the port, the administration's own where there is one, and the UNIX socket."""

import contextlib
from pathlib import Path

from worker.assembly import HubDesk, file_routes_of, turned_away
from worker.door.app import Door, serve_tcp, serve_unix
from worker.door.audit import AuditRoutes
from worker.door.bulk import BulkRoutes
from worker.door.connection import ConnectionRoutes
from worker.door.jobs import JobRoutes
from worker.door.login import SessionRoutes
from worker.door.me import MeRoutes
from worker.door.routes import RouteSet
from worker.door.status import StatusRoutes
from worker.events import Announced, LoopFailed
from worker.health import health_of
from worker.parts import Parts


async def open_doors(stack: contextlib.AsyncExitStack, parts: Parts) -> tuple[str, Path]:
    """The port and the UNIX socket; both answer before READY is said."""
    settings, state = parts.loaded.settings, parts.loaded.state_dir
    door = _door(parts)
    http = settings.http
    apart = http.admin_url is not None
    public = door.public(parts.access, "public" if apart else None)
    if parts.hub is not None:
        parts.hub.mount(public)
        await parts.hub.start()
    away = turned_away(parts.emit)
    if http.admin_url is not None:
        admin = door.public(parts.access)
        if parts.hub is not None:
            parts.hub.mount(admin)
        admin_url = await stack.enter_async_context(serve_tcp(admin, http.admin_url, away, "Http:AdminUrl"))
        parts.emit(Announced(f"administration answers at {admin_url} alone"))
    url = await stack.enter_async_context(serve_tcp(public, http.url, away))
    stack.callback(parts.live.close)
    if parts.hub is not None:
        # Before the port closes: its clients' transports are dropped, never told to disconnect.
        stack.push_async_callback(parts.hub.close)
        parts.channel.connect_to(url, parts.hub.worker_token)
        parts.emit(Announced(f"the hub is on: browsers connect to {url}{settings.web_socket.path}"))
    path = await stack.enter_async_context(serve_unix(door.local(), state))
    return url, path


def _route_sets(parts: Parts) -> list[RouteSet]:
    return [
        JobRoutes(parts.control),
        BulkRoutes(parts.control),
        MeRoutes(parts.control),
        AuditRoutes(parts.control),
        SessionRoutes(
            parts.access,
            parts.control.audit,
            hub=None if parts.hub is None else HubDesk(parts.hub),
            default_user=lambda: parts.control.default_user,
        ),
        StatusRoutes(lambda: health_of(parts)),
        ConnectionRoutes(parts.observation.connection, parts.channel.reconnect),
        *parts.observation.routes(),
        *file_routes_of(parts.loaded, parts.control, parts.sweeper.uploads),
    ]


def _door(parts: Parts) -> Door:
    settings = parts.loaded.settings
    return Door(
        sets=_route_sets(parts),
        is_draining=parts.stopping.event.is_set,
        on_error=lambda error_id, path, exc: parts.emit(LoopFailed(f"answering {path} [error {error_id}]", exc, 0.0)),
        max_body=settings.http.max_body,
        open_paths=("/" + settings.web_socket.path.strip("/"),),
        audit=parts.control.audit,
        cors_origins=frozenset(settings.http.cors_origins),
    )
