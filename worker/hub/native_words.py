"""The native door's messages `{type, timestamp, data}`: read and worded. Knows no connection."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from worker.clock import Clock, rfc3339
from worker.hub.core import NOTIFICATION, PROGRESS
from worker.hub.news import News, without_trace
from worker.hub.packets import Malformed, parse

_MAX_NAME: Final = 128


@dataclass(frozen=True, slots=True)
class MessageDialect:
    """News as messages of type `notification` and `progress`."""

    trace: bool
    clock: Clock

    def word(self, news: News, position: tuple[str, int] | None) -> bytes:
        _, message, user = orjson.loads(news.body)
        if news.volatile:
            return worded(PROGRESS, message.get("payload", {}), self.clock)
        if news.has_trace and not self.trace:
            message = without_trace(message)
        data = message | {"userId": user["userId"]}
        if position is not None:
            data |= {"epoch": position[0], "seq": position[1]}
        return worded(NOTIFICATION, data, self.clock)


def worded(kind: str, data: Any, clock: Clock) -> bytes:
    """A message of the hub's."""
    return orjson.dumps({"type": kind, "timestamp": rfc3339(clock.now()), "data": data})


def read(data: bytes, *, binary: bool) -> tuple[str, Any]:
    """Type and data of a client's message. Malformed says what is wrong with it."""
    if binary:
        raise Malformed("malformed: messages are text")
    try:
        message = parse(data)
    except Malformed as exc:
        raise Malformed(f"malformed: {exc}") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Malformed("malformed: expected an object with a type")
    return message["type"], message.get("data")


def name_of(value: object) -> str:
    """A room, a type, a job: 1 to 128 printable characters."""
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME or not value.isprintable():
        raise Malformed("malformed: no name")
    return value
