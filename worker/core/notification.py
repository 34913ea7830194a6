"""The message that a user receives when a run ends. Only this module knows its JSON."""

import hashlib
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, assert_never

import orjson
import regex

from worker.core.clock import rfc3339
from worker.core.job import JobRecord
from worker.core.outcome import Attempt, CancelledOutcome, Ended, Failed, Outcome, Retry, Succeeded

NAMESPACE = uuid.UUID("6f0c3a52-95f4-5d0b-9f4e-0f9f1d1c7f11")
"""The published namespace of notification ids: UUIDv5 (RFC 9562, 5.5) of "{job id}:{run}"."""

TASK_FINISH = "Task Finish"
TASK_FAILED = "Task Failed"
TASK_PROGRESS = "Task Progress"

PENDING_BYTES = 4 * 1024 * 1024
"""Bytes of pending notifications that are read, or kept in memory, at once."""

_FRAME_OVERHEAD = 64
"""Bytes kept free around the body: packet types, ack id."""
_ADDED_LATER = 64
"""Bytes kept free in the body for the sequence number, and for the count of a redelivery."""


@dataclass(frozen=True, slots=True)
class NotificationFormat:
    """The settings of the WebSocket section that determine the content of notifications."""

    event: str = "socket-notification"
    max_payload: int = 1_000_000
    """Bytes (UTF-8) of a whole frame."""
    include_stack_trace: bool = True
    include_result: bool = False


class Notification(NamedTuple):
    """An encoded notification that lacks only the user's next sequence number.

    The number is drawn in the transaction that ends the run, so the body is kept in two halves that are joined there:
    it is encoded once, and stored as it will be sent.
    """

    id: str
    job_id: str
    user_id: str
    head: bytes
    tail: bytes

    def body(self, sequence: int) -> bytes:
        """Return the event's JSON array, as it follows the packet type on the wire."""
        return b"%b%d%b" % (self.head, sequence, self.tail)


_OF_NAMESPACE = hashlib.sha1(NAMESPACE.bytes, usedforsecurity=False)
_VARIANTS = {f"{digit:x}": f"{0x8 | digit & 0x3:x}" for digit in range(16)}
"""What each digit in the place of the variant becomes (RFC 9562, 4.1)."""


def notification_id(job_id: str, run: int) -> str:
    """Return the id of a run's notification, which is the same each time it is sent."""
    # uuid.uuid5 in half the time: one of these is made for every job.
    hashed = _OF_NAMESPACE.copy()
    hashed.update(b"%b:%d" % (job_id.encode(), run))
    text = hashed.hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:32]}"


def notification_for(attempt: Attempt, outcome: Outcome, wire: NotificationFormat) -> Notification | None:
    """Return the notification of a run that ended; None for a retry, which users are not notified of."""
    match outcome:
        case Retry():
            return None
        case Succeeded() | Failed() | CancelledOutcome():
            return _ended(attempt, outcome, wire)
        case _:
            assert_never(outcome)


def cancelled_before_run(job: JobRecord, now: float, wire: NotificationFormat) -> Notification:
    """Return the notification of a job that was cancelled while it waited for an attempt; `now` is the wall clock."""
    payload = _payload(
        job.kind, job.id, job.run, job.attempt, completed_at=now, duration_ms=job.duration_ms or 0.0, success=False
    )
    payload["error"] = "Cancelled"
    return _encode(payload, user_id=job.user_id, success=False, wire=wire)


def _ended(attempt: Attempt, outcome: Ended, wire: NotificationFormat) -> Notification:
    job = attempt.job
    success = isinstance(outcome, Succeeded)
    payload = _payload(
        job.kind, job.id, job.run, job.attempt, attempt.finished_at, attempt.duration_ms, success=success
    )
    if isinstance(outcome, Succeeded):
        if wire.include_result and outcome.result is not None:
            payload["result"] = orjson.loads(outcome.result)
    else:
        payload["error"] = outcome.failure.message
        if wire.include_stack_trace and outcome.failure.stack_trace is not None:
            payload["stackTrace"] = outcome.failure.stack_trace
        payload["errorId"] = outcome.failure.error_id
        if outcome.failure.code:
            payload["errorCode"], payload["errorTh"] = outcome.failure.code, outcome.failure.text_th
    return _encode(payload, user_id=job.user_id, success=success, wire=wire)


