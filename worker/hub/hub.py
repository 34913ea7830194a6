"""The hub behind its endpoints: clients, rooms, publishing, replay. Knows no protocol and no HTTP."""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

from worker.core.clock import Clock
from worker.core.events import Emit
from worker.hub.client import Client, Encoder, deliver_to
from worker.hub.close_codes import INTERNAL_ERROR, TOO_MANY_CONNECTIONS
from worker.hub.connection_limits import ConnectionLimits
from worker.hub.errors import MalformedPacket
from worker.hub.events import (
    ClientConnected,
    ClientDisconnected,
    ClientRejected,
    InboxFailed,
    InboxRestored,
    MessageRejected,
    NotificationShown,
)
from worker.hub.inbox import AcceptedElsewhere, DamagedInbox, Inbox, InboxPage, ResumePoint
from worker.hub.messages import MAX_ID, LatestMessages, Message, StoredMessage
from worker.hub.read_positions import mark_read, note_sent, reported_seq, request_confirmation
from worker.hub.rooms import Rooms, job_room, user_room
from worker.hub.stats import ClientStats, HubCounters, HubStats
from worker.hub.tokens import Identity

NOTIFICATION: Final = "notification"
PROGRESS: Final = "progress"
INBOX_FAILED: Final = "inbox"
"""The close reason when the inbox cannot be read or written."""

PublishResult = Literal["stored", "repeated", "sent", "failed", "damaged"]
"""stored: in the inbox, on disk. repeated: dropped, it was there. sent: volatile, sent to the clients. failed: the
inbox could not be written; the publisher must get no answer, so that it sends the message again."""


