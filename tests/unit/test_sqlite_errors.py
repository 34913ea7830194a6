"""SQLite's errors, made for real, in our words."""

import sqlite3
from pathlib import Path

import pytest

from worker.errors import StoreCorrupt, StoreFull, StoreLocked, StoreUnwritable
from worker.queues.sqlite_errors import translated

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


def test_a_full_database_is_full() -> None:
    exc = caught(
        "PRAGMA max_page_count = 3",
        "CREATE TABLE t (x)",
        "INSERT INTO t VALUES (zeroblob(100000))",
    )
    error = translated(exc, PATH)
    assert isinstance(error, StoreFull)
    assert "make room" in str(error)


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"this is a letter to my mother, " * 100)
    error = translated(caught("SELECT * FROM sqlite_schema", database=str(tmp_path / "x.db")), PATH)
    assert isinstance(error, StoreCorrupt)
    assert "db recover" in str(error)


def test_a_read_only_database_is_unwritable(tmp_path: Path) -> None:
    caught_error = caught("PRAGMA query_only = ON", "CREATE TABLE t (x)")
    assert isinstance(translated(caught_error, PATH), StoreUnwritable)


def test_a_missing_folder_is_unwritable(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError) as raised:
        sqlite3.connect(tmp_path / "no" / "such" / "x.db")
    assert isinstance(translated(raised.value, PATH), StoreUnwritable)


def test_a_lock_of_another_program_is_a_lock(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    error = translated(caught("BEGIN IMMEDIATE", database=str(tmp_path / "x.db")), PATH)
    other.close()
    assert isinstance(error, StoreLocked)
    assert str(PATH) in str(error)


def test_a_refused_row_is_a_wrong_value() -> None:
    exc = caught("CREATE TABLE t (x INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (1)")
    assert isinstance(translated(exc, PATH), ValueError)


def test_a_mistake_in_a_statement_stays_what_it_is() -> None:
    exc = caught("SELEKT 1")
    assert translated(exc, PATH) is exc


def test_what_is_not_sqlites_stays_what_it_is() -> None:
    exc = KeyError("x")
    assert translated(exc, PATH) is exc
