"""What runs beside the service, or instead of it: a command's moment with the store, the hub alone, tokens.

Built from the same parts as the service.
"""

import asyncio
import functools
import signal
from collections.abc import Callable
from dataclasses import asdict

from aiohttp import web

from config.layers import Loaded
from worker.assembly import (
    control_of,
    file_routes_of,
    hub_of,
    opened_store,
    turned_away,
    uploads_of,
    wire_of,
)
from worker.clock import Clock
from worker.door.app import Door, serve_tcp, serve_unix
from worker.door.audit import AuditRoutes
from worker.door.bulk import BulkRoutes
from worker.door.connection import ConnectionRoutes
from worker.door.jobs import JobRoutes
from worker.door.pages import add_page
from worker.door.routes import add_routes
from worker.door.status import Entry, Health, StatusRoutes
from worker.emitter import Emitter
from worker.errors import NotFound, StoreCorrupt
from worker.events import Announced, StoreCreated, Warned
from worker.hub.auth import authority_for
from worker.hub.server import Hub
from worker.listen import Listener
from worker.orgsocket.link import State
from worker.parts import Stopping
from worker.queues.sqlite_recover import Recovered, recover
from worker.systemd import Systemd


async def serve_commands(
    loaded: Loaded, stop: asyncio.Event, ready: Callable[[], None], on_created: Callable[[str], None]
) -> None:
    """The store and its UNIX socket alone, for as long as a command needs them. StoreLocked: a service has them."""

    def emit(event: object) -> None:
        if isinstance(event, StoreCreated):
            on_created(event.path)

    clock = Clock()
    async with opened_store(loaded, clock, emit) as store:
        control, uploads = control_of(loaded, store, clock), uploads_of(loaded)
        door = Door(
            sets=[
                JobRoutes(control),
                BulkRoutes(control),
                AuditRoutes(control),
                StatusRoutes(_no_service),
                ConnectionRoutes(_no_link, lambda: None),
                *file_routes_of(loaded, control, uploads),
            ],
            is_draining=lambda: False,
            on_error=lambda _id, _path, _exc: None,
            max_body=loaded.settings.http.max_body,
            audit=control.audit,
        )
        async with serve_unix(door.local(), loaded.state_dir):
            ready()
            await stop.wait()


async def _no_link() -> dict[str, object]:
    return {"state": State.DISCONNECTED.value}


async def _no_service() -> Health:
    return Health(False, False, False, {"service": Entry("Unhealthy", "no service runs")})


async def check_store(loaded: Loaded) -> None:
    """Read every page of the store; StoreCorrupt when one is bad."""
    path = loaded.resolve_state(loaded.settings.queue.path)
    if not path.exists():
        raise NotFound(f"there is no store at {path}; `run` or `enqueue` creates it")
    async with opened_store(loaded, Clock(), lambda _event: None) as store:
        faults = await store.examine()
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise StoreCorrupt(f"{path}: {faults[0]}{more}; `db recover` saves what can be read")


def recover_store(loaded: Loaded) -> Recovered:
    """Save what can be read of a damaged store; no service may run meanwhile."""
    path = loaded.resolve_state(loaded.settings.queue.path)
    return recover(path, Clock().now(), wire_of(loaded.settings))


async def serve_hub(loaded: Loaded, emit: Emitter) -> None:
    """The org-socket server alone."""
    stopping, loop = Stopping(), asyncio.get_running_loop()
    systemd = Systemd.from_environment()
    hub = hub_of(loaded, Clock(), emit)
    app = web.Application()
    hub.mount(app)
    add_page(app)
    add_routes(app, StatusRoutes(functools.partial(_hub_health, hub, stopping)).routes(), lambda route: route.handle)
    await hub.start()
    try:
        async with serve_tcp(app, loaded.settings.http.url, turned_away(emit)) as url:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stopping.ask, number.name)
            # By default it would end the process, and everybody's connections with it.
            loop.add_signal_handler(
                signal.SIGHUP, emit, Warned("the hub alone reads its settings at its start: restart")
            )
            emit(Announced(f"hub ready at {url}{loaded.settings.web_socket.path}"))
            systemd.ready(f"hub ready at {url}")
            await stopping.event.wait()
            systemd.stopping("closing")
            await hub.close()
    finally:
        await hub.close()


async def _hub_health(hub: Hub, stopping: Stopping) -> Health:
    figures = asdict(hub.figures(clients=False))
    return Health(True, not stopping.event.is_set(), True, {"hub": Entry("Healthy", data=figures)})


def token_for(loaded: Loaded, user: str, *, publish: bool, days: float) -> str:
    """A JWT signed with the hub's key, which is made when there is none."""
    authority, _ = authority_for(loaded.settings.hub.jwt, loaded.state_dir, Clock())
    return authority.mint(user, publish=publish, days=days)


def listener_for(loaded: Loaded, user: str, on_change: Callable[[str], None]) -> Listener:
    """A browser-like client of WebSocket:Url for this user."""
    link = loaded.settings.web_socket
    return Listener(
        url=link.url,
        path=link.path,
        event=link.event,
        token=lambda: token_for(loaded, user, publish=False, days=1),
        on_change=on_change,
    )
