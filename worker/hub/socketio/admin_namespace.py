"""The namespace for @socket.io/admin-ui: shows clients and rooms, and disconnects clients.

It sends names and counts, never the content of a notification. Operations by which one user could receive another's
notifications are not offered: no client is put into a room from here, and no event is made up. Knows no inbox, no HTTP.
"""

import os
import socket as network
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import orjson

from worker.core.clock import rfc3339
from worker.hub.client import Client
from worker.hub.close_codes import GOING_AWAY, INTERNAL_ERROR, TOO_MANY_CONNECTIONS, TOO_MANY_MESSAGES, UNAUTHORIZED
from worker.hub.engineio.server import ENDPOINT
from worker.hub.errors import MalformedPacket
from worker.hub.events import ClientConnected, ClientDisconnected, MessageRejected
from worker.hub.hub import INBOX_FAILED, Hub
from worker.hub.socketio.admin_auth import AdminSession, AdminSessions
from worker.hub.socketio.packets import Kind, Packet, encode
from worker.hub.socketio.server import NamespaceSocket
from worker.hub.tokens import RevocationsUnknown

INVALID_CREDENTIALS: Final = "invalid credentials"
"""The page knows this text, and asks for the password again."""
_SHOW_FEATURES: Final = ("AGGREGATED_EVENTS", "ALL_EVENTS")
_DISCONNECT_FEATURES: Final = ("DISCONNECT", "MDISCONNECT")
_STATS_SECONDS: Final = 2.0
_MAX_PAGES: Final = 20
"""Pages at the same time."""
_MAX_REJECTED_MESSAGES: Final = 20
_NATIVE_NAMESPACE: Final = "/ws"
"""The namespace under which the page shows native clients."""


