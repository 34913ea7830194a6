"""The states of the link, its transitions, and what each close reason means. Knows no socket and no clock."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.core.events import Emit
from worker.notifiers.socketio.events import (
    Connect,
    ConnectError,
    Disconnect,
    Reconnect,
    ReconnectAttempt,
    ReconnectError,
    ReconnectFailed,
    ServerError,
)


class State(StrEnum):
    """Where the link stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    DISCONNECTED = "disconnected"
    FAILED = "failed"


class LinkTransition(StrEnum):
    """What moves the link from one state to the next."""

    OPENING = "opening"
    """Attempts begin."""
    UP = "up"
    """The server answered CONNECT."""
    LOST = "lost"
    """The session ended and is to come back."""
    EXHAUSTED = "exhausted"
    """ReconnectionAttempts failed in a row."""
    ENDED = "ended"
    """Stopped, or AutoReconnect is off: nothing happens until a reconnect is requested."""


TABLE: Mapping[tuple[State, LinkTransition], State] = {
    (State.DISCONNECTED, LinkTransition.OPENING): State.CONNECTING,
    (State.CONNECTING, LinkTransition.UP): State.CONNECTED,
    (State.CONNECTING, LinkTransition.EXHAUSTED): State.FAILED,
    (State.CONNECTING, LinkTransition.ENDED): State.DISCONNECTED,
    (State.CONNECTED, LinkTransition.LOST): State.RECONNECTING,
    (State.CONNECTED, LinkTransition.ENDED): State.DISCONNECTED,
    (State.RECONNECTING, LinkTransition.UP): State.CONNECTED,
    (State.RECONNECTING, LinkTransition.EXHAUSTED): State.FAILED,
    (State.RECONNECTING, LinkTransition.ENDED): State.DISCONNECTED,
    (State.FAILED, LinkTransition.OPENING): State.CONNECTING,
    (State.FAILED, LinkTransition.ENDED): State.DISCONNECTED,
}
"""All transitions; docs/link.md draws them, and a test compares both."""


CONNECT_ERROR: Final = "CONNECT_ERROR"
MESSAGES_REJECTED: Final = "the server rejects what we send"
_CREDENTIALS_REJECTED: Final = (CONNECT_ERROR, MESSAGES_REJECTED)
"""What reasons begin with that are about our credentials."""

# -- why a session ended ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why a session ended, or an attempt failed."""

    reason: str
    code: int | None = None
    rejected: bool = False
    """The server rejects us, or speaks another protocol: trying again soon does not help."""
    too_large: bool = False
    """The server closed over the size of a frame of ours (1009)."""
    final: bool = False
    """We ended it ourselves because everything is done."""
    speaks: int | None = None
    """The version of Engine.IO that the server seems to speak instead of the one of this attempt."""
    needs_polling: bool = False
    """The server, or a proxy before it, lets no WebSocket through."""
    requested: bool = False
    """We ended the session ourselves, to begin another."""

    @property
    def alarm(self) -> str:
        """Return the reason with what to do, for a link that waits long before it comes back."""
        if self.code is not None and self.code in SLOW_CODES:
            return SLOW_CODES[self.code]
        if self.speaks is None and self.reason.startswith(_CREDENTIALS_REJECTED):
            return f"{self.reason}: check WebSocket:Token, WebSocket:Query and WebSocket:Headers, and the server's log"
        return self.reason

    @property
    def blames_messages(self) -> bool:
        """Return whether a notification may be the reason, as when the server breaks on it or never acknowledges it."""
        ours = self.final or self.requested
        return not (ours or self.rejected or self.too_large or self.code in (4401, 4403, 4409, 4429))


def speaks_other_version(version: int, detail: str = "") -> CloseReason:
    """Return the reason for the end of an attempt on a server that speaks this version of Engine.IO instead."""
    servers = "Socket.IO 2 or older" if version == 3 else "Socket.IO 3 or newer"
    text = f"the server speaks Engine.IO {version} ({servers}){detail}: set WebSocket:EngineIO to auto or {version}"
    return CloseReason(text, rejected=True, speaks=version)


SLOW_CODES: Mapping[int, str] = {
    1003: "the server does not accept what we send: check WebSocket:Event against its handlers",
    1008: "the server rejects us by its policy: see its log for the rule",
    4401: "the server does not know our token: set WebSocket:Token or WebSocket:TokenFile to one of its own",
    4403: "our token lacks the right to publish: set WebSocket:Token to one with the scope publish",
    4409: "too many connections: look for other services with our token or address, or raise the server's limit",
    4429: "we send too fast: set WebSocket:Window lower, or raise the server's limit",
}
"""Close codes after which coming back at once makes it worse, and what to do."""

