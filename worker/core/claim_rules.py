"""What a store observes when it hands out jobs: the kinds that are run here, and limits. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from worker.errors import LimitReached

_RETRY_SECONDS = 10.0
"""When to try again after a rejection, if the rate at which the jobs end is not known."""
_LONGEST_RETRY = 3600.0

LimitScope = Literal["kind", "user", "organization", "key"]
"""What a limit counts by. `key` is the API key that a job was submitted with."""

HeldBy = Literal["unserved", "paused", "running", "per minute"]
"""Why due jobs are not claimed: no worker runs their kind; their kind is paused; as many jobs as a limit allows run;
as many as a limit allows were started within the last minute."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Limits for the jobs of one kind, user, organisation or API key."""

    scope: LimitScope
    name: str | None = None
    """None: each one that has no limit of its own name is limited alone."""
    running: int | None = None
    """Most jobs that run at once."""
    waiting: int | None = None
    """Most jobs that are queued; further ones are rejected."""
    per_minute: int | None = None
    """Most attempts that start within a minute."""
    waiting_bytes: int | None = None
    """Most bytes that the payloads of queued jobs have together; further jobs are rejected."""

    def retry_after(self, jobs: int) -> float:
        """Return after how many seconds to try again to submit so many jobs that were rejected."""
        if not self.per_minute:
            return _RETRY_SECONDS
        return min(max(60.0 * jobs / self.per_minute, 1.0), _LONGEST_RETRY)

    def require_place(self, name: str, waiting: int, more: int) -> None:
        """Raise LimitReached if `more` jobs of this name may not wait besides those that do."""
        if self.waiting is not None and waiting + more > self.waiting:
            raise LimitReached(
                f"{waiting:,} jobs of {self.scope} {name!r} are waiting, and Worker:Limits allows {self.waiting:,}: "
                "submit it again later",
                self.retry_after(more),
            )

    def require_bytes(self, name: str, waiting: int, more: int, jobs: int) -> None:
        """Raise LimitReached if `jobs` jobs of `more` bytes may not wait besides the bytes that do."""
        if self.waiting_bytes is not None and waiting + more > self.waiting_bytes:
            raise LimitReached(
                f"the waiting jobs of {self.scope} {name!r} have {waiting:,} bytes, and with {more:,} more it would be "
                f"over the {self.waiting_bytes:,} that Worker:Limits allows: submit it again later",
                self.retry_after(jobs),
            )


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """Which jobs may be claimed. Without any, all of them."""

    kinds: frozenset[str] | None = None
    """The kinds that are run here; jobs of others wait. None: all kinds."""
    limits: Sequence[Limit] = ()

    @property
    def limit_bytes(self) -> bool:
        """Whether a limit is about the bytes of waiting jobs."""
        return any(limit.waiting_bytes is not None for limit in self.limits)


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """Queued jobs of one priority, organisation, user, kind and API key."""

    priority: int
    organization: str | None
    user_id: str | None
    """None: so many users wait that several share a line."""
    kind: str
    submitter: str | None
    """The API key."""
    queued: int
    running: int
    position: int | None
    """How many lines have their turn before it; None: it has no job that is due and may be claimed."""
    held_by: HeldBy | None
