"""The native door: JSON messages `{type, timestamp, data}` on plain WebSockets, at /ws and /ws/tasks/{jobId}.

A page cannot set headers on a WebSocket, so it says who it is in its first message, `auth`; others may send
an Authorization header. The token is never in the URL, which ends up in logs.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

from worker.clock import Clock, rfc3339
from worker.hub.acceptor import TOO_FAST, UNAUTHORIZED, Acceptor, Line
from worker.hub.auth import Authority, Identity, Refused
from worker.hub.core import NOTIFICATION, PROGRESS, TOO_MANY, Client, Core, Dialect
from worker.hub.frames import text_frame
from worker.hub.guard import Refusal
from worker.hub.keeping import Page
from worker.hub.news import News, without_trace
from worker.hub.orgspace import claim_of, place_of, renewed
from worker.hub.packets import Malformed, parse
from worker.hub.peer import Peer
from worker.hub.rooms import job_room, user_room
from worker.hub.signing import SignedDialect

DOOR: Final = "websocket"
HEARTBEAT: Final = 30.0
"""Seconds; a peer that doesn't answer for another 15 is dead."""
BATCH: Final = 0.1
"""Seconds in which only the newest progress of each job is kept."""
_MAX_ROOMS: Final = 50
_MAX_NAME: Final = 128
_MAX_TOPICS: Final = 50
_MAX_ORIGINAL: Final = 2048
_EVERYTHING: Final = "*"
_READ: Final = "read"

Cancel = Callable[[str, str, bool], Awaitable[str]]
"""Asks the queue to cancel (job id, user, is admin); the answer is a word for the client. Somebody else's job
must be answered like an unknown one."""


@dataclass(frozen=True, slots=True)
class MessageDialect:
    """News as messages of type `notification` and `progress`."""

    trace: bool
    clock: Clock

    def word(self, news: News, position: tuple[str, int] | None) -> bytes:
        _, message, user = orjson.loads(news.body)
        if news.volatile:
            return _message(PROGRESS, message.get("payload", {}), self.clock)
        if news.has_trace and not self.trace:
            message = without_trace(message)
        data = message | {"userId": user["userId"]}
        if position is not None:
            data |= {"epoch": position[0], "seq": position[1]}
        return _message(NOTIFICATION, data, self.clock)


@dataclass(slots=True)
class Topics:
    """Which types a client wants; at first all."""

    everything: bool = True
    wanted: set[str] = field(default_factory=set)
    unwanted: set[str] = field(default_factory=set)

    def __contains__(self, topic: object) -> bool:
        return topic in self.wanted or (self.everything and topic not in self.unwanted)

    def add(self, topic: str) -> None:
        if topic == _EVERYTHING:
            self.everything = True
            self.unwanted.clear()
            return
        self.unwanted.discard(topic)
        self.wanted.add(topic)
        _bounded(self.wanted)

    def remove(self, topic: str) -> None:
        if topic == _EVERYTHING:
            self.everything = False
            self.wanted.clear()
            return
        self.wanted.discard(topic)
        self.unwanted.add(topic)
        _bounded(self.unwanted)


@dataclass(slots=True)
class ProgressBatch:
    """The newest progress of each job, sent together."""

    peer: Peer
    pending: dict[str | None, bytes] = field(default_factory=dict)

    def put(self, job_id: str | None, frame: bytes) -> None:
        if not self.pending:
            asyncio.get_running_loop().call_later(BATCH, self.send)
        self.pending[job_id] = frame

    def send(self) -> None:
        frames, self.pending = self.pending, {}
        for frame in frames.values():
            self.peer.write_volatile(frame)


@dataclass(slots=True, eq=False)
class NativeLine(Line):
    """One native connection."""

    id: str = ""
    since: float = 0.0
    """Monotonic."""
    next_heartbeat: float = 0.0
    job_id: str | None = None
    """The job of /ws/tasks/{jobId}."""
    header: str | None = None
    """The token of the Authorization header."""
    position: dict[str, Any] = field(default_factory=dict)
    client: Client | None = None
    topics: Topics = field(default_factory=Topics)
    rooms: set[str] = field(default_factory=set)


