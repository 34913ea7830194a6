"""A line of the log, and the values that the lines of `log_table` take from their events."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.core import events
from worker.core.job import Job
from worker.core.outcome import Retry
from worker.hub import events as hub

Values = Callable[[Any], Mapping[str, object]]
"""Takes the event; returns named values, for the text or to bind to the record."""


def _nothing(_event: object) -> Mapping[str, object]:
    return {}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One kind of line in the log."""

    level: str
    """A level of loguru."""
    emoji: str
    name: str
    """The field `event` of a JSON line."""
    template: str
    values: Values = _nothing
    """What the text needs besides the event's fields."""
    bound: Values = _nothing
    """What a JSON line holds besides its text."""

    def text(self, event: Any) -> str:
        """Return the text for this event."""
        return self.template.format(event=event, **self.values(event))


def job_ids(job: Job) -> dict[str, object]:
    """Return what every line about a job binds."""
    return {"job_id": job.id, "kind": job.kind, "user_id": job.user_id, "attempt": job.attempt}


def ids_of_job(event: Any) -> Mapping[str, object]:
    return job_ids(event.job)


def attempt_ids(event: events.JobSettled) -> Mapping[str, object]:
    attempt = event.attempt
    bound = job_ids(attempt.job) | {"elapsed_ms": attempt.duration_ms}
    failure = attempt.failure
    return bound if failure is None else bound | {"error_type": failure.type, "error_id": failure.error_id}


def client_ids(event: Any) -> Mapping[str, object]:
    return {"client_id": event.client_id, "user_id": event.user_id}


def client_ids_and_code(event: hub.ClientDisconnected) -> Mapping[str, object]:
    return {"client_id": event.client_id, "user_id": event.user_id, "close_code": event.code}


def user_of(event: Any) -> Mapping[str, object]:
    return {"user": event.user_id or "the worker of this process"}


def error_of(event: Any) -> Mapping[str, object]:
    return {"error": f"{type(event.error).__name__}: {event.error}"}


def loop_error(event: events.LoopFailed) -> Mapping[str, object]:
    return {**error_of(event), "pause": f", retrying in {event.pause:g} s" if event.pause else ""}


def started(event: events.ServiceStarted) -> Mapping[str, object]:
    return {"url": event.url or "no address", "kinds": ", ".join(event.kinds)}


def retry_delay(event: events.JobSettled) -> Mapping[str, object]:
    assert isinstance(event.outcome, Retry)
    return {"delay": max(0.0, event.outcome.run_at - event.attempt.finished_at)}


def recovery(event: events.JobRecovered) -> Mapping[str, object]:
    return {"job": event.decision.job, "consequence": event.decision.consequence}
