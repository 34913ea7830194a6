"""The org-socket as the service knows it: a Notifier with figures, built from the WebSocket section."""

import asyncio
import random
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from config.settings import WebSocketSettings
from worker.clock import Clock
from worker.events import Emit
from worker.notifier import Feed
from worker.orgsocket.backoff import Backoff
from worker.orgsocket.figures import LinkFigures, status
from worker.orgsocket.link import Link
from worker.orgsocket.peers import Peers
from worker.orgsocket.session import Limits, Session, Tally
from worker.orgsocket.supervisor import Patience, Supervisor
from worker.orgsocket.wire import Terms

Credentials = Callable[[], Mapping[str, Any] | None]
"""What is sent as `auth` with CONNECT; asked before each attempt, in a thread. What it raises fails the attempt."""

_PULSE = 10.0
"""Seconds without a frame after which the server is pinged: a half-open connection is found within twice that."""


class OrgSocket:
    """Carries notifications to the org-socket server and comes back from whatever ends the connection.

    `content_root` is where a relative TokenFile and CaFile lie. `auth` stands for Token and TokenFile.
    `spread` gives numbers in [0, 1) for the jitter. `fast=False` sends through python-socketio's own path.
    """

    def __init__(
        self,
        settings: WebSocketSettings,
        *,
        emit: Emit,
        clock: Clock | None = None,
        content_root: Path | None = None,
        auth: Credentials | None = None,
        spread: Callable[[], float] = random.random,
        peers: Peers | None = None,
        pulse: float = _PULSE,
        fast: bool = True,
    ) -> None:
        self._settings = settings
        self._clock = clock or Clock()
        self._root = content_root or Path()
        self._auth = auth or (lambda: credentials_of(self._settings, self._root))
        self._peers = peers or Peers()
        self._pulse, self._fast = pulse, fast
        self._tally = Tally()
        self._link = Link(settings.url.rstrip("/"), settings.reconnection_attempts, emit, self._clock.now)
        self._spread = spread
        self._supervisor: Supervisor | None = None

    def connect_to(self, url: str, token: Callable[[], str]) -> None:
        """Another server than the settings name, from the next attempt on: the hub in this process, with its key."""
        self._link.url = url.rstrip("/")
        self._auth = lambda: {"token": token()}

    def adopt(self, settings: WebSocketSettings) -> None:
        """Other settings, from the next attempt and the next pause on; the server stays the one of the start."""
        self._settings = settings
        self._link.attempts_allowed = settings.reconnection_attempts
        if self._supervisor is not None:
            self._supervisor.adopt(_backoff(settings, self._spread), _patience(settings))

    # -- Notifier ------------------------------------------------------------------------------------------

    async def run(self, feed: Feed, stop: asyncio.Event) -> None:
        """See Notifier. After the stop a server that is away gets one more attempt; what is left stays unconfirmed."""
        self._supervisor = Supervisor(
            self._link,
            _backoff(self._settings, self._spread),
            _patience(self._settings),
            self._clock,
            new_session=self._session,
            terms=self._terms,
        )
        try:
            await self._supervisor.run(feed, stop)
        finally:
            self._supervisor = None
            self._peers.remember()

    def progress(self, body: bytes) -> None:
        session = self._supervisor.session if self._supervisor else None
        if session is not None:
            session.whisper(body)

    # -- for people ----------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """Drop the session or the pause and connect afresh; nothing while `run` does not run."""
        if self._supervisor is not None:
            self._supervisor.reconnect()

    def figures(self) -> LinkFigures:
        session = self._supervisor.session if self._supervisor else None
        latencies = sorted(self._tally.latencies)
        english, thai = status(self._link)
        return LinkFigures(
            state=self._link.state,
            mode=self._link.mode,
            total_connections=self._link.sessions,
            total_messages=self._tally.messages,
            reconnect_attempts=self._link.tries,
            last_pong=self._tally.last_pong,
            last_close_code=self._link.last_code,
            connected_since=self._link.since,
            in_flight=session.in_flight if session else 0,
            ack_ms_p50=_percentile(latencies, 0.50),
            ack_ms_p99=_percentile(latencies, 0.99),
            status_en=english,
            status_th=thai,
        )

    # -- for the supervisor --------------------------------------------------------------------------------

    def _session(self) -> Session:
        self._peers.remember()
        limits = _limits(self._settings, pulse=self._pulse, fast=self._fast)
        return Session(limits, self._peers.of(self._link.url), self._clock, self._tally, self)

    async def _terms(self) -> Terms:
        return await asyncio.to_thread(self._read_terms)  # files may lie on a network that hangs

    def _read_terms(self) -> Terms:
        settings = self._settings
        return Terms(
            url=self._link.url,
            path=settings.path,
            headers={name: value.get_secret_value() for name, value in settings.headers.items()},
            auth=self._auth(),
            tls=tls_of(settings, self._link.url, self._root),
        )

    def trouble(self, where: str, detail: str, *, alarm: bool = False) -> None:
        self._link.trouble(where, detail, alarm=alarm)

    def proves_by(self, mode: str) -> None:
        self._link.mode = mode
        self._peers.remember()


def credentials_of(settings: WebSocketSettings, root: Path) -> Mapping[str, Any] | None:
    """The token as `auth.token`; the file's first, since it is what a rotation renews. OSError: it cannot be read."""
    if settings.token_file is not None:
        return {"token": (root / settings.token_file).read_text(encoding="utf-8").strip()}
    return None if settings.token is None else {"token": settings.token.get_secret_value()}


def tls_of(settings: WebSocketSettings, url: str, root: Path) -> ssl.SSLContext | None:
    """None: no TLS, so nothing to trust."""
    if not url.lower().startswith(("https:", "wss:")):
        return None
    context = ssl.create_default_context(cafile=None if settings.ca_file is None else root / settings.ca_file)
    if not settings.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _limits(settings: WebSocketSettings, *, pulse: float, fast: bool) -> Limits:
    return Limits(
        confirmation=settings.confirmation,
        window=settings.window,
        ack_timeout=settings.ack_timeout / 1000,
        max_payload=settings.max_payload,
        pulse=pulse,
        fast=fast,
    )


def _backoff(settings: WebSocketSettings, spread: Callable[[], float]) -> Backoff:
    base, cap = settings.reconnection_delay / 1000, settings.max_reconnection_delay / 1000
    return Backoff(base, cap, settings.reconnection_attempts, spread)


def _patience(settings: WebSocketSettings) -> Patience:
    return Patience(
        timeout=settings.timeout / 1000,
        min_uptime=settings.min_uptime / 1000,
        slow_retry=settings.slow_retry_delay / 1000,
        between_rounds=settings.task_delay_on_error / 1000,
        auto_reconnect=settings.auto_reconnect,
    )


def _percentile(ordered: list[float], share: float) -> float | None:
    """Nearest rank, in milliseconds."""
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 2)
