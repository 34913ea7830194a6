"""The eight events of the link."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Connect:
    """A session is up."""

    url: str
    session: int
    """1 for the first since the start."""
    mode: str
    """How receipt is confirmed: ack, fence, heartbeat, none."""
    dialect: str = ""
    """Version of Engine.IO and transport."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A session ended; what was not confirmed will be sent again."""

    reason: str
    code: int | None
    """The WebSocket close code (RFC 6455, 7.4); None: there was none, as after an Engine.IO close."""
    uptime: float
    """Seconds."""
    unconfirmed: int
    ours: bool = False
    """We closed it ourselves, because everything was done."""


@dataclass(frozen=True, slots=True)
class ServerError:
    """Something went wrong that does not change the state of the link."""

    where: str
    detail: str
    alarm: bool = False
    """An operator should look at it: it will not heal by itself."""


@dataclass(frozen=True, slots=True)
class ConnectError:
    """An attempt failed."""

    attempt: int
    """0: the first since the start, 1 … the attempts after a loss or a failure."""
    cause: str
    """The innermost cause, in one line."""


@dataclass(frozen=True, slots=True)
class ReconnectAttempt:
    """The next attempt is about to begin."""

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
    Connect | Disconnect | ServerError | ConnectError | ReconnectAttempt | Reconnect | ReconnectError | ReconnectFailed
)
