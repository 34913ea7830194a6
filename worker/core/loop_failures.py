"""Lets a loop report each of its failures, and once that it works again."""

from dataclasses import dataclass

from worker.core.events import Emit, LoopFailed, LoopRecovered


@dataclass(slots=True)
class LoopFailures:
    """The failures of one loop. `where` says what it was doing, such as "claiming jobs"."""

    where: str
    emit: Emit
    error: BaseException | None = None
    """Of the last failure, as long as it has not worked since."""

    @property
    def is_failing(self) -> bool:
        """Return whether it has not worked since it failed."""
        return self.error is not None

    def failed(self, error: BaseException, pause: float) -> None:
        """Report a failure; the loop goes on after `pause` seconds."""
        self.error = error
        self.emit(LoopFailed(self.where, error, pause))

    def succeeded(self) -> None:
        """Report, after a failure, that the loop works again."""
        if self.is_failing:
            self.error = None
            self.emit(LoopRecovered(self.where))
