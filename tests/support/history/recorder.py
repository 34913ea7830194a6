"""Records a history in memory, and in a file, so that a failed run can be judged again."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.history.events import Accepted, Event, Rejected, Unanswered, encode
from worker.errors import Unavailable, WorkerError


def tag_of(payload: Any) -> str | None:
    """Return the producer's name of the job, which it puts into the payload."""
    tag = payload.get("tag") if isinstance(payload, dict) else None
    return tag if isinstance(tag, str) else None


@dataclass(slots=True)
class Recorder:
    """Collects events; other processes append theirs to files of their own."""

    file: Path | None = None
    events: list[Event] = field(default_factory=list)
    expected: Callable[[Mapping[str, Any]], str | None] = lambda _job: None
    """How a submitted job has to end, if that is certain."""

    def add(self, *events: Event) -> None:
        self.events.extend(events)
        if self.file is not None:
            with self.file.open("ab") as file:
                file.writelines(encode(event) for event in events)

    def accept(self, jobs: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> None:
        """Record what `POST /api/v1/jobs/batch` answered to these jobs."""
        now = time.monotonic()
        self.add(
            *(
                Accepted(answer["jobId"], job.get("userId"), tag_of(job.get("payload")), self.expected(job), now)
                for job, answer in zip(jobs, answers, strict=True)
            )
        )

    def fail(self, jobs: Sequence[Mapping[str, Any]], error: WorkerError) -> None:
        """Record that the service rejected these jobs, or did not answer."""
        kind = Unanswered if isinstance(error, Unavailable) else Rejected
        self.add(*(kind(tag) for job in jobs if (tag := tag_of(job.get("payload"))) is not None))
