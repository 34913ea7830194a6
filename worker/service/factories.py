"""Creates components of the service from the settings, one function each. Runs nothing."""

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import BaseModel, SecretStr
from pydantic.alias_generators import to_pascal

import worker.handlers
from config.handler_settings import HandlersSettings
from config.loader import LoadedSettings
from config.settings import ApiKeySettings, Settings
from worker.api.auth.api_keys import KEY_BYTES, ApiKey, admin_key
from worker.api.auth.authenticator import CALLER, Authenticator
from worker.api.auth.ended_sessions import EndedSessions
from worker.api.auth.ownership import own_job
from worker.api.auth.sessions import BrowserSessions
from worker.api.routes.files import OWN_JOBS, JobFileRoutes
from worker.api.routes.health import PROBE_PATHS
from worker.api.routes.insignia import ExistingResultRoutes, LabelRoutes, RowRoutes
from worker.api.routes.uploads import UploadRoutes
from worker.api.routing import RouteSet
from worker.core.clock import Clock
from worker.core.events import (
    Announced,
    Emit,
    Warned,
)
from worker.core.job import JobRecord
from worker.core.store import Store
from worker.disk.private_file import secret_in
from worker.errors import NotFound
from worker.handler import Registry, discover
from worker.handlers.insignia.results import InsigniaResults
from worker.hub.commands import CancelJob
from worker.hub.config import HubConfig
from worker.hub.events import ClientRejected
from worker.hub.server import HubServer
from worker.hub.token_keys import further_keys
from worker.hub.tokens import Identity, TokenService, load_token_service
from worker.insignia import owner_folder
from worker.net.client_address import networks_of
from worker.net.header_timeout import HeaderLimits
from worker.net.rate_limit import BoundedReporter, RateLimiter
from worker.net.reserve import Reserve
from worker.runtime.job_files import JobFiles
from worker.runtime.operations import JobService
from worker.runtime.process_pool import ProcessConfig
from worker.runtime.uploads import Known, Uploads
from worker.service.stores import store_location


def secrets_in(value: Any) -> set[str]:
    """Return every secret value inside a settings value."""
    match value:
        case SecretStr():
            return {value.get_secret_value()}
        case BaseModel():
            return set().union(*(secrets_in(getattr(value, name)) for name in type(value).model_fields))
        case Mapping():
            return set().union(*map(secrets_in, value.values()))
        case tuple() | list():
            return set().union(*map(secrets_in, value))
    return set()


def discover_handlers(settings: Settings) -> Registry:
    """Return the built-in handlers and those of Worker:Handlers."""
    return discover([worker.handlers, *settings.worker.handlers])


def create_process_config(loaded: LoadedSettings, registry: Registry) -> ProcessConfig:
    """Return what child processes receive when they start."""
    settings = loaded.settings
    return ProcessConfig(
        modules=[worker.handlers.__name__, *settings.worker.handlers],
        sections={
            name: section.model_dump(mode="json") for name, section in handler_sections(loaded, registry).items()
        },
        secrets=sorted(secrets_in(settings)),
    )


def create_job_service(loaded: LoadedSettings, store: Store, clock: Clock) -> JobService:
    """Return the operations on a store, without a worker in this process."""
    registry = discover_handlers(loaded.settings)
    return JobService.from_settings(
        loaded.settings.worker,
        loaded.settings.web_socket,
        store=store,
        registry=registry,
        sections=handler_sections(loaded, registry),
        clock=clock,
    )


def is_hub_enabled(settings: Settings) -> bool:
    """Whether the hub runs in this process; `auto` means that WebSocket:Url names our own port on this machine."""
    if settings.hub.enabled != "auto":
        return settings.hub.enabled == "true"
    ours, theirs = urlsplit(settings.http.url), urlsplit(settings.web_socket.url)
    port = theirs.port or (443 if theirs.scheme in ("https", "wss") else 80)
    return port == (ours.port or 80) and theirs.scheme in ("http", "ws") and _is_this_machine(theirs.hostname or "")


def why_no_hub(loaded: LoadedSettings) -> Announced | Warned:
    """Return what to report when `auto` has left the hub off; a server on this machine may be meant to be the hub."""
    settings = loaded.settings
    theirs, ours = settings.web_socket.url, settings.http.url
    text = (
        f"the hub is off: WebSocket:Url is {theirs} ({loaded.origin('WebSocket:Url')}), which is not Http:Url, {ours}"
    )
    if not _is_this_machine(urlsplit(theirs).hostname or ""):
        return Announced(text)
    return Warned(f"{text}; if it should be on, remove WebSocket:Url from the settings or set Hub:Enabled to true")


