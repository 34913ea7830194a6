"""Runs parts of the service on their own: the store for one command, the hub, checks and recovery of a store."""

import asyncio
import functools
from collections.abc import Callable

from aiohttp import web

from config.loader import LoadedSettings
from config.presence import exists
from worker.api.dispatch import fair_turns_middleware, host_middleware, plain_bodies_middleware
from worker.api.routes.audit import AuditRoutes
from worker.api.routes.bulk import BulkRoutes
from worker.api.routes.health import PROBE_PATHS, HealthCheck, HealthReport, HealthRoutes
from worker.api.routes.hub import hub_figures
from worker.api.routes.jobs import JobRoutes
from worker.api.routes.link import ConnectionRoutes
from worker.api.routes.notifications import NotificationRoutes
from worker.api.routing import RouteSet, add_routes
from worker.api.server import HttpApi, serve_tcp, serve_unix
from worker.api.static_files import add_page
from worker.core.clock import Clock
from worker.core.event_bus import EventBus
from worker.core.events import Announced, Warned
from worker.core.store_admin import RecoveryReport
from worker.errors import NotPossible, StoreCorrupt, StoreUnwritable, Unavailable
from worker.hub.server import HubServer
from worker.net.client_address import check_allowed_host, is_from_this_machine
from worker.notifiers.socketio.state import State
from worker.runtime.from_settings import claim_rules, notification_format
from worker.runtime.maintenance import sleep_or_stop
from worker.service.components import ShutdownSignal
from worker.service.disk_room import require_room, when_there_is_room
from worker.service.factories import (
    create_file_routes,
    create_hub,
    create_job_service,
    create_uploads,
    port_limits,
    report_rejected_client,
)
from worker.service.signals import control_signals, stop_signals
from worker.service.stores import open_service_store, postgres_target, store_location
from worker.service.systemd import Systemd
from worker.stores.sqlite.journal import require_file
from worker.stores.sqlite.recovery import recover

_CHECK_SECONDS = 0.5
"""Between two checks of the files of the hub's inbox."""


