"""What an authenticated client can ask for, on either endpoint. Knows no connection and no wording of messages."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from worker.errors import NotFound, NotPossible
from worker.hub.client import Client
from worker.hub.errors import MalformedPacket
from worker.hub.hub import Hub
from worker.hub.names import name_in
from worker.hub.room_commands import RoomCommands
from worker.hub.rooms import job_room, user_room
from worker.hub.tokens import Identity

CancelJob = Callable[[str, Identity], Awaitable[str]]
"""Requests the cancellation of a job for the holder of a token; returns a status for the client. Raises NotFound, also
for another user's job, and NotPossible when the job has ended."""

Reply = Callable[[str, Any], None]
"""Answers a command with a message type and its data."""

ERROR: Final = "error"
"""The type of a reply that reports a failure: {code, message}."""


class ClientCommands:
    """Executes commands by their name."""

    def __init__(self, hub: Hub, rooms: RoomCommands, cancel_job: CancelJob | None) -> None:
        """`cancel_job` None: this hub has no queue."""
        self._hub = hub
        self._rooms = rooms
        self._cancel_job = cancel_job
        self._cancellations: set[asyncio.Task[None]] = set()
        self._by_name: dict[str, Callable[[Client, Any, Reply], None]] = {
            "ping": self._ping,
            "heartbeat": self._ping,
            "echo": self._echo,
            "broadcast": rooms.broadcast,
            "publish": rooms.publish,
            "join-room": rooms.join,
            "leave-room": rooms.leave,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "cancel": self._cancel,
        }

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def execute(self, client: Client, name: str, data: Any, reply: Reply) -> None:
        """Execute a command. MalformedPacket: it is unknown, not valid or not allowed."""
        command = self._by_name.get(name)
        if command is None:
            raise MalformedPacket("unknown type")
        command(client, data, reply)

    def _ping(self, client: Client, data: Any, reply: Reply) -> None:
        client.record_pong()
        reply("pong", data)

    def _echo(self, _: Client, data: Any, reply: Reply) -> None:
        reply("echo", data)

    def _subscribe(self, client: Client, data: Any, reply: Reply) -> None:
        found = _room_of(data)
        if found is not None:
            room, named = found
            self._rooms.join(client, room, lambda _type, _data: reply("subscribed", named))
            return
        message_type = name_in(data, "type")
        client.subscribe(message_type)
        reply("subscribed", {"type": message_type})

    def _unsubscribe(self, client: Client, data: Any, reply: Reply) -> None:
        found = _room_of(data)
        if found is not None:
            room, named = found
            self._rooms.leave(client, room, lambda _type, _data: reply("unsubscribed", named))
            return
        message_type = name_in(data, "type")
        client.unsubscribe(message_type)
        reply("unsubscribed", {"type": message_type})

    def _cancel(self, client: Client, data: Any, reply: Reply) -> None:
        job_id = name_in(data, "jobId")
        if self._cancel_job is None or client.identity.user is None:
            raise MalformedPacket("unsupported: this hub has no queue")
        if client.identity.is_read_only:
            raise MalformedPacket("forbidden: the token may only read")
        task = asyncio.ensure_future(_answer_cancel(job_id, self._cancel_job(job_id, client.identity), reply))
        self._cancellations.add(task)
        task.add_done_callback(self._cancellations.discard)


async def _answer_cancel(job_id: str, cancellation: Awaitable[str], reply: Reply) -> None:
    try:
        status = await cancellation
    except (NotFound, NotPossible) as exc:
        code = "not-found" if isinstance(exc, NotFound) else "not-possible"
        reply(ERROR, {"code": code, "message": str(exc)})
    except Exception:  # noqa: BLE001 -- the store logs its own failures
        reply(ERROR, {"code": "failed", "message": "the job could not be cancelled"})
    else:
        reply("cancel", {"jobId": job_id, "status": status})


def _room_of(data: Any) -> tuple[str, dict[str, str]] | None:
    """Return the room of a subscription to a job or to a user, and what named it, for the answer.

    None: it is a subscription to a type.
    """
    name = data.get("type") if isinstance(data, dict) else data
    if isinstance(name, str):
        return (name, {"type": name}) if name.startswith((job_room(""), user_room(""))) else None
    for field, room_of in (("jobId", job_room), ("userId", user_room)):
        if isinstance(data, dict) and field in data:
            value = name_in(data, field)
            return room_of(value), {field: value}
    return None