_REJECTION_CODES: frozenset[object] = frozenset({401, 403, 429, "401", "403", "429", *SLOW_CODES})
_FIRST = 4
"""Elements of an array that are looked at."""
_REJECTION_WORDS = (
    "unauthor",
    "not authorized",
    "not authorised",
    "authentication",
    "forbidden",
    "invalid token",
    "jwt",
    "expired",
)


def needs_slow_retry(reason: CloseReason) -> bool:
    """Return whether to wait SlowRetryDelay and raise an alarm, instead of coming back at once with backoff."""
    return reason.rejected or reason.code in SLOW_CODES


def is_rejection(data: object, levels: int = 3) -> bool:
    """Return whether the data of a CONNECT_ERROR says unauthorized; other errors, such as a namespace that does not
    exist yet, may pass. `levels`: how deep objects and arrays in it are looked at."""
    if isinstance(data, Mapping):
        codes = {data.get(name) for name in ("code", "status") if isinstance(data.get(name), int | str)}
        inner = (data.get("message"), data.get("data"))
        return bool(codes & _REJECTION_CODES) or (levels > 0 and any(is_rejection(one, levels - 1) for one in inner))
    if isinstance(data, list):
        return levels > 0 and any(is_rejection(one, levels - 1) for one in data[:_FIRST])
    return isinstance(data, str) and any(word in data.lower() for word in _REJECTION_WORDS)


# -- the link itself --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Link:
    """The link's state. Each method reports one occurrence: it moves the state and emits the event."""

    url: str
    attempts_allowed: int
    emit: Emit
    now: Callable[[], float] = time.time
    state: State = State.DISCONNECTED
    sessions: int = 0
    reconnect_attempts: int = 0
    """Attempts made after a loss or a failure, since the start."""
    attempt: int = 0
    mode: str = "ack"
    dialect: str = ""
    """Version of Engine.IO and transport of the last session."""
    last_code: int | None = None
    last_reason: str = ""
    retry_in: float = 0.0
    """Seconds between the last failure and the next attempt."""
    connected_since: float | None = None
    """Wall clock of the session's start; None while there is no session."""

    def opening(self) -> None:
        """Attempts begin."""
        self._move(LinkTransition.OPENING)

    def retry_scheduled(self, seconds: float) -> None:
        """The next attempt follows in so many seconds."""
        self.retry_in = seconds

    def attempt_started(self, attempt: int) -> None:
        """An attempt is about to be made; 0: the first since the start."""
        self.attempt = attempt
        if attempt > 0:
            self.reconnect_attempts += 1
            self.emit(ReconnectAttempt(attempt, self.attempts_allowed))

    def attempt_failed(self, attempt: int, reason: CloseReason) -> None:
        """An attempt failed."""
        self._remember(reason)
        self.emit(ConnectError(attempt, reason.reason))
        if self.state is State.RECONNECTING:
            self.emit(ReconnectError(attempt, reason.reason))

    def connected(self, attempt: int, mode: str, dialect: str = "") -> None:
        """A session is up."""
        reconnected = self.sessions > 0
        self.sessions += 1
        self.attempt, self.mode, self.dialect, self.last_reason = 0, mode, dialect, ""
        self.connected_since = self.now()
        self._move(LinkTransition.UP)
        self.emit(Connect(self.url, self.sessions, mode, dialect))
        if reconnected:
            self.emit(Reconnect(attempt))

    def session_ended(self, reason: CloseReason, *, uptime: float, unconfirmed: int, will_retry: bool) -> None:
        """A session ended, or was closed by us."""
        self._remember(reason)
        self.connected_since = None
        self._move(LinkTransition.LOST if will_retry else LinkTransition.ENDED)
        self.emit(Disconnect(reason.reason, reason.code, uptime, unconfirmed, ours=reason.final))

    def exhausted(self, attempts: int, pause: float) -> None:
        """The attempts of a round are used up; the next round begins after `pause` seconds."""
        self.retry_in = pause
        self._move(LinkTransition.EXHAUSTED)
        self.emit(ReconnectFailed(attempts, pause))

    def ended(self) -> None:
        """The link was stopped, or waits for a request to reconnect."""
        if self.state is not State.DISCONNECTED:
            self.connected_since = None
            self._move(LinkTransition.ENDED)

    def report_error(self, where: str, detail: str, *, alarm: bool = False) -> None:
        """Something went wrong that does not change the state; `alarm`: it will not heal by itself."""
        self.emit(ServerError(where, detail, alarm))

    def _remember(self, reason: CloseReason) -> None:
        self.last_reason = reason.reason
        if reason.code is not None:
            self.last_code = reason.code

    def _move(self, transition: LinkTransition) -> None:
        self.state = TABLE[self.state, transition]
