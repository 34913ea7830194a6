"""One client of the hub, on either endpoint: its identity, its subscriptions, what it was sent and has read.

Knows no inbox and no other client.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from worker.core.clock import Clock
from worker.hub.messages import Message
from worker.hub.stats import ClientStats
from worker.hub.subscriptions import Subscriptions
from worker.hub.tokens import Identity
from worker.hub.transports.connections import Connection
from worker.hub.transports.transport import SharedMessage

_RECENT_IDS: Final = 256


class Encoder(Protocol):
    """How one kind of client wants its messages. Equal encoders give equal bytes, so one encoding serves all."""

    def encode(self, message: Message, position: tuple[str, int] | None) -> bytes:
        """Return the text to send. `position`: epoch and seq; None for a message outside the client's inbox."""
        ...

    def encode_own(self, message_type: str, data: Any) -> bytes:
        """Return a message of another type than notifications and progress."""
        ...

    def __hash__(self) -> int: ...


class ProgressSender(Protocol):
    """Sends a client's progress messages, several at a time."""

    def put(self, job_id: str | None, message: SharedMessage) -> None: ...


@dataclass(slots=True, eq=False)
class Client:
    """One authenticated connection."""

    id: str
    identity: Identity
    endpoint: str
    address: str
    connection: Connection
    encoder: Encoder
    send_ping: Callable[[], None] | None
    """Pings the client; the answer is reported to Hub.on_pong() with the `last_sent_seq` of the time of the ping.
    None: an answer would prove nothing, or the client itself reports what it has read."""
    since: float
    """Wall clock, seconds since 1970."""
    since_monotonic: float
    clock: Clock
    subscriptions: Subscriptions | None = None
    """The types of messages it wants; None: all."""
    joined_rooms: set[str] = field(default_factory=set)
    """The rooms that it entered by a command."""
    watches_one_job: bool = False
    """Whether it gets the messages of one job alone, and not those of its user."""
    progress_sender: ProgressSender | None = None
    last_pong: float | None = None
    received: int = 0
    sent: int = 0
    replay: "asyncio.Task[None] | None" = None
    epoch: str = ""
    """The epoch of its user's inbox when the client connected."""
    replaying: bool = False
    """Whether it is still being sent what it missed."""
    last_sent_seq: int = 0
    last_read_seq: int = 0
    """The newest number it has certainly read: it said so, or answered a ping that was sent afterwards."""
    ping_pending: bool = False
    """Whether a ping that is to confirm `last_sent_seq` is unanswered."""
    recent_ids: deque[str] | None = None
    """The ids of its user's notifications that it was sent last: only these it can report as shown."""

    def __post_init__(self) -> None:
        self.connection.is_proven = True

    def remember_sent(self, notification_id: str | None) -> None:
        """Note that the client is sent this notification of its user."""
        if notification_id is not None:
            if self.recent_ids is None:
                self.recent_ids = deque(maxlen=_RECENT_IDS)
            self.recent_ids.append(notification_id)

    def forget_sent(self, notification_id: str) -> bool:
        """Forget a notification that the client was sent; return False if it was not, or was forgotten before."""
        if self.recent_ids is None or notification_id not in self.recent_ids:
            return False
        self.recent_ids.remove(notification_id)
        return True

    def record_pong(self) -> None:
        """Note that the client answered a ping."""
        self.last_pong = self.clock.now()

    def close(self, code: int, reason: str) -> None:
        """Send the reason, then close the connection."""
        self.connection.close(code, reason)

    def may_see(self, message: Message) -> bool:
        """Return whether the message is its user's, or the client is an administrator's."""
        return self.identity.is_admin or self.identity.user == message.user

    def gets_by_replay(self, message: Message) -> bool:
        """Return whether the message will come with the replay, in its order."""
        return self.replaying and not message.volatile and self.identity.user == message.user

    def subscribe(self, message_type: str) -> None:
        """Subscribe to a type, or to all with `*`. MalformedPacket: to too many."""
        self.subscriptions = self.subscriptions or Subscriptions()
        self.subscriptions.add(message_type)

    def unsubscribe(self, message_type: str) -> None:
        """Unsubscribe from a type, or from all with `*`. MalformedPacket: from too many."""
        self.subscriptions = self.subscriptions or Subscriptions()
        self.subscriptions.remove(message_type)

    def wants(self, message_type: str) -> bool:
        """Return whether the client is connected and subscribed to this type."""
        return self.connection.transport.close_code is None and (
            self.subscriptions is None or message_type in self.subscriptions
        )

    def send_shared(self, encoded: SharedMessage) -> None:
        """Send a message that is not one of the inbox and was encoded for this client's kind."""
        self.sent += 1
        self.connection.transport.send_shared(encoded)

    def deliver(self, message: Message, encoded: SharedMessage) -> None:
        """Send a message that was encoded for this client's kind."""
        self.sent += 1
        if not message.volatile:
            self.connection.transport.send_shared(encoded)
        elif self.progress_sender is None:
            self.connection.transport.send_volatile(encoded)
        else:
            self.progress_sender.put(message.job_id, encoded)

    def stats(self, rooms: Iterable[str]) -> ClientStats:
        """Return the client's statistics."""
        return ClientStats(
            id=self.id,
            user_id=self.identity.user,
            endpoint=self.endpoint,
            address=self.address,
            since=self.since,
            last_pong=self.last_pong,
            sent=self.sent,
            received=self.received,
            dropped=self.connection.transport.dropped,
            waiting_bytes=self.connection.transport.waiting_bytes,
            rooms=tuple(sorted(rooms)),
        )


def send_to_each(
    clients: Iterable[Client], encode: Callable[[Encoder], bytes], send: Callable[[Client, SharedMessage], None]
) -> None:
    """Send each client the message as its kind gets it: encoded once for each kind.

    Clients of one kind have the same encoder, not just an equal one (Hub.add_client): to compare takes longer than to
    send.
    """
    encoded: dict[int, SharedMessage] = {}
    for client in clients:
        kind = id(client.encoder)
        message = encoded.get(kind)
        if message is None:
            message = encoded[kind] = client.connection.share(encode(client.encoder))
        send(client, message)


def deliver_to(clients: Iterable[Client], message: Message, position: tuple[str, int] | None) -> None:
    """Send the message to each client."""
    send_to_each(
        clients,
        lambda encoder: encoder.encode(message, position),
        lambda client, encoded: client.deliver(message, encoded),
    )
