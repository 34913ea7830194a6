"""The namespace `/`: who comes in, what publishers send, what users get. The org-socket on the Socket.IO door."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from worker.hub.acceptor import TOO_FAST
from worker.hub.auth import Authority, Identity, Refused
from worker.hub.client import Client
from worker.hub.core import TOO_MANY, Core, Published
from worker.hub.engine import DOOR, Seat
from worker.hub.guard import Guard
from worker.hub.keeping import Claim, Page
from worker.hub.news import News, event_body, read_news
from worker.hub.packets import Kind, Malformed, Packet

WELCOME: Final = "org-socket:welcome"
"""To those who sent lastSeq: {epoch, seq, after, recovered}; comes before the first notification. `after` is where the
replay begins: a client that has no position yet takes it as its own, or a loss right now would go unnoticed."""
CLOSING: Final = "org-socket:closing"
"""Before the hub ends a socket: {code, reason}."""
REFRESH: Final = "org-socket:refresh"
"""From a client: {token}, a newer token of the same user; the answer is as for publishing."""
READ: Final = "org-socket:read"
"""From one who keeps a place: {seq}; it has handled everything up to there."""
SHOWN: Final = "org-socket:shown"
"""From a page: {notificationId}; it has shown this one."""
_ACCEPTED: Final = b'[{"ok":true}]'


@dataclass(frozen=True, slots=True)
class EventDialect:
    """News as the Socket.IO event it came as."""

    trace: bool
    numbered: bool
    """With epoch and seq in the user data: for those who resume by them."""

    def word(self, news: News, position: tuple[str, int] | None) -> bytes:
        return b"42" + event_body(news, trace=self.trace, position=position if self.numbered else None)


class OrgSpace:
    """Tokens at the door, rooms from the token, publishing by scope."""

    def __init__(
        self,
        core: Core,
        authority: Authority,
        guard: Guard,
        *,
        event: str,
        publisher_limit: int,
        traces: bool,
    ) -> None:
        """`publisher_limit`: bytes of a publisher's frame. `traces`: stackTrace goes to all, not to admins alone."""
        self._core = core
        self._authority = authority
        self._guard = guard
        self._event = event
        self._publisher_limit = publisher_limit
        self._traces = traces

    def connect(self, seat: Seat, auth: Any) -> None:
        auth = auth if isinstance(auth, dict) else {}
        try:
            identity = self._authority.identify(auth.get("token"))
        except Refused as exc:
            self._core.refused(DOOR, seat.connection.address, str(exc))
            seat.refuse("unauthorized", {"code": 4401})
            return
        if not self._core.room_for(identity, self._guard.caps):
            self._core.refused(DOOR, seat.connection.address, "too many connections of this user")
            seat.refuse("too many connections", {"code": TOO_MANY})
            return
        self._enter(seat, identity, auth)

    def event(self, seat: Seat, packet: Packet) -> None:
        client: Client = seat.owner
        client.received += 1
        self._core.counters.messages_in += 1
        if packet.data[0] != READ and not self._may_talk(client):
            self._core.fault(client, "too many messages of this user")
            client.end(TOO_FAST, "too many messages")
            return
        try:
            self._handle(seat, client, packet)
        except Malformed as exc:
            self._refuse(seat, client, packet, str(exc))

    def left(self, seat: Seat, code: int, reason: str) -> None:
        self._core.leave(seat.owner, code, reason)

    def pinged(self, seat: Seat) -> None:
        seat.pings.append(seat.owner.given)

    def ponged(self, seat: Seat) -> None:
        if seat.pings:
            self._core.proved(seat.owner, seat.pings.popleft())

    def _enter(self, seat: Seat, identity: Identity, auth: dict[str, Any]) -> None:
        client = Client(
            id=seat.id,
            identity=identity,
            door=DOOR,
            address=seat.connection.address,
            peer=seat.connection.peer,
            dialect=EventDialect(trace=self._traces or identity.is_admin, numbered="lastSeq" in auth),
            farewell=lambda code, reason: seat.emit(CLOSING, {"code": code, "reason": reason}),
            # Who keeps a place says himself what he has read.
            ask=None if "lastSeq" in auth else lambda: seat.connection.ping(self._core.clock.monotonic()),
            since=self._core.clock.now(),
            since_monotonic=self._core.clock.monotonic(),
            clock=self._core.clock,
        )
        seat.owner = client
        if identity.may_publish:
            seat.connection.limit = self._publisher_limit
            seat.connection.bucket = None
        self._core.enter(client)
        seat.accept()
        self._core.catch_up(client, claim_of(auth), lambda page: _welcome(seat, auth, page))

    def _handle(self, seat: Seat, client: Client, packet: Packet) -> None:
        name = packet.data[0]
        if name == REFRESH:
            self._refresh(seat, client, packet)
        elif name == READ:
            self._core.has_read(client, packet.data[1] if len(packet.data) == 2 else None)
            _acknowledge(seat, packet)
        elif name == SHOWN:
            self._core.shown(client, packet.data[1] if len(packet.data) == 2 else None)
            _acknowledge(seat, packet)
        elif name != self._event or packet.kind is not Kind.EVENT:
            raise Malformed("unknown event")
        elif not client.identity.may_publish:
            raise Malformed("forbidden: the token lacks the scope publish")
        else:
            news = read_news(packet.data, packet.raw)
            self._core.publish(news, lambda result: _published(seat, packet.id, result))

    def _may_talk(self, client: Client) -> bool:
        user = client.identity.user
        return client.identity.may_publish or user is None or self._guard.may_talk(user)

    def _refresh(self, seat: Seat, client: Client, packet: Packet) -> None:
        argument = packet.data[1] if len(packet.data) == 2 else None
        token = argument.get("token") if isinstance(argument, dict) else None
        client.identity = renewed(self._authority, client.identity, token)
        _acknowledge(seat, packet)

    def _refuse(self, seat: Seat, client: Client, packet: Packet, reason: str) -> None:
        self._core.fault(client, reason)
        if packet.id is not None:
            seat.acknowledge(packet.id, orjson.dumps([{"ok": False, "error": reason}]))
        seat.connection.strikes += 1
        if not client.identity.may_publish and seat.connection.strikes >= self._guard.caps.strikes:
            client.end(TOO_FAST, "too many refused messages")


