"""Names that clients send: of rooms, message types and jobs."""

from typing import Any, Final

from config.user_id import MAX_USER_ID
from worker.hub.errors import MalformedPacket
from worker.hub.rooms import user_room

MAX_NAME: Final = len(user_room("")) + MAX_USER_ID
"""The room of a user with the longest id has the longest name."""


def name_in(data: Any, key: str) -> str:
    """Return the name of a room, a type or a job: `data` itself, or its member `key`.

    MalformedPacket: it is not a name.
    """
    name = data.get(key) if isinstance(data, dict) else data
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise MalformedPacket("malformed: not a name")
    return name
