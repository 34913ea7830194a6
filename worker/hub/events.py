"""What happened in the hub, said once; logs and metrics listen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubStarted:
    path: str
    inbox: str
    """The inbox's file, or `:memory:`."""


@dataclass(frozen=True, slots=True)
class HubStopped:
    clients: int
    """How many were connected when it stopped."""
    seconds: float


@dataclass(frozen=True, slots=True)
class KeyCreated:
    """A signing key was made at first start."""

    path: str


@dataclass(frozen=True, slots=True)
class ClientConnected:
    client_id: str
    user_id: str | None
    """None: the worker in this process."""
    door: str
    address: str
    replayed: int
    """Messages it had missed and is given now."""
    recovered: bool | None
    """None: it did not say where it had got to."""


@dataclass(frozen=True, slots=True)
class ClientDisconnected:
    client_id: str
    user_id: str | None
    door: str
    address: str
    code: int
    """The close code that ended it, whichever side sent it (RFC 6455, 7.4; 4000 and up are ours)."""
    reason: str
    seconds: float
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class ClientRefused:
    """Somebody was turned away at the door: bad token, wrong namespace, too many, silent."""

    door: str
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """A client sent what it may not send, or what nobody can read."""

    client_id: str
    user_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class NewsShown:
    """A page says that its user has been shown a notification."""

    client_id: str
    user_id: str | None
    notification_id: str


@dataclass(frozen=True, slots=True)
class InboxFailed:
    """The inbox could not be written or read; publishers are cut off and will send again. Told once until it works."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class SharedInboxLost:
    """The Redis of the hubs is away: nothing is accepted until it is back."""

    where: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class SharedInboxBack:
    """It is back, and what was missed has been fetched."""

    where: str
    seconds: float
    users: int
    """For whom it was asked."""


@dataclass(frozen=True, slots=True)
class InboxForgetful:
    """The Redis is set up so that it may forget what was accepted."""

    where: str
    reason: str
