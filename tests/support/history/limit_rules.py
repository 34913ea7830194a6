"""Rules about time and size: bounded use, durations that no clock changes, stops that end."""

from collections.abc import Iterator

from tests.support.history.evidence import Evidence

_DURATION_SLACK = 60.0
"""Seconds by which a duration may exceed the time between the first and the last observation."""


def unbounded(found: Evidence) -> Iterator[str]:
    """What is bounded stays below its bound."""
    for used in found.usages:
        if used.amount > used.limit:
            yield f"{used.what}: {used.amount:g}, more than {used.limit:g}"


def wrong_duration(found: Evidence) -> Iterator[str]:
    """A duration is not negative, and no longer than the run itself, whatever the wall clock does."""
    longest = float("inf")
    if found.first is not None and found.last is not None:
        longest = found.last - found.first + _DURATION_SLACK
    for arrival in found.arrivals:
        seconds = arrival.payload.get("duration", 0) / 1000
        if not 0 <= seconds <= longest:
            yield f"job {arrival.job}: a duration of {seconds:g} s in a run of {longest:g} s"


def endless_stop(found: Evidence) -> Iterator[str]:
    """A stop ends in time."""
    for stop in found.stops:
        if stop.seconds > stop.limit:
            yield f"process {stop.process} stopped after {stop.seconds:.1f} s, later than {stop.limit:g} s"
