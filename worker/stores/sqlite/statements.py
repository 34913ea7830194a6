"""SQL that several operations share: lanes, job states, lists as parameters."""

from collections.abc import Iterable

import orjson

from worker.core.job import TRANSITIONS, JobAction

READY, SCHEDULED, BACKOFF, RUNNING = 0, 1, 2, 3
"""The lanes of unfinished jobs: due; scheduled; waiting after a failed attempt; claimed. Ended jobs have NULL. The next
claim moves jobs that have become due into the ready lane."""


def can(action: JobAction) -> str:
    """Return the condition, on a row of `jobs`, that the action is possible in its state."""
    return f"jobs.state IN ({', '.join(repr(str(state)) for state in TRANSITIONS[action].sources)})"


def becomes(action: JobAction) -> str:
    """Return the assignment of the state that the action leads to."""
    return f"state = '{TRANSITIONS[action].target}'"


def json_list(values: Iterable[str | int]) -> str:
    """Return one parameter for `IN (SELECT value FROM json_each(?))`, however many values there are."""
    return orjson.dumps(list(values)).decode()
