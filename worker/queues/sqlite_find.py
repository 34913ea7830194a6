"""Finds jobs, newest first: with the search index where there is one, in windows over all jobs where there is none.

With the index a page is put together from three parts: jobs that have not ended, which a small index of the store
knows; jobs that ended since the search index was last brought on; and what that index offers. The store has the last
word on each of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import monotonic

from worker.job import TERMINAL
from worker.queue import JobIds, JobPage, JobQuery
from worker.queues.sqlite_filter import STATE_COLUMN, Asked, Filter, Found, Row, filter_of, row_id, variants
from worker.queues.sqlite_look import Look, SearchFile
from worker.queues.sqlite_records import record_of
from worker.queues.sqlite_schema import Connection, json_list
from worker.queues.sqlite_search import KIND, ORGANIZATION, SHELF, STATE, USER
from worker.queues.sqlite_windows import EVERYWHERE, MOST_UNFINISHED, index_for, lanes_of, unfinished, windows

SEARCH_SECONDS = 0.2
"""A page is cut short when looking for it takes longer; its cursor goes on from there."""

_MOST_FRESH = 10_000
"""Up to so many jobs that ended since the index was brought on are looked at beside it."""


def find(connection: Connection, search: SearchFile, query: JobQuery, seconds: float = SEARCH_SECONDS) -> JobPage:
    """Newest first. The page may be short and still have a cursor: then the search goes on there."""
    deadline = monotonic() + seconds
    return search.beside(connection, lambda look: _find(connection, look, query, deadline))


def find_ids(connection: Connection, search: SearchFile, query: JobQuery) -> JobIds:
    page = find(connection, search, replace(query, brief=True))
    return JobIds([job.id for job in page.jobs], page.cursor)


def _find(connection: Connection, look: Look | None, query: JobQuery, deadline: float) -> JobPage:
    first, below = _range(connection, query.cursor)
    if any(values is not None and not values for values in (query.states, query.user_ids, query.organizations)):
        return JobPage([], None)
    asked = Asked(query, filter_of(query), first, below, max(query.limit, 1), deadline)
    if not asked.filter.terms or look is None or _too_fresh(connection, look, asked.filter):
        found = windows(connection, index_for(connection, query), asked)
    else:
        found = _indexed(connection, look, asked)
    return _page(found, asked.limit)


def _range(connection: Connection, cursor: str | None) -> tuple[int, int]:
    """The jobs to look at, as `seq` in [first, below). ValueError: the cursor is none of ours."""
    # Two subqueries: asked for both at once, SQLite would read the whole table.
    first, last = connection.execute(
        "SELECT coalesce((SELECT min(seq) FROM jobs), 1), coalesce((SELECT max(seq) FROM jobs), 0)"
    ).fetchone()
    return first, last + 1 if cursor is None else row_id(cursor)


def _page(found: Found, limit: int) -> JobPage:
    rows = found.rows[:limit]
    rest = rows[-1][0] if len(found.rows) > limit else found.rest
    return JobPage([record_of(row[1:]) for row in rows], None if rest is None else str(rest))


# -- with it -----------------------------------------------------------------------------------------------


def _too_fresh(connection: Connection, look: Look, filter_: Filter) -> bool:
    """Whether too much is not in the index, or it is another store's."""
    (store,) = connection.execute("SELECT store FROM tally").fetchone()
    if store != look.store:
        return True
    behind = connection.execute(
        "SELECT 1 FROM outbox WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", (look.up_to, _MOST_FRESH)
    ).fetchone()
    return behind is not None or unfinished(connection, filter_.unfinished) > MOST_UNFINISHED


def _indexed(connection: Connection, look: Look, asked: Asked) -> Found:
    beside = [*_unfinished_rows(connection, asked), *_fresh_rows(connection, look, asked)]
    found = _ended_rows(connection, look, asked) if asked.filter.ended else Found()
    together = {row[0]: row for row in (*beside, *found.rows) if found.rest is None or row[0] >= found.rest}
    found.rows = [together[seq] for seq in sorted(together, reverse=True)[: asked.limit + 1]]
    return found


