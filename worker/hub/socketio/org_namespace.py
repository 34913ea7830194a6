"""The org-socket protocol over Socket.IO: authentication, publishing, commands, delivery to users."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from worker.hub.client import Client
from worker.hub.close_codes import INTERNAL_ERROR, TOO_MANY_CONNECTIONS, TOO_MANY_MESSAGES, UNAUTHORIZED
from worker.hub.commands import ERROR, ClientCommands
from worker.hub.connection_limits import ConnectionLimiter
from worker.hub.engineio.server import ENDPOINT
from worker.hub.errors import MalformedPacket
from worker.hub.handshake import position_of, renewed_identity, resume_point_of
from worker.hub.hub import INBOX_FAILED, Hub, PublishResult
from worker.hub.inbox import InboxPage
from worker.hub.messages import Message, event_body, read_message
from worker.hub.socketio.packets import Kind, Packet, encode
from worker.hub.socketio.server import NamespaceSocket
from worker.hub.tokens import Identity, RevocationsUnknown, TokenRejected, TokenService

WELCOME: Final = "org-socket:welcome"
"""To clients that sent lastSeq: {epoch, seq, after, recovered}; comes before the first notification. `after` is where
the replay begins: a client without a position takes it as its own, or a loss right now would go unnoticed."""
CLOSING: Final = "org-socket:closing"
"""Before the hub closes a client's connection: {code, reason}."""
REFRESH: Final = "org-socket:refresh"
"""From a client: {token}, a newer token of the same user; the answer is as for publishing."""
READ: Final = "org-socket:read"
"""From a client that sent lastSeq: {seq}; it has handled everything up to there."""
SHOWN: Final = "org-socket:shown"
"""From a page: {notificationId}; it has shown this notification."""
_ACCEPTED: Final = b'[{"ok":true}]'
_DAMAGED: Final = b'[{"ok":false,"error":"the inbox of this user is damaged; the log of the hub names it"}]'


@dataclass(frozen=True, slots=True)
class SocketIoEncoder:
    """Encodes messages as the Socket.IO event that the publisher sent."""

    namespace: str
    stack_trace: bool
    numbered: bool
    """Whether epoch and seq are put into the user data, for clients that resume by them."""

    def encode(self, message: Message, position: tuple[str, int] | None) -> bytes:
        position = position if self.numbered else None
        body = event_body(message, stack_trace=self.stack_trace, position=position)
        return encode(Kind.EVENT, self.namespace, body)

    def encode_own(self, message_type: str, data: Any) -> bytes:
        return encode(Kind.EVENT, self.namespace, orjson.dumps([message_type, data]))


@dataclass(frozen=True, slots=True)
class OrgNamespaceOptions:
    """The settings of the namespace."""

    event: str
    """The name of the event that carries notifications."""
    publisher_limit: int
    """The most bytes of a publisher's message."""
    stack_trace_to_users: bool
    """Whether all users see `stackTrace`, or administrators alone."""