class Hub:
    """All clients of all endpoints. Everything runs in the event loop."""

    def __init__(self, clock: Clock, emit: Emit) -> None:
        """`inbox` must be set before the first client connects."""
        self.inbox: Inbox
        self.clock = clock
        self.emit = emit
        self.record_shown: Callable[[str], None] = lambda _notification_id: None
        """Called with the id of each notification that a browser reports as shown; must not block."""
        self.rooms: Rooms[Client] = Rooms()
        self.clients: dict[str, Client] = {}
        self.counters = HubCounters()
        self._by_user: dict[str, dict[Client, None]] = {}
        self._replays: set[asyncio.Task[None]] = set()
        self._latest_messages = LatestMessages()
        self._inbox_is_failing = False
        self._encoders: dict[Encoder, Encoder] = {}
        """One for each kind of clients."""

    # -- clients ---------------------------------------------------------------------------------------------------

    def add_client(self, client: Client) -> None:
        """Register the client; it is sent nothing before start_replay() or emit_connected()."""
        client.encoder = self._encoders.setdefault(client.encoder, client.encoder)
        self.clients[client.id] = client
        if client.identity.user is not None:
            self._by_user.setdefault(client.identity.user, {})[client] = None
        self.counters.connections += 1

    def remove_client(self, client: Client, code: int, reason: str) -> None:
        """Forget a client whose connection has ended."""
        if self.clients.pop(client.id, None) is None:
            return
        if client.replay is not None:
            client.replay.cancel()
        self._remove_from_user(client)
        self.rooms.leave_all(client)
        self.counters.close_codes[code] += 1
        self.emit(
            ClientDisconnected(
                client.id,
                client.identity.user,
                client.endpoint,
                client.address,
                code,
                reason,
                seconds=self.clock.monotonic() - client.since_monotonic,
                sent=client.sent,
                received=client.received,
            )
        )

    def has_capacity_for(self, identity: Identity, limits: ConnectionLimits) -> bool:
        """Return whether the user may have one more connection; closes the oldest if the limits say so."""
        open_clients = [client for client in self.clients_of(identity.user) if not client.connection.closing]
        if len(open_clients) < limits.per_user:
            return True
        if limits.evict_oldest:
            open_clients[0].close(TOO_MANY_CONNECTIONS, "replaced by a newer connection")
        return limits.evict_oldest

    def clients_of(self, user: str | None) -> tuple[Client, ...]:
        """Return the user's clients, the oldest first; none for None."""
        return () if user is None else tuple(self._by_user.get(user, ()))

    def emit_connected(self, client: Client, replayed: int = 0, recovered: bool | None = None) -> None:
        """Report that the client is ready."""
        identity = client.identity
        self.emit(ClientConnected(client.id, identity.user, client.endpoint, client.address, replayed, recovered))

    def emit_rejected(self, endpoint: str, address: str, reason: str) -> None:
        """Count and report a client that was not admitted."""
        self.counters.refused += 1
        self.emit(ClientRejected(endpoint, address, reason))

    def reject_message(self, client: Client, reason: str) -> None:
        """Count and report a message that is not valid or not allowed."""
        self.counters.errors += 1
        self.emit(MessageRejected(client.id, client.identity.user, reason))

    # -- what clients report -----------------------------------------------------------------------------------------

    def on_pong(self, client: Client, seq: int) -> None:
        """The client answered a ping that was sent when its `last_sent_seq` was `seq`."""
        client.record_pong()
        if client.send_ping is not None:
            client.ping_pending = False
            mark_read(self.inbox, client, seq)
            request_confirmation(client)

    def on_read(self, client: Client, data: Any) -> bool:
        """The client reports that it has read everything up to here: {seq}. Return whether that is further than before.

        MalformedPacket: it was not sent that.
        """
        return mark_read(self.inbox, client, reported_seq(client, data))

    def on_shown(self, client: Client, data: Any) -> bool:
        """The page reports that it has shown a notification: {notificationId}. Return whether it was sent that one.

        Each notification counts once. MalformedPacket: the id is missing.
        """
        notification_id = data.get("notificationId") if isinstance(data, dict) else None
        if not isinstance(notification_id, str) or not 0 < len(notification_id) <= MAX_ID:
            raise MalformedPacket("malformed: notificationId is not an id")
        if not client.forget_sent(notification_id):
            return False  # Not sent to this client, or long ago. Invented ids must not be written anywhere.
        self.counters.shown += 1
        self.record_shown(notification_id)
        self.emit(NotificationShown(client.id, client.identity.user, notification_id))
        return True

    # -- publishing --------------------------------------------------------------------------------------------------

    def publish(self, message: Message, done: Callable[[PublishResult], None]) -> None:
        """Deliver the message to its user; stored first unless it is volatile. `done` is called once that is done."""
        if message.volatile and self.inbox.shared:
            # Other hubs may have clients of this user. A volatile message that is lost on the way is not sent again.
            self.inbox.append(message, lambda _: None)
            done("sent")
        elif message.volatile:
            self.on_volatile(message)
            done("sent")
        else:
            self.inbox.append(message, lambda result: done(self._on_appended(result)))

    def on_stored(self, stored: StoredMessage) -> None:
        """Deliver a message of the inbox to the clients of this hub."""
        self._fan_out(stored.message, (stored.epoch, stored.seq), NOTIFICATION)

    def on_volatile(self, message: Message) -> None:
        """Deliver a volatile message to the clients of this hub."""
        self._fan_out(message, None, PROGRESS)

    def on_reset(self, user: str) -> None:
        """The user's inbox was replaced: close the user's clients, which reconnect and learn their new position."""
        for client in self.clients_of(user):
            client.close(INTERNAL_ERROR, INBOX_FAILED)

    # -- jobs --------------------------------------------------------------------------------------------------------

    def watch_job(self, client: Client, job_id: str) -> Message | None:
        """Send the job's messages to the client from now on, as far as it may see them; return the latest one."""
        self.rooms.enter(job_room(job_id), client)
        message = self._latest_messages.of(job_id)
        return message if message is not None and client.may_see(message) else None

    def is_foreign_job(self, client: Client, job_id: str) -> bool:
        """Return whether the job is known to be another user's. Of unknown jobs, the user's own messages are sent."""
        message = self._latest_messages.of(job_id)
        return message is not None and not client.may_see(message)

    def may_see_job(self, client: Client, job_id: str) -> bool:
        """Return whether the job is known to be one that the client may see; of unknown jobs administrators may."""
        message = self._latest_messages.of(job_id)
        return client.identity.is_admin if message is None else client.may_see(message)

    # -- statistics --------------------------------------------------------------------------------------------------

    def stats(self, *, clients: bool = True) -> HubStats:
        """Return the hub's statistics, with or without those of each client."""
        counters = self.counters
        return HubStats(
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
            clients=self.client_stats(len(self.clients)) if clients else (),
        )

    def client_stats(self, limit: int) -> tuple[ClientStats, ...]:
        """Return the statistics of the first `limit` clients, the oldest first."""
        first = itertools.islice(self.clients.values(), limit)
        return tuple(client.stats(self.rooms.rooms_of(client)) for client in first)

    # -- replay ------------------------------------------------------------------------------------------------------

    def start_replay(
        self, client: Client, resume_point: ResumePoint | None, welcome: Callable[[InboxPage], None]
    ) -> None:
        """Send the client what it missed, then every message as it comes. `welcome` is called before the first one."""
        user = client.identity.user
        if user is None:
            self.emit_connected(client)
            return

        def on_opened(result: Any) -> None:
            if not self._can_continue(client, result):
                return
            welcome(result)
            client.epoch = result.epoch
            client.last_read_seq = client.last_sent_seq = result.after
            self.emit_connected(client, len(result.messages), result.recovered if resume_point else None)
            self._continue_replay(client, result)

        client.replaying = True
        self.inbox.open(user, resume_point, on_opened)

    def _continue_replay(self, client: Client, page: InboxPage) -> None:
        """Send the last page and go live in one step, or send the pages one by one, as fast as the client reads."""
        if page.more:
            client.replay = asyncio.get_running_loop().create_task(self._send_page(client, page))
            self._replays.add(client.replay)
            client.replay.add_done_callback(self._replays.discard)
            return
        for stored in page.messages:
            client.remember_sent(stored.message.id)
            client.connection.send(client.encoder.encode(stored.message, (stored.epoch, stored.seq)))
        self._count_replayed(client, page)
        client.replaying = False
        self.rooms.enter(user_room(client.identity.user or ""), client)

    async def _send_page(self, client: Client, page: InboxPage) -> None:
        try:
            for stored in page.messages:
                if client.connection.closing:
                    return  # nothing more is sent, and what was not sent must not count as read
                client.last_sent_seq = stored.seq  # before the rest is waited for: the client may report it as read
                client.remember_sent(stored.message.id)
                encoded = client.encoder.encode(stored.message, (stored.epoch, stored.seq))
                await client.connection.send_when_ready(encoded)
        except ConnectionError:
            return  # the reading side notices the loss and removes the client
        self._count_replayed(client, page)
        client.replay = None
        user, last = client.identity.user or "", page.messages[-1]
        self.inbox.read(user, last.seq, lambda result: self._on_next_page(client, result))

    def _on_next_page(self, client: Client, result: Any) -> None:
        if self._can_continue(client, result):
            self._continue_replay(client, result)

    def _can_continue(self, client: Client, result: Any) -> bool:
        """Return whether the client is still connected and the inbox could be read; if not, close it."""
        if client.id not in self.clients:
            return False
        if isinstance(result, BaseException):
            self._on_inbox_failure(result)
            client.connection.close(INTERNAL_ERROR, INBOX_FAILED)
            return False
        return True

    def _count_replayed(self, client: Client, page: InboxPage) -> None:
        if not page.messages or client.connection.closing:
            return
        client.sent += len(page.messages)
        self.counters.messages_out += len(page.messages)
        self.counters.replayed += len(page.messages)
        note_sent(page.messages[-1].seq, [client])

    # -- delivery ----------------------------------------------------------------------------------------------------

    def _fan_out(self, message: Message, position: tuple[str, int] | None, message_type: str) -> None:
        """Send the message to the user's clients and to those that watch the job, encoded once for each kind."""
        members = self.rooms.members(user_room(message.user))
        receivers = [client for client in members if client.wants(message_type)]
        if position is not None:
            receivers = self._not_yet_sent(receivers, message.user, position)
        deliver_to(receivers, message, position)
        if message.job_id is not None:
            self._latest_messages.remember(message.job_id, message)
            self._deliver_to_watchers(message, message.job_id, message_type, members)
        if position is not None:
            for client in receivers:
                client.remember_sent(message.id)
            note_sent(position[1], receivers)
        self.counters.messages_out += len(receivers)

    def _not_yet_sent(self, clients: list[Client], user: str, position: tuple[str, int]) -> list[Client]:
        """Return those that were not sent it: with a shared inbox, a page of the replay may have brought it before."""
        epoch, seq = position
        waiting = [client for client in clients if client.last_sent_seq < seq]
        if len(waiting) < len(clients) and any(client.epoch != epoch for client in clients):
            self.on_reset(user)
        return waiting

    def _deliver_to_watchers(self, message: Message, job_id: str, message_type: str, served: Iterable[Client]) -> None:
        """Send the message to those that watch the job, may see it, and do not get it as its user's clients.

        A client that merely guessed the job's id gets nothing. The number is left out: it belongs to one inbox, and
        neither another user nor a job's own connection has a position there.
        """
        watching = self.rooms.members(job_room(job_id))
        if not watching:
            return
        already_served = set(served)
        watchers = [
            client
            for client in watching
            if client not in already_served
            and client.may_see(message)
            and client.wants(message_type)
            and not client.gets_by_replay(message)
        ]
        deliver_to(watchers, message, None)
        self.counters.messages_out += len(watchers)

    def _remove_from_user(self, client: Client) -> None:
        user = client.identity.user
        if user is None:
            return
        del self._by_user[user][client]
        if not self._by_user[user]:
            del self._by_user[user]
            self.inbox.forget(user)

    def _on_appended(self, result: StoredMessage | AcceptedElsewhere | BaseException | None) -> PublishResult:
        if isinstance(result, BaseException):
            return self._on_inbox_failure(result)
        if self._inbox_is_failing:
            self._inbox_is_failing = False
            self.emit(InboxRestored())
        if result is None:
            self.counters.repetitions += 1
            return "repeated"
        self.counters.notifications += 1
        if isinstance(result, StoredMessage):
            self.on_stored(result)
        return "stored"

    def _on_inbox_failure(self, error: BaseException) -> PublishResult:
        """Report an outage when it begins, not once for each of the hundreds of waiting messages."""
        self.counters.errors += 1
        if isinstance(error, DamagedInbox):
            return "damaged"
        if not self._inbox_is_failing:
            self._inbox_is_failing = True
            self.emit(InboxFailed(error))
        return "failed"
