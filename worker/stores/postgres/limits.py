"""Counts the jobs that limits are about, over all workers, and says which jobs they exclude."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.core.claim_rules import ClaimRules, HeldBy, Limit, LimitScope
from worker.core.job import NewJob
from worker.stores.postgres.texts import optional_to_database, to_database
from worker.stores.postgres.transaction import WriteTransaction

MINUTE = 60.0

SCOPES: tuple[LimitScope, ...] = ("kind", "user", "organization", "key")

Names = tuple[str, str, str | None, str | None]
"""Kind, user, organisation and API key of a job, as the database has them."""
_Name = tuple[LimitScope, str]

_RUNNING = """
    SELECT kind, user_id, organization, submitter, count(*) FROM jobs
    WHERE seq IN (SELECT convert_from(payload, 'UTF8')::bigint FROM pgqueuer WHERE status = 'picked')
        AND state = 'running' GROUP BY kind, user_id, organization, submitter
"""

# Not what a worker whose clock is far ahead started: it would count until the other clocks come there.
_STARTED = "SELECT kind, user_id, organization, submitter, at FROM starts WHERE at > $1 AND at < $2 ORDER BY at"


def named(names: Names) -> Iterable[_Name]:
    """Return what limits may count a job by."""
    return [(scope, name) for scope, name in zip(SCOPES, names, strict=True) if name is not None]


def limit_of(rules: ClaimRules, scope: LimitScope, name: str) -> Limit | None:
    """Return the limit for a name: its own, or that for each name of the scope. `name` is as the database has it."""
    found = None
    for limit in rules.limits:
        if limit.scope == scope and (limit.name is None or to_database(limit.name) == name):
            if limit.name is not None:
                return limit
            found = limit
    return found


@dataclass(slots=True)
class Usage:
    """What runs, and what was started within the last minute (wall clock)."""

    rules: ClaimRules
    now: float
    running: Counter[_Name] = field(default_factory=Counter)
    starts: dict[_Name, list[float]] = field(default_factory=dict)

    @property
    def has_rates(self) -> bool:
        return any(limit.per_minute is not None for limit in self.rules.limits)

    def full(self, names: Names) -> tuple[_Name, HeldBy] | None:
        """Return which limit allows no further job with these names, and why; None if all allow one."""
        for scope, name in named(names):
            limit = limit_of(self.rules, scope, name)
            if limit is None:
                continue
            if limit.running is not None and self.running[scope, name] >= limit.running:
                return (scope, name), "running"
            if limit.per_minute is not None and len(self.starts.get((scope, name), ())) >= limit.per_minute:
                return (scope, name), "per minute"
        return None

    def names_at_their_limit(self) -> Iterable[_Name]:
        """Return the names of which as many jobs run as may."""
        for (scope, name), running in self.running.items():
            limit = limit_of(self.rules, scope, name)
            if limit is not None and limit.running is not None and running >= limit.running:
                yield scope, name

    def start(self, names: Names) -> None:
        for one in named(names):
            self.running[one] += 1
            self.starts.setdefault(one, []).append(self.now)

    def reopens_at(self) -> float | None:
        """Return when the next attempt may start that a rate forbids now (wall clock)."""
        times = []
        for (scope, name), starts in self.starts.items():
            limit = limit_of(self.rules, scope, name)
            if limit is not None and limit.per_minute is not None and 0 < limit.per_minute <= len(starts):
                times.append(starts[-limit.per_minute] + MINUTE)
        return min(times, default=None)


async def read_usage(connection: Any, rules: ClaimRules, now: float) -> Usage:
    """Return what counts for the limits now; nothing is read where there are none."""
    usage = Usage(rules, now)
    if not rules.limits:
        return usage
    for *names, number in await connection.fetch(_RUNNING):
        for one in named((names[0], names[1], names[2], names[3])):
            usage.running[one] += number
    if usage.has_rates:
        for *names, at in await connection.fetch(_STARTED, now - MINUTE, now + MINUTE):
            for one in named((names[0], names[1], names[2], names[3])):
                usage.starts.setdefault(one, []).append(at)
    return usage


# -- intake ------------------------------------------------------------------------------------------------

_COLUMNS = {"kind": "kind", "user": "user_id", "organization": "organization", "key": "submitter"}

_QUEUED = """
    SELECT (SELECT count(*) FROM (SELECT FROM ready JOIN jobs USING (seq) WHERE jobs.{column} = $1 LIMIT $2) AS due)
        + (SELECT count(*) FROM (SELECT FROM jobs WHERE wait_at IS NOT NULL AND {column} = $1 LIMIT $2) AS later)
"""

_QUEUED_BYTES = """
    SELECT coalesce(sum(octet_length(payload)), 0)::bigint FROM (
        SELECT jobs.payload FROM ready JOIN jobs USING (seq) WHERE jobs.{column} = $1
        UNION ALL SELECT payload FROM jobs WHERE wait_at IS NOT NULL AND {column} = $1) AS queued
"""


async def require_places(transaction: WriteTransaction, jobs: Sequence[NewJob]) -> None:
    """Raise LimitReached if more jobs would be queued than a limit allows."""
    rules = transaction.rules
    if not rules.limit_bytes and not any(limit.waiting is not None for limit in rules.limits):
        return
    wanted: Counter[_Name] = Counter()
    sizes: Counter[_Name] = Counter()
    for job in jobs:
        organization, submitter = optional_to_database(job.organization), optional_to_database(job.submitter)
        for one in named((to_database(job.kind), to_database(job.user_id), organization, submitter)):
            wanted[one] += 1
            sizes[one] += len(job.payload)
    for (scope, name), more in sorted(wanted.items()):
        limit = limit_of(rules, scope, name)
        if limit is not None and limit.waiting is not None:
            statement = _QUEUED.format(column=_COLUMNS[scope])
            waiting = await transaction.connection.fetchval(statement, name, limit.waiting + 1)
            limit.require_place(name, waiting, more)
        if limit is not None and limit.waiting_bytes is not None:
            waiting = await transaction.connection.fetchval(_QUEUED_BYTES.format(column=_COLUMNS[scope]), name)
            limit.require_bytes(name, waiting, sizes[scope, name], more)
