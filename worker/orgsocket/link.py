"""The link's words and rules: states, the eight events, what each ending means. Knows no socket and no clock."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from worker.events import Emit


class State(StrEnum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    DISCONNECTED = "disconnected"
    FAILED = "failed"


class Change(StrEnum):
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
    """Stopped, or AutoReconnect is off: nothing happens until somebody asks for it."""


TABLE: Mapping[tuple[State, Change], State] = {
    (State.DISCONNECTED, Change.OPENING): State.CONNECTING,
    (State.CONNECTING, Change.UP): State.CONNECTED,
    (State.CONNECTING, Change.EXHAUSTED): State.FAILED,
    (State.CONNECTING, Change.ENDED): State.DISCONNECTED,
    (State.CONNECTED, Change.LOST): State.RECONNECTING,
    (State.CONNECTED, Change.ENDED): State.DISCONNECTED,
    (State.RECONNECTING, Change.UP): State.CONNECTED,
    (State.RECONNECTING, Change.EXHAUSTED): State.FAILED,
    (State.RECONNECTING, Change.ENDED): State.DISCONNECTED,
    (State.FAILED, Change.OPENING): State.CONNECTING,
    (State.FAILED, Change.ENDED): State.DISCONNECTED,
}
"""Every move there is; docs/link.md draws it, and a test keeps both equal."""


# -- the eight events -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """A session is up."""

    url: str
    session: int
    """1 for the first since the start."""
    mode: str
    """How receipt is proven: ack, fence, heartbeat, none."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A session ended; what was not proven will be sent again."""

    reason: str
    code: int | None
    """The WebSocket close code (RFC 6455, 7.4); None: there was none, as after an Engine.IO close."""
    uptime: float
    """Seconds."""
    unproven: int
    ours: bool = False
    """We left ourselves, because all was done."""


@dataclass(frozen=True, slots=True)
class Error:
    """Something went wrong that is no change of state."""

    where: str
    detail: str
    alarm: bool = False
    """Somebody should look: it will not heal by itself."""


@dataclass(frozen=True, slots=True)
class ConnectError:
    """An attempt failed."""

    attempt: int
    """0: the first since the start, 1 … the attempts after a loss or a failure."""
    cause: str
    """The innermost cause, in one line."""


@dataclass(frozen=True, slots=True)
class ReconnectAttempt:
    """About to try again."""

    attempt: int
    of: int
    """ReconnectionAttempts; 0: endless."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Up again after a loss."""

    attempt: int


@dataclass(frozen=True, slots=True)
class ReconnectError:
    """An attempt failed while reconnecting."""

    attempt: int
    cause: str


@dataclass(frozen=True, slots=True)
class ReconnectFailed:
    """The attempts are used up; the next round begins after `pause` seconds."""

    attempts: int
    pause: float


LinkEvent = (
    Connect | Disconnect | Error | ConnectError | ReconnectAttempt | Reconnect | ReconnectError | ReconnectFailed
)


# -- what an ending means ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a session ended, or an attempt failed."""

    reason: str
    code: int | None = None
    refused: bool = False
    """The server knows us and does not want us, or speaks another protocol: trying harder does not help."""
    too_large: bool = False
    """The peer closed over the size of a frame of ours (1009)."""
    final: bool = False
    """We ended it ourselves because all is done."""


SLOW_CODES: Mapping[int, str] = {
    1003: "the server does not accept what we send",
    1008: "the server refuses us by its policy",
    4401: "the server does not know our token",
    4403: "our token lacks the right to publish",
    4409: "too many connections",
    4429: "we send too fast",
}
"""Close codes after which coming back at once makes it worse."""

_REFUSAL_CODES: frozenset[object] = frozenset({401, 403, 429, "401", "403", "429", *SLOW_CODES})
_REFUSALS = (
    "unauthor",
    "not authorized",
    "not authorised",
    "authentication",
    "forbidden",
    "invalid token",
    "jwt",
    "expired",
)


def is_slow(ending: Ending) -> bool:
    """True: wait SlowRetryDelay and raise an alarm. False: come back at once, with backoff."""
    return ending.refused or ending.code in SLOW_CODES


def refuses(data: object) -> bool:
    """Whether the data of a CONNECT_ERROR says unauthorized; other errors (a namespace not there yet) may pass."""
    if isinstance(data, Mapping):
        inner = data.get("data")
        told = (data.get("code"), inner.get("code") if isinstance(inner, Mapping) else None)
        codes = {code for code in told if isinstance(code, int | str)}
        return bool(codes & _REFUSAL_CODES) or refuses(data.get("message"))
    return isinstance(data, str) and any(word in data.lower() for word in _REFUSALS)


# -- the link itself --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Link:
    """Where the link stands. Each method is one happening: it moves the state and tells it."""

    url: str
    attempts_allowed: int
    emit: Emit
    now: Callable[[], float] = time.time
    state: State = State.DISCONNECTED
    sessions: int = 0
    tries: int = 0
    """Attempts made after a loss or a failure, since the start."""
    attempt: int = 0
    mode: str = "ack"
    last_code: int | None = None
    last_reason: str = ""
    retry_in: float = 0.0
    """Seconds between the last failure and the next attempt."""
    since: float | None = None
    """Wall clock of the session's beginning."""

    def opening(self) -> None:
        self._move(Change.OPENING)

    def waiting(self, seconds: float) -> None:
        """The next attempt comes in so many seconds."""
        self.retry_in = seconds

    def trying(self, attempt: int) -> None:
        self.attempt = attempt
        if attempt > 0:
            self.tries += 1
            self.emit(ReconnectAttempt(attempt, self.attempts_allowed))

    def attempt_failed(self, attempt: int, ending: Ending) -> None:
        self._remember(ending)
        self.emit(ConnectError(attempt, ending.reason))
        if self.state is State.RECONNECTING:
            self.emit(ReconnectError(attempt, ending.reason))

    def up(self, attempt: int, mode: str) -> None:
        again = self.sessions > 0
        self.sessions += 1
        self.attempt, self.mode, self.last_reason, self.since = 0, mode, "", self.now()
        self._move(Change.UP)
        self.emit(Connect(self.url, self.sessions, mode))
        if again:
            self.emit(Reconnect(attempt))

    def lost(self, ending: Ending, *, uptime: float, unproven: int, back: bool) -> None:
        """`back`: attempts follow."""
        self._remember(ending)
        self.since = None
        self._move(Change.LOST if back else Change.ENDED)
        self.emit(Disconnect(ending.reason, ending.code, uptime, unproven, ours=ending.final))

    def exhausted(self, attempts: int, pause: float) -> None:
        self.retry_in = pause
        self._move(Change.EXHAUSTED)
        self.emit(ReconnectFailed(attempts, pause))

    def ended(self) -> None:
        if self.state is not State.DISCONNECTED:
            self.since = None
            self._move(Change.ENDED)

    def trouble(self, where: str, detail: str, *, alarm: bool = False) -> None:
        self.emit(Error(where, detail, alarm))

    def _remember(self, ending: Ending) -> None:
        self.last_reason = ending.reason
        if ending.code is not None:
            self.last_code = ending.code

    def _move(self, change: Change) -> None:
        self.state = TABLE[self.state, change]
