"""The namespace for @socket.io/admin-ui: who is connected and in which rooms, and whom to disconnect.

Tells names and numbers, never what a notification says. What would let one user hear another's news is not
offered: nobody is put into a room from here, and no event is made up. Knows no inbox and no HTTP.
"""

import os
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import orjson

from worker.clock import rfc3339
from worker.hub.acceptor import TOO_FAST, UNAUTHORIZED
from worker.hub.admin_login import Admission, Logins
from worker.hub.client import Client
from worker.hub.core import Core
from worker.hub.engine import DOOR, Seat
from worker.hub.events import ClientConnected, ClientDisconnected, MessageRefused
from worker.hub.frames import text_frame
from worker.hub.packets import Kind, Malformed, Packet, encode

INVALID: Final = "invalid credentials"
"""The page knows this text, and asks for the password again."""
_LOOKING: Final = ("AGGREGATED_EVENTS", "ALL_EVENTS")
_ENDING: Final = ("DISCONNECT", "MDISCONNECT")
_STATS_SECONDS: Final = 2.0
_MOST: Final = 20
"""Pages at the same time."""
_STRIKES: Final = 20
_GOING_AWAY: Final = 1001
_NATIVE: Final = "/ws"
_SPACES: Final = {DOOR: "/"}


class AdminSpace:
    """One hub's; of several each shows its own."""

    def __init__(self, core: Core, logins: Logins, namespace: str, *, read_only: bool) -> None:
        self._core = core
        self._logins = logins
        self._namespace = namespace
        self._read_only = read_only
        self._began = core.clock.monotonic()
        self._server = {"serverId": f"{socket.gethostname()}#{os.getpid()}", "hostname": socket.gethostname()}
        self._seats: dict[Seat, None] = {}
        self._next_stats = 0.0
        self._raw: Counter[tuple[str, str | None]] = Counter()
        self._counted = (0, 0)
        core.rooms.changed = self._room_changed

    def connect(self, seat: Seat, auth: Any) -> None:
        address = seat.connection.address
        admission = self._logins.admit(auth if isinstance(auth, dict) else {}, address)
        if admission is None or len(self._seats) >= _MOST:
            reason = INVALID if admission is None else "too many connections"
            self._core.refused(DOOR, address, f"admin-ui: {reason}")
            seat.refuse(reason)
            return
        seat.owner = admission
        seat.accept()
        self._seats[seat] = None
        seat.emit("session", self._logins.begin(admission))
        seat.emit("config", {"supportedFeatures": [*_LOOKING, *(() if self._read_only else _ENDING)]})
        seat.emit("server_stats", self._stats([]))
        seat.emit("all_sockets", [self._described(client) for client in self._core.clients.values()])

    def event(self, seat: Seat, packet: Packet) -> None:
        try:
            self._obey(seat.owner, packet.data)
        except Malformed as exc:
            self._core.counters.errors += 1
            self._core.emit(MessageRefused(seat.id, seat.owner.name, f"admin-ui: {exc}"))
            seat.connection.strikes += 1
            if seat.connection.strikes >= _STRIKES:
                seat.connection.peer.close(TOO_FAST, "too many refused messages")

    def left(self, seat: Seat, _code: int, _reason: str) -> None:
        self._seats.pop(seat, None)

    def pinged(self, seat: Seat) -> None: ...

    def ponged(self, seat: Seat) -> None: ...

    def hear(self, event: object) -> None:
        """What happened in the hub."""
        if isinstance(event, ClientConnected):
            self._raw["rawConnection", None] += 1
            client = self._core.clients.get(event.client_id)
            if client is not None and self._seats:
                self._tell("socket_connected", self._described(client), self._now())
        elif isinstance(event, ClientDisconnected):
            self._raw["rawDisconnection", event.reason] += 1
            self._tell("socket_disconnected", _space(event.door), event.client_id, event.reason, self._now())

    def beat(self, now: float) -> None:
        """Figures every two seconds, while somebody looks. `now` is monotonic."""
        wall = self._core.clock.now()
        for seat in tuple(self._seats):
            if seat.owner.expires <= wall:
                seat.connection.peer.close(UNAUTHORIZED, "the login has expired")
        if now >= self._next_stats:
            self._next_stats = now + _STATS_SECONDS
            counted = self._aggregated()
            if self._seats:
                self._tell("server_stats", self._stats(counted))

    def revoked(self, token_id: str) -> None:
        """The token is refused from now on: whoever looks by it has to go."""
        for seat in tuple(self._seats):
            if seat.owner.token_id == token_id:
                seat.connection.peer.close(UNAUTHORIZED, "the token is revoked")

    def _obey(self, admission: Admission, data: list[Any]) -> None:
        name, *arguments = data
        if name != "_disconnect":
            raise Malformed(f"forbidden: {name[:40]} is not offered")
        if self._read_only:
            raise Malformed("forbidden: Hub:AdminUi:ReadOnly")
        space, _, chosen = (*arguments, None, None, None)[:3]
        for client in self._chosen(space, chosen):
            client.end(_GOING_AWAY, f"ended by {admission.name} (admin-ui)")

    def _chosen(self, space: object, chosen: object) -> tuple[Client, ...]:
        """All of a namespace, one by its id, or those in a room."""
        here = tuple(client for client in self._core.clients.values() if _space(client.door) == space)
        if chosen is None:
            return here
        if not isinstance(chosen, str):
            raise Malformed("malformed: no room and no id")
        members = self._core.rooms.members(chosen)
        return tuple(client for client in here if client.id == chosen or client in members)

    def _room_changed(self, room: str, client: Client, entered: bool) -> None:
        if self._seats:
            name = "room_joined" if entered else "room_left"
            self._tell(name, _space(client.door), room, client.id, self._now())

    def _tell(self, event: str, *arguments: Any) -> None:
        if not self._seats:
            return
        frame = text_frame(encode(Kind.EVENT, self._namespace, orjson.dumps([event, *arguments])))
        for seat in self._seats:
            seat.connection.peer.write(frame)

    def _now(self) -> str:
        return rfc3339(self._core.clock.now())

    def _stats(self, counted: list[dict[str, Any]]) -> dict[str, Any]:
        here = Counter(_space(client.door) for client in self._core.clients.values())
        sizes = {"/": here["/"], _NATIVE: here[_NATIVE], self._namespace: len(self._seats)}
        return {
            **self._server,
            "pid": os.getpid(),
            "uptime": self._core.clock.monotonic() - self._began,
            "clientsCount": sum(sizes.values()),
            "pollingClientsCount": 0,
            "aggregatedEvents": counted,
            "namespaces": [{"name": name, "socketsCount": size} for name, size in sizes.items()],
        }

    def _aggregated(self) -> list[dict[str, Any]]:
        """What was counted since it was asked last."""
        counters = self._core.counters
        counted = self._raw
        counted["packetsIn", None] = counters.messages_in - self._counted[0]
        counted["packetsOut", None] = counters.messages_out - self._counted[1]
        self._raw, self._counted = Counter(), (counters.messages_in, counters.messages_out)
        second = int(self._core.clock.now()) * 1000
        return list(_entries(second, counted.items()))

    def _described(self, client: Client) -> dict[str, Any]:
        """The page's word for a socket. Headers are left out: there are tokens and cookies in them."""
        return {
            "id": client.id,
            "clientId": client.id[:12],
            "transport": "websocket",
            "nsp": _space(client.door),
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
            "rooms": [client.id, *sorted(self._core.rooms.of(client))],
        }


def _space(door: str) -> str:
    return _SPACES.get(door, _NATIVE)


def _entries(second: int, counted: Iterable[tuple[tuple[str, str | None], int]]) -> Iterable[dict[str, Any]]:
    for (kind, detail), count in counted:
        if count:
            entry: dict[str, Any] = {"timestamp": second, "type": kind, "count": count}
            yield entry if detail is None else entry | {"subType": detail}