class AdminNamespace:
    """Shows one hub; of several hubs each shows its own clients."""

    def __init__(self, hub: Hub, sessions: AdminSessions, namespace: str, *, read_only: bool) -> None:
        self._hub = hub
        self._sessions = sessions
        self._namespace = namespace
        self._read_only = read_only
        self._started_at = hub.clock.monotonic()
        self._server = {"serverId": f"{network.gethostname()}#{os.getpid()}", "hostname": network.gethostname()}
        self._sockets: dict[NamespaceSocket, None] = {}
        self._next_stats_at = 0.0
        self._connection_events: Counter[tuple[str, str | None]] = Counter()
        self._last_message_counts = (0, 0)
        hub.rooms.on_change = self._on_room_change

    def connect(self, socket: NamespaceSocket, auth: Any) -> None:
        address = socket.session.address
        try:
            session = self._sessions.authenticate(auth if isinstance(auth, dict) else {}, address)
        except RevocationsUnknown as exc:
            self._hub.emit_rejected(ENDPOINT, address, f"admin-ui: {exc}")
            socket.session.close(INTERNAL_ERROR, INBOX_FAILED)
            return
        if session is None:
            self._hub.emit_rejected(ENDPOINT, address, f"admin-ui: {INVALID_CREDENTIALS}")
            socket.reject(INVALID_CREDENTIALS)
            return
        if len(self._sockets) >= _MAX_PAGES:
            self._hub.emit_rejected(ENDPOINT, address, "admin-ui: too many connections")
            socket.session.close(TOO_MANY_CONNECTIONS, "too many connections")
            return
        socket.owner = session
        socket.session.is_proven = True
        socket.accept()
        self._sockets[socket] = None
        socket.emit("session", self._sessions.remember(session))
        features = [*_SHOW_FEATURES, *(() if self._read_only else _DISCONNECT_FEATURES)]
        socket.emit("config", {"supportedFeatures": features})
        socket.emit("server_stats", self._server_stats([]))
        socket.emit("all_sockets", [self._described(client) for client in self._hub.clients.values()])

    def event(self, socket: NamespaceSocket, packet: Packet) -> None:
        try:
            if packet.error:
                raise MalformedPacket(packet.error)
            self._execute(socket.owner, packet.data)
        except MalformedPacket as exc:
            self._hub.counters.errors += 1
            self._hub.emit(MessageRejected(socket.id, socket.owner.name, f"admin-ui: {exc}"))
            if socket.session.is_rejected_too_often(_MAX_REJECTED_MESSAGES):
                socket.session.close(TOO_MANY_MESSAGES, "too many rejected messages")

    def before_close(self, socket: NamespaceSocket, code: int, reason: str) -> None: ...

    def left(self, socket: NamespaceSocket, _code: int, _reason: str) -> None:
        self._sockets.pop(socket, None)

    def ping_sent(self, socket: NamespaceSocket) -> None: ...

    def pong_received(self, socket: NamespaceSocket) -> None: ...

    def on_hub_event(self, event: object) -> None:
        """Show an event of the hub."""
        if isinstance(event, ClientConnected):
            self._connection_events["rawConnection", None] += 1
            client = self._hub.clients.get(event.client_id)
            if client is not None and self._sockets:
                self._broadcast("socket_connected", self._described(client), self._now())
        elif isinstance(event, ClientDisconnected):
            self._connection_events["rawDisconnection", event.reason] += 1
            namespace = _namespace_of(event.endpoint)
            self._broadcast("socket_disconnected", namespace, event.client_id, event.reason, self._now())

    def check_deadlines(self, now: float) -> None:
        """Close expired sessions, and send statistics every two seconds while a page is open. `now` is monotonic."""
        wall = self._hub.clock.now()
        for socket in tuple(self._sockets):
            if socket.owner.expires <= wall:
                socket.session.close(UNAUTHORIZED, "the login has expired")
        if now >= self._next_stats_at:
            self._next_stats_at = now + _STATS_SECONDS
            aggregated = self._aggregated_events()
            if self._sockets:
                self._broadcast("server_stats", self._server_stats(aggregated))

    def on_revoked(self, token_id: str) -> None:
        """Close the pages that logged in with this token."""
        for socket in tuple(self._sockets):
            if socket.owner.token_id == token_id:
                socket.session.close(UNAUTHORIZED, "the token is revoked")

    def on_revocations_unknown(self) -> None:
        """Close the pages that logged in with a token, which may have been revoked."""
        for socket in tuple(self._sockets):
            if socket.owner.token_id is not None:
                socket.session.close(INTERNAL_ERROR, INBOX_FAILED)

    def _execute(self, session: AdminSession, data: list[Any]) -> None:
        name, *arguments = data
        if name != "_disconnect":
            raise MalformedPacket(f"forbidden: {name[:40]} is not offered")
        if self._read_only:
            raise MalformedPacket("forbidden: Hub:AdminUi:ReadOnly")
        namespace, _, room_or_id = (*arguments, None, None, None)[:3]
        for client in self._selected(namespace, room_or_id):
            client.close(GOING_AWAY, f"ended by {session.name} (admin-ui)")

    def _selected(self, namespace: object, room_or_id: object) -> tuple[Client, ...]:
        """Return all clients of a namespace, the one with this id, or those in this room."""
        clients = tuple(client for client in self._hub.clients.values() if _namespace_of(client.endpoint) == namespace)
        if room_or_id is None:
            return clients
        if not isinstance(room_or_id, str):
            raise MalformedPacket("malformed: neither a room nor an id")
        members = self._hub.rooms.members(room_or_id)
        return tuple(client for client in clients if client.id == room_or_id or client in members)

    def _on_room_change(self, room: str, client: Client, entered: bool) -> None:
        if self._sockets:
            name = "room_joined" if entered else "room_left"
            self._broadcast(name, _namespace_of(client.endpoint), room, client.id, self._now())

    def _broadcast(self, event: str, *arguments: Any) -> None:
        if not self._sockets:
            return
        packet = encode(Kind.EVENT, self._namespace, orjson.dumps([event, *arguments]))
        shared = next(iter(self._sockets)).session.share(packet)
        for socket in self._sockets:
            socket.session.transport.send_shared(shared)

    def _now(self) -> str:
        return rfc3339(self._hub.clock.now())

    def _server_stats(self, aggregated: list[dict[str, Any]]) -> dict[str, Any]:
        clients = Counter(_namespace_of(client.endpoint) for client in self._hub.clients.values())
        sizes = {
            "/": clients["/"],
            _NATIVE_NAMESPACE: clients[_NATIVE_NAMESPACE],
            self._namespace: len(self._sockets),
        }
        return {
            **self._server,
            "pid": os.getpid(),
            "uptime": self._hub.clock.monotonic() - self._started_at,
            "clientsCount": sum(sizes.values()),
            "pollingClientsCount": sum(_is_polling(client) for client in self._hub.clients.values()),
            "aggregatedEvents": aggregated,
            "namespaces": [{"name": name, "socketsCount": size} for name, size in sizes.items()],
        }

    def _aggregated_events(self) -> list[dict[str, Any]]:
        """Return what was counted since the last call."""
        counters, before = self._hub.counters, self._last_message_counts
        counted = self._connection_events
        counted["packetsIn", None] = counters.messages_in - before[0]
        counted["packetsOut", None] = counters.messages_out - before[1]
        self._connection_events = Counter()
        self._last_message_counts = (counters.messages_in, counters.messages_out)
        timestamp = int(self._hub.clock.now()) * 1000
        return list(_entries(timestamp, counted.items()))

    def _described(self, client: Client) -> dict[str, Any]:
        """Return the client as the page expects it. Headers are left out: they hold tokens and cookies."""
        return {
            "id": client.id,
            "clientId": client.id[:12],
            "transport": client.connection.transport.name,
            "nsp": _namespace_of(client.endpoint),
            "data": {"userId": client.identity.user, "scopes": sorted(client.identity.scopes)},
            "handshake": {
                "address": client.address,
                "headers": {},
                "query": {},
                "issued": int(client.since * 1000),
                "secure": False,
                "time": rfc3339(client.since),
                "url": "",
                "xdomain": False,
            },
            "rooms": [client.id, *sorted(self._hub.rooms.rooms_of(client))],
        }


def _namespace_of(endpoint: str) -> str:
    return "/" if endpoint == ENDPOINT else _NATIVE_NAMESPACE


def _is_polling(client: Client) -> bool:
    return client.connection.transport.name == "polling"


def _entries(timestamp: int, counted: Iterable[tuple[tuple[str, str | None], int]]) -> Iterable[dict[str, Any]]:
    for (kind, detail), count in counted:
        if count:
            entry: dict[str, Any] = {"timestamp": timestamp, "type": kind, "count": count}
            yield entry if detail is None else entry | {"subType": detail}
