"""Splits a delimited text into columns, and hands out the rows that are not tidy as the readable path sees them.

A row is tidy if it has as many cells as the table has columns. Of a text in which Python and Polars might see different
cells, nothing is split.
"""

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from worker.insignia.roster.csv_sheet import LONGEST_LINE, is_blank
from worker.insignia.roster.table import DelimitedText, Row

NUMBER, PART = "number", "part"
"""The columns with the line of a row, and with the part of the file in which it is read."""
_QUOTED = r'"(?:[^"]|"")*"'
_NEVER = "\x1f"
_ODD_CHARACTERS = f"\0\x1c\x1d\x1e{_NEVER}"
"""Characters that only one of the two takes for a space, or for the end of a text."""


@dataclass(frozen=True, slots=True)
class SplitRows:
    """The rows of a table."""

    tidy: pl.DataFrame
    """NUMBER, PART, and the cells in the columns `0`, `1` and so on."""
    others: pl.DataFrame
    """NUMBER, PART and `line` of the other rows that are not blank."""
    separator: str

    def other_rows(self) -> Iterator[tuple[int, Row]]:
        """Yield the other rows, each with the part of the file."""
        for number, part, line in self.others.iter_rows():
            yield part, Row(number, _cells(line, self.separator))


def split_rows(source: DelimitedText, first_row: int, width: int, rows_of_part: int) -> SplitRows | None:
    """Return the rows from line `first_row` on; None if the text as a whole cannot be split safely."""
    text, separator = source.text, source.separator
    if width < 2 or any(mark in text for mark in _ODD_CHARACTERS) or text.count("\r") != text.count("\r\n"):
        return None
    data = text.encode()
    lines = _lines(data)
    is_long = lines["line"].str.len_bytes() > LONGEST_LINE // 4
    if is_long.any() or not _are_quotes_plain(lines["line"], separator):
        return None
    blanks = _blank_lines(lines, separator)
    is_row = (pl.col(NUMBER) > source.skipped) & ~pl.col(NUMBER).is_in(blanks)
    rows = lines.filter(is_row).with_columns((pl.int_range(pl.len(), dtype=pl.UInt32) // rows_of_part).alias(PART))
    rows = rows.filter(pl.col(NUMBER) >= first_row)
    is_tidy = _separators(rows["line"], separator) == width - 1
    tidy = rows.filter(is_tidy)
    if lines.height >= first_row and tidy.height == lines.height - first_row + 1:
        table = data[_start_of(data, first_row) :]
    else:
        table = tidy["line"].str.join("\n").item().encode()
    cells = _split(table, separator, width, tidy.height)
    if cells is None:
        return None
    tidy = tidy.select(NUMBER, PART).hstack(cells)
    return SplitRows(tidy, rows.filter(~is_tidy).select(NUMBER, PART, "line"), separator)


def _lines(data: bytes) -> pl.DataFrame:
    lines = pl.read_csv(
        data,
        has_header=False,
        separator=_NEVER,
        quote_char=None,
        schema={"line": pl.String},
        empty_string_is_null=False,
    )
    return lines.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias(NUMBER))


def _are_quotes_plain(lines: pl.Series, separator: str) -> bool:
    """Return whether every cell with a quote is quoted as a whole, within its line."""
    quoted = lines.filter(lines.str.contains('"', literal=True))
    mark = re.escape(separator)
    cell = rf'(?:[^"{mark}]*|"(?:[^"]|"")*")'
    return quoted.str.contains(rf"^(?:{cell}{mark})*{cell}$").all()


def _separators(lines: pl.Series, separator: str) -> pl.Series:
    """Return how many separators each line has outside of quotes."""
    line = pl.col("line")
    bare = pl.when(line.str.contains('"', literal=True)).then(line.str.replace_all(_QUOTED, "")).otherwise(line)
    return lines.to_frame("line").select(bare.str.count_matches(separator, literal=True)).to_series()


def _blank_lines(lines: pl.DataFrame, separator: str) -> list[int]:
    maybe = lines.filter(pl.col("line").str.contains(rf'^[\s"{re.escape(separator)}]*$'))
    return [number for line, number in maybe.iter_rows() if is_blank(_cells(line, separator))]


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _start_of(data: bytes, line: int) -> int:
    """Return where a line begins."""
    place = 0
    for _ in range(line - 1):
        place = data.index(b"\n", place) + 1
    return place


def _split(data: bytes, separator: str, width: int, count: int) -> pl.DataFrame | None:
    """Return the cells of so many lines; None if they cannot be split safely."""
    names = [str(place) for place in range(width)]
    if not count:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    if data.startswith(codecs.BOM_UTF8):
        return None
    found = pl.read_csv(
        data,
        has_header=False,
        separator=separator,
        schema=dict.fromkeys(names, pl.String),
        empty_string_is_null=False,
        extra_columns="raise",
    )
    return found if found.height == count else None