class OrgNamespace:
    """Authenticates by token, puts users into their rooms, and lets clients with the scope `publish` publish."""

    def __init__(
        self,
        hub: Hub,
        tokens: TokenService,
        limiter: ConnectionLimiter,
        commands: ClientCommands,
        options: OrgNamespaceOptions,
    ) -> None:
        self._hub = hub
        self._tokens = tokens
        self._limiter = limiter
        self._commands = commands
        self._options = options

    def connect(self, socket: NamespaceSocket, auth: Any) -> None:
        auth = auth if isinstance(auth, dict) else {}
        try:
            identity = self._tokens.admit(auth.get("token"))
        except RevocationsUnknown as exc:
            self._hub.emit_rejected(ENDPOINT, socket.session.address, str(exc))
            # Not a CONNECT_ERROR: the token may be valid, so the client must try again by itself.
            socket.session.close(INTERNAL_ERROR, INBOX_FAILED)
            return
        except TokenRejected as exc:
            self._hub.emit_rejected(ENDPOINT, socket.session.address, str(exc))
            socket.reject("unauthorized", {"code": UNAUTHORIZED})
            return
        if not self._hub.has_capacity_for(identity, self._limiter.limits):
            self._hub.emit_rejected(ENDPOINT, socket.session.address, "too many connections of this user")
            # Not a CONNECT_ERROR: after one, socket.io-client does not try again by itself.
            socket.session.close(TOO_MANY_CONNECTIONS, "too many connections")
            return
        self._admit(socket, identity, auth)

    def event(self, socket: NamespaceSocket, packet: Packet) -> None:
        client: Client = socket.owner
        client.received += 1
        self._hub.counters.messages_in += 1
        if packet.data[0] not in (READ, SHOWN) and not self._may_send(client):
            self._hub.reject_message(client, "too many messages of this user")
            client.close(TOO_MANY_MESSAGES, "too many messages")
            return
        try:
            self._handle(socket, client, packet)
        except MalformedPacket as exc:
            self._reject(socket, client, packet, exc)

    def before_close(self, socket: NamespaceSocket, code: int, reason: str) -> None:
        socket.emit(CLOSING, {"code": code, "reason": reason})

    def left(self, socket: NamespaceSocket, code: int, reason: str) -> None:
        self._hub.remove_client(socket.owner, code, reason)

    def ping_sent(self, socket: NamespaceSocket) -> None:
        socket.pending_pings.append(socket.owner.last_sent_seq)

    def pong_received(self, socket: NamespaceSocket) -> None:
        if socket.pending_pings:
            self._hub.on_pong(socket.owner, socket.pending_pings.popleft())

    def _admit(self, socket: NamespaceSocket, identity: Identity, auth: dict[str, Any]) -> None:
        session, clock = socket.session, self._hub.clock
        stack_trace = self._options.stack_trace_to_users or identity.is_admin
        client = Client(
            id=socket.id,
            identity=identity,
            endpoint=ENDPOINT,
            address=session.address,
            connection=session,
            encoder=SocketIoEncoder(socket.namespace, stack_trace, numbered="lastSeq" in auth),
            # A client that resumes by position reports itself what it has read.
            send_ping=None if "lastSeq" in auth else lambda: session.request_confirmation(clock.monotonic()),
            since=clock.now(),
            since_monotonic=clock.monotonic(),
            clock=clock,
        )
        socket.owner = client
        if identity.may_publish:
            session.allow_publishing(self._options.publisher_limit)
        self._hub.add_client(client)
        socket.accept()
        self._hub.start_replay(client, resume_point_of(auth), lambda page: _welcome(socket, auth, page))

    def _handle(self, socket: NamespaceSocket, client: Client, packet: Packet) -> None:
        name = packet.data[0]
        self._check(packet, name)
        argument = packet.data[1] if len(packet.data) == 2 else None
        if name == REFRESH:
            token = argument.get("token") if isinstance(argument, dict) else None
            client.identity = renewed_identity(self._tokens, client.identity, token)
            _acknowledge(socket, packet)
        elif name == READ:
            if self._hub.on_read(client, argument):
                socket.session.return_token()
            _acknowledge(socket, packet)
        elif name == SHOWN:
            if self._hub.on_shown(client, argument):
                socket.session.return_token()
            _acknowledge(socket, packet)
        elif name in self._commands:
            data = packet.data[1] if len(packet.data) > 1 else None
            self._commands.execute(client, name, data, lambda kind, data: _answer_command(socket, packet, kind, data))
        elif name != self._options.event:
            raise MalformedPacket("unknown event")
        elif not client.identity.may_publish:
            raise MalformedPacket("forbidden: the token lacks the scope publish")
        else:
            message = read_message(packet.data, packet.raw)
            self._hub.publish(message, lambda result: _answer_publisher(socket, packet.id, result))

    def _check(self, packet: Packet, name: str) -> None:
        if packet.error:
            raise MalformedPacket(packet.error)
        is_known = name in (REFRESH, READ, SHOWN, self._options.event) or name in self._commands
        if packet.kind is Kind.BINARY_EVENT and is_known:
            raise MalformedPacket("malformed: events carry JSON, and this one has binary attachments")

    def _may_send(self, client: Client) -> bool:
        user = client.identity.user
        return client.identity.may_publish or user is None or self._limiter.take_user_message(user)

    def _reject(self, socket: NamespaceSocket, client: Client, packet: Packet, error: MalformedPacket) -> None:
        self._hub.reject_message(client, error.log_text)
        if packet.id is not None:
            socket.acknowledge(packet.id, orjson.dumps([{"ok": False, "error": str(error)}]))
        session = socket.session
        too_many = session.is_rejected_too_often(self._limiter.limits.rejected_messages)
        if too_many and not client.identity.may_publish:
            client.close(TOO_MANY_MESSAGES, "too many rejected messages")


def _acknowledge(socket: NamespaceSocket, packet: Packet) -> None:
    if packet.id is not None:
        socket.acknowledge(packet.id, _ACCEPTED)


def _answer_command(socket: NamespaceSocket, packet: Packet, kind: str, data: Any) -> None:
    """Acknowledge a command; one that is sent without an acknowledgement gets none."""
    if packet.id is None:
        return
    answer = {"ok": False, "error": data["message"]} if kind == ERROR else {"ok": True, "type": kind, "data": data}
    socket.acknowledge(packet.id, orjson.dumps([answer]))


def _answer_publisher(socket: NamespaceSocket, ack_id: int | None, result: PublishResult) -> None:
    if result == "failed":
        # A negative answer would be final; disconnected, the publisher reconnects and sends the message again.
        socket.session.close(INTERNAL_ERROR, INBOX_FAILED)
    elif ack_id is not None:
        socket.acknowledge(ack_id, _DAMAGED if result == "damaged" else _ACCEPTED)


def _welcome(socket: NamespaceSocket, auth: dict[str, Any], page: InboxPage) -> None:
    if "lastSeq" in auth:
        socket.emit(WELCOME, position_of(page))
