"""Versions of SQLite, statements, connections and migrations, without a store."""

import sqlite3
from pathlib import Path

import pytest

from worker.errors import SchemaTooNew, StoreCorrupt, StoreError
from worker.stores.sqlite.connection import (
    Connection,
    connect_reader,
    connect_writer,
    migrate,
    require_sqlite,
    wal_reset_warning,
)
from worker.stores.sqlite.disk_space import wal_pages_for
from worker.stores.sqlite.schema import MIGRATIONS


@pytest.mark.parametrize("version", [(3, 7, 0), (3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 50, 6), (3, 51, 0), (3, 51, 2)])
def test_version_with_the_wal_reset_bug_gives_a_warning(version: tuple[int, int, int]) -> None:
    warning = wal_reset_warning(version)
    assert warning is not None
    assert ".".join(map(str, version)) in warning


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 44, 9), (3, 50, 7), (3, 51, 3), (3, 52, 0), (3, 54, 1), (4, 0, 0)])
def test_version_without_the_wal_reset_bug_gives_no_warning(version: tuple[int, int, int]) -> None:
    assert wal_reset_warning(version) is None


def test_version_too_old_for_the_statements_is_rejected() -> None:
    with pytest.raises(StoreError, match=r"3\.38\.0 or newer"):
        require_sqlite((3, 37, 2))
    require_sqlite((3, 38, 0))


def test_migrate_of_a_new_file_creates_the_newest_schema(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    path.touch()
    connection = connect_writer(path, 100)
    assert migrate(connection, path) is True
    assert migrate(connection, path) is False
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    connection.close()


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("fullfsync", 1), ("wal_autocheckpoint", 123)]
)
def test_writer_connection_syncs_each_commit(tmp_path: Path, pragma: str, value: object) -> None:
    (tmp_path / "new.db").touch()
    connection = connect_writer(tmp_path / "new.db", 123)
    assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)
    connection.close()


def test_reader_connection_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "new.db").touch()
    connect_writer(tmp_path / "new.db", 100).close()
    reader = connect_reader(tmp_path / "new.db")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("CREATE TABLE t (x)")
    reader.close()


def test_migrate_of_an_older_schema_keeps_its_rows(memory: Connection) -> None:
    path = Path("old.db")
    migrate(memory, path)
    memory.execute("INSERT INTO sequences VALUES ('somchai', 7)")
    following = (*MIGRATIONS, ("ALTER TABLE sequences ADD COLUMN note TEXT",))
    assert migrate(memory, path, following) is False
    assert memory.execute("SELECT * FROM sequences").fetchall() == [("somchai", 7, None)]
    assert memory.execute("PRAGMA user_version").fetchone() == (len(following),)


def test_migrate_that_fails_changes_nothing(memory: Connection) -> None:
    path = Path("old.db")
    migrate(memory, path)
    before = memory.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    broken = (*MIGRATIONS, ("CREATE TABLE more (id INTEGER)", "CREATE TABLE jobs (id INTEGER)"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(memory, path, broken)
    assert memory.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall() == before
    assert memory.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert not memory.in_transaction


def test_migrate_of_a_newer_schema_raises(memory: Connection) -> None:
    migrate(memory, Path("new.db"), (*MIGRATIONS, ()))
    with pytest.raises(SchemaTooNew, match="install the version"):
        migrate(memory, Path("new.db"))


def test_migrate_of_a_database_of_another_program_raises(memory: Connection) -> None:
    memory.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreCorrupt, match="another program"):
        migrate(memory, Path("music.db"))
    assert memory.execute("SELECT name FROM sqlite_schema").fetchall() == [("songs",)]


@pytest.mark.parametrize(("cap", "pages"), [(1 << 20, 64), (64 << 20, 1024), (10 << 30, 4000)])
def test_log_limit_follows_the_size_limit_of_the_store(cap: int, pages: int) -> None:
    assert wal_pages_for(cap) == pages
