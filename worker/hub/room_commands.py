"""Commands for rooms: who may enter which, who gets a broadcast."""

from collections.abc import Callable
from typing import Any, Final

from worker.hub.client import Client, send_to_each
from worker.hub.errors import MalformedPacket
from worker.hub.hub import NOTIFICATION, PROGRESS, Hub
from worker.hub.messages import Message
from worker.hub.names import name_in
from worker.hub.rooms import job_room, user_room

_MAX_ROOMS: Final = 50
_JOB_ROOMS: Final = job_room("")
"""The beginning of the names of jobs' rooms."""
_OWN_TYPES: Final = frozenset(
    {NOTIFICATION, PROGRESS, "auth", "broadcast", "cancel", "connect", "connect_error", "disconnect", "disconnecting"}
    | {"echo", "error", "heartbeat", "newListener", "ping", "pong", "removeListener", "room-joined", "room-left"}
    | {"subscribed", "unsubscribed", "welcome"}
)
"""Types that are the hub's or a client library's own: a publisher must not imitate them."""
_NOT_A_PUBLISHER: Final = "forbidden: the token lacks the scope publish"


class RoomCommands:
    """`user:` and `task:` rooms need the right; other names are open to every client, unless open rooms are off."""

    def __init__(self, hub: Hub, *, open_rooms: bool, event: str) -> None:
        """`event`: the name of the Socket.IO event that carries notifications."""
        self._hub = hub
        self._open_rooms = open_rooms
        self._own_types = _OWN_TYPES | {event}

    def broadcast(self, client: Client, data: Any, reply: Callable[[str, Any], None]) -> None:
        """Send the data to all clients, or to those in a room."""
        if not client.identity.may_broadcast:
            raise MalformedPacket(_NOT_A_PUBLISHER)
        if not isinstance(data, dict):
            raise MalformedPacket("broadcast needs an object as data")
        receivers = self._send(data, "broadcast", data | {"from": client.id})
        reply("broadcast-sent", {"receivers": receivers})

    def publish(self, client: Client, data: Any, reply: Callable[[str, Any], None]) -> None:
        """Send a message of a type of the publisher's own, `{type, data, room?}`, to all clients or to a room."""
        _require_publisher(client)
        if not isinstance(data, dict):
            raise MalformedPacket("publish needs an object as data")
        message_type = name_in(data, "type")
        if message_type in self._own_types or message_type.startswith("org-socket:"):
            raise MalformedPacket("forbidden: the type is the hub's own")
        receivers = self._send(data, message_type, data.get("data"))
        reply("published", {"type": message_type, "receivers": receivers})

    def join(self, client: Client, data: Any, reply: Callable[[str, Any], None]) -> None:
        """Enter a room."""
        room = name_in(data, "room")
        if len(client.joined_rooms) >= _MAX_ROOMS and room not in client.joined_rooms:
            raise MalformedPacket(f"more than {_MAX_ROOMS} rooms")
        latest = self._enter(client, room)
        reply("room-joined", {"room": room})
        if latest is not None:
            client.connection.send(client.encoder.encode(latest, None))

    def leave(self, client: Client, data: Any, reply: Callable[[str, Any], None]) -> None:
        """Leave a room that the client joined. Like entering it, leaving one's own user's room has no effect."""
        room = name_in(data, "room")
        if room not in client.joined_rooms and not _is_own(room, client):
            raise MalformedPacket("not in this room")
        if room in client.joined_rooms:
            client.joined_rooms.discard(room)
            self._hub.rooms.leave(room, client)
        reply("room-left", {"room": room})

    def _send(self, data: dict[str, Any], message_type: str, content: Any) -> int:
        """Send a message to the clients that want it; return how many there are."""
        receivers = [client for client in self._receivers(data) if client.wants(message_type)]
        send_to_each(receivers, lambda encoder: encoder.encode_own(message_type, content), Client.send_shared)
        self._hub.counters.messages_out += len(receivers)
        return len(receivers)

    def _receivers(self, data: dict[str, Any]) -> tuple[Client, ...]:
        if data.get("room") is None:
            return tuple(self._hub.clients.values())
        room = name_in(data, "room")
        members = self._hub.rooms.members(room)
        if not room.startswith(_JOB_ROOMS):
            return members
        # A job's room can be entered before the hub knows whose the job is, so the right is checked here.
        job_id = room.removeprefix(_JOB_ROOMS)
        return tuple(client for client in members if self._hub.may_see_job(client, job_id))

    def _enter(self, client: Client, room: str) -> Message | None:
        """Enter the room if the client has the right; return the latest message of a job's room."""
        if room.startswith(_JOB_ROOMS):
            return self._enter_job_room(client, room.removeprefix(_JOB_ROOMS))
        if room.startswith(user_room("")):
            if not _is_own(room, client):
                raise MalformedPacket("forbidden: another user's room")
            if not client.watches_one_job:
                # The client is in this room already, by its token alone.
                return None
        elif not self._open_rooms:
            raise MalformedPacket("forbidden: open rooms are off")
        client.joined_rooms.add(room)
        self._hub.rooms.enter(room, client)
        return None

    def _enter_job_room(self, client: Client, job_id: str) -> Message | None:
        if self._hub.is_foreign_job(client, job_id):
            raise MalformedPacket("forbidden: another user's job")
        client.joined_rooms.add(job_room(job_id))
        return self._hub.watch_job(client, job_id)


def _is_own(room: str, client: Client) -> bool:
    """Return whether the room is that of the client's user."""
    return client.identity.user is not None and room == user_room(client.identity.user)


def _require_publisher(client: Client) -> None:
    if not client.identity.may_publish:
        raise MalformedPacket(_NOT_A_PUBLISHER)
