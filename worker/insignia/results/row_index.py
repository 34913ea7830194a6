"""An index of a round's rows, which can be filtered, searched and read page by page.

A small SQLite file next to the results, complete when it appears and never changed. It keeps the order of the roster.
Most officers share a few hundred decisions, so each decision is stored once.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from worker.insignia.evaluation import is_uncertain
from worker.insignia.progress import INDEX_FILE
from worker.insignia.results.details import ResultDetails
from worker.insignia.roster.officer import known_about
from worker.insignia.roster.thai import search_form
from worker.insignia.rules.decision import Decision

ROW_INDEX = ".rows.sqlite"
"""Its name; hidden, as it is not meant to be opened by hand."""
_VERSION = 2
"""PRAGMA user_version of the tables below. Version 0 has no names, ids of decisions or explanations."""
_TABLES = (
    "CREATE TABLE decisions ("
    "id INTEGER PRIMARY KEY, decision TEXT NOT NULL, award TEXT, reason TEXT, shown TEXT NOT NULL) STRICT",
    "CREATE TABLE officers (n INTEGER PRIMARY KEY, person_id TEXT NOT NULL, class INTEGER NOT NULL, "
    "medal INTEGER NOT NULL, uncertain INTEGER NOT NULL, decision_id TEXT NOT NULL, next_round INTEGER, "
    "about TEXT NOT NULL, form BLOB NOT NULL, search TEXT NOT NULL) STRICT",
    "CREATE TABLE rules (round INTEGER NOT NULL, sequence TEXT NOT NULL, basis TEXT NOT NULL) STRICT",
)

_CHUNK = 1000

Show = Literal["review", "nominate", "notEligible", "uncertain", "all"]
_WORDS = {"review": "manual_review", "nominate": "nominate", "notEligible": "not_eligible"}


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Which rows, of which of the two decisions."""

    show: Show = "all"
    """uncertain: one of the two decisions rests on a rule below high confidence."""
    of: Literal["class", "medal"] | None = None
    """None: class, unless only medal decisions have this award."""
    award: str | None = None
    reason: str | None = None
    text: str | None = None
    """Found anywhere in the id, name, post or office, or in the id of the decision."""
    after: int = 0
    """The rows after this number."""
    limit: int = 50
    skip: int = 0
    """How many of the matching rows are left out before the page."""


@dataclass(frozen=True, slots=True)
class RowPage:
    rows: list[dict[str, Any]]
    cursor: int | None
    """`after` of the next page; None on the last page."""
    matched: int
    """Rows on all pages."""


def write_row_index(path: Path, details: ResultDetails, shown: Callable[[Decision], Mapping[str, str]]) -> None:
    """Fill an empty file with the index; `shown` turns a decision into its form in a row."""
    rules = details.evaluation.rules
    known, rows = _known_and_rows(details)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # The whole file is synced and renamed after this, so a journal has nothing to protect.
        for statement in ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "BEGIN", *_TABLES):
            connection.execute(statement)
        connection.executemany(f"INSERT INTO officers VALUES ({', '.join('?' * 10)})", rows)
        connection.executemany("INSERT INTO decisions VALUES (?, ?, ?, ?, ?)", _decisions(known.values(), shown))
        connection.execute("INSERT INTO rules VALUES (?, ?, ?)", (rules.round_be, rules.sequence, rules.basis))
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")


def _known_and_rows(details: ResultDetails) -> tuple[Mapping[int, tuple[int, Decision]], Iterator[tuple[Any, ...]]]:
    """Return the different decisions with their numbers, complete once all rows are read, and the rows."""
    if details.rows is not None:
        found, _ = details.rows.decisions()
        return {id(one): (number, one) for number, one in enumerate(found, 1)}, details.rows.index_rows()
    evaluation = details.evaluation
    known: dict[int, tuple[int, Decision]] = {}

    def number(decision: Decision) -> int:
        # By identity, as the verdicts keep each of them alive: hashing a decision costs more than writing its row.
        if id(decision) not in known:
            known[id(decision)] = len(known) + 1, decision
        return known[id(decision)][0]

    def officers() -> Iterator[tuple[Any, ...]]:
        for n, one in enumerate(evaluation.verdicts, start=1):
            if n % _CHUNK == 0:
                INDEX_FILE.report(details.reporter, n, len(evaluation.verdicts))
            identity = details.ids[n - 1]
            about = known_about(one.officer)
            yield (
                n,
                one.person_id,
                number(one.class_),
                number(one.medal),
                is_uncertain(one.class_, one.medal),
                identity,
                details.next_rounds[n - 1],
                orjson.dumps(about).decode(),
                details.forms[n - 1],
                " ".join((one.person_id.lower(), *map(search_form, about.values()), identity)),  # ids are canonical
            )

    return known, officers()


