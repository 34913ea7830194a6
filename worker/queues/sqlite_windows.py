"""Looks for jobs without the search index: by an index of the store, or in windows over all jobs."""

from dataclasses import dataclass
from time import monotonic

from worker.job import TERMINAL, JobState
from worker.queue import JobQuery
from worker.queues.sqlite_filter import ALL_STATES, Asked, Filter, Found, filter_of
from worker.queues.sqlite_ledger import read_counts
from worker.queues.sqlite_schema import BACKOFF, PAUSED, READY, RUNNING, SCHEDULED, Connection

_WINDOW = 20_000
"""Jobs looked at between two looks at the clock."""

MOST_UNFINISHED = 50_000
"""Up to so many unfinished jobs are looked at and sorted; of more, the newest are those people look for."""


@dataclass(frozen=True, slots=True)
class Index:
    """Where to look, said to SQLite, which without statistics would guess."""

    clause: str
    """The start of a WHERE clause, after the table."""
    narrow: bool = False
    """It leads to few jobs that are not found."""


EVERYWHERE = Index("NOT INDEXED WHERE 1")


def index_for(connection: Connection, query: JobQuery) -> Index:
    alone = len(filter_of(query).terms) == 1
    if query.user_ids is not None and len(query.user_ids) == 1:
        return Index("INDEXED BY jobs_user WHERE 1", narrow=alone)
    states = ALL_STATES if query.states is None else frozenset(query.states)
    if states <= {JobState.FAILED, JobState.CANCELLED}:
        return Index(
            "INDEXED BY jobs_unlucky WHERE state IN ('failed', 'cancelled')", narrow=alone and len(states) == 1
        )
    if states <= {JobState.QUEUED, JobState.RUNNING} and unfinished(connection, states) <= MOST_UNFINISHED:
        return Index(f"INDEXED BY jobs_unfinished WHERE lane IN {lanes_of(states)}", narrow=True)
    return EVERYWHERE


def statement(index: Index, filter_: Filter) -> str:
    """Its last parameters are the range of `seq` and the limit."""
    return (
        f"SELECT seq, {filter_.columns} FROM jobs {index.clause} AND {filter_.where()} "  # noqa: S608
        "AND seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?"
    )


def windows(connection: Connection, index: Index, asked: Asked) -> Found:
    found, below = Found(), asked.below
    query = statement(index, asked.filter)
    while below > asked.first and len(found.rows) <= asked.limit:
        low = asked.first if index.narrow else max(below - _WINDOW, asked.first)
        missing = asked.limit + 1 - len(found.rows)
        found.rows.extend(connection.execute(query, (*asked.filter.parameters, low, below, missing)))
        below = low
        if monotonic() > asked.deadline:
            break
    found.rest = below if below > asked.first else None
    return found


def unfinished(connection: Connection, states: frozenset[JobState]) -> int:
    jobs = read_counts(connection)[0].jobs
    return sum(jobs[state] for state in states - TERMINAL)


def lanes_of(states: frozenset[JobState]) -> str:
    lanes = [READY, SCHEDULED, BACKOFF, PAUSED] if JobState.QUEUED in states else []
    return f"({', '.join(map(str, [*lanes, *([RUNNING] if JobState.RUNNING in states else [])]))})"
