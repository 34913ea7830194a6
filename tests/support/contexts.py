"""What the executor gives a handler, for tests that call one without it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class StandIn:
    """A job's context, and what the handler told it."""

    settings: Any = None
    job_id: str = "0199a1b2-0000-7000-8000-000000000001"
    user_id: str = "user-1"
    attempt: int = 1
    cancelled: bool = False
    told: list[tuple[float, str]] = field(default_factory=list)

    def progress(self, percent: float, note: str = "") -> None:
        self.told.append((percent, note))