def _decisions(
    known: Iterable[tuple[int, Decision]], shown: Callable[[Decision], Mapping[str, str]]
) -> Iterator[tuple[int, str, str | None, str | None, str]]:
    for number, decision in known:
        text = orjson.dumps(shown(decision)).decode()
        yield number, decision.decision, decision.award, decision.reason, text


def read_rows(path: Path, query: RowQuery) -> RowPage:
    """Return a page of the index. Raises FileNotFoundError if there is none."""
    with _opened(path) as connection:
        is_old = _version(connection) < _VERSION
        where, values = _condition(connection, query, is_old=is_old)
        count = f"SELECT count(*) FROM officers WHERE {where}"
        (matched,) = connection.execute(count, values).fetchone()
        found = connection.execute(
            f"SELECT {_columns(is_old=is_old)} FROM officers "
            "JOIN decisions c ON c.id = class JOIN decisions m ON m.id = medal "
            f"WHERE {where} AND n > ? ORDER BY n LIMIT ? OFFSET ?",
            (*values, query.after, query.limit + 1, query.skip),
        ).fetchall()
    page = found[: query.limit]
    return RowPage([_row(entry) for entry in page], page[-1][0] if len(found) > query.limit else None, matched)


@dataclass(frozen=True, slots=True)
class StoredOfficer:
    """One officer of a round, with what is needed to decide again."""

    row: dict[str, Any]
    form: bytes
    about: Mapping[str, str]
    round_be: int
    sequence: str
    basis: str


def read_officer(path: Path, n: int) -> StoredOfficer | None:
    """Return an officer by the row number; None if there is no such row, or the index is of an older version.

    Raises FileNotFoundError if there is no index.
    """
    with _opened(path) as connection:
        if _version(connection) < _VERSION:
            return None
        entry = connection.execute(
            f"SELECT {_columns(is_old=False)}, form FROM officers "
            "JOIN decisions c ON c.id = class JOIN decisions m ON m.id = medal WHERE n = ?",
            (n,),
        ).fetchone()
        if entry is None:
            return None
        round_be, sequence, basis = connection.execute("SELECT round, sequence, basis FROM rules").fetchone()
    row, about = _row(entry[:-1]), orjson.loads(entry[7])
    return StoredOfficer(row, bytes(entry[-1]), about, round_be, sequence, basis)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    path.stat()
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        yield connection


def _version(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def _columns(*, is_old: bool) -> str:
    new = "NULL, NULL, '{}'" if is_old else "decision_id, next_round, about"
    return f"n, person_id, c.shown, m.shown, uncertain, {new}"


def _row(entry: Sequence[Any]) -> dict[str, Any]:
    n, person_id, class_, medal, uncertain, identity, when, about = entry
    row = {"n": n, "person_id": person_id, "class": orjson.loads(class_), "medal": orjson.loads(medal)}
    row |= orjson.loads(about)
    row |= {"uncertain": True} if uncertain else {}
    row |= {} if when is None else {"next_round": when}
    return row | ({} if identity is None else {"decision_id": identity})


def _which(connection: sqlite3.Connection, numbers: str, award: str | None) -> str:
    if award is None:
        return "class"
    found = connection.execute(f"SELECT 1 FROM officers WHERE class IN ({numbers}) LIMIT 1").fetchone()
    return "class" if found else "medal"


def _condition(connection: sqlite3.Connection, query: RowQuery, *, is_old: bool) -> tuple[str, list[Any]]:
    """Return a WHERE clause for `officers` alone: the few matching decisions are looked up first."""
    parts = ["1"]
    values: list[Any] = []
    wanted = {
        "decision": _WORDS.get(query.show),
        "award": query.award,
        "reason": query.reason,
    }
    selected = {column: word for column, word in wanted.items() if word is not None}
    if selected:
        where = " AND ".join(f"{column} = ?" for column in selected)
        fitting = connection.execute(f"SELECT id FROM decisions WHERE {where}", list(selected.values()))
        numbers = ",".join(str(number) for (number,) in fitting)
        parts.append(f"{query.of or _which(connection, numbers, query.award)} IN ({numbers})")
    if query.show == "uncertain":
        parts.append("uncertain")
    if query.text:
        column = "lower(person_id)" if is_old else "search"
        for word in search_form(query.text).split():
            # A citizen id may be given with the hyphens of its official form; other ids have hyphens of their own.
            bare = word.replace("-", "")
            spellings = {word, bare} if bare.isdigit() else {word}
            parts.append(f"({' OR '.join([f'instr({column}, ?)'] * len(spellings))})")
            values += spellings
    return " AND ".join(parts), values
