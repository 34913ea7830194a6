"""SQL that several operations share: lanes, job states, statements over many rows."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any

import orjson

from worker.core.job import TRANSITIONS, JobAction
from worker.stores.sqlite.connection import Connection

READY, SCHEDULED, BACKOFF, RUNNING = 0, 1, 2, 3
"""The lanes of unfinished jobs: due; scheduled; waiting after a failed attempt; claimed. Ended jobs have NULL. The next
claim moves jobs that have become due into the ready lane."""


def can(action: JobAction) -> str:
    """Return the condition, on a row of `jobs`, that the action is possible in its state."""
    return f"jobs.state IN ({', '.join(repr(str(state)) for state in TRANSITIONS[action].sources)})"


def becomes(action: JobAction) -> str:
    """Return the assignment of the state that the action leads to."""
    return f"state = '{TRANSITIONS[action].target}'"


class RowStatement:
    """A statement over many rows at once: `{rows}` in it stands for `(VALUES (?, …), …)`.

    One statement instead of one per row, because sqlite3 releases the interpreter lock at each and gets it back from
    a busy event loop only after the switch interval (5 ms): 100 rows one by one took 260 ms next to a busy thread.
    The row count is filled up to a power of two with NULLs, so that few statements are compiled; the statement must do
    nothing for a row whose first column is NULL.
    """

    __slots__ = ("_template", "_width")
    _CHUNK = 128

    def __init__(self, template: str, width: int) -> None:
        self._template = template
        self._width = width

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Execute the statement for all rows; return how many rows of the table were changed."""
        changed = 0
        for start in range(0, len(rows), self._CHUNK):
            chunk = rows[start : start + self._CHUNK]
            size = 1 << (len(chunk) - 1).bit_length()
            values = list(chain.from_iterable(chunk))
            values.extend([None] * (self._width * (size - len(chunk))))
            changed += connection.execute(_with_rows(self._template, self._width, size), values).rowcount
        return changed


@cache
def _with_rows(template: str, width: int, size: int) -> str:
    row = f"({', '.join('?' * width)})"
    return template.format(rows=f"(VALUES {', '.join([row] * size)})")


def json_list(values: Iterable[str | int]) -> str:
    """Return one parameter for `IN (SELECT value FROM json_each(?))`, however many values there are."""
    return orjson.dumps(list(values)).decode()