def renewed(authority: Authority, before: Identity, token: object) -> Identity:
    """The identity by a newer token of the same user. Malformed: it is none, or allows something else."""
    try:
        identity = authority.identify(token)
    except Refused as exc:
        raise Malformed(f"unauthorized: {exc}") from None
    if identity.user != before.user or identity.scopes != before.scopes:
        raise Malformed("unauthorized: a token of another user or with other scopes")
    return identity


def claim_of(auth: dict[str, Any]) -> Claim | None:
    """Where the client says it had got to."""
    epoch, seq = auth.get("epoch"), auth.get("lastSeq")
    if isinstance(epoch, str) and isinstance(seq, int) and not isinstance(seq, bool) and 0 <= seq < 2**63:
        return Claim(epoch, seq)
    return None


def place_of(page: Page) -> dict[str, Any]:
    """Where the client stands, for its welcome."""
    return {"epoch": page.epoch, "seq": page.seq, "after": page.after, "recovered": page.recovered}


def _acknowledge(seat: Seat, packet: Packet) -> None:
    if packet.id is not None:
        seat.acknowledge(packet.id, _ACCEPTED)


def _published(seat: Seat, ack: int | None, result: Published) -> None:
    if result == "failed":
        # A "no" would be final; cut off, the publisher comes back and sends it again.
        seat.connection.peer.close(1011, "inbox")
    elif ack is not None:
        seat.acknowledge(ack, _ACCEPTED)


def _welcome(seat: Seat, auth: dict[str, Any], page: Page) -> None:
    if "lastSeq" in auth:
        seat.emit(WELCOME, place_of(page))
