"""Tables as all readers return them: sheets of rows of text, whatever the file format was."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

UNKNOWN = "?"
"""The cell for a JSON value that is null or absent, which is not the same as "none"."""


class Row(NamedTuple):
    number: int
    """The line or row in the file on which it starts, or its position in a JSON list, counted from 1."""
    cells: Sequence[str]
    is_object: bool = True
    """False for an entry of a JSON list that is not an object."""


@dataclass(frozen=True, slots=True)
class RowMarks:
    """What a sheet shows of its rows beside their values. Rows have the numbers of the sheet."""

    hidden: frozenset[int] = frozenset()
    """Rows that are hidden, or left out by a filter."""
    struck: frozenset[int] = frozenset()
    """Rows with a cell that is struck through."""
    comments: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    hidden_columns: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class DelimitedText:
    """The text of a CSV file."""

    text: str
    separator: str
    skipped: int
    """How many first lines only declare the separator."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table of a file; a CSV file has one."""

    file: str
    """The file's name without its folder, for messages."""
    name: str
    """The sheet's name; empty where a file has only one table."""
    rows: Callable[[], Iterator[Row]]
    """Starts reading from the first row, as often as needed. Blank rows may be left out."""
    expected: int
    """The approximate number of rows, for the progress bar."""
    columns: tuple[str, ...] | None = None
    """The fields of a list of objects; None if the header has to be found among the rows."""
    is_hidden: bool = False
    merged: frozenset[tuple[int, int]] = frozenset()
    """(row number, column) of the cells that were filled from a merged cell."""
    marks: RowMarks | None = None
    """None if nothing is marked."""
    drops_empty: bool = False
    """Whether the format leaves out empty cells at the end of a row."""
    counts_from_1904: bool = False
    """Whether day numbers begin on 1 January 1904, as in workbooks of old Macintosh programs."""
    above: tuple[str, ...] = ()
    """Lines of text above the table that are in none of its rows, as in web pages."""
    place: str = ""
    """What messages call it, where that is not the file's name."""
    delimited: DelimitedText | None = None
    """What the rows are read from, if that is one text."""

    @property
    def title(self) -> str:
        return self.place or self.file


def objects_sheet(name: str, objects: Sequence[Any], *, file: str = "") -> Sheet:
    """Return the table of a list of objects; `name` is what messages call it."""
    columns = dict.fromkeys(key for item in objects if isinstance(item, Mapping) for key in item)
    names = tuple(str(column) for column in columns)
    return Sheet(file, "", lambda: _object_rows(objects, names), len(objects), columns=names, place=name)


def _object_rows(objects: Sequence[Any], columns: tuple[str, ...]) -> Iterator[Row]:
    for number, item in enumerate(objects, start=1):
        if isinstance(item, Mapping):
            yield Row(number, [cell_text(item.get(column)) for column in columns])
        else:
            yield Row(number, (), is_object=False)


def cell_text(value: object) -> str:
    """Return a JSON value as the text of a CSV cell."""
    if isinstance(value, str):
        return value
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return orjson.dumps(value, default=str).decode()


class SharedTexts(dict[str, str]):
    """A text to what is kept of it; texts that occur often are kept once."""

    def __missing__(self, text: str) -> str:
        kept = self[text] = "" if text == UNKNOWN else text.strip()
        return kept
