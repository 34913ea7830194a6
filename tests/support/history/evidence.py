"""A history, sorted for the rules."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.support.history.events import (
    Accepted,
    Away,
    Began,
    Complete,
    Event,
    JobAtEnd,
    Killed,
    Left,
    Listed,
    NotificationAtEnd,
    Outage,
    Received,
    Rejected,
    Sent,
    Stopped,
    Unanswered,
    Used,
)

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Arrival:
    """A notification that a receiver got."""

    seen: Received
    message: dict[str, Any]
    user: str
    job: str
    id: str
    sequence: int
    redelivery: int

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = self.message["payload"]
        return payload


@dataclass(slots=True)
class Evidence:
    accepted: dict[str, Accepted] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    arrivals: list[Arrival] = field(default_factory=list)
    unreadable: list[Received] = field(default_factory=list)
    executions: dict[str, list[Began | Left]] = field(default_factory=lambda: defaultdict(list))
    killed: dict[int, float] = field(default_factory=dict)
    jobs: dict[str, JobAtEnd] = field(default_factory=dict)
    listed_twice: list[str] = field(default_factory=list)
    notifications: list[NotificationAtEnd] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    away: list[Away] = field(default_factory=list)
    stops: list[Stopped] = field(default_factory=list)
    usages: list[Used] = field(default_factory=list)
    is_complete: bool = False
    is_listed: bool = False
    max_attempts: int | None = None
    first: float | None = None
    last: float | None = None
    """The monotonic seconds of the first and the last observation that has a time."""

    def by_receiver(self) -> dict[str, list[Arrival]]:
        found: dict[str, list[Arrival]] = defaultdict(list)
        for arrival in self.arrivals:
            found[arrival.seen.receiver].append(arrival)
        return found

    def owner_of(self, job: str) -> str | None:
        if job in self.jobs:
            return self.jobs[job].user
        return self.accepted[job].user if job in self.accepted else None


def sort_events(events: Iterable[Event], max_attempts: int | None) -> Evidence:
    found = Evidence(max_attempts=max_attempts)
    for event in events:
        _add(found, event)
    return found


def _add(found: Evidence, event: Event) -> None:
    match event:
        case Accepted():
            found.accepted.setdefault(event.job, event)
        case Rejected(tag):
            found.rejected.add(tag)
        case Unanswered(tag):
            found.unanswered.add(tag)
        case Received():
            _add_arrival(found, event)
        case Began() | Left():
            found.executions[event.job].append(event)
            _add_time(found, event.at)
        case Killed(process, at):
            found.killed.setdefault(process, at)
            _add_time(found, at)
        case JobAtEnd():
            if event.job in found.jobs:
                found.listed_twice.append(event.job)
            found.jobs[event.job] = event
        case NotificationAtEnd():
            found.notifications.append(event)
        case Complete():
            found.is_complete = found.is_listed = True
        case Listed():
            found.is_listed = True
        case Outage():
            found.outages.append(event)
        case Sent():
            found.sent.append(event)
        case Away():
            found.away.append(event)
        case Stopped():
            found.stops.append(event)
        case Used():
            found.usages.append(event)


def _add_time(found: Evidence, at: float) -> None:
    found.first = at if found.first is None else min(found.first, at)
    found.last = at if found.last is None else max(found.last, at)


def _add_arrival(found: Evidence, seen: Received) -> None:
    try:
        _, message, user = orjson.loads(seen.body)
        if message["message"] == "Task Progress":
            return
        payload = message["payload"]
        arrival = Arrival(
            *(seen, message, user["userId"], payload["jobId"], payload["notificationId"]),
            payload["sequence"],
            payload.get("redelivery", 0),
        )
    except (ValueError, KeyError, TypeError):
        found.unreadable.append(seen)
        return
    found.arrivals.append(arrival)
