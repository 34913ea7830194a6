"""What the hub and its clients send each other: every message with its data, for the description and its readers.

The types describe; the code that reads messages checks more than types can say. tests/integration/test_hub_asyncapi.py
compares the names here with the commands that exist, and real messages with the types.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from config.user_id import MAX_USER_ID
from worker.hub.messages import MAX_ID
from worker.hub.names import MAX_NAME

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
"""Of a room, a type or a job: printable characters."""
MessageId = Annotated[str, Field(min_length=1, max_length=MAX_ID)]
UserId = Annotated[str, Field(min_length=1, max_length=MAX_USER_ID)]
"""Printable characters."""
Count = Annotated[int, Field(ge=0)]

Direction = Literal["receive", "send"]
"""As the hub sees it: `receive` comes from a client."""


class AuthData(TypedDict):
    """The token, and the position from which the client resumes."""

    token: str | None
    epoch: NotRequired[str | None]
    lastSeq: NotRequired[int | None]
    signed: NotRequired[bool]
    """Whether notifications and progress shall be signed."""


class RoomData(TypedDict):
    room: Name


class SubscriptionData(TypedDict, total=False):
    """One of the three."""

    type: Name
    """A type of messages; `*` for all."""
    jobId: Name
    userId: UserId


class PublishData(TypedDict):
    """A message of a type of the publisher's own."""

    type: Name
    data: NotRequired[Any]
    room: NotRequired[Name]


class ReadData(TypedDict):
    """Everything up to this number has been read."""

    seq: Count


class ShownData(TypedDict):
    """The page has displayed this notification."""

    notificationId: MessageId


class CancelData(TypedDict):
    jobId: Name


class TokenData(TypedDict):
    """A newer token of the same user and scopes."""

    token: str


class WelcomeData(TypedDict):
    """Who the client is. The position is missing on connections for one job, and for clients without an inbox."""

    clientId: str
    userId: str | None
    epoch: NotRequired[str]
    seq: NotRequired[int]
    after: NotRequired[int]
    """The number at which the replay begins."""
    recovered: NotRequired[bool]
    """Whether nothing after the client's position was lost."""
    anonymous: NotRequired[bool]
    message: NotRequired[str]


class PositionData(TypedDict):
    """The client's position in its inbox."""

    epoch: str
    seq: int
    after: int
    recovered: bool


class NotificationPayload(TypedDict):
    """How the job ended. Publishers may add fields."""

    jobId: NotRequired[MessageId]
    notificationId: NotRequired[MessageId]
    taskType: NotRequired[str]
    status: NotRequired[str]
    completedAt: NotRequired[str]
    duration: NotRequired[float]
    """Milliseconds."""
    attempt: NotRequired[int]
    sequence: NotRequired[int]
    redelivery: NotRequired[Annotated[int, Field(ge=0, lt=2**31)]]
    error: NotRequired[str]
    errorId: NotRequired[str]
    stackTrace: NotRequired[str]
    """For administrators only, unless the settings say otherwise."""


class NotificationMessage(TypedDict):
    success: bool
    message: str
    payload: NotificationPayload


class NotificationUser(TypedDict):
    """Whose notification it is; the position for clients that sent `lastSeq`."""

    userId: UserId
    epoch: NotRequired[str]
    seq: NotRequired[int]


class NotificationData(NotificationMessage, NotificationUser):
    """The notification and its position. Without the position if it arrives through a job's room or connection."""


class ProgressData(TypedDict):
    jobId: str
    taskType: str
    status: str
    percent: float | None
    note: str | None


class CancelResultData(TypedDict):
    jobId: str
    status: str


# Its field `from` is a keyword, which the other notation does not allow.
BroadcastData = TypedDict("BroadcastData", {"from": str, "room": NotRequired[str]})


class AcceptedData(TypedDict):
    ok: bool


class ErrorData(TypedDict):
    code: str
    message: str
    original: NotRequired[str]
    """The message that was rejected, at most 2 KB of it."""
    original_message: NotRequired[str]
    """The same, for clients that send flat messages."""


class ClosingData(TypedDict):
    """Why the hub is about to close the connection."""

    code: int
    reason: str


class EmptyData(TypedDict):
    """Nothing."""


