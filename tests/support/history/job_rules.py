"""Rules about jobs: none is lost, invented or doubled, each ends once, no two attempts at once, no undue charge."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from tests.support.history.events import Began
from tests.support.history.evidence import TERMINAL, Evidence

_LONG_AWAY = 5.0
"""Seconds; the store takes a worker for dead after ten, counted from its last sign of life."""
_SAME_MOMENT = 1e-6
"""Seconds; less than this is not an overlap."""


def lost(found: Evidence) -> Iterator[str]:
    """An accepted job exists."""
    if found.is_listed:
        for job, accepted in found.accepted.items():
            if job not in found.jobs:
                yield f"job {job} (tag {accepted.tag}) was accepted and does not exist"


def invented(found: Evidence) -> Iterator[str]:
    """A job exists only if it was accepted, or if its producer got no answer."""
    if not found.is_complete:
        return  # others may have submitted jobs
    tags = {accepted.tag for accepted in found.accepted.values()}
    for job, end in found.jobs.items():
        if job in found.accepted or end.tag in found.unanswered:
            continue
        if end.tag not in found.rejected or end.tag in tags:
            yield f"job {job} (tag {end.tag}) exists and was never accepted"
    for arrival in found.arrivals:
        if arrival.job not in found.jobs and arrival.job not in found.accepted:
            yield f"{arrival.seen.receiver} received a notification of job {arrival.job}, which does not exist"


def rejected_exists(found: Evidence) -> Iterator[str]:
    """A job that was rejected does not exist."""
    tags = {accepted.tag for accepted in found.accepted.values()}
    for job, end in found.jobs.items():
        if end.tag in found.rejected and end.tag not in tags | found.unanswered and job not in found.accepted:
            yield f"job {job} (tag {end.tag}) was rejected and exists"


def accepted_twice(found: Evidence) -> Iterator[str]:
    """One request makes one job, also if it was repeated."""
    jobs: dict[str, list[str]] = defaultdict(list)
    for job, end in found.jobs.items():
        if end.tag is not None:
            jobs[end.tag].append(job)
    for tag, made in jobs.items():
        if len(made) > 1:
            yield f"tag {tag} made several jobs: {sorted(made)}"


def unfinished(found: Evidence) -> Iterator[str]:
    """Every job reaches a terminal state."""
    if found.is_complete:
        for job, end in found.jobs.items():
            if end.state not in TERMINAL:
                yield f"job {job} is still {end.state}"


def ended_twice(found: Evidence) -> Iterator[str]:
    """A job is listed once."""
    for job in found.listed_twice:
        yield f"job {job} is listed twice"


class _Execution(NamedTuple):
    begin: float
    end: float
    process: int
    attempt: int


def overlap(found: Evidence) -> Iterator[str]:
    """Two attempts of a job never run at the same time, unless the first one's service was taken for dead."""
    for job in found.executions:
        for earlier, later in pairwise(sorted(_executions(found, job))):
            if later.begin < earlier.end - _SAME_MOMENT and not _was_away(found, earlier):
                yield f"job {job}: {later} begins during {earlier}"


def _executions(found: Evidence, job: str) -> Iterator[_Execution]:
    begun: dict[tuple[int, int], list[float]] = defaultdict(list)
    for event in found.executions[job]:
        key = (event.process, event.attempt)
        if isinstance(event, Began):
            begun[key].append(event.at)
        elif begun[key]:
            yield _Execution(begun[key].pop(), event.at, *key)
    for key, open_since in begun.items():
        for begin in open_since:
            yield _Execution(begin, found.killed.get(key[0], float("inf")), *key)


def _was_away(found: Evidence, execution: _Execution) -> bool:
    """Whether the process was out of the others' sight for long during the attempt: its result is not accepted."""
    return any(
        away.process == execution.process
        and away.until - away.since >= _LONG_AWAY
        and away.since < execution.end
        and execution.begin < away.until
        for away in found.away
    )


def overcharged(found: Evidence) -> Iterator[str]:
    """A job has at most MaxAttempts attempts."""
    if found.max_attempts is not None:
        for job, end in found.jobs.items():
            if end.attempt > found.max_attempts:
                yield f"job {job} had {end.attempt} attempts of {found.max_attempts}"


def wrong_end(found: Evidence) -> Iterator[str]:
    """A job ends as its handler decides, whatever happens to the service in the meantime."""
    for job, end in found.jobs.items():
        expected = found.accepted[job].expected if job in found.accepted else None
        if expected is not None and end.state in TERMINAL and end.state != expected:
            yield f"job {job} is {end.state} after attempt {end.attempt}, not {expected}: {end.error}"


def held_up(found: Evidence) -> Iterator[str]:
    """Jobs go on while the server of the notifications cannot be reached."""
    begun = {
        job: min(event.at for event in events if isinstance(event, Began))
        for job, events in found.executions.items()
        if any(isinstance(event, Began) for event in events)
    }
    for outage in found.outages:
        for job, accepted in found.accepted.items():
            if accepted.at is None or not outage.since <= accepted.at <= outage.until - outage.patience:
                continue
            if begun.get(job, float("inf")) > accepted.at + outage.patience:
                yield f"job {job} was accepted during an outage of the server and did not begin in {outage.patience} s"
