"""Turns a query over jobs into SQL conditions; request and result of a search."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from worker.core.job import TERMINAL, JobState
from worker.core.store import JobQuery
from worker.stores.sqlite.claim import PAYLOAD
from worker.stores.sqlite.queries import BRIEF, RECORD

ALL_STATES = frozenset(JobState)

Row = tuple[Any, ...]
"""`seq`, then the columns of a record."""

STATE_COLUMN = 5
"""Index of the state in a row."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A query as conditions on rows of `jobs`."""

    terms: list[str]
    parameters: list[Any]
    columns: str
    ended: frozenset[JobState]
    """The requested states in which a job has ended."""
    unfinished: frozenset[JobState]
    """The other requested states."""

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
    states = ALL_STATES if query.states is None else frozenset(query.states)
    return Filter(terms, parameters, BRIEF if query.brief else RECORD, states & TERMINAL, states - TERMINAL)


_ANYWHERE = (r"id LIKE ? ESCAPE '\'", r"user_id LIKE ? ESCAPE '\'", r"error LIKE ? ESCAPE '\'")
_IN_JSON = (rf"CAST({PAYLOAD} AS TEXT) LIKE ? ESCAPE '\'", r"CAST(result AS TEXT) LIKE ? ESCAPE '\'")


def _text_term(text: str) -> tuple[str, list[str]]:
    plain, *as_json = map(_pattern, variants(text))
    terms = [*_ANYWHERE, *_IN_JSON, *(_IN_JSON if as_json else ())]
    return f"({' OR '.join(terms)})", [plain] * 5 + as_json * 2


def variants(text: str) -> list[str]:
    """Return the text as typed, and as JSON writes it if that differs: JSON puts a backslash before a quote."""
    typed = text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    as_json = orjson.dumps(typed).decode()[1:-1]
    return [typed] if as_json == typed else [typed, as_json]


def _pattern(text: str) -> str:
    return "%{}%".format(text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_"))


@dataclass(frozen=True, slots=True)
class SearchRequest:
    query: JobQuery
    filter: Filter
    first: int
    """Only jobs with `seq` in [first, below) are searched."""
    below: int
    limit: int
    deadline: float
    """When the search must end (monotonic clock)."""


@dataclass(slots=True)
class SearchResult:
    rows: list[Row] = field(default_factory=list)
    """The highest `seq` first; one more than the page holds if there are more."""
    rest: int | None = None
    """The lowest `seq` that was searched when time was over; None if all were searched."""


def row_id(cursor: str) -> int:
    """Return the number in a cursor. Raises ValueError if it is not one of this list."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise ValueError(f"cursor {cursor[:40]!r} is not valid for this list: start again without it")
    return int(cursor)
