"""Lines of queued jobs, and what their jobs have in common. In memory, for the writer's thread."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from worker.core.claim_rules import HeldBy
from worker.stores.sqlite.due_jobs import DueJobs
from worker.stores.sqlite.gauges import Gauge


class Owner(NamedTuple):
    """What the jobs of one line have in common."""

    rank: int
    """Minus the priority."""
    organization: str | None
    user_id: str | None
    kind: str
    submitter: str | None


def line_id(rank: int, organization: str | None, user_id: str | None, kind: str, submitter: str | None) -> int:
    """Return the number of a line, which is the same in every process. If two lines had the same, they would be one."""
    name = orjson.dumps((rank, organization, user_id, kind, submitter))
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), signed=True) or 1


class Line:
    """The queued and running jobs of one owner."""

    __slots__ = (
        "due", "gauges", "id", "kind", "organization", "parked_by", "queued", "rank", "running", "submitter", "user_id",
    )  # fmt: skip

    def __init__(self, number: int, owner: Owner) -> None:
        self.id = number
        self.rank, self.organization, self.user_id, self.kind, self.submitter = owner
        self.queued = 0
        self.due = DueJobs()
        """Those of the queued jobs that are due."""
        self.running = 0
        self.gauges: Sequence[Gauge] = ()
        self.parked_by: Gauge | None = None

    @property
    def owner(self) -> Owner:
        return Owner(self.rank, self.organization, self.user_id, self.kind, self.submitter)

    def full_gauge(self, now: float) -> Gauge | None:
        """Return a gauge that allows no more of these jobs to run at `now` (monotonic clock)."""
        return next((gauge for gauge in self.gauges if gauge.held_by(now)), None)

    def held_by(self, now: float) -> HeldBy | None:
        """Return why none of these jobs may be claimed; None if one may."""
        return next((held_by for gauge in self.gauges if (held_by := gauge.held_by(now))), None)

    def count(self, *, waiting: int = 0, running: int = 0, started_at: float | None = None) -> None:
        """Add to what the gauges count; `started_at` (monotonic clock) counts an attempt for the rates."""
        for gauge in self.gauges:
            gauge.waiting += waiting
            gauge.running += running
            if started_at is not None:
                gauge.note_start(started_at)


Turns = OrderedDict[str | None, OrderedDict[str | None, list[Line]]]
"""Organisations, and in each its users, with their lines; the first has the next turn."""


def lines_instead_of(parked: Line, turns: Turns, one_organization: bool) -> list[Line]:
    """Return the lines that have the turn of a parked one: others of its user, or of its organisation's next user.

    Within one organisation every user has a turn of its own.
    """
    users = turns.get(parked.organization, OrderedDict())
    if parked.user_id in users or one_organization or not users:
        return users.get(parked.user_id, [])
    user_id = next(iter(users))
    users.move_to_end(user_id)
    return users[user_id]
