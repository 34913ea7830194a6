"""One client of the hub, whichever door it came by: who it is, what it wants, what it was given and has read.

Knows no inbox and no other client.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from worker.clock import Clock
from worker.hub.auth import Identity
from worker.hub.news import News
from worker.hub.peer import Peer
from worker.hub.stats import ClientFigures

_RECENT: Final = 256


class Dialect(Protocol):
    """How one kind of receiver wants its news worded. Equal dialects word alike, so one encoding serves all."""

    def word(self, news: News, position: tuple[str, int] | None) -> bytes:
        """The text message. `position`: epoch and seq; None for what is not stored."""
        ...

    def __hash__(self) -> int: ...


class Batch(Protocol):
    """Takes a client's progress messages together."""

    def put(self, job_id: str | None, frame: bytes) -> None: ...


@dataclass(slots=True, eq=False)
class Client:
    """One authenticated connection."""

    id: str
    identity: Identity
    door: str
    address: str
    peer: Peer
    dialect: Dialect
    farewell: Callable[[int, str], None]
    """Tells the client in its door's words why it is ended."""
    ask: Callable[[], None] | None
    """Pings it; whoever hears the answer calls Core.proved() with the `given` of the time of asking. None: its answer
    would prove nothing, or it keeps a place; it says itself what it has read."""
    since: float
    since_monotonic: float
    clock: Clock
    topics: Container[str] | None = None
    """The types of news it wants; None: all."""
    batch: Batch | None = None
    last_pong: float | None = None
    received: int = 0
    sent: int = 0
    replay: "asyncio.Task[None] | None" = field(default=None)
    epoch: str = ""
    """Of its user's inbox, when it came."""
    catching_up: bool = False
    """On its way through its backlog."""
    given: int = 0
    """The newest seq it was given."""
    proven: int = 0
    """The newest seq it has certainly read: it said so, or has answered a ping that came after it."""
    asking: bool = False
    """A ping is out to prove what was given."""
    recent: deque[str] | None = None
    """The notification ids of its user's that it was given last: only of these it can say that it has shown them."""

    def note(self, notification_id: str | None) -> None:
        """It is given this one, which is its user's own."""
        if notification_id is not None:
            if self.recent is None:
                self.recent = deque(maxlen=_RECENT)
            self.recent.append(notification_id)

    def ponged(self) -> None:
        self.last_pong = self.clock.now()

    def end(self, code: int, reason: str) -> None:
        """Say why, then close."""
        if not self.peer.closing:
            self.farewell(code, reason)
            self.peer.close(code, reason)

    def may_see(self, news: News) -> bool:
        return self.identity.is_admin or self.identity.user == news.user

    def will_be_given(self, news: News) -> bool:
        """It comes with the backlog, in its order."""
        return self.catching_up and not news.volatile and self.identity.user == news.user

    def takes(self, topic: str) -> bool:
        return not self.peer.closing and (self.topics is None or topic in self.topics)

    def give(self, news: News, frame: bytes) -> None:
        self.sent += 1
        if not news.volatile:
            self.peer.write(frame)
        elif self.batch is None:
            self.peer.write_volatile(frame)
        else:
            self.batch.put(news.job_id, frame)

    def figures(self, rooms: Iterable[str]) -> ClientFigures:
        return ClientFigures(
            id=self.id,
            user_id=self.identity.user,
            door=self.door,
            address=self.address,
            since=self.since,
            last_pong=self.last_pong,
            sent=self.sent,
            received=self.received,
            dropped=self.peer.dropped,
            waiting_bytes=self.peer.waiting,
            rooms=tuple(sorted(rooms)),
        )
