"""The search index: a separate file next to the store, which can be deleted and is then built again.

It covers runs that have ended, up to an id of the outbox, because that is the order in which they ended. A full-text
index of trigrams finds any three adjacent characters, also in Thai, which has no spaces between words. State, kind,
user and organisation are indexed too, each as a word of three characters that no user types, so that one query can
combine them with a text. The index returns candidates, and the store confirms them: rows that have changed or been
deleted since do no harm.
"""

import contextlib
import sqlite3
from functools import cache
from pathlib import Path

from worker.stores.sqlite.disk_space import wal_of

FORMAT = 1
"""The version of the file; an index with another version is deleted and built again."""

SHELF = 1 << 17
"""Jobs in one full-text table, a *shelf*. No single row can be removed, so a shelf is dropped after its last job."""

BLOCK = 1 << 10
"""Jobs of which only the earliest and the latest time of creation are stored."""

STATE, KIND, USER, ORGANIZATION = range(4)
"""The fields whose values are indexed as marks: words of three characters that no user types."""

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

# Without positions and sizes it takes a third of the space; the store confirms that the characters are adjacent.
SHELF_TABLE = (
    "CREATE VIRTUAL TABLE shelf_{number} USING fts5(words, state, kind, user, organization, "
    "content = '', tokenize = 'trigram', detail = none, columnsize = 0)"
)

MARK = "char(983040 + {field}, 987136 + ({number} >> 15), 987136 + ({number} & 32767))"
"""A name's number as three characters of a private-use plane."""


@cache
def unavailable() -> str | None:
    """Return why this SQLite cannot have an index; None if it can."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(SHELF_TABLE.format(number=0))
        except sqlite3.OperationalError as exc:
            return str(exc)
    return None


def warning() -> str | None:
    """Return a warning for operators if there can be no index; None if there can."""
    reason = unavailable()
    if reason is None:
        return None
    return f"this SQLite has no full-text search for parts of words ({reason}): searches among many jobs take longer"


def search_of(path: Path) -> Path:
    """Return the path of the index of the store at `path`."""
    return path.with_name(f"{path.name}.search")


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the paths of the index's files; the first is the database."""
    search = search_of(path)
    return search, wal_of(search), search.with_name(f"{search.name}-shm")
