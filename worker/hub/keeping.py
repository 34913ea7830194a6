"""What the hub needs of an inbox, whoever keeps it: a file of its own, or a Redis it shares with other hubs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from worker.hub.news import News, Stored

Answer = Callable[[Any], None]
"""Called in the event loop with the result, or with the exception that came instead."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept."""

    messages: int = 10_000
    """Per user."""
    seconds: float = 7 * 86400
    user_seconds: float = 90 * 86400
    """A user of whom nothing was heard for so long is forgotten, with his epoch."""
    seen: int = 1_000_000
    """Notification ids remembered for dropping repetitions."""
    bytes: int = 4 * 1024**3
    """The file; beyond it the oldest messages go."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Where a client says it had got to."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a user's inbox, oldest first."""

    epoch: str
    seq: int
    """The newest in the inbox."""
    recovered: bool
    """The client's claim was good and nothing after it is gone."""
    messages: list[Stored]
    more: bool

    @property
    def after(self) -> int:
        """The seq before the first message: where one stands who has read nothing of this."""
        return self.messages[0].seq - 1 if self.messages else self.seq


@dataclass(frozen=True, slots=True)
class Kept:
    """It is in the inbox, and comes to this hub as to all others, by `Ears.arrived`."""


class Ears(Protocol):
    """What an inbox that several hubs share tells each of them. All in the event loop."""

    def arrived(self, stored: Stored) -> None:
        """Kept by some hub; each user's in order, without a gap."""
        ...

    def passed(self, news: News) -> None:
        """Volatile news from some hub."""
        ...

    def lost(self, user: str) -> None:
        """The user's inbox has begun anew: what his clients know of it is void."""
        ...

    def revoked(self, token_id: str) -> object: ...


class Inboxes(Protocol):
    """All users' inboxes."""

    shared: bool
    """Other hubs write there too; volatile news go through it as well."""

    @property
    def where(self) -> str:
        """For people; without secrets."""
        ...

    async def start(self) -> bool:
        """Whether it was created. A WorkerError says why it cannot be used."""
        ...

    async def close(self) -> None: ...

    def append(self, news: News, done: Answer) -> None:
        """Keep it. `done` gets Stored when it is to be given out by this hub, Kept when it comes by itself, None for
        a repetition."""
        ...

    async def room(self) -> None:
        """Wait while too much is unwritten."""
        ...

    def open(self, user: str, claim: Claim | None, done: Answer) -> None:
        """The first Page. From here on the user is heard of, until forget()."""
        ...

    def read(self, user: str, after: int, done: Answer) -> None:
        """The next Page."""
        ...

    def was_read(self, user: str, seq: int) -> None: ...

    def forget(self, user: str) -> None:
        """The last client of this user has left."""
        ...

    async def revoke(self, token: str) -> None: ...

    async def revoked(self) -> list[str]: ...

    def flush(self) -> None: ...

    async def prune(self) -> None: ...
