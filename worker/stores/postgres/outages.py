"""Reports that the server is away once for all connections of a store, and once that all of them work again.

What the writer notices is reported even if signs of life failed before: only then jobs wait.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

WRITER, LISTENER = "writer", "listener"
"""The parts of a store, each with a connection of its own."""

OnOutage = Callable[[str, str | None], None]
"""Called with a part and the reason why it fails, and with None when the last of them works again."""


@dataclass(slots=True)
class Outages:
    """What the parts of a store notice of the server."""

    report: OnOutage
    _failing: set[str] = field(default_factory=set)
    _reported: set[str] = field(default_factory=set)
    """The parts that were reported since all of them worked."""

    def note(self, part: str, reason: str | None) -> None:
        """Note that a part fails for a reason, or works: None."""
        if reason is not None:
            self._failing.add(part)
            if not self._reported or (part == WRITER and part not in self._reported):
                self._reported.add(part)
                self.report(part, reason)
        elif self._failing:
            self._failing.discard(part)
            if not self._failing:
                self._reported.clear()
                self.report(part, None)
