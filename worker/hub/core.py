"""The hub behind its doors: clients, rooms, publishing, catching up. Knows no protocol and no HTTP."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from worker.clock import Clock
from worker.events import Emit
from worker.hub.auth import Identity
from worker.hub.events import ClientConnected, ClientDisconnected, ClientRefused, InboxFailed, MessageRefused
from worker.hub.frames import text_frame
from worker.hub.inbox import Claim, Inbox, Page
from worker.hub.news import News, Stored
from worker.hub.peer import Peer
from worker.hub.rooms import Rooms, job_room, user_room
from worker.hub.stats import ClientFigures, Counters, HubFigures

Published = Literal["stored", "repeated", "sent", "failed"]
"""stored: in the inbox, on disk. repeated: dropped, it was there. sent: volatile, gone out. failed: the inbox
could not be written; nothing may be said about it, so that the publisher sends it again."""


class Dialect(Protocol):
    """How one kind of receiver wants its news worded. Equal dialects word alike, so one encoding serves all."""

    def word(self, news: News, position: tuple[str, int] | None) -> bytes:
        """The text message. `position`: epoch and seq; None for what is not stored."""
        ...

    def __hash__(self) -> int: ...


@dataclass(slots=True, eq=False)
class Client:
    """One authenticated connection."""

    id: str
    identity: Identity
    door: str
    address: str
    peer: Peer
    dialect: Dialect
    since: float
    since_monotonic: float
    last_pong: float | None = None
    received: int = 0
    sent: int = 0
    types: frozenset[str] | None = None
    """Only these types of news; None: all."""
    replay: "asyncio.Task[None] | None" = field(default=None)


class Core:
    """All clients of all doors. Everything runs in the event loop."""

    def __init__(self, inbox: Inbox, clock: Clock, emit: Emit) -> None:
        self.inbox = inbox
        self.clock = clock
        self.emit = emit
        self.rooms: Rooms[Client] = Rooms()
        self.clients: dict[str, Client] = {}
        self.counters = Counters()
        self._replays: set[asyncio.Task[None]] = set()

    def enter(self, client: Client) -> None:
        """The client is known; it gets nothing before catch_up()."""
        self.clients[client.id] = client
        self.counters.connections += 1

    def leave(self, client: Client, code: int, reason: str) -> None:
        if self.clients.pop(client.id, None) is None:
            return
        self.rooms.leave_all(client)
        if client.replay is not None:
            client.replay.cancel()
        self.counters.close_codes[code] += 1
        self.emit(
            ClientDisconnected(
                client.id,
                client.identity.user,
                client.door,
                client.address,
                code,
                reason,
                self.clock.monotonic() - client.since_monotonic,
                client.sent,
                client.received,
            )
        )

    def refused(self, door: str, address: str, reason: str) -> None:
        self.counters.refused += 1
        self.emit(ClientRefused(door, address, reason))

    def fault(self, client: Client, reason: str) -> None:
        """The client sent what it may not."""
        self.counters.errors += 1
        self.emit(MessageRefused(client.id, client.identity.user, reason))

    def catch_up(self, client: Client, claim: Claim | None, welcome: Callable[[Page], None]) -> None:
        """Tell the client what it missed, then everything as it happens.

        `welcome` is called before the first message.
        """
        user = client.identity.user
        if user is None:
            self._connected(client, 0, None)
            return

        def opened(result: Any) -> None:
            if client.id not in self.clients:
                return
            if isinstance(result, BaseException):
                self._inbox_failed(result)
                client.peer.close(1011, "inbox")
                return
            welcome(result)
            self._connected(client, len(result.messages), result.recovered if claim else None)
            self._go_on(client, result)

        self.inbox.open(user, claim, opened)

    def publish(self, news: News, done: Callable[[Published], None]) -> None:
        """Send it to its user: stored first unless it is volatile. `done` is called once it is, or at once."""
        if news.volatile:
            self._fan_out(news, None, volatile=True)
            done("sent")
            return
        self.inbox.append(news, lambda result: done(self._appended(result)))

    def figures(self, *, clients: bool = True) -> HubFigures:
        counters = self.counters
        return HubFigures(
            connections_total=counters.connections,
            connections_active=len(self.clients),
            messages_in=counters.messages_in,
            messages_out=counters.messages_out,
            notifications=counters.notifications,
            repetitions=counters.repetitions,
            replayed=counters.replayed,
            errors=counters.errors,
            refused=counters.refused,
            rooms=len(self.rooms),
            users=len({client.identity.user for client in self.clients.values()} - {None}),
            close_codes=dict(counters.close_codes),
            clients=tuple(map(_figures, self.clients.values())) if clients else (),
        )

    def _connected(self, client: Client, replayed: int, recovered: bool | None) -> None:
        identity = client.identity
        self.emit(ClientConnected(client.id, identity.user, client.door, client.address, replayed, recovered))

    def _appended(self, result: Stored | BaseException | None) -> Published:
        if result is None:
            self.counters.repetitions += 1
            return "repeated"
        if isinstance(result, BaseException):
            self._inbox_failed(result)
            return "failed"
        self.counters.notifications += 1
        if self._fan_out(result.news, (result.epoch, result.seq), volatile=False):
            self.inbox.written(result.news.user, result.seq)
        return "stored"

    def _inbox_failed(self, error: BaseException) -> None:
        self.counters.errors += 1
        self.emit(InboxFailed(error))

    def _fan_out(self, news: News, position: tuple[str, int] | None, *, volatile: bool) -> bool:
        """Send it to the user's sockets and to the job's watchers; whether the user had a socket."""
        own = self.rooms.members(user_room(news.user))
        receivers = own if news.job_id is None else tuple(dict.fromkeys(own + self._watchers(news, news.job_id)))
        frames: dict[Dialect, bytes] = {}
        for client in receivers:
            frame = frames.get(client.dialect)
            if frame is None:
                frame = frames[client.dialect] = text_frame(client.dialect.word(news, position))
            client.sent += 1
            if volatile:
                client.peer.write_volatile(frame)
            else:
                client.peer.write(frame)
        self.counters.messages_out += len(receivers)
        return bool(own)

    def _watchers(self, news: News, job_id: str) -> tuple[Client, ...]:
        """Those who watch the job and may: its own user and admins, whoever else has guessed its id."""
        watching = self.rooms.members(job_room(job_id))
        return tuple(c for c in watching if c.identity.is_admin or c.identity.user == news.user)

    def _go_on(self, client: Client, page: Page) -> None:
        """Give the last page and go live in one step, or give the pages one by one, as fast as the client reads."""
        if page.more:
            client.replay = asyncio.get_running_loop().create_task(self._replay(client, page))
            self._replays.add(client.replay)
            client.replay.add_done_callback(self._replays.discard)
            return
        for stored in page.messages:
            client.peer.send(client.dialect.word(stored.news, (stored.epoch, stored.seq)))
        self._given(client, page)
        self.rooms.enter(user_room(client.identity.user or ""), client)

    async def _replay(self, client: Client, page: Page) -> None:
        for stored in page.messages:
            await client.peer.write_patiently(client.dialect.word(stored.news, (stored.epoch, stored.seq)))
        self._given(client, page)
        client.replay = None
        self.inbox.read(client.identity.user or "", page.messages[-1].seq, lambda result: self._turned(client, result))

    def _turned(self, client: Client, result: Any) -> None:
        if client.id not in self.clients:
            return
        if isinstance(result, BaseException):
            self._inbox_failed(result)
            client.peer.close(1011, "inbox")
            return
        self._go_on(client, result)

    def _given(self, client: Client, page: Page) -> None:
        if not page.messages:
            return
        client.sent += len(page.messages)
        self.counters.messages_out += len(page.messages)
        self.counters.replayed += len(page.messages)
        self.inbox.written(client.identity.user or "", page.messages[-1].seq)


def _figures(client: Client) -> ClientFigures:
    return ClientFigures(
        id=client.id,
        user_id=client.identity.user,
        door=client.door,
        address=client.address,
        since=client.since,
        last_pong=client.last_pong,
        sent=client.sent,
        received=client.received,
        dropped=client.peer.dropped,
        waiting_bytes=client.peer.waiting,
    )
