"""What the routes of jobs, notifications, sessions and the audit trail answer, as models: the words of /openapi.json.

The views in `worker.control` and beside the handlers make the answers; tests hold them against these models.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.alias_generators import to_camel

from worker.job import JobState

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""UTC, RFC 3339, with milliseconds."""


class Answer(BaseModel):
    """A part of an answer. New fields may join; none leaves."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class Links(Answer):
    self: str
    cancel: str
    retry: str


class AcceptedInBatch(Answer):
    """What became of one job. `conflict`: its key is taken by that job, whose payload differs."""

    job_id: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled", "conflict"]
    """Where the job of that id stands now: one that was there already may have ended."""
    created: bool


class AcceptedJob(AcceptedInBatch):
    """What became of the job."""

    links: Links


class AcceptedJobs(Answer):
    jobs: list[AcceptedInBatch]


class Progress(Answer):
    percent: float
    note: str


class JobInList(Answer):
    """A job without what may be long. The fields of errors are there when it has failed."""

    job_id: str
    task_type: str
    user_id: str
    organization: str | None
    status: JobState
    priority: int
    run: int
    attempt: int
    max_attempts: int
    created_at: Timestamp
    run_at: Timestamp
    started_at: Timestamp | None
    completed_at: Timestamp | None
    duration: float | None
    """Milliseconds of the last attempt."""
    cancel_requested: bool
    error_type: str | None = None
    error: str | None = None
    error_id: str | None = None
    progress: Progress | None = None
    """Of a job that runs now."""


class Attempt(Answer):
    """An attempt that was not the job's last word."""

    run: int
    attempt: int
    """0: the run was cancelled before it was attempted."""
    ended: Literal["retried", "succeeded", "failed", "cancelled"]
    started_at: Timestamp | None
    completed_at: Timestamp | None
    duration: float | None
    error_type: str | None = None
    error: str | None = None
    error_id: str | None = None
    stack_trace: str | None = None
    result: Any = None


class Delivery(Answer):
    """What became of the notification of one run."""

    notification_id: str
    run: int
    sequence: int
    status: Literal["pending", "delivered", "dead"]
    stored_at: Timestamp
    delivered_at: Timestamp | None
    shown_at: Timestamp | None
    """When a browser first said that it showed it."""
    shown_count: int
    redelivery: int
    reason: str | None


class JobAnswer(JobInList):
    """A job with everything the store knows of it."""

    payload: Any
    result: Any = None
    stack_trace: str | None = None
    attempts: list[Attempt]
    """What came before its present attempt, oldest first."""
    deliveries: list[Delivery]


class JobList(Answer):
    jobs: list[JobInList]
    cursor: str | None
    """Give it back for the next page; null: this was the last."""


class CancelAnswer(Answer):
    """`cancelled`: it waited. `requested`: it runs, and will be told."""

    status: Literal["cancelled", "requested"]


class BulkAnswer(Answer):
    """`skipped`: meanwhile in another state. `cursor`: there are more; ask again with it."""

    matched: int
    done: int
    skipped: int
    cursor: str | None


class NotificationAnswer(Answer):
    """A notification, with the message as it is sent."""

    id: int
    notification_id: str
    job_id: str
    user_id: str
    sequence: int
    status: Literal["pending", "delivered", "dead"]
    created_at: Timestamp
    delivered_at: Timestamp | None
    redelivery: int
    reason: str | None
    body: Any


class NotificationList(Answer):
    notifications: list[NotificationAnswer]
    cursor: str | None


class ResendAnswer(Answer):
    """Its new place in the outbox."""

    id: int


class HubAccess(Answer):
    """Where to listen for one's own notifications, and the token to do it with; it holds for an hour."""

    path: str
    token: str


class SessionAnswer(Answer):
    """Who is logged in. `hub`: null where no hub runs in this process."""

    name: str
    scopes: list[Literal["enqueue", "read", "admin", "user"]]
    user_id: str
    hub: HubAccess | None
    expires_at: Timestamp | None
    """Null: not by a session, so it does not end."""


class MeAnswer(Answer):
    """Whom the token speaks for."""

    user_id: str


class AuditEntryAnswer(Answer):
    """Who ordered what."""

    at: Timestamp
    actor: str
    action: str
    target: str
    detail: Any = None


class AuditList(Answer):
    entries: list[AuditEntryAnswer]
    cursor: str | None


Grade = Literal["Healthy", "Degraded", "Unhealthy"]


class HealthEntry(Answer):
    """How one part is, and its figures."""

    status: Grade
    description: str
    data: dict[str, Any]


class HealthAnswer(Answer):
    """As good as its worst part."""

    status: Grade
    entries: dict[str, HealthEntry]


class LinkHealth(RootModel[dict[str, dict[str, Any]]]):
    """The figures of `link`, and of `hub` where one runs in this process."""


class Problem(Answer):
    """RFC 9457. `detail` says what is wrong, where, and what to do."""

    type: str
    title: str
    status: int
    detail: str | None = None
    parameter: str | None = None
    """The query parameter at fault."""
    error_id: str | None = None
    """The log has more under it."""


class Requested(Answer):
    """It will be done."""

    status: Literal["requested"]