class NativeDoor:
    """Speaks native messages to whoever comes to its paths."""

    name: str = DOOR
    heartbeat: float | None = HEARTBEAT

    def __init__(
        self,
        core: Core,
        authority: Authority,
        acceptor: Acceptor,
        *,
        handshake: float,
        traces: bool,
        open_rooms: bool,
        cancel: Cancel | None,
        signing_secret: bytes | None = None,
    ) -> None:
        """`handshake`: seconds to say who one is. `cancel` None: this hub has no queue. `signing_secret`: for
        clients that ask for signed news."""
        self._core = core
        self._authority = authority
        self._acceptor = acceptor
        self._guard = acceptor.guard
        self._handshake = handshake
        self._traces = traces
        self._open_rooms = open_rooms
        self._cancel_job = cancel
        self._secret = signing_secret
        self._lines: set[NativeLine] = set()
        self._cancels: set[asyncio.Task[None]] = set()
        self._orders: dict[str, Callable[[NativeLine, Client, Any], None]] = {
            "ping": self._ping,
            "echo": self._echo,
            "broadcast": self._broadcast,
            "join-room": self._join,
            "leave-room": self._leave,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "cancel": self._cancel,
            "shown": self._shown,
            _READ: self._read,
            "auth": self._refresh,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The aiohttp handler of both paths."""
        refused = self._acceptor.refusal(request, DOOR)
        if refused is not None:
            return refused
        if request.headers.get("Upgrade", "").lower() != "websocket":
            refusal = Refusal(426, 3, "This is a WebSocket", "no WebSocket request")
            return self._acceptor.turn_away(refusal, DOOR, self._guard.address(request))
        return await self._acceptor.converse(request, self)

    def beat(self, now: float) -> None:
        """Close who does not say who he is, send heartbeats. `now` is monotonic."""
        for line in tuple(self._lines):
            if line.peer.closing:
                continue
            if line.client is None and now - line.since > self._handshake:
                self._turn_out(line, UNAUTHORIZED, "no auth in time")
            elif line.client is not None and now >= line.next_heartbeat:
                line.next_heartbeat = now + HEARTBEAT
                if "heartbeat" in line.topics:
                    self._send(line, "heartbeat", {})

    def opened(self, request: web.Request, line: Line) -> NativeLine:
        native = NativeLine(
            line.address,
            line.peer,
            line.limit,
            line.seen,
            line.bucket,
            id=secrets.token_urlsafe(15),
            since=line.seen,
            next_heartbeat=line.seen + HEARTBEAT,
            job_id=request.match_info.get("job_id"),
            position=_position(request),
        )
        self._lines.add(native)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            try:
                self._authenticate(native, native.position | {"token": token.strip()})
            except Malformed as exc:
                self._fault(native, str(exc), b"")
        return native

    def heard(self, line: NativeLine, data: bytes, *, binary: bool) -> None:
        client = line.client
        if client is not None:
            client.received += 1
            self._core.counters.messages_in += 1
        try:
            kind, content = _parse(data, binary=binary)
            if client is None or kind == _READ or self._may_talk(client):
                self._obey(line, kind, content)
            else:
                client.end(TOO_FAST, "too many messages")
        except Malformed as exc:
            self._fault(line, str(exc), data)

    def ponged(self, line: NativeLine, _: bytes) -> None:
        if line.client is not None:
            line.client.ponged()

    def ended(self, line: NativeLine, code: int, reason: str) -> None:
        self._lines.discard(line)
        if line.client is not None:
            self._core.leave(line.client, code, reason)

    def _obey(self, line: NativeLine, kind: str, data: Any) -> None:
        if line.client is None:
            if kind != "auth":
                raise Malformed("unauthorized: the first message must be auth")
            self._authenticate(line, data if isinstance(data, dict) else {})
            return
        order = self._orders.get(kind)
        if order is None:
            raise Malformed("unknown type")
        order(line, line.client, data)

    def _authenticate(self, line: NativeLine, auth: dict[str, Any]) -> None:
        try:
            identity = self._authority.identify(auth.get("token"))
        except Refused as exc:
            self._send(line, "error", {"code": "unauthorized", "message": "unauthorized"})
            self._turn_out(line, UNAUTHORIZED, str(exc))
            return
        if not self._core.room_for(identity, self._guard.caps):
            self._turn_out(line, TOO_MANY, "too many connections of this user")
            return
        client = line.client = self._client(line, identity, self._dialect(identity, auth))
        if identity.may_publish:
            line.limit, line.bucket = self._acceptor.sizes.publisher, None
        self._core.enter(client)
        if line.job_id is None:
            self._core.catch_up(client, claim_of(auth), lambda page: self._welcome(line, identity, page))
            if identity.user is None:
                self._welcome(line, identity, None)
        else:
            self._watch_one_job(line, client, line.job_id)

    def _dialect(self, identity: Identity, auth: dict[str, Any]) -> Dialect:
        """Malformed: signed news are asked for, and there is no secret to sign with."""
        plain = MessageDialect(self._traces or identity.is_admin, self._core.clock)
        if auth.get("signed") is not True:
            return plain
        if self._secret is None:
            raise Malformed("unsupported: this hub has no Hub:SigningSecret")
        return SignedDialect(plain, self._secret, self._core.clock.now)

    def _client(self, line: NativeLine, identity: Identity, dialect: Dialect) -> Client:
        return Client(
            id=line.id,
            identity=identity,
            door=DOOR,
            address=line.address,
            peer=line.peer,
            dialect=dialect,
            farewell=lambda code, reason: self._send(line, "error", {"code": code, "message": reason}),
            # A WebSocket pong is the browser's, not the page's: it comes from a page that hangs, too.
            ask=None,
            since=self._core.clock.now(),
            since_monotonic=self._core.clock.monotonic(),
            clock=self._core.clock,
            topics=line.topics,
            batch=ProgressBatch(line.peer),
        )

    def _welcome(self, line: NativeLine, identity: Identity, page: Page | None) -> None:
        data: dict[str, Any] = {"clientId": line.id, "userId": identity.user}
        if page is not None:
            data |= place_of(page)
        self._send(line, "welcome", data)

    def _watch_one_job(self, line: NativeLine, client: Client, job_id: str) -> None:
        self._welcome(line, client.identity, None)
        if self._core.is_anothers_job(client, job_id):
            self._core.fault(client, "another user's job")
            client.end(4403, "forbidden")
            return
        self._core.connected(client)
        last = self._core.watch(client, job_id)
        if last is not None:
            line.peer.send(client.dialect.word(last, None))

    def _ping(self, line: NativeLine, client: Client, data: Any) -> None:
        client.ponged()
        self._send(line, "pong", data)

    def _echo(self, line: NativeLine, _: Client, data: Any) -> None:
        self._send(line, "echo", data)

    def _broadcast(self, _: NativeLine, client: Client, data: Any) -> None:
        if not client.identity.may_publish:
            raise Malformed("forbidden: the token lacks the scope publish")
        if not isinstance(data, dict):
            raise Malformed("broadcast needs an object as data")
        room = data.get("room")
        frame = text_frame(_message("broadcast", data | {"from": client.id}, self._core.clock))
        for receiver in self._receivers(room):
            if "broadcast" in (receiver.topics or ()) and not receiver.peer.closing:
                receiver.peer.write(frame)
                receiver.sent += 1
                self._core.counters.messages_out += 1

    def _receivers(self, room: object) -> tuple[Client, ...]:
        if room is None:
            return tuple(line.client for line in self._lines if line.client is not None)
        return tuple(client for client in self._core.rooms.members(_name(room)) if client.door == DOOR)

    def _join(self, line: NativeLine, client: Client, data: Any) -> None:
        room = _name(data.get("room") if isinstance(data, dict) else data)
        if len(line.rooms) >= _MAX_ROOMS and room not in line.rooms:
            raise Malformed(f"more than {_MAX_ROOMS} rooms")
        last = self._admit(line, client, room)
        self._send(line, "room-joined", {"room": room})
        if last is not None:
            line.peer.send(client.dialect.word(last, None))

    def _admit(self, line: NativeLine, client: Client, room: str) -> News | None:
        """Into the room, if the client has the right; the last word of a job's room."""
        if room.startswith("task:"):
            return self._admit_to_job(line, client, room.removeprefix("task:"))
        if room.startswith("user:"):
            if client.identity.user is None or room != user_room(client.identity.user):
                raise Malformed("forbidden: another user's room")
            if line.job_id is None:
                # The token alone has brought it there, together with what it had missed.
                return None
        elif not self._open_rooms:
            raise Malformed("forbidden: open rooms are off")
        line.rooms.add(room)
        self._core.rooms.enter(room, client)
        return None

    def _admit_to_job(self, line: NativeLine, client: Client, job_id: str) -> News | None:
        if self._core.is_anothers_job(client, job_id):
            raise Malformed("forbidden: another user's job")
        line.rooms.add(job_room(job_id))
        return self._core.watch(client, job_id)

    def _leave(self, line: NativeLine, client: Client, data: Any) -> None:
        room = _name(data.get("room") if isinstance(data, dict) else data)
        if room not in line.rooms:
            raise Malformed("not in this room")
        line.rooms.discard(room)
        self._core.rooms.leave(room, client)
        self._send(line, "room-left", {"room": room})

    def _subscribe(self, line: NativeLine, _: Client, data: Any) -> None:
        topic = _name(data.get("type") if isinstance(data, dict) else data)
        line.topics.add(topic)
        self._send(line, "subscribed", {"type": topic})

    def _unsubscribe(self, line: NativeLine, _: Client, data: Any) -> None:
        topic = _name(data.get("type") if isinstance(data, dict) else data)
        line.topics.remove(topic)
        self._send(line, "unsubscribed", {"type": topic})

    def _read(self, _: NativeLine, client: Client, data: Any) -> None:
        self._core.has_read(client, data)

    def _shown(self, _: NativeLine, client: Client, data: Any) -> None:
        self._core.shown(client, data)

    def _cancel(self, line: NativeLine, client: Client, data: Any) -> None:
        job_id = _name(data.get("jobId") if isinstance(data, dict) else data)
        if self._cancel_job is None or client.identity.user is None:
            raise Malformed("unsupported: this hub has no queue")
        answer = self._cancel_job(job_id, client.identity.user, client.identity.is_admin)
        task = asyncio.ensure_future(self._answer_cancel(line, job_id, answer))
        self._cancels.add(task)
        task.add_done_callback(self._cancels.discard)

    async def _answer_cancel(self, line: NativeLine, job_id: str, answer: Awaitable[str]) -> None:
        try:
            status = await answer
        except Exception:  # noqa: BLE001 -- the queue's trouble is told in the log by those who own it
            self._send(line, "error", {"code": "failed", "message": "the job could not be cancelled"})
        else:
            self._send(line, "cancel", {"jobId": job_id, "status": status})

    def _refresh(self, line: NativeLine, client: Client, data: Any) -> None:
        token = data.get("token") if isinstance(data, dict) else None
        client.identity = renewed(self._authority, client.identity, token)
        self._send(line, "auth", {"ok": True})

    def _may_talk(self, client: Client) -> bool:
        user = client.identity.user
        return client.identity.may_publish or user is None or self._guard.may_talk(user)

    def _fault(self, line: NativeLine, reason: str, original: bytes) -> None:
        client = line.client
        if client is not None:
            self._core.fault(client, reason)
        code = reason.partition(":")[0].replace(" ", "-")
        text = original[:_MAX_ORIGINAL].decode(errors="replace")
        self._send(line, "error", {"code": code, "message": reason, "original": text})
        line.strikes += 1
        if line.strikes >= self._guard.caps.strikes and not (client and client.identity.may_publish):
            self._turn_out(line, TOO_FAST, "too many refused messages")

    def _turn_out(self, line: NativeLine, code: int, reason: str) -> None:
        if line.client is None:
            self._core.refused(DOOR, line.address, reason)
        # The reason a token was refused for is for the log alone.
        line.peer.close(code, "unauthorized" if code == UNAUTHORIZED else reason)

    def _send(self, line: NativeLine, kind: str, data: Any) -> None:
        line.peer.send(_message(kind, data, self._core.clock))


def _message(kind: str, data: Any, clock: Clock) -> bytes:
    return orjson.dumps({"type": kind, "timestamp": rfc3339(clock.now()), "data": data})


def _parse(data: bytes, *, binary: bool) -> tuple[str, Any]:
    if binary:
        raise Malformed("malformed: messages are text")
    try:
        message = parse(data)
    except Malformed as exc:
        raise Malformed(f"malformed: {exc}") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Malformed("malformed: expected an object with a type")
    return message["type"], message.get("data")


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME or not value.isprintable():
        raise Malformed("malformed: no name")
    return value


def _bounded(names: set[str]) -> None:
    if len(names) > _MAX_TOPICS:
        names.pop()
        raise Malformed(f"more than {_MAX_TOPICS} types")


def _position(request: web.Request) -> dict[str, Any]:
    """epoch and lastSeq of the query, for those who authenticate by header."""
    seq = request.query.get("lastSeq", "")
    return {
        "epoch": request.query.get("epoch"),
        "lastSeq": int(seq) if seq.isascii() and seq.isdigit() else None,
        "signed": request.query.get("signed") == "true",
    }
