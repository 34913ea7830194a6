"""Names that clients send: of rooms, message types and jobs."""

from typing import Any, Final

from worker.hub.errors import MalformedPacket

_MAX_NAME: Final = 128


def name_in(data: Any, key: str) -> str:
    """Return the name of a room, a type or a job: `data` itself, or its member `key`.

    MalformedPacket: it is not a name.
    """
    name = data.get(key) if isinstance(data, dict) else data
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise MalformedPacket("malformed: not a name")
    return name
