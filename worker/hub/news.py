"""A notification as the hub knows it: read from a publisher, worded for a receiver. Knows no socket, no inbox."""

from dataclasses import dataclass
from typing import Any

import orjson

from worker.hub.auth import is_user_id
from worker.hub.packets import Malformed
from worker.notification import TASK_PROGRESS

MAX_ID = 200


@dataclass(frozen=True, slots=True)
class News:
    """One event for one user, as a publisher sent it."""

    user: str
    id: str | None
    """notificationId; None: the publisher gave none, so it cannot be told from its repetition."""
    redelivery: int
    job_id: str | None
    volatile: bool
    """A progress message: worth sending now or never."""
    body: bytes
    """The event's JSON array, as it came."""
    has_trace: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """News in its user's inbox."""

    seq: int
    epoch: str
    news: News


def read_news(data: list[Any], raw: bytes) -> News:
    """The arguments `(message, {userId})` of a publisher's event. Malformed says what is wrong with them."""
    if len(data) != 3 or not isinstance(data[1], dict) or not isinstance(data[2], dict):
        raise Malformed("expected two objects: message and user data")
    _, message, user_data = data
    user = user_data.get("userId")
    if not is_user_id(user):
        raise Malformed("userId is missing or no user id")
    payload = message.get("payload", {})
    if not isinstance(payload, dict):
        raise Malformed("payload is no object")
    return News(
        user=user,
        id=_identifier(payload, "notificationId"),
        redelivery=_redelivery(payload),
        job_id=_identifier(payload, "jobId"),
        volatile=message.get("message") == TASK_PROGRESS,
        body=raw,
        has_trace="stackTrace" in payload,
    )


def _identifier(payload: dict[str, Any], name: str) -> str | None:
    value = payload.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        raise Malformed(f"{name} is no id")
    return value


def _redelivery(payload: dict[str, Any]) -> int:
    value = payload.get("redelivery", 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise Malformed("redelivery is no count")
    return value


def without_trace(message: dict[str, Any]) -> dict[str, Any]:
    """The message as people may see it (ASVS 16.5: no internals to end users)."""
    payload = {name: value for name, value in message["payload"].items() if name != "stackTrace"}
    return message | {"payload": payload}


def event_body(news: News, *, trace: bool, position: tuple[str, int] | None) -> bytes:
    """The event's JSON array for one kind of receiver.

    `trace`: it may see stackTrace. `position`: epoch and seq, for those who asked to resume by them; the two
    are put into the user data, so that there are two arguments as ever.
    """
    strip = news.has_trace and not trace
    if not strip and position is None:
        return news.body
    event, message, user = orjson.loads(news.body)
    if strip:
        message = without_trace(message)
    if position is not None:
        user = user | {"epoch": position[0], "seq": position[1]}
    return orjson.dumps([event, message, user])
