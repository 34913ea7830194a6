"""The hub behind its doors: clients, rooms, publishing, catching up. Knows no protocol and no HTTP."""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

from worker.clock import Clock
from worker.events import Emit
from worker.hub.auth import Identity
from worker.hub.client import Client, Dialect
from worker.hub.events import (
    ClientConnected,
    ClientDisconnected,
    ClientRefused,
    InboxFailed,
    MessageRefused,
    NewsShown,
)
from worker.hub.frames import text_frame
from worker.hub.guard import Caps
from worker.hub.keeping import Claim, Inboxes, Kept, Page
from worker.hub.last_words import LastWords
from worker.hub.news import MAX_ID, News, Stored
from worker.hub.packets import Malformed
from worker.hub.rooms import Rooms, job_room, user_room
from worker.hub.stats import ClientFigures, Counters, HubFigures

NOTIFICATION: Final = "notification"
PROGRESS: Final = "progress"
TOO_MANY: Final = 4409

Published = Literal["stored", "repeated", "sent", "failed"]
"""stored: in the inbox, on disk. repeated: dropped, it was there. sent: volatile, gone out. failed: the inbox
could not be written; nothing may be said about it, so that the publisher sends it again."""


class Core:
    """All clients of all doors. Everything runs in the event loop."""

    def __init__(self, clock: Clock, emit: Emit) -> None:
        """`inbox` must be set before the first client comes."""
        self.inbox: Inboxes
        self.clock = clock
        self.emit = emit
        self.rooms: Rooms[Client] = Rooms()
        self.clients: dict[str, Client] = {}
        self.counters = Counters()
        self._by_user: dict[str, dict[Client, None]] = {}
        self._replays: set[asyncio.Task[None]] = set()
        self._last_words = LastWords()
        self._inbox_fails = False

    def enter(self, client: Client) -> None:
        """The client is known; it gets nothing before catch_up() or connected()."""
        self.clients[client.id] = client
        if client.identity.user is not None:
            self._by_user.setdefault(client.identity.user, {})[client] = None
        self.counters.connections += 1

    def leave(self, client: Client, code: int, reason: str) -> None:
        if self.clients.pop(client.id, None) is None:
            return
        if client.replay is not None:
            client.replay.cancel()
        self._forget(client)
        self.rooms.leave_all(client)
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

    def room_for(self, identity: Identity, caps: Caps) -> bool:
        """Whether the user may have one more socket; makes room if the caps say so."""
        mine = [client for client in self.clients_of(identity.user) if not client.peer.closing]
        if len(mine) < caps.per_user:
            return True
        if caps.evict:
            mine[0].end(TOO_MANY, "replaced by a newer connection")
        return caps.evict

    def clients_of(self, user: str | None) -> tuple[Client, ...]:
        """The user's clients, the oldest first; nobody's for None."""
        return () if user is None else tuple(self._by_user.get(user, ()))

    def refused(self, door: str, address: str, reason: str) -> None:
        self.counters.refused += 1
        self.emit(ClientRefused(door, address, reason))

    def proved(self, client: Client, seq: int) -> None:
        """The client has answered a ping that was sent when it had been given `seq`."""
        client.ponged()
        if client.ask is not None:
            client.asking = False
            self._was_read(client, seq)
            self._owes_proof(client)

    def has_read(self, client: Client, data: Any) -> None:
        """The client says that it has read all up to here: {seq}. Malformed: it was never given that."""
        seq = data.get("seq") if isinstance(data, dict) else None
        if not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq <= client.given:
            raise Malformed("malformed: seq is none that was given here")
        self._was_read(client, seq)

    def fault(self, client: Client, reason: str) -> None:
        """The client sent what it may not."""
        self.counters.errors += 1
        self.emit(MessageRefused(client.id, client.identity.user, reason))

    def shown(self, client: Client, data: Any) -> None:
        """The page has shown a notification: {notificationId}. Malformed: it doesn't say which."""
        notification = data.get("notificationId") if isinstance(data, dict) else None
        if not isinstance(notification, str) or not 0 < len(notification) <= MAX_ID:
            raise Malformed("malformed: notificationId is no id")
        if notification not in (client.recent or ()):
            return  # another's, or long ago; what anybody may make up would fill the books
        self.counters.shown += 1
        self.emit(NewsShown(client.id, client.identity.user, notification))

    def connected(self, client: Client, replayed: int = 0, recovered: bool | None = None) -> None:
        identity = client.identity
        self.emit(ClientConnected(client.id, identity.user, client.door, client.address, replayed, recovered))

    def catch_up(self, client: Client, claim: Claim | None, welcome: Callable[[Page], None]) -> None:
        """Tell the client what it missed, then everything as it happens.

        `welcome` is called before the first message.
        """
        user = client.identity.user
        if user is None:
            self.connected(client)
            return

        def opened(result: Any) -> None:
            if not self._has_page(client, result):
                return
            welcome(result)
            client.epoch = result.epoch
            client.proven = client.given = result.after
            self.connected(client, len(result.messages), result.recovered if claim else None)
            self._go_on(client, result)

        client.catching_up = True
        self.inbox.open(user, claim, opened)

    def publish(self, news: News, done: Callable[[Published], None]) -> None:
        """Send it to its user: stored first unless it is volatile. `done` is called once it is, or at once."""
        if news.volatile and self.inbox.shared:
            # The other hubs have sockets of this user too. Lost on the way is lost: it is progress.
            self.inbox.append(news, lambda _: None)
            done("sent")
        elif news.volatile:
            self.passed(news)
            done("sent")
        else:
            self.inbox.append(news, lambda result: done(self._appended(result)))

    def arrived(self, stored: Stored) -> None:
        """News in the inbox that this hub is to give to those who are here."""
        self._fan_out(stored.news, (stored.epoch, stored.seq), NOTIFICATION)

    def passed(self, news: News) -> None:
        """Volatile news for those who are here."""
        self._fan_out(news, None, PROGRESS)

    def lost(self, user: str) -> None:
        """The user's inbox has begun anew: his clients come back and learn where it begins."""
        for client in self.clients_of(user):
            client.end(1011, "inbox")

    def watch(self, client: Client, job_id: str) -> News | None:
        """The client hears of this job from now on, as far as it is its own; the last that was heard of it."""
        self.rooms.enter(job_room(job_id), client)
        news = self._last_words.of(job_id)
        return news if news is not None and client.may_see(news) else None

    def is_anothers_job(self, client: Client, job_id: str) -> bool:
        """Whether the job is known to be somebody else's. Unknown ones may be watched, but only one's own are heard."""
        news = self._last_words.of(job_id)
        return news is not None and not client.may_see(news)

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
            shown=counters.shown,
            errors=counters.errors,
            refused=counters.refused,
            rooms=len(self.rooms),
            users=len(self._by_user),
            close_codes=dict(counters.close_codes),
            clients=self.present(len(self.clients)) if clients else (),
        )

    def present(self, limit: int) -> tuple[ClientFigures, ...]:
        """The first `limit` clients, those that came first."""
        first = itertools.islice(self.clients.values(), limit)
        return tuple(client.figures(self.rooms.of(client)) for client in first)

    def _forget(self, client: Client) -> None:
        user = client.identity.user
        if user is None:
            return
        del self._by_user[user][client]
        if not self._by_user[user]:
            del self._by_user[user]
            self.inbox.forget(user)

    def _was_read(self, client: Client, seq: int) -> None:
        user = client.identity.user
        if user is not None and client.proven < seq <= client.given:
            client.proven = seq
            self.inbox.was_read(user, seq)

    def _owes_proof(self, client: Client) -> None:
        """Ask whether it has read what it was given, one question at a time."""
        if client.ask is not None and not client.asking and client.given > client.proven:
            client.asking = True
            client.ask()

    def _appended(self, result: Stored | Kept | BaseException | None) -> Published:
        if isinstance(result, BaseException):
            self._inbox_failed(result)
            return "failed"
        self._inbox_fails = False
        if result is None:
            self.counters.repetitions += 1
            return "repeated"
        self.counters.notifications += 1
        if isinstance(result, Stored):
            self.arrived(result)
        return "stored"

    def _inbox_failed(self, error: BaseException) -> None:
        """An outage is told when it begins, not for each of the hundreds that wait."""
        self.counters.errors += 1
        if not self._inbox_fails:
            self._inbox_fails = True
            self.emit(InboxFailed(error))

    def _fan_out(self, news: News, position: tuple[str, int] | None, topic: str) -> None:
        """Send it to the user's sockets and to the job's watchers, each wording encoded once."""
        here = self.rooms.members(user_room(news.user))
        own = [client for client in here if client.takes(topic)]
        if position is not None:
            own = self._not_given(own, news.user, position)
        _give_all(own, news, position)
        if news.job_id is not None:
            self._last_words.remember(news.job_id, news)
            self._tell_watchers(news, news.job_id, topic, here)
        if position is not None:
            for client in own:
                client.note(news.id)
            self._given(position[1], own)
        self.counters.messages_out += len(own)

    def _not_given(self, clients: list[Client], user: str, position: tuple[str, int]) -> list[Client]:
        """Those who have not had it: from a shared inbox a page may have brought it before."""
        epoch, seq = position
        waiting = [client for client in clients if client.given < seq]
        if len(waiting) < len(clients) and any(client.epoch != epoch for client in clients):
            self.lost(user)
        return waiting

    def _tell_watchers(self, news: News, job_id: str, topic: str, here: Iterable[Client]) -> None:
        """Those who watch the job, may, and are not told as its user's: whoever else has guessed its id hears nothing.

        Without its number: that is of one inbox, and neither another's nor a job's channel has its place there.
        """
        watching = self.rooms.members(job_room(job_id))
        if not watching:
            return
        told = set(here)
        watchers = [one for one in watching if one not in told and one.may_see(news) and one.takes(topic)]
        watchers = [one for one in watchers if not one.will_be_given(news)]
        _give_all(watchers, news, None)
        self.counters.messages_out += len(watchers)

    def _go_on(self, client: Client, page: Page) -> None:
        """Give the last page and go live in one step, or give the pages one by one, as fast as the client reads."""
        if page.more:
            client.replay = asyncio.get_running_loop().create_task(self._replay(client, page))
            self._replays.add(client.replay)
            client.replay.add_done_callback(self._replays.discard)
            return
        for stored in page.messages:
            client.note(stored.news.id)
            client.peer.send(client.dialect.word(stored.news, (stored.epoch, stored.seq)))
        self._replayed(client, page)
        client.catching_up = False
        self.rooms.enter(user_room(client.identity.user or ""), client)

    async def _replay(self, client: Client, page: Page) -> None:
        try:
            for stored in page.messages:
                # Before it is written: the client may say that it has read it while we wait for it to take the rest.
                client.given = stored.seq
                client.note(stored.news.id)
                await client.peer.write_patiently(client.dialect.word(stored.news, (stored.epoch, stored.seq)))
        except ConnectionError:
            # Its end is noticed where it is read from.
            return
        self._replayed(client, page)
        client.replay = None
        self.inbox.read(client.identity.user or "", page.messages[-1].seq, lambda result: self._turned(client, result))

    def _turned(self, client: Client, result: Any) -> None:
        if self._has_page(client, result):
            self._go_on(client, result)

    def _has_page(self, client: Client, result: Any) -> bool:
        """Whether the client is still there and the inbox could be read; if not, it is sent away to come back."""
        if client.id not in self.clients:
            return False
        if isinstance(result, BaseException):
            self._inbox_failed(result)
            client.peer.close(1011, "inbox")
            return False
        return True

    def _given(self, seq: int, clients: Iterable[Client]) -> None:
        for client in clients:
            client.given = seq
            self._owes_proof(client)

    def _replayed(self, client: Client, page: Page) -> None:
        if not page.messages or client.peer.closing:
            return
        client.sent += len(page.messages)
        self.counters.messages_out += len(page.messages)
        self.counters.replayed += len(page.messages)
        self._given(page.messages[-1].seq, [client])


def _give_all(clients: Iterable[Client], news: News, position: tuple[str, int] | None) -> None:
    """Each wording encoded once."""
    frames: dict[Dialect, bytes] = {}
    for client in clients:
        frame = frames.get(client.dialect)
        if frame is None:
            frame = frames[client.dialect] = text_frame(client.dialect.word(news, position))
        client.give(news, frame)
