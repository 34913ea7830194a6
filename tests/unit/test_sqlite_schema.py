"""The schema's small parts, without a store around them."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.errors import SchemaTooNew, StoreCorrupt, StoreError
from worker.queues.sqlite_room import wal_pages_for
from worker.queues.sqlite_schema import (
    MIGRATIONS,
    Connection,
    RowStatement,
    connect_reader,
    connect_writer,
    migrate,
    require_sqlite,
    wal_reset_warning,
)


@pytest.fixture
def memory() -> Iterator[Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


@pytest.mark.parametrize("version", [(3, 7, 0), (3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 50, 6), (3, 51, 0), (3, 51, 2)])
def test_sqlite_versions_with_the_wal_reset_bug_are_named(version: tuple[int, int, int]) -> None:
    warning = wal_reset_warning(version)
    assert warning is not None
    assert ".".join(map(str, version)) in warning


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 44, 9), (3, 50, 7), (3, 51, 3), (3, 52, 0), (3, 54, 1), (4, 0, 0)])
def test_mended_sqlite_versions_are_not_complained_of(version: tuple[int, int, int]) -> None:
    assert wal_reset_warning(version) is None


def test_a_sqlite_too_old_for_the_statements_is_refused() -> None:
    with pytest.raises(StoreError, match=r"3\.38\.0 or newer"):
        require_sqlite((3, 37, 2))
    require_sqlite((3, 38, 0))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 65, 128, 129, 300])
def test_a_row_statement_takes_any_number_of_rows_in_order(memory: Connection, count: int) -> None:
    memory.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER, word TEXT)")
    insert = RowStatement("INSERT INTO numbers (number, word) SELECT * FROM {rows} WHERE column1 IS NOT NULL", width=2)
    assert insert.run(memory, [(number, f"w{number}") for number in range(count)]) == count
    rows = memory.execute("SELECT number, word FROM numbers ORDER BY id").fetchall()
    assert rows == [(number, f"w{number}") for number in range(count)]


def test_a_row_statement_counts_the_rows_it_changed(memory: Connection) -> None:
    memory.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY, word TEXT)")
    memory.executemany("INSERT INTO numbers VALUES (?, '')", [(number,) for number in range(10)])
    update = RowStatement(
        "UPDATE numbers SET word = new.column2 FROM {rows} AS new WHERE numbers.number = new.column1", width=2
    )
    assert update.run(memory, [(3, "three"), (5, "five"), (99, "nobody")]) == 2


def test_a_new_file_gets_the_newest_schema(tmp_path: Path) -> None:
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
def test_the_writer_syncs_each_commit_to_the_log(tmp_path: Path, pragma: str, value: object) -> None:
    (tmp_path / "new.db").touch()
    connection = connect_writer(tmp_path / "new.db", 123)
    assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)
    connection.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "new.db").touch()
    connect_writer(tmp_path / "new.db", 100).close()
    reader = connect_reader(tmp_path / "new.db")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("CREATE TABLE t (x)")
    reader.close()


def test_an_older_schema_is_brought_forward_and_keeps_its_rows(memory: Connection) -> None:
    path = Path("old.db")
    migrate(memory, path)
    memory.execute("INSERT INTO sequences VALUES ('somchai', 7)")
    following = (*MIGRATIONS, ("ALTER TABLE sequences ADD COLUMN note TEXT",))
    assert migrate(memory, path, following) is False
    assert memory.execute("SELECT * FROM sequences").fetchall() == [("somchai", 7, None)]
    assert memory.execute("PRAGMA user_version").fetchone() == (len(following),)


def test_a_migration_that_fails_leaves_everything_as_it_was(memory: Connection) -> None:
    path = Path("old.db")
    migrate(memory, path)
    before = memory.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    broken = (*MIGRATIONS, ("CREATE TABLE more (id INTEGER)", "CREATE TABLE jobs (id INTEGER)"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(memory, path, broken)
    assert memory.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall() == before
    assert memory.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert not memory.in_transaction


def test_a_newer_schema_is_refused(memory: Connection) -> None:
    migrate(memory, Path("new.db"), (*MIGRATIONS, ()))
    with pytest.raises(SchemaTooNew, match="install the version"):
        migrate(memory, Path("new.db"))


def test_another_programs_database_is_left_alone(memory: Connection) -> None:
    memory.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreCorrupt, match="another program"):
        migrate(memory, Path("music.db"))
    assert memory.execute("SELECT name FROM sqlite_schema").fetchall() == [("songs",)]


@pytest.mark.parametrize(("cap", "pages"), [(1 << 20, 64), (64 << 20, 1024), (10 << 30, 4000)])
def test_a_small_cap_has_a_small_log(cap: int, pages: int) -> None:
    assert wal_pages_for(cap) == pages
