"""Finds jobs, newest first: with the search index where there is one, in windows over all jobs where there is none.

With the index a page is put together from three parts: jobs that have not ended, which a small index of the store
knows; jobs that ended since the search index was last brought on; and what that index offers. The store has the last
word on each of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import orjson

from worker.job import TERMINAL, JobState
from worker.queue import JobIds, JobPage, JobQuery
from worker.queues.sqlite_claims import PAYLOAD
from worker.queues.sqlite_ledger import read_counts
from worker.queues.sqlite_records import BRIEF, RECORD, record_of
from worker.queues.sqlite_schema import BACKOFF, PAUSED, READY, RUNNING, SCHEDULED, Connection, json_list
from worker.queues.sqlite_search import KIND, ORGANIZATION, SHELF, STATE, USER, Look, SearchFile

SEARCH_SECONDS = 0.2
"""A page is cut short when looking for it takes longer; its cursor goes on from there."""

_WINDOW = 20_000
"""Jobs looked at between two looks at the clock."""

_MOST_FRESH = 10_000
"""Up to so many jobs that ended since the index was brought on are looked at beside it."""

_MOST_UNFINISHED = 50_000
"""Up to so many unfinished jobs are looked at and sorted; of more, the newest are those people look for."""

_ALL_STATES = frozenset(JobState)

_Row = tuple[Any, ...]
"""`seq`, then the columns of a record."""

_STATE = 5
"""The state's place in it."""


def find(connection: Connection, search: SearchFile, query: JobQuery, seconds: float = SEARCH_SECONDS) -> JobPage:
    """Newest first. The page may be short and still have a cursor: then the search goes on there."""
    deadline = monotonic() + seconds
    return search.beside(connection, lambda look: _find(connection, look, query, deadline))


def find_ids(connection: Connection, search: SearchFile, query: JobQuery) -> JobIds:
    page = find(connection, search, replace(query, brief=True))
    return JobIds([job.id for job in page.jobs], page.cursor)


def row_id(cursor: str) -> int:
    """The number a cursor stands for. ValueError: it is none of ours."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise ValueError(f"not a cursor: {cursor[:40]!r}; give back the one of the page before, unchanged")
    return int(cursor)


def _find(connection: Connection, look: Look | None, query: JobQuery, deadline: float) -> JobPage:
    first, below = _range(connection, query.cursor)
    if any(values is not None and not values for values in (query.states, query.user_ids, query.organizations)):
        return JobPage([], None)
    asked = _Asked(query, filter_of(query), first, below, max(query.limit, 1), deadline)
    if not asked.filter.terms or look is None or _too_fresh(connection, look, asked.filter):
        found = _windows(connection, index_for(connection, query), asked)
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


@dataclass(frozen=True, slots=True)
class _Asked:
    query: JobQuery
    filter: "Filter"
    first: int
    """The jobs to look at are those with `seq` in [first, below)."""
    below: int
    limit: int
    deadline: float
    """On the monotonic clock."""


@dataclass(slots=True)
class _Found:
    rows: list[_Row] = field(default_factory=list)
    """Falling; one more than the page holds when there is more."""
    rest: int | None = None
    """All jobs from here on (`seq`) were looked at, and the time was over; None: there is nothing left to look at."""


def _page(found: _Found, limit: int) -> JobPage:
    rows = found.rows[:limit]
    rest = rows[-1][0] if len(found.rows) > limit else found.rest
    return JobPage([record_of(row[1:]) for row in rows], None if rest is None else str(rest))


# -- what is asked for -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filter:
    """A query as conditions on rows of `jobs`."""

    terms: list[str]
    parameters: list[Any]
    columns: str
    ended: frozenset[JobState]
    """The states that are asked for, ended ones and others."""
    unfinished: frozenset[JobState]

    def where(self, *more: str) -> str:
        return " AND ".join((*more, *self.terms)) or "1"


def filter_of(query: JobQuery) -> Filter:
    terms: list[str] = []
    parameters: list[Any] = []
    for column, values in (
        ("state", query.states),
        ("kind", None if query.kind is None else (query.kind,)),
        ("user_id", query.user_ids),
        ("organization", query.organizations),
    ):
        if values is not None:
            terms.append(f"{column} IN ({', '.join('?' * len(values))})")
            parameters.extend(map(str, values))
    for term, value in (("created_at >= ?", query.since), ("created_at < ?", query.until)):
        if value is not None:
            terms.append(term)
            parameters.append(value)
    if query.text:
        term, patterns = _text_term(query.text)
        terms.append(term)
        parameters.extend(patterns)
    states = _ALL_STATES if query.states is None else frozenset(query.states)
    return Filter(terms, parameters, BRIEF if query.brief else RECORD, states & TERMINAL, states - TERMINAL)


_ANYWHERE = (r"id LIKE ? ESCAPE '\'", r"user_id LIKE ? ESCAPE '\'", r"error LIKE ? ESCAPE '\'")
_IN_JSON = (rf"CAST({PAYLOAD} AS TEXT) LIKE ? ESCAPE '\'", r"CAST(result AS TEXT) LIKE ? ESCAPE '\'")


def _text_term(text: str) -> tuple[str, list[str]]:
    plain, *as_json = map(_pattern, variants(text))
    terms = [*_ANYWHERE, *_IN_JSON, *(_IN_JSON if as_json else ())]
    return f"({' OR '.join(terms)})", [plain] * 5 + as_json * 2


def variants(text: str) -> list[str]:
    """A text as it is typed, and as it stands in JSON where that differs: a quote has a backslash before it there."""
    typed = text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    as_json = orjson.dumps(typed).decode()[1:-1]
    return [typed] if as_json == typed else [typed, as_json]


def _pattern(text: str) -> str:
    return "%{}%".format(text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_"))


# -- without the search index ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Index:
    """Where to look, said to SQLite, which without statistics would guess."""

    clause: str
    """The start of a WHERE clause, after the table."""
    narrow: bool = False
    """It leads to few jobs that are not found."""


EVERYWHERE = Index("NOT INDEXED WHERE 1")


def index_for(connection: Connection, query: JobQuery) -> Index:
    only_states = query.states is not None and not query.kind and not query.text and not query.organizations
    if query.user_ids is not None and len(query.user_ids) == 1:
        return Index("INDEXED BY jobs_user WHERE 1", narrow=filter_of(query).terms == ["user_id IN (?)"])
    states = _ALL_STATES if query.states is None else frozenset(query.states)
    if states <= {JobState.FAILED, JobState.CANCELLED}:
        return Index("INDEXED BY jobs_unlucky WHERE state IN ('failed', 'cancelled')", narrow=only_states)
    if states <= {JobState.QUEUED, JobState.RUNNING} and _unfinished(connection, states) <= _MOST_UNFINISHED:
        return Index(f"INDEXED BY jobs_unfinished WHERE lane IN {_lanes(states)}", narrow=True)
    return EVERYWHERE


def statement(index: Index, filter_: Filter) -> str:
    """Its last parameters are the range of `seq` and the limit."""
    return (
        f"SELECT seq, {filter_.columns} FROM jobs {index.clause} AND {filter_.where()} "  # noqa: S608
        "AND seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?"
    )


def _windows(connection: Connection, index: Index, asked: _Asked) -> _Found:
    found, below = _Found(), asked.below
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


def _unfinished(connection: Connection, states: frozenset[JobState]) -> int:
    jobs = read_counts(connection)[0].jobs
    return sum(jobs[state] for state in states - TERMINAL)


def _lanes(states: frozenset[JobState]) -> str:
    lanes = [READY, SCHEDULED, BACKOFF, PAUSED] if JobState.QUEUED in states else []
    return f"({', '.join(map(str, [*lanes, *([RUNNING] if JobState.RUNNING in states else [])]))})"


# -- with it -----------------------------------------------------------------------------------------------


def _too_fresh(connection: Connection, look: Look, filter_: Filter) -> bool:
    """Whether too much is not in the index, or it is another store's."""
    (store,) = connection.execute("SELECT store FROM tally").fetchone()
    if store != look.store:
        return True
    behind = connection.execute(
        "SELECT 1 FROM outbox WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", (look.up_to, _MOST_FRESH)
    ).fetchone()
    return behind is not None or _unfinished(connection, filter_.unfinished) > _MOST_UNFINISHED