def _payload(
    kind: str, job_id: str, run: int, attempt: int, completed_at: float, duration_ms: float, *, success: bool
) -> dict[str, Any]:
    return {
        "completedAt": rfc3339(completed_at),
        "taskType": kind,
        "duration": round(duration_ms, 2),
        "status": "success" if success else "failed",
        "jobId": job_id,
        "notificationId": notification_id(job_id, run),
        "attempt": attempt,
    }


def _encode(payload: dict[str, Any], *, user_id: str, success: bool, wire: NotificationFormat) -> Notification:
    limit = wire.max_payload - _FRAME_OVERHEAD - _ADDED_LATER
    # The sequence is last in the payload, so that the body can be split right before it.
    opening = _opening(wire.event, success)
    tail = b'}},{"userId":' + orjson.dumps(user_id) + b"}]"
    inner = _fitted(payload, limit - len(opening) - len(tail))
    return Notification(
        id=payload["notificationId"],
        job_id=payload["jobId"],
        user_id=user_id,
        head=opening + inner[:-1] + b',"sequence":',
        tail=tail,
    )


@lru_cache(maxsize=8)
def _opening(event: str, success: bool) -> bytes:
    """Return everything before the payload; there are only a few variants."""
    message = {"success": success, "message": TASK_FINISH if success else TASK_FAILED}
    return orjson.dumps([event, message])[:-2] + b',"payload":'


def _fitted(payload: dict[str, Any], limit: int) -> bytes:
    """Return the payload's JSON within `limit` bytes; stackTrace, error and result are shortened in this order."""
    encoded = orjson.dumps(payload)
    if len(encoded) <= limit:
        return encoded
    payload = payload | {"truncated": True}
    for name in ("stackTrace", "error", "result"):
        if name not in payload:
            continue
        over = len(orjson.dumps(payload)) - limit
        if over <= 0:
            break
        payload[name] = _cut(payload[name], over) if isinstance(payload[name], str) else None
    return orjson.dumps(payload)


def _cut(text: str, over: int) -> str:
    """Return `text` shorter by at least `over` bytes of JSON, cut between graphemes (UAX 29), as Thai vowels need."""
    target = len(orjson.dumps(text)) - over
    size = 2
    kept: list[str] = []
    for grapheme in regex.findall(r"\X", text):
        size += len(orjson.dumps(grapheme)) - 2
        if size > target:
            break
        kept.append(grapheme)
    return "".join(kept)


def refit(body: bytes, limit: int) -> bytes:
    """Return a stored body, shortened for a server whose frame limit (bytes) is smaller than when it was stored."""
    if len(body) + _FRAME_OVERHEAD <= limit:
        return body
    event, message, user = orjson.loads(body)
    rest = len(orjson.dumps([event, message | {"payload": None}, user])) - len(b"null")
    message["payload"] = orjson.loads(_fitted(message["payload"], limit - _FRAME_OVERHEAD - rest))
    return orjson.dumps([event, message, user])


def redelivered(body: bytes, times: int) -> bytes:
    """Return a stored body with its redelivery count, so that receivers do not drop it as a repetition."""
    event, message, user = orjson.loads(body)
    message["payload"]["redelivery"] = times
    return orjson.dumps([event, message, user])


def progress(job_id: str, kind: str, user_id: str, percent: float, note: str, event: str) -> bytes:
    """Return the body of a progress message, which is never stored."""
    payload = {"jobId": job_id, "taskType": kind, "status": "running", "percent": percent, "note": note}
    return orjson.dumps([event, {"success": True, "message": TASK_PROGRESS, "payload": payload}, {"userId": user_id}])
