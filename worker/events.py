"""What happened, said once. Logs, metrics and pages listen; nobody calls back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from worker.job import Job
from worker.outcome import Attempt, Outcome, Verdict

Emit = Callable[[Any], None]
"""Takes any event of this module or of orgsocket.link; must not raise, must not block."""


@dataclass(frozen=True, slots=True)
class ServiceStarted:
    version: str
    environment: str
    store: str
    url: str | None
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceStopping:
    reason: str
    running: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ServiceStopped:
    given_back: int
    outbox_depth: int


@dataclass(frozen=True, slots=True)
class StoreCreated:
    path: str


@dataclass(frozen=True, slots=True)
class Announced:
    """Something the operator should know once: a key was made, the hub is on."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that works, but should be looked at."""

    text: str


@dataclass(frozen=True, slots=True)
class SettingsReloaded:
    """Read anew; keys as `Worker:Concurrency`."""

    applied: tuple[str, ...]
    waiting: tuple[str, ...]
    """Changed as well, but hold only after a restart."""


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """The settings cannot be used as they are now; those from before hold."""

    reason: str
    """One line."""


@dataclass(frozen=True, slots=True)
class Audited:
    """Somebody ordered something and it was carried out; it stands in the audit trail as well."""

    actor: str
    action: str
    target: str


@dataclass(frozen=True, slots=True)
class JobsAccepted:
    """Newly on disk; said once for each call of intake."""

    kinds: Sequence[str]
    """One for each job."""


@dataclass(frozen=True, slots=True)
class WaitingJobCancelled:
    """Cancelled before it ran; a running one ends by being settled."""

    job_id: str
    kind: str
    user_id: str


@dataclass(frozen=True, slots=True)
class JobStarted:
    job: Job


@dataclass(frozen=True, slots=True)
class JobSettled:
    attempt: Attempt
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class JobsReleased:
    """Given back at shutdown; their attempts are not counted."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class OwnershipLost:
    """The attempt had ended, but the job was no longer ours: nothing was written."""

    job: Job


@dataclass(frozen=True, slots=True)
class HandlerAbandoned:
    """The handler did not end when told to; what it still does is nobody's business."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobRecovered:
    """Found running at start: its service had died."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class LoopFailed:
    """A loop met an unexpected error; it goes on after `pause` seconds."""

    where: str
    error: BaseException
    pause: float


@dataclass(frozen=True, slots=True)
class IntakeRefused:
    """The store is full: no new jobs, no claims, until room is made."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotificationsDelivered:
    count: int
    up_to: int


@dataclass(frozen=True, slots=True)
class NotificationRejected:
    notification_id: str
    job_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class LoopBlocked:
    """The event loop stood still for `seconds`."""

    seconds: float
    stack: str


@dataclass(frozen=True, slots=True)
class Pruned:
    jobs: int