def _indexed(connection: Connection, look: Look, asked: _Asked) -> _Found:
    beside = [*_unfinished_rows(connection, asked), *_fresh_rows(connection, look, asked)]
    found = _ended_rows(connection, look, asked) if asked.filter.ended else _Found()
    together = {row[0]: row for row in (*beside, *found.rows) if found.rest is None or row[0] >= found.rest}
    found.rows = [together[seq] for seq in sorted(together, reverse=True)[: asked.limit + 1]]
    return found


def _unfinished_rows(connection: Connection, asked: _Asked) -> list[_Row]:
    filter_ = asked.filter
    if not filter_.unfinished:
        return []
    # The rows themselves are read once their places are sorted: a payload may be long.
    seqs = connection.execute(
        f"SELECT seq FROM jobs INDEXED BY jobs_unfinished WHERE lane IN {_lanes(filter_.unfinished)} "  # noqa: S608
        f"AND seq < ? AND {filter_.where()} ORDER BY seq DESC LIMIT ?",
        (asked.below, *filter_.parameters, asked.limit + 1),
    ).fetchall()
    return _among(connection, asked, [seq for (seq,) in seqs])


def _fresh_rows(connection: Connection, look: Look, asked: _Asked) -> list[_Row]:
    """Of jobs that ended since the index was brought on."""
    if not asked.filter.ended:
        return []
    seqs = connection.execute(
        "SELECT DISTINCT jobs.seq FROM outbox CROSS JOIN jobs ON jobs.id = outbox.job_id "
        "WHERE outbox.id > ? AND jobs.lane IS NULL AND jobs.seq < ? ORDER BY jobs.seq DESC",
        (look.up_to, asked.below),
    ).fetchall()
    return _among(connection, asked, [seq for (seq,) in seqs])


def _among(connection: Connection, asked: _Asked, seqs: Sequence[int]) -> list[_Row]:
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


def _ended_rows(connection: Connection, look: Look, asked: _Asked) -> _Found:
    asked = _within(look, asked)
    marks = _marks(look, asked.query)
    if not marks and not asked.query.text:
        return _windows(connection, EVERYWHERE, asked)
    found = _Found()
    for seqs in _candidates(look, marks, asked):
        found.rows += [row for row in _among(connection, asked, seqs) if row[_STATE] in asked.filter.ended]
        if len(found.rows) > asked.limit:
            break
        if monotonic() > asked.deadline:
            found.rest = seqs[-1]
            break
    return found


def _within(look: Look, asked: _Asked) -> _Asked:
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


def _candidates(look: Look, marks: Sequence[str], asked: _Asked) -> Iterator[Sequence[int]]:
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
