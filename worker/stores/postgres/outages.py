"""Reports that the server is away once for all connections of a store, and once that all of them work again.

What the writer notices is reported even if signs of life failed before: only then jobs wait. Where the writer works
again and signs of life do not, that is reported after a few more attempts: at a restart of the server one of the two is
always first.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

WRITER, LISTENER = "writer", "listener"
"""The parts of a store, each with a connection of its own."""

_ATTEMPTS: Final = 3
"""Failures of a part, after the part that was reported works again, that are a trouble of its own."""

OnOutage = Callable[[str, str | None], None]
"""Called with a part and the reason why it fails, and with None when the last of them works again."""


@dataclass(slots=True)
class Outages:
    """What the parts of a store notice of the server."""

    report: OnOutage
    _failing: set[str] = field(default_factory=set)
    _reported: set[str] = field(default_factory=set)
    """The parts that were reported since all of them worked."""
    _unexplained: int = 0
    """How often a part failed while all that were reported worked."""

    def note(self, part: str, reason: str | None) -> None:
        """Note that a part fails for a reason, or works: None."""
        if reason is not None:
            self._failing.add(part)
            if not self._reported or (part not in self._reported and (part == WRITER or self._goes_on_alone())):
                self._reported.add(part)
                self.report(part, reason)
        elif self._failing:
            self._failing.discard(part)
            self._unexplained = 0
            if not self._failing:
                self._reported.clear()
                self.report(part, None)

    def _goes_on_alone(self) -> bool:
        """Count a failure that no report explains; return whether there were so many that it is not a restart."""
        if self._failing & self._reported:
            return False
        self._unexplained += 1
        return self._unexplained >= _ATTEMPTS
