"""The events of the service. Logs, metrics and pages listen to them; listeners observe and change nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from worker.core.job import Job
from worker.core.outcome import Attempt, Outcome, RecoveryDecision

Emit = Callable[[Any], None]
"""Takes any event of this module, of the hub or of the link. Must not block."""


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
    """Information for the operator, for example that a key was created."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning for the operator about something that works, but should be checked."""

    text: str


@dataclass(frozen=True, slots=True)
class SettingsReloaded:
    """The settings were read again. Keys such as `Worker:Concurrency`."""

    applied: tuple[str, ...]
    waiting: tuple[str, ...]
    """Keys that changed too, but take effect only after a restart."""


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """The changed settings cannot be used; the previous ones stay in effect."""

    reason: str
    """One line."""


@dataclass(frozen=True, slots=True)
class Audited:
    """An administrative action was carried out; it is in the audit trail as well."""

    actor: str
    action: str
    target: str


@dataclass(frozen=True, slots=True)
class JobsAccepted:
    """Jobs were stored; one event for each call of enqueue."""

    kinds: Sequence[str]
    """One for each job."""


@dataclass(frozen=True, slots=True)
class WaitingJobCancelled:
    """A job was cancelled before it ran; a running job ends with JobSettled instead."""

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
    """Jobs were released at shutdown; their attempts are not counted."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class OwnershipLost:
    """An attempt ended, but its job belonged to another owner by then: nothing was written."""

    job: Job


@dataclass(frozen=True, slots=True)
class HandlerAbandoned:
    """A handler did not stop when requested; the service no longer waits for it."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobRecovered:
    """A job was running when its service died, and was found at the next start."""

    decision: RecoveryDecision


@dataclass(frozen=True, slots=True)
class LoopFailed:
    """A loop caught an unexpected error; it continues after `pause` seconds."""

    where: str
    error: BaseException
    pause: float


@dataclass(frozen=True, slots=True)
class LoopRecovered:
    """A loop that had failed works again."""

    where: str
    """As in LoopFailed."""


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The server of a shared store cannot be reached, or not by the part that gives signs of life."""

    location: str
    reason: str
    jobs_wait: bool = True
    """False while only signs of life fail: jobs go on, and other workers may run them as well if that lasts."""


@dataclass(frozen=True, slots=True)
class StoreBack:
    """The server of a shared store answers again, after so many seconds."""

    location: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PartDegraded:
    """A part of the service is not healthy, for a reason that no other event reports."""

    part: str
    description: str
    remedy: str


@dataclass(frozen=True, slots=True)
class PartRecovered:
    """A part that was reported is healthy again after so many seconds."""

    part: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ClockSet:
    """The wall clock was set forward, or back if `seconds` is negative, while the service ran."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ListenerFailed:
    """A listener of events raised an exception. What it should have done for that event was not done."""

    listener: str
    """The name of its function or class, with the module."""
    error: Exception
    first: bool
    """Whether it is this listener's first failure since the start."""


@dataclass(frozen=True, slots=True)
class IntakeRefused:
    """The store is full: no jobs are accepted or claimed until there is room."""

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
    """The event loop was blocked for `seconds`."""

    seconds: float
    stack: str


@dataclass(frozen=True, slots=True)
class ResourcesShort:
    """An attempt could not begin; the job is released without counting it, and fewer jobs are started for a while."""

    job: Job
    limit: str
    """Which limit was reached, and the remedy."""


@dataclass(frozen=True, slots=True)
class ResourcesSuffice:
    """No attempt has failed to begin for a while; the shortage lasted so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HandlerBlocks:
    """The coroutine handler of this kind has blocked the event loop; reported once per kind."""

    kind: str


@dataclass(frozen=True, slots=True)
class Pruned:
    jobs: int
