"""The part of a store's contract for operators: what they can learn of a store, and how a damaged one is recovered."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from worker.core.notification import NotificationFormat


class StoreAdmin(Protocol):
    """What an operator can learn of a store, whatever it is made of."""

    @property
    def created(self) -> bool:
        """Whether opening the store created it: there was none before."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What an operator should know about this store's environment, a sentence each."""
        ...

    async def examine(self) -> list[str]:
        """Check all of the store; return what is wrong, a line each. May take minutes and reads everything."""
        ...


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What was saved of a damaged store."""

    jobs: int
    notifications: int
    unreadable: int
    """Keys under which there may have been something that can no longer be read."""
    rewritten: int
    """Ended runs whose notification was lost: it was written again and marked dead, to be resent by hand."""
    kept: Path
    """The damaged file, under its new name."""


class RecoverStore(Protocol):
    """A function that replaces a damaged store, which no process has open, by one of everything that can be read."""

    def __call__(self, path: Path, now: float, wire: NotificationFormat) -> RecoveryReport:
        """`now` is the wall clock. Raises NotFound, StoreLocked, StoreUnwritable, and StoreCorrupt if nothing can be
        read. Blocks."""
        ...
