"""Searches jobs without the search index: by another index of the store, or by scanning the table."""

from dataclasses import dataclass
from time import monotonic

from worker.core.job import TERMINAL, JobState
from worker.core.store import JobQuery
from worker.stores.sqlite.connection import Connection
from worker.stores.sqlite.search.filters import ALL_STATES, Filter, SearchRequest, SearchResult, filter_of
from worker.stores.sqlite.statements import BACKOFF, READY, RUNNING, SCHEDULED
from worker.stores.sqlite.transaction import read_counts

_WINDOW = 20_000
"""Jobs scanned between two checks of the deadline."""

MOST_UNFINISHED = 50_000
"""Up to this number, unfinished jobs are read and sorted; with more, the table is scanned from the newest."""


@dataclass(frozen=True, slots=True)
class IndexHint:
    """Which index SQLite must use; without statistics it would guess."""

    clause: str
    """The start of a WHERE clause, after the table."""
    narrow: bool = False
    """Whether most of the jobs in the index match."""


EVERYWHERE = IndexHint("NOT INDEXED WHERE 1")


def choose_index(connection: Connection, query: JobQuery) -> IndexHint:
    alone = len(filter_of(query).terms) == 1
    if query.user_ids is not None and len(query.user_ids) == 1:
        return IndexHint("INDEXED BY jobs_user WHERE 1", narrow=alone)
    states = ALL_STATES if query.states is None else frozenset(query.states)
    if states <= {JobState.FAILED, JobState.CANCELLED}:
        return IndexHint(
            "INDEXED BY jobs_unlucky WHERE state IN ('failed', 'cancelled')", narrow=alone and len(states) == 1
        )
    if states <= {JobState.QUEUED, JobState.RUNNING} and unfinished(connection, states) <= MOST_UNFINISHED:
        return IndexHint(f"WHERE {in_lanes(states)}", narrow=True)
    return EVERYWHERE


def statement(index: IndexHint, filter_: Filter) -> str:
    """Return the query; its last parameters are the range of `seq` and the limit."""
    return (
        f"SELECT seq, {filter_.columns} FROM jobs {index.clause} AND {filter_.where()} "
        "AND seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?"
    )


def scan(connection: Connection, index: IndexHint, request: SearchRequest) -> SearchResult:
    found, below = SearchResult(), request.below
    query = statement(index, request.filter)
    while below > request.first and len(found.rows) <= request.limit:
        low = request.first if index.narrow else max(below - _WINDOW, request.first)
        missing = request.limit + 1 - len(found.rows)
        found.rows.extend(connection.execute(query, (*request.filter.parameters, low, below, missing)))
        below = low
        if monotonic() > request.deadline:
            break
    found.rest = below if below > request.first else None
    return found


def unfinished(connection: Connection, states: frozenset[JobState]) -> int:
    jobs = read_counts(connection).jobs
    return sum(jobs[state] for state in states - TERMINAL)


def in_lanes(states: frozenset[JobState]) -> str:
    """Return the condition that a job is in one of these unfinished states, found by the index of the lanes."""
    waiting = [READY, SCHEDULED, BACKOFF] if JobState.QUEUED in states else []
    lanes = ", ".join(map(str, [*waiting, *([RUNNING] if JobState.RUNNING in states else [])]))
    return f"seq IN (SELECT seq FROM jobs INDEXED BY jobs_unfinished WHERE lane IN ({lanes}))"