def _is_this_machine(host: str) -> bool:
    if host.lower() in ("localhost", "*", "+", socket.gethostname().lower()):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or _has_address(address)


def _has_address(address: "ipaddress.IPv4Address | ipaddress.IPv6Address") -> bool:
    """Whether a network interface of this machine has the address: only then it can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((str(address), 0))
        return True
    return False


def create_hub(loaded: LoadedSettings, clock: Clock, emit: Emit, cancel_job: CancelJob | None = None) -> HubServer:
    config = HubConfig.from_settings(loaded.settings, state_dir=loaded.state_dir, content_root=loaded.content_root)
    return HubServer(config, clock, emit, cancel_job)


def cancel_own_jobs(control: JobService) -> CancelJob:
    """Return how clients of the hub cancel jobs: users their own, admins any. Raises NotFound for all other jobs."""

    async def cancel(job_id: str, identity: Identity) -> str:
        record = await control.show(job_id)
        if identity.is_read_only or (record.user_id != identity.user and not identity.is_admin):
            raise NotFound(f"there is no job {job_id}")
        return await control.cancel(job_id)

    return cancel


def handler_sections(loaded: LoadedSettings, registry: Registry) -> dict[str, BaseModel]:
    """Return the settings sections that handlers declare, with absolute paths."""
    settings = loaded.settings
    insignia = settings.insignia
    criteria = insignia.criteria_path
    resolved = insignia.model_copy(
        update={
            "criteria_path": None if criteria is None else str(loaded.resolve_content(criteria)),
            "data_directory": str(loaded.resolve_state(insignia.data_directory)),
            "output_directory": str(loaded.resolve_state(insignia.output_directory)),
        }
    )
    names = {handler.section for handler in registry.values()}
    tree = {to_pascal(name): getattr(settings, name) for name in type(settings).model_fields}
    tree |= {"Insignia": resolved, "Handlers": _handlers(loaded)}
    return {name: tree[name] for name in names if name is not None and name in tree}


def _handlers(loaded: LoadedSettings) -> HandlersSettings:
    handlers = loaded.settings.handlers
    ca_file = handlers.http.ca_file
    if ca_file is None:
        return handlers
    http = handlers.http.model_copy(update={"ca_file": str(loaded.resolve_content(ca_file))})
    return handlers.model_copy(update={"http": http})


def create_uploads(loaded: LoadedSettings) -> Uploads:
    """Return the store of uploaded files, below the folder of rosters."""
    settings = loaded.settings
    return Uploads(
        loaded.resolve_state(settings.insignia.data_directory),
        max_bytes=settings.uploads.max_bytes,
        total_bytes=settings.uploads.total_bytes,
        bytes_per_owner=settings.uploads.bytes_per_owner,
        owner_folder=owner_folder,
        store=store_location(loaded),
    )


def create_insignia_results(loaded: LoadedSettings) -> InsigniaResults:
    """Return what finds the results of insignia jobs."""
    settings = loaded.settings.insignia
    criteria = None if settings.criteria_path is None else loaded.resolve_content(settings.criteria_path)
    return InsigniaResults(loaded.resolve_state(settings.output_directory), criteria, settings.keep_replaced / 1000)


def create_file_routes(loaded: LoadedSettings, control: JobService, uploads: Uploads) -> list[RouteSet]:
    """Return the routes that accept files with a job and serve result files and rows."""
    results = create_insignia_results(loaded)
    files = JobFiles(results, uploads)

    async def job_of(request: web.Request) -> JobRecord:
        return own_job(request[CALLER], await control.show(request.match_info["id"]))

    return [
        UploadRoutes(control, uploads, loaded.settings.uploads.min_bytes_per_second),
        JobFileRoutes(files, job_of),
        JobFileRoutes(files, job_of, OWN_JOBS),
        RowRoutes(results, job_of),
        RowRoutes(results, job_of, OWN_JOBS),
        LabelRoutes(results),
        ExistingResultRoutes(results),
    ]


def known_jobs(store: Store) -> Known:
    """Return a function that says which of the given jobs the store has."""

    async def known(job_ids: Sequence[str]) -> set[str]:
        return {record.id for record in await store.get_many(job_ids)}

    return known


_BESIDE_THE_HUB = 2_000
"""Connections that a port accepts besides those of the hub: for the API, the pages and the probes."""


def port_limits(settings: Settings, is_admin_key: Callable[[str], bool] = lambda _: False) -> HeaderLimits:
    """Return the limits of a port: the hub can reach Hub:MaxConnections, also behind one proxy."""
    return HeaderLimits(
        total=settings.hub.max_connections + _BESIDE_THE_HUB,
        per_address=settings.hub.max_connections_per_address + 200,
        proxies=networks_of(settings.http.trusted_proxies),
        reserve=Reserve(PROBE_PATHS, is_admin_key),
    )


def report_rejected_client(emit: Emit, clock: Clock) -> Callable[[str, str], None]:
    """Return what reports a client that a port rejects; whatever clients do, the log grows at a bounded rate."""
    return BoundedReporter(lambda address, reason: emit(ClientRejected("the port", address, reason)), clock.monotonic)


# -- access to the HTTP API ------------------------------------------------------------------------------------------

ADMIN_KEY_FILE = "admin.key"
SESSION_KEY_FILE = "session.key"
ENDED_SESSIONS = "ended-sessions"
_TOKEN_DAYS = 1 / 24
_SHARED_TOKEN_DAYS = 5 / 1440
"""Five minutes where other hubs may accept the token, because they do not know when the API key ends."""


def create_authenticator(loaded: LoadedSettings, hub: HubServer | None, clock: Clock, emit: Emit) -> Authenticator:
    """Return what identifies callers by the settings. Raises UnsafeKey when an existing key file cannot be used."""
    http = loaded.settings.http
    signing_key, _ = secret_in(loaded.state_dir / SESSION_KEY_FILE, KEY_BYTES)
    ended = EndedSessions(loaded.state_dir / ENDED_SESSIONS, clock)
    if (report := ended.repair()) is not None:
        emit(Warned(report))
    per_minute = http.failed_logins
    authenticator = Authenticator(
        load_api_keys(loaded, emit),
        loaded.development,
        http.host_names,
        networks_of(http.trusted_proxies),
        sessions=BrowserSessions(signing_key.encode(), clock, ended),
        authority=hub.tokens if hub is not None else _remote_hub_tokens(loaded, clock),
        guesses=RateLimiter(per_minute / 60, per_minute, clock.monotonic),
        calls=RateLimiter(http.rate_limit, 2 * http.rate_limit, clock.monotonic),
        refused=lambda address, reason: emit(ClientRejected("the HTTP API", address, reason)),
    )
    announce_keys(authenticator, hub)
    return authenticator


def announce_keys(authenticator: Authenticator, hub: HubServer | None) -> None:
    """End the tokens, and close the clients, of API keys that are no longer known."""
    assert authenticator.sessions is not None
    installation, keys = authenticator.sessions.installation, authenticator.known_keys()
    if hub is not None:
        hub.set_known_keys(installation, keys)
    elif authenticator.authority is not None:
        authenticator.authority.issuing_service, authenticator.authority.known_keys = installation, keys


def load_api_keys(loaded: LoadedSettings, emit: Emit) -> list[ApiKey]:
    """Return the API keys of the settings; without any, outside Development, the admin key made by the first start."""
    keys = [_api_key(key) for key in loaded.settings.http.api_keys]
    if not keys and not loaded.development:
        path = loaded.state_dir / ADMIN_KEY_FILE
        key, created = admin_key(path)
        keys.append(key)
        if created:
            emit(Announced(f"created an admin key for the HTTP API at {path} (keep it secret)"))
    return keys


def _api_key(settings: ApiKeySettings) -> ApiKey:
    return ApiKey(
        settings.name,
        settings.sha256.get_secret_value(),
        frozenset(settings.scopes),
        frozenset(settings.users) or None,
        frozenset(settings.organizations) or None,
        frozenset(settings.folders),
        settings.max_priority,
    )


def _remote_hub_tokens(loaded: LoadedSettings, clock: Clock) -> TokenService:
    """Return what verifies the tokens of a hub in another process, by the keys of the settings."""
    jwt = loaded.settings.hub.jwt
    authority, _ = load_token_service(jwt, loaded.state_dir, clock, further_keys(jwt.keys, loaded.content_root))
    return authority


class HubTokenIssuer:
    """Issues and revokes tokens of the hub in this process for browser sessions."""

    def __init__(self, hub: HubServer) -> None:
        self._hub = hub

    def token(self, user: str, issued_to: str | None, *, read_only: bool, token_id: str | None) -> str:
        days = _SHARED_TOKEN_DAYS if self._hub.may_share_tokens else _TOKEN_DAYS
        return self._hub.tokens.mint_for_key(user, issued_to, read_only=read_only, days=days, token_id=token_id)

    async def revoke(self, token_id: str) -> None:
        await self._hub.revoke(token_id)
