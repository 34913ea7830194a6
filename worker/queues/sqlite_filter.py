"""A query over jobs as SQL sees it, and what comes of it."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from worker.job import TERMINAL, JobState
from worker.queue import JobQuery
from worker.queues.sqlite_claims import PAYLOAD
from worker.queues.sqlite_records import BRIEF, RECORD

ALL_STATES = frozenset(JobState)

Row = tuple[Any, ...]
"""`seq`, then the columns of a record."""

STATE_COLUMN = 5
"""The state's place in it."""


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
    states = ALL_STATES if query.states is None else frozenset(query.states)
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


@dataclass(frozen=True, slots=True)
class Asked:
    query: JobQuery
    filter: Filter
    first: int
    """The jobs to look at are those with `seq` in [first, below)."""
    below: int
    limit: int
    deadline: float
    """On the monotonic clock."""


@dataclass(slots=True)
class Found:
    rows: list[Row] = field(default_factory=list)
    """Falling; one more than the page holds when there is more."""
    rest: int | None = None
    """All jobs from here on (`seq`) were looked at, and the time was over; None: there is nothing left to look at."""


def row_id(cursor: str) -> int:
    """The number a cursor stands for. ValueError: it is none of ours."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise ValueError(f"not a cursor: {cursor[:40]!r}; give back the one of the page before, unchanged")
    return int(cursor)
