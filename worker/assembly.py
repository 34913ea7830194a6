"""Parts of the service made from the settings, one function each. Runs nothing."""

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from aiohttp import web
from pydantic import BaseModel, SecretStr
from pydantic.alias_generators import to_pascal

import worker.handlers
from config.layers import Loaded
from config.settings import ApiKeySettings, HandlersSettings, Settings
from worker.children import ChildSetup
from worker.clock import Clock
from worker.control import Control
from worker.door.access import CALLER, Access
from worker.door.bounds import seen_by
from worker.door.files import FileRoutes, WordRoutes
from worker.door.keys import ApiKey, admin_key, kept_secret
from worker.door.limits import Throttle
from worker.door.routes import RouteSet
from worker.door.session import Sessions
from worker.door.uploads import UploadRoutes
from worker.errors import NotFound
from worker.events import (
    Announced,
    Emit,
    StoreCreated,
    Warned,
)
from worker.handler import Registry, discover
from worker.hub.auth import Authority, authority_for
from worker.hub.events import ClientRefused
from worker.hub.guard import Caps
from worker.hub.keys import further_keys
from worker.hub.native import Cancel
from worker.hub.server import Hub
from worker.job import JobRecord
from worker.notification import Wire
from worker.outcome import RetryPolicy
from worker.queue import Store
from worker.queues.sqlite import SqliteStore, open_store
from worker.results import Results
from worker.uploads import Known, Uploads


def secrets_in(value: Any) -> set[str]:
    """Every secret value below a settings value."""
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


def registry_of(settings: Settings) -> Registry:
    """The handlers shipped here and those of Worker:Handlers."""
    return discover([worker.handlers, *settings.worker.handlers])


def wire_of(settings: Settings) -> Wire:
    link = settings.web_socket
    return Wire(link.event, link.max_payload, link.include_stack_trace, link.include_result)


def policy_of(settings: Settings) -> RetryPolicy:
    return RetryPolicy(settings.worker.backoff_delay / 1000, cap=settings.worker.max_backoff_delay / 1000)


def child_setup_of(loaded: Loaded, registry: Registry) -> ChildSetup:
    """What child processes are told when they start."""
    settings = loaded.settings
    return ChildSetup(
        modules=[worker.handlers.__name__, *settings.worker.handlers],
        sections={name: section.model_dump(mode="json") for name, section in sections_of(loaded, registry).items()},
        secrets=sorted(secrets_in(settings)),
    )


def control_of(loaded: Loaded, store: Store, clock: Clock) -> Control:
    """The operations on a store, without a worker in this process."""
    settings = loaded.settings
    registry = registry_of(settings)
    return Control(
        store=store,
        registry=registry,
        sections=sections_of(loaded, registry),
        wire=wire_of(settings),
        clock=clock,
        default_user=settings.web_socket.default_user_id,
        max_attempts=settings.worker.max_attempts,
    )


@contextlib.asynccontextmanager
async def opened_store(loaded: Loaded, clock: Clock, emit: Emit) -> AsyncIterator[SqliteStore]:
    """The store under its lock; closed at the end, with everything on disk."""
    settings = loaded.settings.queue
    path = loaded.resolve_state(settings.path)
    store = await open_store(path, owner=uuid4().hex, max_bytes=settings.max_bytes, clock=clock)
    try:
        if store.created:
            emit(StoreCreated(str(path)))
        if store.sqlite_warning:
            emit(Warned(store.sqlite_warning))
        if store.search_warning:
            emit(Warned(store.search_warning))
        yield store
    finally:
        await store.close()


def hub_is_ours(settings: Settings) -> bool:
    """Hub:Enabled, where `auto` means: WebSocket:Url names our own port on this very machine."""
    if settings.hub.enabled != "auto":
        return settings.hub.enabled == "true"
    ours, theirs = urlsplit(settings.http.url), urlsplit(settings.web_socket.url)
    port = theirs.port or (443 if theirs.scheme in ("https", "wss") else 80)
    return port == (ours.port or 80) and theirs.scheme in ("http", "ws") and _is_this_machine(theirs.hostname or "")


def _is_this_machine(host: str) -> bool:
    if host.lower() in ("localhost", "*", "+", socket.gethostname().lower()):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or _has_address(address)


