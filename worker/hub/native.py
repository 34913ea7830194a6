"""The native door: JSON messages `{type, timestamp, data}` on plain WebSockets, at /ws and /ws/tasks/{jobId}.

A page cannot set headers on a WebSocket, so it says who it is in its first message, `auth`; others may send
an Authorization header. The token is never in the URL, which ends up in logs.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from worker.hub.acceptor import TOO_FAST, UNAUTHORIZED, Acceptor, Line
from worker.hub.auth import Authority, Identity, Refused
from worker.hub.client import Client, Dialect
from worker.hub.core import TOO_MANY, Core
from worker.hub.guard import Refusal
from worker.hub.keeping import Page
from worker.hub.native_line import DOOR, NativeLine
from worker.hub.native_rooms import NativeRooms
from worker.hub.native_words import MessageDialect, name_of, read
from worker.hub.orgspace import claim_of, place_of, renewed
from worker.hub.packets import Malformed
from worker.hub.signing import SignedDialect
from worker.hub.topics import ProgressBatch

HEARTBEAT: Final = 30.0
"""Seconds; a peer that doesn't answer for another 15 is dead."""
_MAX_ORIGINAL: Final = 2048
_READ: Final = "read"

Cancel = Callable[[str, str, bool], Awaitable[str]]
"""Asks the queue to cancel (job id, user, is admin); the answer is a word for the client. Somebody else's job
must be answered like an unknown one."""


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
        rooms = NativeRooms(core, are_open=open_rooms)
        self._cancel_job = cancel
        self._secret = signing_secret
        self._lines: set[NativeLine] = set()
        self._cancels: set[asyncio.Task[None]] = set()
        self._orders: dict[str, Callable[[NativeLine, Client, Any], None]] = {
            "ping": self._ping,
            "echo": self._echo,
            "broadcast": rooms.broadcast,
            "join-room": rooms.join,
            "leave-room": rooms.leave,
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
            kind, content = read(data, binary=binary)
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

    def _subscribe(self, line: NativeLine, _: Client, data: Any) -> None:
        topic = name_of(data.get("type") if isinstance(data, dict) else data)
        line.topics.add(topic)
        self._send(line, "subscribed", {"type": topic})

    def _unsubscribe(self, line: NativeLine, _: Client, data: Any) -> None:
        topic = name_of(data.get("type") if isinstance(data, dict) else data)
        line.topics.remove(topic)
        self._send(line, "unsubscribed", {"type": topic})

    def _read(self, _: NativeLine, client: Client, data: Any) -> None:
        self._core.has_read(client, data)

    def _shown(self, _: NativeLine, client: Client, data: Any) -> None:
        self._core.shown(client, data)

    def _cancel(self, line: NativeLine, client: Client, data: Any) -> None:
        job_id = name_of(data.get("jobId") if isinstance(data, dict) else data)
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
        line.say(kind, data, self._core.clock)


def _position(request: web.Request) -> dict[str, Any]:
    """epoch and lastSeq of the query, for those who authenticate by header."""
    seq = request.query.get("lastSeq", "")
    return {
        "epoch": request.query.get("epoch"),
        "lastSeq": int(seq) if seq.isascii() and seq.isdigit() else None,
        "signed": request.query.get("signed") == "true",
    }
