"""What happens in the hub. Each event is emitted once; logs and metrics listen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubStarted:
    path: str
    inbox: str
    """The inbox's file, or `:memory:`."""


@dataclass(frozen=True, slots=True)
class HubStopped:
    clients: int
    """The number of clients that were connected when the hub stopped."""
    seconds: float


@dataclass(frozen=True, slots=True)
class KeyCreated:
    """The first start created a signing key."""

    path: str


@dataclass(frozen=True, slots=True)
class ClientConnected:
    client_id: str
    user_id: str | None
    """None: the worker in this process."""
    endpoint: str
    """`socket.io` or `websocket`."""
    address: str
    replayed: int
    """The number of messages the client had missed, on the first page of its replay."""
    recovered: bool | None
    """Whether nothing after the client's position was lost; None: the client sent no position."""


@dataclass(frozen=True, slots=True)
class ClientDisconnected:
    client_id: str
    user_id: str | None
    endpoint: str
    address: str
    code: int
    """The close code, of whichever side closed (RFC 6455, 7.4; 4000 and up are the hub's own)."""
    reason: str
    seconds: float
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class ClientRejected:
    """A client was not admitted: bad token, wrong namespace, too many connections, no authentication in time."""

    endpoint: str
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class MessageRejected:
    """A client sent a message that is not valid or not allowed."""

    client_id: str
    user_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class NotificationShown:
    """A page reports that it has shown a notification to its user."""

    client_id: str
    user_id: str | None
    notification_id: str


@dataclass(frozen=True, slots=True)
class InboxFailed:
    """The inbox cannot be written or read; publishers are disconnected and will send again. Emitted once per outage."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class InboxRestored:
    """The inbox, which had failed, has accepted a notification."""


@dataclass(frozen=True, slots=True)
class SharedInboxLost:
    """The hubs' Redis cannot be reached: nothing is accepted until it can."""

    where: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class SharedInboxRestored:
    """The hubs' Redis can be reached again, and everything missed has been fetched."""

    where: str
    seconds: float
    users: int
    """The number of users whose inboxes were checked."""


@dataclass(frozen=True, slots=True)
class InboxDamaged:
    """The hubs' Redis holds, as one user's inbox, something that no hub wrote. Emitted once until it works again."""

    where: str
    user_id: str
    reason: str
    key: str


@dataclass(frozen=True, slots=True)
class RevocationsUnreadable:
    """It cannot be read from the hubs' Redis which tokens are revoked: none with an id is accepted until it can."""

    where: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class RevocationsRead:
    """It is known again which tokens are revoked."""

    where: str


@dataclass(frozen=True, slots=True)
class InboxNotDurable:
    """The hubs' Redis is configured in a way that may lose what was accepted."""

    where: str
    reason: str
