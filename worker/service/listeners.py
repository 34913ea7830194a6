"""Opens the port, the separate one for administration if it is set, and the UNIX socket."""

import contextlib
from pathlib import Path

from worker.api.routes.audit import AuditRoutes
from worker.api.routes.bulk import BulkRoutes
from worker.api.routes.health import HealthRoutes
from worker.api.routes.jobs import JobRoutes
from worker.api.routes.link import ConnectionRoutes
from worker.api.routes.me import MeRoutes
from worker.api.routes.notifications import NotificationRoutes
from worker.api.routes.session import SessionRoutes
from worker.api.routing import RouteSet
from worker.api.server import HttpApi, serve_tcp, serve_unix
from worker.core.events import Announced, LoopFailed
from worker.service.components import ServiceComponents
from worker.service.factories import HubTokenIssuer, create_file_routes, port_limits, report_rejected_client
from worker.service.health import check_health


async def open_listeners(stack: contextlib.AsyncExitStack, components: ServiceComponents) -> tuple[str, Path]:
    """Open the port and the UNIX socket; return the URL and the path. Both answer before READY is reported.

    The hub must have been started.
    """
    emit, hub = components.host.emit, components.delivery.hub
    settings = components.loaded.settings
    api = _http_api(components)
    admin_url = settings.http.admin_url
    public = api.public(components.api.authenticator, None if admin_url is None else "public")
    if hub is not None:
        hub.mount(public)
    on_rejected = report_rejected_client(emit, components.host.clock)
    limits = port_limits(settings, components.api.authenticator.is_admin_key)
    if admin_url is not None:
        admin = api.public(components.api.authenticator)
        if hub is not None:
            hub.mount(admin)
        address = await stack.enter_async_context(
            serve_tcp(admin, admin_url, on_rejected, "Http:AdminUrl", limits=limits, base=api.path_base)
        )
        emit(Announced(f"dashboard and administration answer at {address} only"))
    url = await stack.enter_async_context(
        serve_tcp(public, settings.http.url, on_rejected, limits=limits, base=api.path_base)
    )
    stack.callback(components.api.live.close)
    if hub is not None:
        # Before the port closes: the transports are dropped without a DISCONNECT packet, so that clients come back.
        stack.push_async_callback(hub.close)
        components.delivery.notifier.connect_to(url, hub.worker_token)
        emit(Announced(f"the hub is on: browsers connect to {url}{settings.web_socket.path}"))
    path = await stack.enter_async_context(serve_unix(api.local(), components.loaded.state_dir))
    return url, path


def _route_sets(components: ServiceComponents) -> list[RouteSet]:
    service, delivery = components.jobs.service, components.delivery
    monitoring = components.api.monitoring
    uploads = components.maintenance.upload_cleaner.uploads
    return [
        JobRoutes(service),
        NotificationRoutes(service),
        BulkRoutes(service),
        MeRoutes(service),
        AuditRoutes(service),
        SessionRoutes(
            components.api.authenticator,
            service.audit,
            hub=None if delivery.hub is None else HubTokenIssuer(delivery.hub),
            default_user=lambda: service.default_user,
        ),
        HealthRoutes(lambda: check_health(components)),
        ConnectionRoutes(monitoring.connection, delivery.notifier.reconnect),
        *monitoring.routes(),
        *create_file_routes(components.loaded, service, uploads),
    ]


def _http_api(components: ServiceComponents) -> HttpApi:
    settings, host = components.loaded.settings, components.host

    def report(error_id: str, path: str, exc: BaseException) -> None:
        host.emit(LoopFailed(f"answering {path} [error {error_id}]", exc, 0.0))

    return HttpApi.from_settings(
        settings.http,
        _route_sets(components),
        components.jobs.service.audit,
        is_draining=host.shutdown.event.is_set,
        on_error=report,
        open_paths=("/" + settings.web_socket.path.strip("/"),),
        page_origins=settings.hub.allowed_origins,
    )