async def serve_commands(loaded: LoadedSettings, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Open the store and its UNIX socket until `stop` is set.

    Raises StoreLocked when a service has them, and Unavailable when there is no store: only services create one.
    """
    require_store(loaded)
    clock = Clock()
    async with open_service_store(loaded, clock, lambda _event: None) as store:
        service, uploads = create_job_service(loaded, store, clock), create_uploads(loaded)
        await store.use_rules(claim_rules(loaded.settings.worker, service.registry))
        sets: list[RouteSet] = [
            JobRoutes(service),
            NotificationRoutes(service),
            BulkRoutes(service),
            AuditRoutes(service),
            HealthRoutes(_no_service),
            ConnectionRoutes(_no_link, lambda: None),
            *create_file_routes(loaded, service, uploads),
        ]
        api = HttpApi.from_settings(loaded.settings.http, sets, service.audit)
        # A store in a database does not create it.
        loaded.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with serve_unix(api.local(), loaded.state_dir):
            ready()
            await stop.wait()


def require_store(loaded: LoadedSettings) -> str:
    """Return where the store is.

    Raises Unavailable, with what to do, when there is none or it is out of reach, StoreIncomplete if its file is gone.
    """
    if loaded.settings.queue.provider != "sqlite":
        return store_location(loaded)  # opening it says what is wrong
    path = loaded.resolve_state(loaded.settings.queue.path)
    try:
        path.stat()
    except PermissionError:
        raise Unavailable(f"{path} belongs to another user: run the command as that user or as root (sudo)") from None
    except OSError as exc:
        if isinstance(exc, FileNotFoundError):
            require_file(path)  # there was one: that is damage, not a folder that is not in use
            raise Unavailable(
                f"no service runs, and there is no store at {path}: start the service (insignia-worker run), or name "
                "the folder of its settings (--contentRoot) or its state directory (the variable STATE_DIRECTORY)"
            ) from None
        raise StoreUnwritable(f"{path}: {exc.strerror}; correct Queue:Path") from None
    return str(path)


async def _no_link() -> dict[str, object]:
    return {"state": State.DISCONNECTED.value}


async def _no_service() -> HealthReport:
    return HealthReport(False, False, False, {"service": HealthCheck("Unhealthy", "no service runs")})


async def check_store(loaded: LoadedSettings) -> None:
    """Read all of the store. Raises Unavailable, and StoreCorrupt when something in it is wrong."""
    location = require_store(loaded)
    async with open_service_store(loaded, Clock(), lambda _event: None) as store:
        faults = await store.examine()
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise StoreCorrupt(f"{location}: {faults[0]}{more}; {REMEDY[loaded.settings.queue.provider]}")


REMEDY = {"sqlite": "`db recover` saves what can be read", "postgres": "restore the database from its backup"}
"""For a damaged store, by provider."""


async def migrate_store(loaded: LoadedSettings, *, back: bool) -> tuple[int, int]:
    """Bring the schema of the store up to date, or one version back; return the versions before and after.

    0 before: the store is new.
    """
    if loaded.settings.queue.provider == "sqlite":
        raise NotPossible("a file is brought up to date when it is opened; db migrate is for Queue:Provider postgres")
    from worker.stores.postgres.opening import migrate_target

    return await migrate_target(postgres_target(loaded), back=back)


async def move_store(loaded: LoadedSettings, to: str, progress: Callable[[str, int, int], None]) -> dict[str, int]:
    """Move the store between the file Queue:Path and the database of Queue:ConnectionString; return rows per table."""
    if loaded.settings.queue.provider != "postgres":
        raise NotPossible("db move needs the database of both directions: set Queue:Provider to postgres first")
    path = loaded.resolve_state(loaded.settings.queue.path)
    if to == "sqlite":
        from worker.stores.postgres.move_back import move_to_sqlite

        return await move_to_sqlite(postgres_target(loaded), path, progress)
    if not exists(path):
        raise Unavailable(f"there is no store at {path}; correct Queue:Path, or it was moved already")
    from worker.stores.postgres.move import move_from_sqlite

    return await move_from_sqlite(path, postgres_target(loaded), Clock(), progress)


def recover_store(loaded: LoadedSettings) -> RecoveryReport:
    """Save what can be read of a damaged store; no service may run in the meantime."""
    if loaded.settings.queue.provider != "sqlite":
        raise NotPossible(f"db recover is for the file of provider sqlite: {REMEDY['postgres']}")
    require_store(loaded)
    path = loaded.resolve_state(loaded.settings.queue.path)
    return recover(path, Clock().now(), notification_format(loaded.settings.web_socket))


async def serve_hub(loaded: LoadedSettings, emit: EventBus, shutdown: ShutdownSignal) -> None:
    """Run the org-socket server alone until SIGTERM or SIGINT."""
    systemd = Systemd.from_environment()
    with_room = functools.partial(
        when_there_is_room, loaded=loaded, emit=emit, stop=shutdown.event, on_wait=systemd.extend_start
    )
    # SIGHUP has a handler, because the default action would end the process, and all connections with it.
    text = "the hub on its own reads its settings at the start only: restart it"
    with stop_signals(shutdown), control_signals(lambda: None, functools.partial(emit, Warned(text))):
        await with_room(functools.partial(require_room, loaded))
        if shutdown.event.is_set():
            return
        hub = create_hub(loaded, Clock(), emit)
        app = _hub_app(loaded, hub, shutdown)
        try:
            await with_room(hub.start)
            if not shutdown.event.is_set():
                await _serve_hub_until_stopped(loaded, emit, hub, app, shutdown, systemd)
        finally:
            await hub.close()


def _hub_app(loaded: LoadedSettings, hub: HubServer, shutdown: ShutdownSignal) -> web.Application:
    hosts = loaded.settings.http.host_names
    health = HealthRoutes(
        functools.partial(_hub_health, hub, shutdown), lambda request: is_from_this_machine(request, hosts)
    )
    probes = frozenset(route.path for route in health.routes())
    check_host = functools.partial(check_allowed_host, allowed_hosts=hosts)
    app = web.Application(
        middlewares=[
            fair_turns_middleware(PROBE_PATHS),
            plain_bodies_middleware,
            host_middleware(check_host, probes),
        ]
    )
    hub.mount(app)
    add_page(app, frozenset(loaded.settings.hub.allowed_origins))
    add_routes(app, health.routes(), lambda route: route.handle)
    return app


async def _serve_hub_until_stopped(
    loaded: LoadedSettings,
    emit: EventBus,
    hub: HubServer,
    app: web.Application,
    shutdown: ShutdownSignal,
    systemd: Systemd,
) -> None:
    on_rejected, limits = report_rejected_client(emit, Clock()), port_limits(loaded.settings)
    http = loaded.settings.http
    async with serve_tcp(app, http.url, on_rejected, limits=limits, base=http.path_base) as url:
        emit(Announced(f"hub ready at {url}{loaded.settings.web_socket.path}"))
        systemd.ready(f"hub ready at {url}")
        while not shutdown.event.is_set():
            await asyncio.to_thread(hub.check)
            await sleep_or_stop(shutdown.event, _CHECK_SECONDS)
        systemd.stopping("closing")
        await hub.close()


async def _hub_health(hub: HubServer, shutdown: ShutdownSignal) -> HealthReport:
    figures = hub_figures(hub)
    return HealthReport(True, not shutdown.event.is_set(), True, {"hub": HealthCheck("Healthy", data=figures)})