def _has_address(address: "ipaddress.IPv4Address | ipaddress.IPv6Address") -> bool:
    """Whether one of our interfaces has it: then, and only then, we can bind it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((str(address), 0))
        return True
    return False


def hub_of(loaded: Loaded, clock: Clock, emit: Emit, cancel: Cancel | None = None) -> Hub:
    settings = loaded.settings
    hub = settings.hub
    return Hub(
        hub,
        settings.web_socket,
        state=loaded.state_dir,
        clock=clock,
        emit=emit,
        caps=Caps(hub.max_connections, hub.max_connections_per_address, hub.max_connections_per_user),
        origins=hub.allowed_origins,
        trusted_proxies=settings.http.trusted_proxies,
        open_rooms=hub.open_rooms,
        keys=further_keys(hub.jwt.keys, loaded.content_root),
        cancel=cancel,
    )


def cancel_own(control: Control) -> Cancel:
    """What the hub's clients may cancel: their own jobs, and admins any. Others' jobs look like no job at all."""

    async def cancel(job_id: str, user: str, is_admin: bool) -> str:
        record = await control.show(job_id)
        if record.user_id != user and not is_admin:
            raise NotFound(f"there is no job {job_id}")
        return await control.cancel(job_id)

    return cancel


def sections_of(loaded: Loaded, registry: Registry) -> dict[str, BaseModel]:
    """The sections that handlers ask for, with their paths made absolute."""
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


def _handlers(loaded: Loaded) -> HandlersSettings:
    handlers = loaded.settings.handlers
    ca_file = handlers.http.ca_file
    if ca_file is None:
        return handlers
    http = handlers.http.model_copy(update={"ca_file": str(loaded.resolve_content(ca_file))})
    return handlers.model_copy(update={"http": http})


def uploads_of(loaded: Loaded) -> Uploads:
    """The files that come with jobs, below the folder of rosters."""
    settings = loaded.settings
    return Uploads(
        loaded.resolve_state(settings.insignia.data_directory),
        max_bytes=settings.uploads.max_bytes,
        total_bytes=settings.uploads.total_bytes,
        store=str(loaded.resolve_state(settings.queue.path)),
    )


def file_routes_of(loaded: Loaded, control: Control, uploads: Uploads) -> list[RouteSet]:
    """Jobs with files in, files and rows out."""
    settings = loaded.settings.insignia
    criteria = None if settings.criteria_path is None else loaded.resolve_content(settings.criteria_path)
    results = Results(loaded.resolve_state(settings.output_directory), uploads, criteria)

    async def job_of(request: web.Request) -> JobRecord:
        return seen_by(request[CALLER], await control.show(request.match_info["id"]))

    own = FileRoutes(results, job_of, base="/api/v1/me/jobs", scope="user", surface="public")
    return [UploadRoutes(control, uploads), FileRoutes(results, job_of), own, WordRoutes(results)]


def known_in(store: Store) -> Known:
    """Which of these jobs the store has."""

    async def known(job_ids: Sequence[str]) -> set[str]:
        return {record.id for record in await store.get_many(job_ids)}

    return known


def turned_away(emit: Emit) -> Callable[[str, str], None]:
    return lambda address, reason: emit(ClientRefused("the port", address, reason))


# -- who may come in -------------------------------------------------------------------------------------------------

ADMIN_KEY_FILE = "admin.key"
SESSION_KEY_FILE = "session.key"
_TOKEN_DAYS = 1 / 24
"""A page's token for the hub holds for an hour: unlike a session it does not end with its key."""


def access_of(loaded: Loaded, hub: Hub | None, clock: Clock, emit: Emit) -> Access:
    """Everybody the settings know. UnsafeKey: a key file that is there cannot be used."""
    http = loaded.settings.http
    signing_key, _ = kept_secret(loaded.state_dir / SESSION_KEY_FILE)
    per_minute = http.failed_logins
    return Access(
        api_keys_of(loaded, emit),
        loaded.development,
        frozenset(host.lower() for host in http.allowed_hosts),
        [ipaddress.ip_network(proxy, strict=False) for proxy in http.trusted_proxies],
        sessions=Sessions(signing_key.encode(), clock),
        authority=hub.authority if hub is not None else _authority(loaded, clock),
        guesses=Throttle(per_minute / 60, per_minute, clock.monotonic),
        calls=Throttle(http.rate_limit, 2 * http.rate_limit, clock.monotonic),
        refused=lambda address, reason: emit(ClientRefused("the HTTP API", address, reason)),
    )


def api_keys_of(loaded: Loaded, emit: Emit) -> list[ApiKey]:
    """The keys of the settings; without any, outside Development, the one that the first start makes."""
    keys = [_api_key(key) for key in loaded.settings.http.api_keys]
    if not keys and not loaded.development:
        path = loaded.state_dir / ADMIN_KEY_FILE
        key, created = admin_key(path)
        keys.append(key)
        if created:
            emit(Announced(f"admin key for the HTTP API made at {path} (keep it secret)"))
    return keys


def _api_key(settings: ApiKeySettings) -> ApiKey:
    return ApiKey(
        settings.name,
        settings.sha256.get_secret_value(),
        frozenset(settings.scopes),
        frozenset(settings.users) or None,
        frozenset(settings.organizations) or None,
    )


def _authority(loaded: Loaded, clock: Clock) -> Authority:
    """Reads the tokens of a hub elsewhere, whose keys the settings name."""
    jwt = loaded.settings.hub.jwt
    authority, _ = authority_for(jwt, loaded.state_dir, clock, further_keys(jwt.keys, loaded.content_root))
    return authority


class HubDesk:
    """What the hub in this process does for who logs in at the door."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def token(self, user: str, token_id: str | None) -> str:
        return self._hub.authority.mint(user, days=_TOKEN_DAYS, token_id=token_id)

    async def revoke(self, token_id: str) -> None:
        await self._hub.revoke(token_id)
