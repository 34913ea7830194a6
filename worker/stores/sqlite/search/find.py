"""Finds jobs, newest first: with the search index if there is one, else by scanning the table of jobs.

With the index a page is built from three parts: jobs that have not ended, which a small index of the store
knows; jobs that ended since the search index was last brought on; and what that index offers. The store has the last
word on each of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import monotonic

from worker.core.job import TERMINAL
from worker.core.store import JobIds, JobPage, JobQuery
from worker.stores.sqlite.connection import Connection
from worker.stores.sqlite.queries import record_of
from worker.stores.sqlite.search.filters import (
    STATE_COLUMN,
    Filter,
    Row,
    SearchRequest,
    SearchResult,
    filter_of,
    row_id,
    variants,
)
from worker.stores.sqlite.search.index_file import KIND, ORGANIZATION, SHELF, STATE, USER
from worker.stores.sqlite.search.index_reader import IndexSnapshot, SearchFile
from worker.stores.sqlite.search.table_scan import EVERYWHERE, MOST_UNFINISHED, choose_index, in_lanes, scan, unfinished
from worker.stores.sqlite.statements import json_list

SEARCH_SECONDS = 0.2
"""A search that takes longer returns an incomplete page, whose cursor continues it."""

_MOST_UNINDEXED = 10_000
"""Up to this number, jobs that ended since the index was updated are searched in addition to it."""


def find(connection: Connection, search: SearchFile, query: JobQuery, seconds: float | None = None) -> JobPage:
    """Return a page, newest first. It may be short and still have a cursor, which continues the search.

    `seconds`: how long it may take; None: SEARCH_SECONDS.
    """
    deadline = monotonic() + (SEARCH_SECONDS if seconds is None else seconds)
    return search.with_snapshot(connection, lambda snapshot: _find(connection, snapshot, query, deadline))


def find_ids(connection: Connection, search: SearchFile, query: JobQuery) -> JobIds:
    page = find(connection, search, replace(query, brief=True))
    return JobIds([job.id for job in page.jobs], page.cursor)


def _find(connection: Connection, snapshot: IndexSnapshot | None, query: JobQuery, deadline: float) -> JobPage:
    first, below = _range(connection, query.cursor)
    if any(values is not None and not values for values in (query.states, query.user_ids, query.organizations)):
        return JobPage([], None)
    request = SearchRequest(query, filter_of(query), first, below, max(query.limit, 1), deadline)
    if not request.filter.terms or snapshot is None or _index_is_behind(connection, snapshot, request.filter):
        found = scan(connection, choose_index(connection, query), request)
    else:
        found = _indexed(connection, snapshot, request)
    return _page(found, request.limit)


def _range(connection: Connection, cursor: str | None) -> tuple[int, int]:
    """Return the jobs to search, as `seq` in [first, below). Raises ValueError if the cursor is not valid."""
    # Two subqueries: for min and max in one query, SQLite would read the whole table.
    first, last = connection.execute(
        "SELECT coalesce((SELECT min(seq) FROM jobs), 1), coalesce((SELECT max(seq) FROM jobs), 0)"
    ).fetchone()
    return first, last + 1 if cursor is None else row_id(cursor)


def _page(found: SearchResult, limit: int) -> JobPage:
    rows = found.rows[:limit]
    rest = rows[-1][0] if len(found.rows) > limit else found.rest
    return JobPage([record_of(row[1:]) for row in rows], None if rest is None else str(rest))


# -- with the index -----------------------------------------------------------------------------------------


def _index_is_behind(connection: Connection, snapshot: IndexSnapshot, filter_: Filter) -> bool:
    """Return whether too many jobs are not in the index, or it belongs to another store."""
    (store,) = connection.execute("SELECT store FROM tally").fetchone()
    if store != snapshot.store:
        return True
    behind = connection.execute(
        "SELECT 1 FROM outbox WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", (snapshot.up_to, _MOST_UNINDEXED)
    ).fetchone()
    return behind is not None or unfinished(connection, filter_.unfinished) > MOST_UNFINISHED


def _indexed(connection: Connection, snapshot: IndexSnapshot, request: SearchRequest) -> SearchResult:
    others = [*_unfinished_rows(connection, request), *_unindexed_rows(connection, snapshot, request)]
    found = _ended_rows(connection, snapshot, request) if request.filter.ended else SearchResult()
    together = {row[0]: row for row in (*others, *found.rows) if found.rest is None or row[0] >= found.rest}
    found.rows = [together[seq] for seq in sorted(together, reverse=True)[: request.limit + 1]]
    return found


def _unfinished_rows(connection: Connection, request: SearchRequest) -> list[Row]:
    filter_ = request.filter
    if not filter_.unfinished:
        return []
    # The rows are read after their `seq` are sorted: a payload may be long.
    seqs = connection.execute(
        f"SELECT seq FROM jobs WHERE {in_lanes(filter_.unfinished)} "
        f"AND seq < ? AND {filter_.where()} ORDER BY seq DESC LIMIT ?",
        (request.below, *filter_.parameters, request.limit + 1),
    ).fetchall()
    return _among(connection, request, [seq for (seq,) in seqs])


def _unindexed_rows(connection: Connection, snapshot: IndexSnapshot, request: SearchRequest) -> list[Row]:
    """Return rows of jobs that ended since the index was updated."""
    if not request.filter.ended:
        return []
    seqs = connection.execute(
        "SELECT DISTINCT jobs.seq FROM outbox CROSS JOIN jobs ON jobs.id = outbox.job_id "
        "WHERE outbox.id > ? AND jobs.lane IS NULL AND jobs.seq < ? ORDER BY jobs.seq DESC",
        (snapshot.up_to, request.below),
    ).fetchall()
    return _among(connection, request, [seq for (seq,) in seqs])


def _among(connection: Connection, request: SearchRequest, seqs: Sequence[int]) -> list[Row]:
    """Return the rows that match the filter, of those with the given `seq`, which must be in falling order."""
    if not seqs:
        return []
    # CROSS JOIN: from the list to the jobs, in its order; otherwise SQLite may scan all jobs.
    return connection.execute(
        f"SELECT seq, {request.filter.columns} FROM (SELECT value AS place FROM json_each(?)) "
        f"CROSS JOIN jobs ON jobs.seq = place WHERE {request.filter.where()} LIMIT ?",
        (json_list(seqs), *request.filter.parameters, request.limit + 1),
    ).fetchall()


# -- jobs that are in the index


def _ended_rows(connection: Connection, snapshot: IndexSnapshot, request: SearchRequest) -> SearchResult:
    request = _within(snapshot, request)
    marks = _marks(snapshot, request.query)
    if not marks and not request.query.text:
        return scan(connection, EVERYWHERE, request)
    found = SearchResult()
    for seqs in _candidates(snapshot, marks, request):
        found.rows += [row for row in _among(connection, request, seqs) if row[STATE_COLUMN] in request.filter.ended]
        if len(found.rows) > request.limit:
            break
        if monotonic() > request.deadline:
            found.rest = seqs[-1]
            break
    return found


def _within(snapshot: IndexSnapshot, request: SearchRequest) -> SearchRequest:
    query = request.query
    if query.since is None and query.until is None:
        return request
    earliest, latest = snapshot.created_between(query.since, query.until)
    return replace(request, first=max(request.first, earliest), below=min(request.below, latest))


def _marks(snapshot: IndexSnapshot, query: JobQuery) -> list[str]:
    fields = (
        (STATE, None if query.states is None else TERMINAL & set(query.states)),
        (KIND, None if query.kind is None else (query.kind,)),
        (USER, query.user_ids),
        (ORGANIZATION, query.organizations),
    )
    return [snapshot.marks(number, list(map(str, names))) for number, names in fields if names is not None]


def _candidates(snapshot: IndexSnapshot, marks: Sequence[str], request: SearchRequest) -> Iterator[Sequence[int]]:
    """Yield `seq` of candidates, the highest first, in growing pieces: often the first is enough."""
    size = request.limit + 1
    most = max(4_000, size)
    for shelf in snapshot.shelves(request.first, request.below) if request.below > request.first else ():
        match = _match(snapshot, shelf, marks, request.query)
        first, below = max(request.first, shelf * SHELF), min(request.below, (shelf + 1) * SHELF)
        while seqs := _piece(snapshot, shelf, match, first, below, size):
            yield seqs
            below = seqs[-1]
            size = min(size * 4, most)


def _match(snapshot: IndexSnapshot, shelf: int, marks: Sequence[str], query: JobQuery) -> str | None:
    """Return the full-text query for a shelf; None if the index cannot narrow the search."""
    words = snapshot.words(shelf, variants(query.text)) if query.text else None
    return " AND ".join(marks if words is None else [*marks, words]) or None


def _piece(snapshot: IndexSnapshot, shelf: int, match: str | None, first: int, below: int, size: int) -> Sequence[int]:
    if match is None:
        return range(below - 1, max(first, below - size) - 1, -1)
    return snapshot.candidates(shelf, match, first, below, size)
