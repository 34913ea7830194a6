"""Errors that SQLite really raises become errors of the store."""

import sqlite3
from pathlib import Path

import pytest

from worker.errors import StoreCorrupt, StoreFull, StoreLocked, StoreUnwritable
from worker.stores.sqlite.errors import translate

PATH = Path("/var/lib/worker/queue.db")


def caught(*statements: str, database: str = ":memory:") -> sqlite3.Error:
    connection = sqlite3.connect(database, isolation_level=None, timeout=0.0)
    try:
        for statement in statements:
            connection.execute(statement)
    except sqlite3.Error as exc:
        return exc
    finally:
        connection.close()
    raise AssertionError("nothing went wrong")


def test_translate_of_a_full_database_returns_store_full() -> None:
    exc = caught(
        "PRAGMA max_page_count = 3",
        "CREATE TABLE t (x)",
        "INSERT INTO t VALUES (zeroblob(100000))",
    )
    error = translate(exc, PATH)
    assert isinstance(error, StoreFull)
    assert "free some space" in str(error)


def test_translate_of_a_file_that_is_not_a_database_returns_store_corrupt(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is a letter to my mother, " * 100)
    error = translate(caught("SELECT * FROM sqlite_schema", database=str(tmp_path / "x.db")), PATH)
    assert isinstance(error, StoreCorrupt)
    assert "db recover" in str(error)


def test_translate_of_a_read_only_database_returns_store_unwritable(tmp_path: Path) -> None:
    caught_error = caught("PRAGMA query_only = ON", "CREATE TABLE t (x)")
    assert isinstance(translate(caught_error, PATH), StoreUnwritable)


def test_translate_of_a_missing_folder_returns_store_unwritable(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError) as raised:
        sqlite3.connect(tmp_path / "no" / "such" / "x.db")
    assert isinstance(translate(raised.value, PATH), StoreUnwritable)


def test_translate_of_a_locked_database_returns_store_locked(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    error = translate(caught("BEGIN IMMEDIATE", database=str(tmp_path / "x.db")), PATH)
    other.close()
    assert isinstance(error, StoreLocked)
    assert str(PATH) in str(error)


def test_translate_of_a_violated_constraint_returns_value_error() -> None:
    exc = caught("CREATE TABLE t (x INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (1)")
    assert isinstance(translate(exc, PATH), ValueError)


def test_translate_of_a_syntax_error_returns_it_unchanged() -> None:
    exc = caught("SELEKT 1")
    assert translate(exc, PATH) is exc


def test_translate_of_another_exception_returns_it_unchanged() -> None:
    exc = KeyError("x")
    assert translate(exc, PATH) is exc
