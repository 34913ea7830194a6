"""Statements over many rows at once."""

import sqlite3

import pytest

from worker.disk.row_statement import RowStatement


@pytest.mark.parametrize("count", [0, 1, 2, 3, 15, 16, 17, 32, 33, 100, 128, 129, 300])
def test_row_statement_takes_any_number_of_rows_in_order(memory: sqlite3.Connection, count: int) -> None:
    memory.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER, word TEXT)")
    insert = RowStatement("INSERT INTO numbers (number, word) SELECT * FROM {rows} WHERE column1 IS NOT NULL", width=2)
    assert insert.run(memory, [(number, f"w{number}") for number in range(count)]) == count
    rows = memory.execute("SELECT number, word FROM numbers ORDER BY id").fetchall()
    assert rows == [(number, f"w{number}") for number in range(count)]


def test_row_statement_counts_the_changed_rows(memory: sqlite3.Connection) -> None:
    memory.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY, word TEXT)")
    memory.executemany("INSERT INTO numbers VALUES (?, '')", [(number,) for number in range(10)])
    update = RowStatement(
        "UPDATE numbers SET word = new.column2 FROM {rows} AS new WHERE numbers.number = new.column1", width=2
    )
    assert update.run(memory, [(3, "three"), (5, "five"), (99, "ninety-nine")]) == 2
