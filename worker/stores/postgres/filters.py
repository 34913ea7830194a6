"""A query over jobs as SQL."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from worker.core.job import TERMINAL, JobState
from worker.core.store import JobQuery
from worker.stores.postgres.claim import SEQ
from worker.stores.postgres.queries import BRIEF, RECORD
from worker.stores.postgres.texts import to_database


@dataclass(slots=True)
class Filter:
    """Conditions on rows of `jobs`, with their parameters."""

    columns: str
    terms: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)

    def add(self, term: str, *values: Any) -> None:
        """Add a condition whose parameters are written {0}, {1} …"""
        names = []
        for value in values:
            self.parameters.append(value)
            names.append(f"${len(self.parameters)}")
        self.terms.append(term.format(*names))

    def where(self) -> str:
        return " AND ".join(self.terms) or "true"


_UNFINISHED = f"seq IN (SELECT {SEQ} FROM pgqueuer UNION ALL SELECT seq FROM jobs AS waiting WHERE wait_at IS NOT NULL)"


def filter_of(query: JobQuery, few_unfinished: bool) -> Filter:
    """Return the conditions of a query. `few_unfinished`: so few jobs are unfinished that they can be looked up."""
    result = Filter(BRIEF if query.brief else RECORD)
    if query.states is not None:
        states = frozenset(query.states)
        result.add("state = ANY({0}::text[])", [state.value for state in states])
        if states <= {JobState.FAILED, JobState.CANCELLED}:
            result.add("unlucky = ANY({0}::text[])", [state.value for state in states])
        elif few_unfinished and not states & TERMINAL:
            result.terms.append(_UNFINISHED)
    for column, values in (
        ("kind", None if query.kind is None else (query.kind,)),
        ("user_id", query.user_ids),
        ("organization", query.organizations),
    ):
        if values is not None:
            result.add(f"{column} = ANY({{0}}::text[])", [to_database(str(value)) for value in values])
    for term, value in (("created_at >= {0}", query.since), ("created_at < {0}", query.until)):
        if value is not None:
            result.add(term, value)
    if query.text:
        _add_text(result, query.text)
    return result


def folded(column: str) -> str:
    """Return a column with ASCII letters in one case, and everything else as it is."""
    return f'lower({column} COLLATE "C")'


def _add_text(result: Filter, text: str) -> None:
    plain, *as_json = patterns(text)
    places = [f"{folded(column)} LIKE {{0}}" for column in ("id", "user_id", "error", "payload", "result")]
    if as_json:
        places += [f"{folded(column)} LIKE {{1}}" for column in ("payload", "result")]
    result.add(f"({' OR '.join(places)})", plain, *as_json)


def patterns(text: str) -> list[str]:
    """Return what the text is compared with by LIKE, after `folded`: as it is typed, then as JSON if that differs."""
    return [_pattern(variant) for variant in variants(text)]


def variants(text: str) -> list[str]:
    """Return a text as it is typed, and as it is written in JSON if that differs: with \\ before a quote, for one."""
    typed = text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    as_json = orjson.dumps(typed).decode()[1:-1]
    return [to_database(typed)] if as_json == typed else [to_database(typed), as_json]


def _pattern(text: str) -> str:
    lowered = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    return "%{}%".format(lowered.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_"))


def row_number(cursor: str) -> int:
    """Return the number a cursor stands for. Raises ValueError if it is not one of the store's."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise ValueError(f"cursor {cursor[:40]!r} is not valid for this list: start again without it")
    return int(cursor)
