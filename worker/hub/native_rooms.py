"""The native door's orders about rooms: who may enter which, who hears a broadcast. Knows no connection's life."""

from typing import Any, Final

from worker.hub.client import Client
from worker.hub.core import Core
from worker.hub.frames import text_frame
from worker.hub.native_line import DOOR, NativeLine
from worker.hub.native_words import name_of, worded
from worker.hub.news import News
from worker.hub.packets import Malformed
from worker.hub.rooms import job_room, user_room

_MAX_ROOMS: Final = 50


class NativeRooms:
    """`user:` and `task:` rooms need the right; other names are open to every authenticated client, if to anybody."""

    def __init__(self, core: Core, *, are_open: bool) -> None:
        self._core = core
        self._open_rooms = are_open

    def broadcast(self, _: NativeLine, client: Client, data: Any) -> None:
        if not client.identity.may_publish:
            raise Malformed("forbidden: the token lacks the scope publish")
        if not isinstance(data, dict):
            raise Malformed("broadcast needs an object as data")
        room = data.get("room")
        frame = text_frame(worded("broadcast", data | {"from": client.id}, self._core.clock))
        for receiver in self._receivers(room):
            if "broadcast" in (receiver.topics or ()) and not receiver.peer.closing:
                receiver.peer.write(frame)
                receiver.sent += 1
                self._core.counters.messages_out += 1

    def _receivers(self, room: object) -> tuple[Client, ...]:
        if room is None:
            return tuple(client for client in self._core.clients.values() if client.door == DOOR)
        return tuple(client for client in self._core.rooms.members(name_of(room)) if client.door == DOOR)

    def join(self, line: NativeLine, client: Client, data: Any) -> None:
        room = name_of(data.get("room") if isinstance(data, dict) else data)
        if len(line.rooms) >= _MAX_ROOMS and room not in line.rooms:
            raise Malformed(f"more than {_MAX_ROOMS} rooms")
        last = self._admit(line, client, room)
        line.say("room-joined", {"room": room}, self._core.clock)
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

    def leave(self, line: NativeLine, client: Client, data: Any) -> None:
        room = name_of(data.get("room") if isinstance(data, dict) else data)
        if room not in line.rooms:
            raise Malformed("not in this room")
        line.rooms.discard(room)
        self._core.rooms.leave(room, client)
        line.say("room-left", {"room": room}, self._core.clock)
