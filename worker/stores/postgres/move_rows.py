"""What moves of a store in both directions share: rows in chunks, and a hash of them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

CHUNK = 2000
"""Rows that are copied at a time."""

Progress = Callable[[str, int, int], None]
"""Called with the table, and how many of how many rows were copied."""


def chunks(cursor: Iterable[Any]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Yield the rows of a cursor, CHUNK at a time."""
    rows: list[tuple[Any, ...]] = []
    for row in cursor:
        rows.append(row)
        if len(rows) == CHUNK:
            yield rows
            rows = []
    if rows:
        yield rows


def add_rows(digest: "hashlib._Hash", rows: Iterable[tuple[Any, ...]]) -> None:
    """Add rows to a hash."""
    for row in rows:
        digest.update(repr(row).encode("utf-8", "surrogatepass"))