class SignedEnvelope(TypedDict):
    """A notification or progress message that is signed by Standard Webhooks; `body` is the message as text."""

    id: str
    timestamp: int
    """Seconds since 1970."""
    signature: str
    body: str


class CommandAccepted(TypedDict):
    """The acknowledgement of a command over Socket.IO, and of a notification (without `type` and `data`)."""

    ok: Literal[True]
    type: NotRequired[str]
    data: NotRequired[Any]


class CommandRejected(TypedDict):
    ok: Literal[False]
    error: str


Acknowledgement = Annotated[CommandAccepted | CommandRejected, Field(description="The answer to an event")]


@dataclass(frozen=True, slots=True)
class WireMessage:
    """One kind of message of one endpoint."""

    name: str
    direction: Direction
    data: Any
    """The type of `data`; over Socket.IO that of the first argument."""
    summary: str
    more: Any = None
    """The type of the second argument over Socket.IO; None: there is none."""
    acknowledged: bool = False


def _commands(direction: Direction, table: Mapping[str, tuple[Any, str]]) -> tuple[WireMessage, ...]:
    return tuple(WireMessage(name, direction, data, summary) for name, (data, summary) in table.items())


COMMANDS: Final = _commands(
    "receive",
    {
        "ping": (Any, "Ask for a pong with the same data"),
        "heartbeat": (Any, "The same as ping"),
        "echo": (Any, "Ask for the same data"),
        "join-room": (RoomData | Name, "Enter a room"),
        "leave-room": (RoomData | Name, "Leave a room"),
        "subscribe": (SubscriptionData | Name, "Receive a type of messages, or those of a job"),
        "unsubscribe": (SubscriptionData | Name, "No longer receive them"),
        "broadcast": (dict[str, Any], "Send data to all clients, or to those in `room`; needs scope publish"),
        "publish": (PublishData, "Send a message of a type of one's own; needs scope publish"),
        "cancel": (CancelData, "Cancel one's own job"),
    },
)
"""The commands of both endpoints."""

NATIVE: Final = (
    WireMessage("auth", "receive", AuthData, "Authenticate; later, renew the token"),
    *COMMANDS,
    WireMessage("read", "receive", ReadData, "Report what has been read"),
    WireMessage("shown", "receive", ShownData, "Report that a notification has been displayed"),
    *_commands(
        "send",
        {
            "welcome": (WelcomeData, "The client is authenticated"),
            "auth": (AcceptedData, "The newer token is accepted"),
            "notification": (NotificationData, "A job has ended"),
            "progress": (ProgressData, "The newest progress of a job"),
            "heartbeat": (EmptyData, "The hub is alive"),
            "pong": (Any, "The answer to ping and heartbeat"),
            "echo": (Any, "The answer to echo"),
            "room-joined": (RoomData, "The client is in the room"),
            "room-left": (RoomData, "The client is no longer in the room"),
            "subscribed": (SubscriptionData, "The client receives them"),
            "unsubscribed": (SubscriptionData, "The client no longer receives them"),
            "cancel": (CancelResultData, "What becomes of the cancellation"),
            "broadcast": (BroadcastData, "A publisher's data"),
            "error": (ErrorData, "A message was rejected, or the connection is about to be closed"),
        },
    ),
)
"""The messages of /ws and /ws/tasks/{jobId}."""


def socket_io_messages(event: str) -> tuple[WireMessage, ...]:
    """Return the events of Socket.IO; `event` carries notifications."""
    acknowledged = (
        WireMessage(
            event, "receive", NotificationMessage, "Publish a notification; needs scope publish", NotificationUser
        ),
        *COMMANDS,
        WireMessage("org-socket:refresh", "receive", TokenData, "Renew the token"),
        WireMessage("org-socket:read", "receive", ReadData, "Report what has been read"),
        WireMessage("org-socket:shown", "receive", ShownData, "Report that a notification has been displayed"),
    )
    return (
        *(replace(one, acknowledged=True) for one in acknowledged),
        WireMessage(event, "send", NotificationMessage, "A job has ended, or its progress", NotificationUser),
        WireMessage("broadcast", "send", BroadcastData, "A publisher's data"),
        WireMessage("org-socket:welcome", "send", PositionData, "The position of a client that sent lastSeq"),
        WireMessage("org-socket:closing", "send", ClosingData, "The connection is about to be closed"),
    )
