"""Bound the memory that unfinished messages of all clients hold together (CWE-400)."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class IncompleteMessages:
    """The connections that hold bytes of an unfinished message, in the order in which they began."""

    max_bytes: int
    held_bytes: int = 0
    _holders: dict[int, tuple[int, Callable[[], None]]] = field(default_factory=dict)

    def hold(self, key: int, size: int, give_up: Callable[[], None]) -> None:
        """Note how many bytes a connection holds now.

        While all together hold too many, the connection that began first has to give up: honest clients complete
        their messages.
        """
        before, _ = self._holders.get(key, (0, give_up))
        self._holders[key] = (size, give_up)
        self.held_bytes += size - before
        while self.held_bytes > self.max_bytes:
            oldest = next(iter(self._holders))
            give_up_oldest = self._holders[oldest][1]
            self.release(oldest)
            give_up_oldest()

    def release(self, key: int) -> None:
        """Note that a connection holds nothing any more."""
        held = self._holders.pop(key, None)
        if held is not None:
            self.held_bytes -= held[0]
