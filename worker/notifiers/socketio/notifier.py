"""The org-socket as the service knows it: a Notifier with figures, built from the WebSocket section."""

import asyncio
import random
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from config.link_settings import WebSocketSettings
from worker.core.clock import Clock
from worker.core.events import Emit
from worker.core.notifier import MessageSource
from worker.core.percentile import percentile
from worker.core.store import OutboxMessage
from worker.notifiers.socketio.address import address_of, proxy_for
from worker.notifiers.socketio.backoff import Backoff
from worker.notifiers.socketio.confirmation_reporter import SessionStats
from worker.notifiers.socketio.connection import SocketIoConnection
from worker.notifiers.socketio.dialect import Dialect, DialectChoice, DialectConfig
from worker.notifiers.socketio.handshake import ConnectOptions
from worker.notifiers.socketio.link_connection import LinkConnection, NewConnection
from worker.notifiers.socketio.polling import PollingConnection
from worker.notifiers.socketio.protocol import FrameListener, OpenPacket
from worker.notifiers.socketio.protocol_v3 import ProtocolV3
from worker.notifiers.socketio.protocol_v4 import ProtocolV4
from worker.notifiers.socketio.retry_ledger import ResendPolicy, RetryLedger
from worker.notifiers.socketio.server_capabilities import ServerCapabilitiesStore
from worker.notifiers.socketio.session import LinkSession, SessionConfig
from worker.notifiers.socketio.state import CloseReason, Link
from worker.notifiers.socketio.status import LinkStatus, describe
from worker.notifiers.socketio.supervisor import RetryTimings, Supervisor

ReadCredentials = Callable[[], Mapping[str, Any] | None]
"""Returns what is sent as `auth` with CONNECT; called before each attempt, in a thread. What it raises fails the
attempt."""


class SocketIoNotifier:
    """Carries notifications to the org-socket server and comes back from whatever ends the connection.

    `content_root` is where a relative TokenFile and CaFile lie. `jitter` gives numbers in [0, 1). `keep_alive`, in
    seconds, replaces WebSocket:KeepAlive.
    """

    def __init__(
        self,
        settings: WebSocketSettings,
        servers: ServerCapabilitiesStore,
        *,
        emit: Emit,
        clock: Clock,
        content_root: Path = Path(),
        jitter: Callable[[], float] = random.random,
        keep_alive: float | None = None,
    ) -> None:
        self._settings = settings
        self._servers = servers
        self._clock = clock
        self._content_root = content_root
        self._jitter = jitter
        self._keep_alive = keep_alive
        self._read_credentials: ReadCredentials = lambda: credentials_of(self._settings, self._content_root)
        self._stats = SessionStats()
        self._ledger = RetryLedger(_resend_policy(settings))
        address = address_of(settings.url, settings.namespace)
        self._namespace, self._authorization = address.namespace, address.authorization
        self._link = Link(address.url, settings.reconnection_attempts, emit, clock.now)
        self._dialects = DialectChoice(_dialect_config(settings), servers.of(self._link.url))
        self._supervisor: Supervisor | None = None

    @classmethod
    def from_settings(
        cls, settings: WebSocketSettings, *, emit: Emit, clock: Clock, content_root: Path, servers_file: Path
    ) -> Self:
        """Build the notifier of the service. `servers_file` remembers what is known of servers between starts."""
        return cls(settings, ServerCapabilitiesStore(servers_file), emit=emit, clock=clock, content_root=content_root)

    def connect_to(self, url: str, token: Callable[[], str]) -> None:
        """Use another server than the settings name, from the next attempt on: the hub in this process, with its
        key."""
        self._link.url, self._namespace, self._authorization = url.rstrip("/"), "/", None
        self._read_credentials = lambda: {"token": token()}

    def apply(self, settings: WebSocketSettings) -> None:
        """Use other settings, from the next attempt and the next delay on; the server remains that of the start."""
        self._settings = settings
        self._ledger.policy = _resend_policy(settings)
        self._link.attempts_allowed = settings.reconnection_attempts
        if self._supervisor is not None:
            self._supervisor.apply(_backoff(settings, self._jitter), _timings(settings))

    # -- Notifier ------------------------------------------------------------------------------------------

    async def run(self, source: MessageSource, stop: asyncio.Event) -> None:
        """See Notifier. After the stop a server that is away gets one more attempt; what is left stays unconfirmed."""
        self._supervisor = Supervisor(
            self._link,
            _backoff(self._settings, self._jitter),
            _timings(self._settings),
            self._clock,
            new_session=self._new_session,
            read_options=self._read_options,
            alternatives=self,
        )
        try:
            await self._supervisor.run(source, stop)
        finally:
            self._supervisor = None
            self._servers.save()

    def progress(self, body: bytes) -> None:
        """See Notifier."""
        session = self._supervisor.session if self._supervisor else None
        if session is not None:
            session.send_volatile(body)

    def forget(self, message: OutboxMessage) -> None:
        """See Notifier."""
        session = self._supervisor.session if self._supervisor else None
        if session is not None:
            session.forget(message)
        else:
            self._ledger.set_aside(message)

    # -- for operators -------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """Drop the session or the delay and connect again; does nothing unless `run` is running."""
        if self._supervisor is not None:
            self._supervisor.reconnect()

    def status(self) -> LinkStatus:
        """Return a snapshot of the link for health pages and metrics."""
        session = self._supervisor.session if self._supervisor else None
        english, thai = describe(self._link, len(self._ledger.suspects))
        return LinkStatus(
            state=self._link.state,
            mode=self._link.mode,
            total_connections=self._link.sessions,
            total_messages=self._stats.messages,
            reconnect_attempts=self._link.reconnect_attempts,
            last_pong=self._stats.last_pong,
            last_close_code=self._link.last_code,
            connected_since=self._link.connected_since,
            in_flight=session.in_flight if session else 0,
            ack_ms_p50=_milliseconds(percentile(self._stats.latencies, 0.50)),
            ack_ms_p99=_milliseconds(percentile(self._stats.latencies, 0.99)),
            status_en=english,
            status_th=thai,
        )

    # -- for the supervisor --------------------------------------------------------------------------------

    def begin(self) -> None:
        """See Alternatives."""
        self._dialects = DialectChoice(_dialect_config(self._settings), self._servers.of(self._link.url))
        self._dialects.begin()

    def try_alternative(self, reason: CloseReason) -> bool:
        """See Alternatives."""
        return self._dialects.try_alternative(reason)

    def on_timeout(self) -> None:
        """See Alternatives."""
        self._dialects.on_timeout()

    def _new_session(self) -> LinkSession:
        self._servers.save()
        dialect = self._dialects.current
        return LinkSession(
            self._session_config(),
            self._servers.of(self._link.url),
            self._clock,
            self._stats,
            self,
            _new_connection(dialect, self._namespace),
            dialect=str(dialect),
            ledger=self._ledger,
        )

    def _session_config(self) -> SessionConfig:
        settings = self._settings
        return SessionConfig(
            confirmation=settings.confirmation,
            window=settings.window,
            window_bytes=settings.window_bytes,
            ack_timeout=settings.ack_timeout / 1000,
            max_payload=settings.max_payload,
            keep_alive=settings.keep_alive / 1000 if self._keep_alive is None else self._keep_alive,
            event=settings.event,
            namespace=self._namespace,
        )

    async def _read_options(self) -> ConnectOptions:
        return await asyncio.to_thread(self._read_options_now)  # files may lie on a network that hangs

    def _read_options_now(self) -> ConnectOptions:
        settings = self._settings
        return ConnectOptions(
            url=self._link.url,
            path=settings.path,
            headers=headers_of(settings, self._authorization),
            auth=self._read_credentials(),
            tls=tls_of(settings, self._link.url, self._content_root),
            query={name: value.get_secret_value() for name, value in settings.query.items()},
            proxy=proxy_for(self._link.url, None if settings.proxy is None else settings.proxy.get_secret_value()),
        )

    # -- SessionListener -----------------------------------------------------------------------------------

    def report_error(self, where: str, detail: str, *, alarm: bool = False) -> None:
        self._link.report_error(where, detail, alarm=alarm)

    def on_mode_change(self, mode: str) -> None:
        self._link.mode = mode
        self._servers.save()

    def on_handshake(self, opened: OpenPacket) -> None:
        self._dialects.succeeded(opened.max_payload)
        self._servers.save()


