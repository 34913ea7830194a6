"""SQLite statements over many rows at once."""

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

_STEP: Final = 16


class RowStatement:
    """A statement over many rows at once: `{rows}` in it stands for `(VALUES (?, …), …)`.

    One statement instead of one per row, because sqlite3 releases the interpreter lock at each and gets it back from
    a busy event loop only after the switch interval (5 ms): 100 rows one by one took 260 ms next to a busy thread.
    The row count is filled up with NULLs to a power of two or a multiple of 16, so that few statements are compiled.
    The statement must do nothing for a row whose first column is NULL.
    """

    __slots__ = ("_template", "_width")
    _CHUNK = 128

    def __init__(self, template: str, width: int) -> None:
        self._template = template
        self._width = width

    def run(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Execute the statement for all rows; return how many rows of the table were changed."""
        changed = 0
        for start in range(0, len(rows), self._CHUNK):
            chunk = rows[start : start + self._CHUNK]
            size = _size_for(len(chunk))
            values = list(chain.from_iterable(chunk))
            values.extend([None] * (self._width * (size - len(chunk))))
            changed += connection.execute(_with_rows(self._template, self._width, size), values).rowcount
        return changed


def _size_for(rows: int) -> int:
    return 1 << (rows - 1).bit_length() if rows <= _STEP else -(-rows // _STEP) * _STEP


@cache
def _with_rows(template: str, width: int, size: int) -> str:
    row = f"({', '.join('?' * width)})"
    return template.format(rows=f"(VALUES {', '.join([row] * size)})")
