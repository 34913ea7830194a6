"""The inbox's contract: all users' inboxes, in a file of this hub or in a Redis that several hubs share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from worker.errors import WorkerError
from worker.hub.messages import Message, StoredMessage

Answer = Callable[[Any], None]
"""Called in the event loop with the result, or with the exception that was raised instead."""


@dataclass(frozen=True, slots=True)
class InboxLimits:
    """How much is kept, and for how long."""

    messages: int = 10_000
    """Per user."""
    seconds: float = 7 * 86400
    user_seconds: float = 90 * 86400
    """A user without any activity for this long is forgotten, together with the inbox's epoch."""
    seen: int = 1_000_000
    """Notification ids that are remembered, to drop repetitions."""
    bytes: int = 4 * 1024**3
    """The file; above this the oldest messages are deleted."""


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The position that a client has reached."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class InboxPage:
    """Consecutive messages of a user's inbox, the oldest first."""

    epoch: str
    seq: int
    """The number of the newest message in the inbox."""
    recovered: bool
    """Whether the resume point was valid and nothing after it is gone."""
    messages: list[StoredMessage]
    more: bool

    @property
    def after(self) -> int:
        """The position before the first message."""
        return self.messages[0].seq - 1 if self.messages else self.seq


@dataclass(frozen=True, slots=True)
class AcceptedElsewhere:
    """The message is stored, and comes to this hub as to all others: by `InboxListener.on_stored`."""


class DamagedInbox(WorkerError):
    """What is stored of this one user was not written by a hub. Sending the message again does not help."""


class InboxListener(Protocol):
    """What an inbox that several hubs share reports to each of them. All in the event loop."""

    def on_stored(self, stored: StoredMessage) -> None:
        """Some hub stored a message. Each user's messages come in order, without a gap."""
        ...

    def on_volatile(self, message: Message) -> None:
        """Some hub received a volatile message."""
        ...

    def on_reset(self, user: str) -> None:
        """The user's inbox was replaced by an empty one with a new epoch: the positions of its clients are void."""
        ...

    def on_revoked(self, token_id: str) -> object:
        """Some hub revoked a token."""
        ...

    def on_revocations_unknown(self) -> None:
        """It cannot be read which tokens are revoked; `Inbox.revocations_known` tells when it can again."""
        ...


class Inbox(Protocol):
    """All users' inboxes."""

    shared: bool
    """Whether other hubs use it too; then volatile messages go through it as well."""

    @property
    def where(self) -> str:
        """The inbox's file or URL, without secrets."""
        ...

    @property
    def revocations_known(self) -> bool:
        """Whether the tokens of `revoked_tokens` and `on_revoked` are all that are revoked."""
        ...

    async def start(self) -> bool:
        """Open the inbox; return whether it was created. A WorkerError says why it cannot be used."""
        ...

    async def close(self) -> None: ...

    def check(self) -> None:
        """Raise StoreReplaced or StoreUnwritable if what is stored from now on would be lost. Called in a thread."""
        ...

    def append(self, message: Message, done: Answer) -> None:
        """Store a message.

        `done` gets StoredMessage when this hub is to deliver it, AcceptedElsewhere when it comes by `on_stored`, None
        for a repetition, DamagedInbox when this user's inbox alone cannot be written.
        """
        ...

    async def wait_for_capacity(self) -> None:
        """Wait while too many bytes are unwritten."""
        ...

    def open(self, user: str, resume_point: ResumePoint | None, done: Answer) -> None:
        """Give `done` the first InboxPage: what comes after the resume point if it is valid, else what no client of
        the user has read. From here on the user's messages are reported, until `forget`."""
        ...

    def read(self, user: str, after: int, done: Answer) -> None:
        """Give `done` the InboxPage after this number."""
        ...

    def mark_read(self, user: str, position: ResumePoint) -> None:
        """Note that a client of the user has read everything up to there; written within a second.

        Ignored if it is of another epoch than the inbox: its number is another message's.
        """
        ...

    def forget(self, user: str) -> None:
        """The last client of this user has disconnected."""
        ...

    async def revoke(self, token_id: str) -> None:
        """Store that this token id is revoked. StoreAway, StoreUnwritable: a shared inbox has not stored it yet."""
        ...

    async def revoked_tokens(self) -> list[str]:
        """Return the ids of the revoked tokens."""
        ...

    def flush(self) -> None:
        """Write what `mark_read` noted."""
        ...

    async def prune(self) -> None:
        """Delete what is too old or too much."""
        ...