def _new_connection(dialect: Dialect, namespace: str) -> NewConnection:
    protocol = partial(ProtocolV3 if dialect.version == 3 else ProtocolV4, namespace=namespace)

    def connection(listener: FrameListener) -> LinkConnection:
        if dialect.transport == "polling":
            return PollingConnection(listener, protocol)
        return SocketIoConnection(listener, protocol, by_polling=dialect.transport == "upgrade")

    return connection


def _dialect_config(settings: WebSocketSettings) -> DialectConfig:
    return DialectConfig(settings.engine_io, settings.transports)


def headers_of(settings: WebSocketSettings, authorization: str | None) -> dict[str, str]:
    """Return the configured headers, with the credentials of the Url unless they name others."""
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    if authorization is not None and not any(name.lower() == "authorization" for name in headers):
        headers["Authorization"] = authorization
    return headers


def credentials_of(settings: WebSocketSettings, root: Path) -> Mapping[str, Any] | None:
    """Return the token as `auth.token`; TokenFile wins, since a rotation renews the file.

    Raises OSError if the file cannot be read.
    """
    if settings.token_file is not None:
        return {"token": (root / settings.token_file).read_text(encoding="utf-8").strip()}
    return None if settings.token is None else {"token": settings.token.get_secret_value()}


def tls_of(settings: WebSocketSettings, url: str, root: Path) -> ssl.SSLContext | None:
    """Return how the server's certificate is verified; None: the Url is without TLS."""
    if not url.lower().startswith(("https:", "wss:")):
        return None
    context = ssl.create_default_context(cafile=None if settings.ca_file is None else root / settings.ca_file)
    if not settings.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate_file is not None:
        key = None if settings.key_file is None else root / settings.key_file
        context.load_cert_chain(root / settings.certificate_file, key)
    return context


def _resend_policy(settings: WebSocketSettings) -> ResendPolicy:
    return ResendPolicy(
        max_attempts=settings.max_send_attempts,
        dead_after=settings.dead_after / 1000,
        first_delay=settings.reconnection_delay / 1000,
        longest_delay=settings.slow_retry_delay / 1000,
    )


def _backoff(settings: WebSocketSettings, jitter: Callable[[], float]) -> Backoff:
    base, cap = settings.reconnection_delay / 1000, settings.max_reconnection_delay / 1000
    return Backoff(base, cap, settings.reconnection_attempts, jitter)


def _timings(settings: WebSocketSettings) -> RetryTimings:
    return RetryTimings(
        timeout=settings.timeout / 1000,
        min_uptime=settings.min_uptime / 1000,
        slow_retry=settings.slow_retry_delay / 1000,
        between_rounds=settings.task_delay_on_error / 1000,
        auto_reconnect=settings.auto_reconnect,
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
