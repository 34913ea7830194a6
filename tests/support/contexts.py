"""A context for tests that call a handler without the executor."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class StandIn:
    """The context of a job, and the progress that the handler reported."""

    settings: Any = None
    job_id: str = "0199a1b2-0000-7000-8000-000000000001"
    user_id: str = "user-1"
    attempt: int = 1
    cancelled: bool = False
    reported: list[tuple[float, str]] = field(default_factory=list)

    def progress(self, percent: float, note: str = "") -> None:
        self.reported.append((percent, note))
