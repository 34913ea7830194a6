"""Progress and cancellation of an evaluation."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.insignia.errors import EvaluationCancelled
from worker.insignia.messages import message


@dataclass(frozen=True, slots=True)
class ProgressReporter:
    """Passes progress to a callback and asks whether to stop."""

    callback: Callable[[float, str], None] | None = None
    is_cancelled: Callable[[], bool] | None = None

    def report(self, percent: float, note: str) -> None:
        """Report progress. Raises EvaluationCancelled if the evaluation should stop."""
        if self.is_cancelled is not None and self.is_cancelled():
            raise EvaluationCancelled(message("evaluation_cancelled"))
        if self.callback is not None:
            self.callback(percent, note)


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of an evaluation, between two percentages."""

    note: str
    start: float
    end: float

    def report(self, reporter: ProgressReporter, done: int, whole: int) -> None:
        """Report that `done` parts of `whole` are done. Raises EvaluationCancelled if the evaluation should stop."""
        share = min(1.0, done / whole) if whole else 1.0
        reporter.report(self.start + (self.end - self.start) * share, self.note)


HISTORY, ROWS = Phase("reading", 0, 18), Phase("reading", 18, 45)
DECIDING = Phase("deciding", 45, 80)
IDS, PROSPECTS = Phase("writing", 80, 84), Phase("writing", 84, 88)
JSON_FILE, CSV_FILE = Phase("writing", 88, 92), Phase("writing", 92, 95)
INDEX_FILE, WORKBOOK_FILE = Phase("writing", 95, 97), Phase("writing", 97, 99)
