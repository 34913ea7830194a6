"""Finds jobs, newest first, in windows over all jobs; a page that would take too long is cut short."""

from dataclasses import replace
from time import monotonic
from typing import Any

from worker.core.job import TERMINAL, JobState
from worker.core.store import JobIds, JobPage, JobQuery
from worker.stores.postgres.database import Connection
from worker.stores.postgres.filters import Filter, filter_of, row_number
from worker.stores.postgres.queries import record_of
from worker.stores.postgres.search_index import narrow

SEARCH_SECONDS = 0.2
"""A page is cut short when looking for it takes longer; its cursor goes on from there."""

_WINDOW = 20_000
"""Jobs looked at between two looks at the clock."""

_NEWEST = 2_000
"""Jobs that are read before the search index is asked."""

_FEW = 50_000
"""Up to so many unfinished jobs are looked up by their tickets; of more, the newest are what is looked for."""


async def find(connection: Connection, query: JobQuery) -> JobPage:
    """Return a page. Raises ValueError if the cursor is not one of the store's."""
    below = None if query.cursor is None else row_number(query.cursor)
    if any(values is not None and not values for values in (query.states, query.user_ids, query.organizations)):
        return JobPage([], None)
    first, last, unfinished = await connection.fetchrow(
        "SELECT coalesce((SELECT min(seq) FROM jobs), 1), coalesce((SELECT max(seq) FROM jobs), 0), "
        "coalesce((SELECT sum(queued + running) FROM tally), 0)::bigint"
    )
    limit = max(query.limit, 1)
    few = unfinished <= _FEW
    filter_, below = filter_of(query, few), last + 1 if below is None else below
    rows: list[tuple[Any, ...]] = []
    rest: int | None = None
    is_narrow = _is_narrow(query, few)
    if query.text and few:
        # The newest jobs first: a text that many jobs have is found there, and the index would return all of them.
        newest = max(below - _NEWEST, first)
        rows, _ = await _windows(connection, filter_, newest, below, limit, narrow=True)
        below = newest
        if len(rows) <= limit and below > first:
            is_narrow = await narrow(connection, filter_, query.text) or is_narrow
    if len(rows) <= limit:
        more, rest = await _windows(connection, filter_, first, below, limit - len(rows), is_narrow)
        rows += more
    if len(rows) > limit:
        rest = rows[limit - 1][0]
    return JobPage([record_of(row[1:]) for row in rows[:limit]], None if rest is None else str(rest))


async def find_ids(connection: Connection, query: JobQuery) -> JobIds:
    """Return a page of ids."""
    page = await find(connection, replace(query, brief=True))
    return JobIds([job.id for job in page.jobs], page.cursor)


def _is_narrow(query: JobQuery, few_unfinished: bool) -> bool:
    """Return whether an index leads to few jobs other than those that are meant."""
    states = None if query.states is None else frozenset(query.states)
    alone = query.text is None and query.since is None and query.until is None and query.kind is None
    if states is None:
        one_user = query.user_ids is not None and len(query.user_ids) == 1 and query.organizations is None
        one_organization = query.organizations is not None and len(query.organizations) == 1 and query.user_ids is None
        return alone and (one_user or one_organization)
    if few_unfinished and not states & TERMINAL:
        return True
    return alone and not query.user_ids and not query.organizations and len(states) == 1 and states <= {
        JobState.FAILED, JobState.CANCELLED,
    }  # fmt: skip


async def _windows(
    connection: Connection, filter_: Filter, first: int, below: int, limit: int, narrow: bool
) -> tuple[list[tuple[Any, ...]], int | None]:
    """Return up to `limit` + 1 rows, and where to go on if the time was over."""
    rows: list[tuple[Any, ...]] = []
    number = len(filter_.parameters)
    statement = (
        f"SELECT seq, {filter_.columns} FROM jobs WHERE {filter_.where()} "
        f"AND seq >= ${number + 1} AND seq < ${number + 2} ORDER BY seq DESC LIMIT ${number + 3}"
    )
    deadline = monotonic() + SEARCH_SECONDS
    while below > first and len(rows) <= limit:
        low = first if narrow else max(below - _WINDOW, first)
        found = await connection.fetch(statement, *filter_.parameters, low, below, limit + 1 - len(rows))
        rows += map(tuple, found)
        below = low
        if monotonic() > deadline:
            break
    return rows, below if below > first else None
