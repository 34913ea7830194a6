"""Lets a loop report each of its failures, and once that it works again."""

from dataclasses import dataclass

from worker.core.events import Emit, LoopFailed, LoopRecovered


@dataclass(slots=True)
class LoopFailures:
    """The failures of one loop. `where` says what it was doing, such as "claiming jobs"."""

    where: str
    emit: Emit
    is_failing: bool = False
    """Whether it has not worked since it failed."""
    error: BaseException | None = None
    """Of the last failure, as long as it has not worked since."""

    def failed(self, error: BaseException, pause: float) -> None:
        """Report a failure; the loop goes on after `pause` seconds."""
        self.is_failing, self.error = True, error
        self.emit(LoopFailed(self.where, error, pause))

    def succeeded(self) -> None:
        """Report, after a failure, that the loop works again."""
        if self.is_failing:
            self.is_failing, self.error = False, None
            self.emit(LoopRecovered(self.where))
