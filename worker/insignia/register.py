"""The rows of a round's results, to be looked through: filtered, searched, page by page.

A small SQLite file beside the results, complete when it appears and never changed. Roster order; most officers share
a few hundred decisions, so each decision is kept once.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from worker.insignia.batch import below_high
from worker.insignia.decision import Decision, Verdict

REGISTER = ".rows.sqlite"
"""Its name; hidden, as it is nothing to open by hand."""
_TABLES = (
    "CREATE TABLE decisions ("
    "id INTEGER PRIMARY KEY, decision TEXT NOT NULL, award TEXT, reason TEXT, shown TEXT NOT NULL) STRICT",
    "CREATE TABLE officers (n INTEGER PRIMARY KEY, person_id TEXT NOT NULL, class INTEGER NOT NULL, "
    "medal INTEGER NOT NULL, uncertain INTEGER NOT NULL) STRICT",
)
_DIGITS = str.maketrans("๐๑๒๓๔๕๖๗๘๙", "0123456789")

Show = Literal["review", "nominate", "notEligible", "uncertain", "all"]
_WORDS = {"review": "manual_review", "nominate": "nominate", "notEligible": "not_eligible"}


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Which rows, of which of the two decisions."""

    show: Show = "all"
    """uncertain: a rule below high confidence was asked for one of the two decisions."""
    of: Literal["class", "medal"] | None = None
    """None: class, unless the award is one that only the medal decisions know."""
    award: str | None = None
    reason: str | None = None
    text: str | None = None
    """Found anywhere in the person's id."""
    after: int = 0
    """Rows from the one behind this number on."""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class RowPage:
    rows: list[dict[str, Any]]
    cursor: int | None
    """`after` of the next page; None: this was the last."""
    matched: int
    """Rows on all pages."""


def register_of(verdicts: Iterable[Verdict], shown: Callable[[Decision], Mapping[str, str]]) -> bytes:
    """The file's contents; `shown` is a decision as a row holds it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for statement in ("BEGIN", *_TABLES):
            connection.execute(statement)
        known: dict[int, tuple[int, Decision]] = {}

        def number(decision: Decision) -> int:
            # By identity, as the verdicts keep each of them alive: hashing a decision would cost more than its row.
            if id(decision) not in known:
                known[id(decision)] = len(known) + 1, decision
            return known[id(decision)][0]

        connection.executemany(
            "INSERT INTO officers VALUES (?, ?, ?, ?, ?)",
            (
                (n, one.person_id, number(one.class_), number(one.medal), below_high(one))
                for n, one in enumerate(verdicts, start=1)
            ),
        )
        connection.executemany("INSERT INTO decisions VALUES (?, ?, ?, ?, ?)", _decisions(known.values(), shown))
        connection.execute("COMMIT")
        return connection.serialize()


def _decisions(
    known: Iterable[tuple[int, Decision]], shown: Callable[[Decision], Mapping[str, str]]
) -> Iterator[tuple[int, str, str | None, str | None, str]]:
    for number, decision in known:
        text = orjson.dumps(shown(decision)).decode()
        yield number, decision.decision, decision.award, decision.reason, text


def read_rows(path: Path, query: RowQuery) -> RowPage:
    """A page of the register. FileNotFoundError: there is none."""
    path.stat()
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        where, values = _condition(connection, query)
        count = f"SELECT count(*) FROM officers WHERE {where}"  # noqa: S608 -- our own words, values bound
        (matched,) = connection.execute(count, values).fetchone()
        found = connection.execute(
            "SELECT n, person_id, c.shown, m.shown, uncertain FROM officers "  # noqa: S608 -- the same
            "JOIN decisions c ON c.id = class JOIN decisions m ON m.id = medal "
            f"WHERE {where} AND n > ? ORDER BY n LIMIT ?",
            (*values, query.after, query.limit + 1),
        ).fetchall()
    page = found[: query.limit]
    return RowPage([_row(entry) for entry in page], page[-1][0] if len(found) > query.limit else None, matched)


def _row(entry: Sequence[Any]) -> dict[str, Any]:
    n, person_id, class_, medal, uncertain = entry
    row = {"n": n, "person_id": person_id, "class": orjson.loads(class_), "medal": orjson.loads(medal)}
    return row | ({"uncertain": True} if uncertain else {})


def _which(connection: sqlite3.Connection, numbers: str, award: str | None) -> str:
    if award is None:
        return "class"
    found = connection.execute(f"SELECT 1 FROM officers WHERE class IN ({numbers}) LIMIT 1").fetchone()  # noqa: S608
    return "class" if found else "medal"


def _condition(connection: sqlite3.Connection, query: RowQuery) -> tuple[str, list[Any]]:
    """A WHERE for `officers` alone: the few decisions that fit are looked up first."""
    parts, values = ["1"], []
    wanted = {
        "decision": _WORDS.get(query.show),
        "award": query.award,
        "reason": query.reason,
    }
    asked = {column: word for column, word in wanted.items() if word is not None}
    if asked:
        where = " AND ".join(f"{column} = ?" for column in asked)
        fitting = connection.execute(f"SELECT id FROM decisions WHERE {where}", list(asked.values()))  # noqa: S608
        numbers = ",".join(str(number) for (number,) in fitting)
        parts.append(f"{query.of or _which(connection, numbers, query.award)} IN ({numbers})")
    if query.show == "uncertain":
        parts.append("uncertain")
    if query.text:
        parts.append("instr(lower(person_id), ?)")
        values.append(query.text.strip().translate(_DIGITS).lower())
    return " AND ".join(parts), values