def _unfinished_rows(connection: Connection, asked: Asked) -> list[Row]:
    filter_ = asked.filter
    if not filter_.unfinished:
        return []
    # The rows themselves are read once their places are sorted: a payload may be long.
    seqs = connection.execute(
        f"SELECT seq FROM jobs INDEXED BY jobs_unfinished WHERE lane IN {lanes_of(filter_.unfinished)} "  # noqa: S608
        f"AND seq < ? AND {filter_.where()} ORDER BY seq DESC LIMIT ?",
        (asked.below, *filter_.parameters, asked.limit + 1),
    ).fetchall()
    return _among(connection, asked, [seq for (seq,) in seqs])


def _fresh_rows(connection: Connection, look: Look, asked: Asked) -> list[Row]:
    """Of jobs that ended since the index was brought on."""
    if not asked.filter.ended:
        return []
    seqs = connection.execute(
        "SELECT DISTINCT jobs.seq FROM outbox CROSS JOIN jobs ON jobs.id = outbox.job_id "
        "WHERE outbox.id > ? AND jobs.lane IS NULL AND jobs.seq < ? ORDER BY jobs.seq DESC",
        (look.up_to, asked.below),
    ).fetchall()
    return _among(connection, asked, [seq for (seq,) in seqs])


def _among(connection: Connection, asked: Asked, seqs: Sequence[int]) -> list[Row]:
    """The rows that are asked for, of those at the places given, which fall."""
    if not seqs:
        return []
    # CROSS JOIN: from the places to the jobs, in their order; left to choose, SQLite may go through all jobs.
    return connection.execute(
        f"SELECT seq, {asked.filter.columns} FROM (SELECT value AS place FROM json_each(?)) "  # noqa: S608
        f"CROSS JOIN jobs ON jobs.seq = place WHERE {asked.filter.where()} LIMIT ?",
        (json_list(seqs), *asked.filter.parameters, asked.limit + 1),
    ).fetchall()


# -- runs that ended and are in the index


def _ended_rows(connection: Connection, look: Look, asked: Asked) -> Found:
    asked = _within(look, asked)
    marks = _marks(look, asked.query)
    if not marks and not asked.query.text:
        return windows(connection, EVERYWHERE, asked)
    found = Found()
    for seqs in _candidates(look, marks, asked):
        found.rows += [row for row in _among(connection, asked, seqs) if row[STATE_COLUMN] in asked.filter.ended]
        if len(found.rows) > asked.limit:
            break
        if monotonic() > asked.deadline:
            found.rest = seqs[-1]
            break
    return found


def _within(look: Look, asked: Asked) -> Asked:
    query = asked.query
    if query.since is None and query.until is None:
        return asked
    earliest, latest = look.created_between(query.since, query.until)
    return replace(asked, first=max(asked.first, earliest), below=min(asked.below, latest))


def _marks(look: Look, query: JobQuery) -> list[str]:
    fields = (
        (STATE, None if query.states is None else TERMINAL & set(query.states)),
        (KIND, None if query.kind is None else (query.kind,)),
        (USER, query.user_ids),
        (ORGANIZATION, query.organizations),
    )
    return [look.marks(number, list(map(str, names))) for number, names in fields if names is not None]


def _candidates(look: Look, marks: Sequence[str], asked: Asked) -> Iterator[Sequence[int]]:
    """Falling, in pieces that grow: often the first are enough, and asking anew has its price."""
    size = asked.limit + 1
    most = max(4_000, size)
    for shelf in look.shelves(asked.first, asked.below) if asked.below > asked.first else ():
        match = _match(look, shelf, marks, asked.query)
        first, below = max(asked.first, shelf * SHELF), min(asked.below, (shelf + 1) * SHELF)
        while seqs := _piece(look, shelf, match, first, below, size):
            yield seqs
            below = seqs[-1]
            size = min(size * 4, most)


def _match(look: Look, shelf: int, marks: Sequence[str], query: JobQuery) -> str | None:
    """What to ask a shelf; None: it cannot help."""
    words = look.words(shelf, variants(query.text)) if query.text else None
    return " AND ".join(marks if words is None else [*marks, words]) or None


def _piece(look: Look, shelf: int, match: str | None, first: int, below: int, size: int) -> Sequence[int]:
    if match is None:
        return range(below - 1, max(first, below - size) - 1, -1)
    return look.candidates(shelf, match, first, below, size)
