"""The search index: a file of its own beside the store, which can be thrown away and is then built again.

It covers runs that have ended, up to a place in the outbox, for that is the order in which they ended. A full-text
index of trigrams finds any three characters that stand together, in Thai too, where no spaces part the words; and as
it can tell which jobs have two things in common, state, kind, user and organisation are written into it as well, each
as a word of three characters that nobody types. What it finds are candidates: the store itself has the last word, so
that rows which changed or went since do no harm.
"""

import contextlib
import sqlite3
from functools import cache
from pathlib import Path

from worker.queues.sqlite_room import wal_of

FORMAT = 1
"""Another one is thrown away and built again."""

SHELF = 1 << 17
"""Jobs to a table: with the last of its jobs a table goes whole, for no single row can be taken out."""

BLOCK = 1 << 10
"""Jobs of which only the earliest and the latest time of creation are noted."""

STATE, KIND, USER, ORGANIZATION = range(4)
"""The fields whose values are written as marks."""

TABLES = (
    "CREATE TABLE about (store TEXT NOT NULL, up_to INTEGER NOT NULL) STRICT",
    "CREATE TABLE shelves (number INTEGER PRIMARY KEY) STRICT",
    "CREATE TABLE names (number INTEGER PRIMARY KEY, field INTEGER NOT NULL, name TEXT NOT NULL, "
    "UNIQUE (field, name)) STRICT",
    "CREATE TABLE told (seq INTEGER, message INTEGER, PRIMARY KEY (seq, message)) STRICT, WITHOUT ROWID",
    "CREATE TABLE received (user INTEGER, message INTEGER, PRIMARY KEY (user, message)) STRICT, WITHOUT ROWID",
    "CREATE TABLE blocks (number INTEGER PRIMARY KEY, earliest REAL NOT NULL, latest REAL NOT NULL) STRICT",
    f"PRAGMA user_version = {FORMAT}",
)

# Without positions and sizes it takes a third of the room; that the characters stand together is seen in the store.
SHELF_TABLE = (
    "CREATE VIRTUAL TABLE shelf_{number} USING fts5(words, state, kind, user, organization, "
    "content = '', tokenize = 'trigram', detail = none, columnsize = 0)"
)

MARK = "char(983040 + {field}, 987136 + ({number} >> 15), 987136 + ({number} & 32767))"
"""A name's number as three characters of a plane that is nobody's."""


@cache
def unavailable() -> str | None:
    """Why there can be no index; None: there can."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(SHELF_TABLE.format(number=0))
        except sqlite3.OperationalError as exc:
            return str(exc)
    return None


def warning() -> str | None:
    """What to say where there can be none; None: nothing."""
    reason = unavailable()
    if reason is None:
        return None
    return f"this SQLite has no full-text search for parts of words ({reason}): searches among many jobs take longer"


def search_of(path: Path) -> Path:
    """The index of the store at `path`."""
    return path.with_name(f"{path.name}.search")


def files_of(path: Path) -> tuple[Path, ...]:
    """The index's files; the first is the database."""
    search = search_of(path)
    return search, wal_of(search), search.with_name(f"{search.name}-shm")
