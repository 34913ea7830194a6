"""Decides which failures are one trouble, so that the log has one line when it begins and one when it is over.

A store that is locked or full lets several loops fail, again and again: all that fail for that cause are one trouble.
It is over when each of them works again; those that try again after minutes only are not waited for. Other errors are
a trouble for each loop.
"""

import math
from dataclasses import dataclass, field

from worker.core.events import LoopFailed
from worker.errors import StoreError

_PATIENCE = 10.0
"""Seconds. A loop that pauses longer, such as the pruning, does not tell when a trouble is over."""


@dataclass(slots=True)
class Trouble:
    """A trouble that has begun; also what the line at its end is made of."""

    cause: str
    where: str
    """Which loop failed first."""
    since: float
    failures: int = 0
    seconds: float = 0.0
    """How long it took, once it is over."""
    failing: dict[str, float] = field(default_factory=dict)
    """The loops that have not worked since they failed, and how many seconds each pauses."""


@dataclass(slots=True)
class Troubles:
    """The troubles that have begun and are not over. Times are those of a monotonic clock, in seconds."""

    _open: dict[str, Trouble] = field(default_factory=dict)

    def begin(self, cause: str, where: str, pause: float, now: float) -> bool:
        """Note a failure of the loop `where`, which tries again after a pause; return whether a trouble begins."""
        trouble = self._open.get(cause)
        begins = trouble is None
        if trouble is None:
            trouble = self._open[cause] = Trouble(cause, where, now)
        trouble.failures += 1
        trouble.failing[where] = pause
        return begins

    def end(self, where: str, now: float) -> list[Trouble]:
        """Note that the loop `where` works; return the troubles that are over with it."""
        over = []
        for trouble in list(self._open.values()):
            pause = trouble.failing.pop(where, math.inf)
            if not trouble.failing or (pause <= _PATIENCE < min(trouble.failing.values())):
                trouble.seconds = now - trouble.since
                over.append(self._open.pop(trouble.cause))
        return over


def cause_of(event: LoopFailed) -> str:
    """Return the name of the trouble that a failure belongs to."""
    return type(event.error).__name__ if isinstance(event.error, StoreError) else event.where
