"""The shapes of responses: the handlers build these dictionaries, and /openapi.json describes them.

mypy checks each dictionary against its type, so responses match their description without any work at run time. Fields
with a deprecated name are answered until 1.0, next to the new ones.
"""

import inspect
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from worker.core.job import JobState

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""UTC, RFC 3339, with milliseconds."""

_Response = TypeVar("_Response", bound=type)


def response(shape: _Response) -> _Response:
    """Let pydantic describe the shape with its docstring, and let tests reject fields that it does not name."""
    description = inspect.cleandoc(shape.__doc__ or "")
    config = ConfigDict(extra="forbid", json_schema_extra={"description": description} if description else {})
    return with_config(config)(shape)


def deprecated(replacement: str) -> Any:
    """Mark a field that is answered until 1.0; `replacement` is the new name."""
    return Field(deprecated=True, description=f"Deprecated until 1.0: use {replacement}.")


@response
class Links(TypedDict):
    self: str
    cancel: str
    retry: str


@response
class AcceptedInBatch(TypedDict):
    """The result for one job. `conflict`: the key belongs to that job, whose payload differs."""

    jobId: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled", "conflict"]
    """The present status of the job with that id: an existing job may have ended."""
    created: bool


@response
class AcceptedJob(AcceptedInBatch):
    """The result for the job."""

    links: Links


@response
class AcceptedJobs(TypedDict):
    jobs: list[AcceptedInBatch]


@response
class ProgressAnswer(TypedDict):
    percent: float
    note: str


@response
class JobInList(TypedDict):
    """A job without its long fields. The error's fields are present when it has failed."""

    jobId: str
    taskType: str
    userId: str
    organization: str | None
    status: JobState
    priority: int
    run: int
    attempt: int
    maxAttempts: int
    createdAt: Timestamp
    runAt: Timestamp
    startedAt: Timestamp | None
    completedAt: Timestamp | None
    durationMs: float | None
    """Milliseconds of the last attempt."""
    duration: Annotated[float | None, deprecated("durationMs")]
    cancelRequested: bool
    errorType: NotRequired[str | None]
    error: NotRequired[str | None]
    errorId: NotRequired[str | None]
    errorCode: NotRequired[str]
    """Of a message that has a Thai text."""
    errorTh: NotRequired[str]
    progress: NotRequired[ProgressAnswer]
    """Of a running job."""


@response
class AttemptAnswer(TypedDict):
    """An earlier attempt of the job."""

    run: int
    attempt: int
    """0: the run was cancelled before its first attempt."""
    ended: Literal["retried", "succeeded", "failed", "cancelled"]
    startedAt: Timestamp | None
    completedAt: Timestamp | None
    durationMs: float | None
    duration: Annotated[float | None, deprecated("durationMs")]
    errorType: NotRequired[str | None]
    error: NotRequired[str | None]
    errorId: NotRequired[str | None]
    errorCode: NotRequired[str]
    """Of a message that has a Thai text."""
    errorTh: NotRequired[str]
    stackTrace: NotRequired[str | None]
    result: NotRequired[Any]


@response
class DeliveryAnswer(TypedDict):
    """The delivery of one run's notification."""

    notificationId: str
    run: int
    sequence: int
    status: Literal["pending", "delivered", "dead"]
    storedAt: Timestamp
    deliveredAt: Timestamp | None
    shownAt: Timestamp | None
    """When a browser first reported that it showed the notification."""
    shownCount: int
    redelivery: int
    reason: str | None


@response
class JobAnswer(JobInList):
    """A job with everything the store keeps about it."""

    payload: Any
    result: NotRequired[Any]
    stackTrace: NotRequired[str | None]
    errorDetails: NotRequired[dict[str, Any]]
    """Of a failed job: what helps to correct it, such as `headings` and `missing` of an insignia job."""
    attempts: list[AttemptAnswer]
    """The earlier attempts, oldest first."""
    deliveries: list[DeliveryAnswer]


@response
class JobList(TypedDict):
    jobs: list[JobInList]
    cursor: str | None
    """Send it to get the next page; null: this is the last page."""


@response
class CancelAnswer(TypedDict):
    """`cancelled`: the job was waiting. `requested`: it runs, and receives the request."""

    status: Literal["cancelled", "requested"]


@response
class BulkAnswer(TypedDict):
    """`skipped`: the state had changed in the meantime. `cursor`: there are more; send it to continue."""

    matched: int
    done: int
    skipped: int
    cursor: str | None


@response
class NotificationAnswer(TypedDict):
    """A notification, with the message as it is sent."""

    id: int
    notificationId: str
    jobId: str
    userId: str
    sequence: int
    status: Literal["pending", "delivered", "dead"]
    createdAt: Timestamp
    deliveredAt: Timestamp | None
    redelivery: int
    reason: str | None
    body: Any


@response
class NotificationList(TypedDict):
    notifications: list[NotificationAnswer]
    cursor: str | None


@response
class ResendAnswer(TypedDict):
    """The new position in the outbox."""

    id: int


@response
class HubAccess(TypedDict):
    """Where to listen for one's own notifications, and a token for it that is valid for an hour."""

    path: str
    token: str


@response
class JobCounts(TypedDict):
    """How many of the caller's jobs are in each status; more than 1,000 count as 1,000."""

    jobs: dict[str, int]
    version: str
    """Changes with every new job, and with every change of one of the newest 50."""


@response
class SessionAnswer(TypedDict):
    """The caller. `hub`: null where no hub runs in this process."""

    name: str
    scopes: list[str]
    userId: str
    defaultUserId: str | None
    """WebSocket:DefaultUserId, the user of jobs that name none; null for a bound key."""
    hub: HubAccess | None
    expiresAt: Timestamp | None
    """Null: the caller has no session that ends."""


@response
class MeAnswer(TypedDict):
    """The user of the token."""

    userId: str


@response
class AuditEntryAnswer(TypedDict):
    """One change and the caller who requested it."""

    at: Timestamp
    actor: str
    action: str
    target: str
    detail: Any


@response
class AuditList(TypedDict):
    entries: list[AuditEntryAnswer]
    cursor: str | None


Grade = Literal["Healthy", "Degraded", "Unhealthy"]


@response
class HealthEntry(TypedDict):
    """The state of one part, with its figures."""

    status: Grade
    description: str
    data: dict[str, Any]
    since: NotRequired[Timestamp]
    """When the part stopped being healthy, within five seconds."""
    remedy: NotRequired[str]
    """What to do; only for parts that are not healthy."""


@response
class HealthAnswer(TypedDict):
    """The state of the whole: that of its worst part."""

    status: Grade
    entries: dict[str, HealthEntry]


@response
class LinkHealth(TypedDict):
    """The figures of the link, and of the hub where one runs in this process."""

    link: NotRequired[dict[str, Any]]
    hub: NotRequired[dict[str, Any]]


@response
class Problem(TypedDict):
    """RFC 9457. `detail` says what is wrong, where, and what to do."""

    type: str
    title: str
    status: int
    detail: NotRequired[str]
    parameter: NotRequired[str]
    """The query parameter that is wrong."""
    errorId: NotRequired[str]
    code: NotRequired[str]
    """Of a message that has a Thai text."""
    detailTh: NotRequired[str]
    """The log has the details under this id."""


@response
class Requested(TypedDict):
    """The request is accepted and will be carried out."""

    status: Literal["requested"]
