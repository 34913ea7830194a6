"""A notification as the hub knows it: read from a publisher, encoded for a receiver. Knows no connection, no inbox."""

from collections import OrderedDict
from typing import Any, Final, NamedTuple

import orjson

from config.user_id import is_user_id
from worker.core.notification import TASK_PROGRESS
from worker.core.plain_numbers import json_integer
from worker.hub.errors import MalformedPacket

MAX_ID: Final = 200
"""Characters of an id."""


class Message(NamedTuple):
    """One event for one user, as a publisher sent it: a notification, or a progress message.

    A named tuple, because one is made for each, several times as fast as a frozen class.
    """

    user: str
    id: str | None
    """notificationId; None: the publisher gave none, so a repetition cannot be recognised."""
    redelivery: int
    job_id: str | None
    volatile: bool
    """A progress message: sent at once or not at all, and never stored."""
    body: bytes
    """The event's JSON array, exactly as the publisher sent it."""
    has_stack_trace: bool


class StoredMessage(NamedTuple):
    """A message in its user's inbox. A named tuple, as `Message` is."""

    seq: int
    epoch: str
    message: Message


def read_message(data: list[Any], raw: bytes) -> Message:
    """Return the message in a publisher's event `[name, message, {userId}]`; `raw` is its JSON.

    MalformedPacket says what is wrong with it.
    """
    if len(data) != 3 or not isinstance(data[1], dict) or not isinstance(data[2], dict):
        raise MalformedPacket("expected two objects: message and user data")
    _, message, user_data = data
    user = user_data.get("userId")
    if not is_user_id(user):
        raise MalformedPacket("userId is missing or not a user id")
    payload = message.get("payload", {})
    if not isinstance(payload, dict):
        raise MalformedPacket("payload is not an object")
    return Message(
        user,
        _identifier(payload, "notificationId"),
        _redelivery(payload),
        _identifier(payload, "jobId"),
        message.get("message") == TASK_PROGRESS,
        raw,
        "stackTrace" in payload,
    )


def _identifier(payload: dict[str, Any], name: str) -> str | None:
    value = payload.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        raise MalformedPacket(f"{name} is not an id")
    return value


def _redelivery(payload: dict[str, Any]) -> int:
    value = json_integer(payload.get("redelivery", 0))
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise MalformedPacket("redelivery is not a count")
    return value


def stored_message(seq: int, epoch: str, body: bytes) -> StoredMessage:
    """Return a message as an inbox stored it: its number, its inbox's epoch, the event's JSON array."""
    data = orjson.loads(body)
    if not isinstance(data, list):
        raise MalformedPacket("not an event")
    return StoredMessage(seq, epoch, read_message(data, body))


def without_stack_trace(message: dict[str, Any]) -> dict[str, Any]:
    """Return the message as end users may see it (ASVS 16.5: no internals)."""
    payload = {name: value for name, value in message["payload"].items() if name != "stackTrace"}
    return message | {"payload": payload}


def event_body(message: Message, *, stack_trace: bool, position: tuple[str, int] | None) -> bytes:
    """Return the event's JSON array for one kind of receiver.

    `stack_trace`: whether the receiver may see it. `position`: epoch and seq, for receivers that resume by them. They
    are put into the user data, so that the event has two arguments in any case.
    """
    strip = message.has_stack_trace and not stack_trace
    if not strip and position is None:
        return message.body
    event, content, user_data = orjson.loads(message.body)
    if strip:
        content = without_stack_trace(content)
    if position is not None:
        user_data = user_data | {"epoch": position[0], "seq": position[1]}
    return orjson.dumps([event, content, user_data])


_MAX_JOBS: Final = 1024
_MAX_BYTES: Final = 16 * 1024
"""A longer message is not kept."""


class LatestMessages:
    """The latest message of each job; the job without a message for the longest time is forgotten first."""

    def __init__(self) -> None:
        self._by_job: OrderedDict[str, Message] = OrderedDict()

    def of(self, job_id: str) -> Message | None:
        """Return the job's latest message; None: there was none, or it is forgotten."""
        return self._by_job.get(job_id)

    def remember(self, job_id: str, message: Message) -> None:
        """Keep the message in place of the job's previous one."""
        if len(message.body) > _MAX_BYTES:
            return
        self._by_job[job_id] = message
        self._by_job.move_to_end(job_id)
        if len(self._by_job) > _MAX_JOBS:
            self._by_job.popitem(last=False)
