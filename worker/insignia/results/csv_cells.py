"""Cells and rows of the CSV files: quoted, harmless in a spreadsheet, each different text once."""

import re
from collections.abc import Iterable, Sequence
from typing import BinaryIO

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_QUOTE = '"'
_SPECIAL = re.compile(r'[",\r\n]')
_MOST = 50_000
"""Texts that are kept for one file."""
LINE_END = "\r\n"


def escape_formula(cell: str) -> str:
    """Return the cell with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def csv_cell(text: str) -> str:
    """Return a text as a cell of a CSV line, escaped and quoted."""
    return quoted(escape_formula(text))


def quoted(cell: str) -> str:
    """Return a cell with quotes around it if it needs them."""
    return f'"{cell.replace(_QUOTE, _QUOTE * 2)}"' if _SPECIAL.search(cell) else cell


def fragment(cells: Iterable[str]) -> str:
    """Return cells as a part of a CSV line."""
    return ",".join(map(csv_cell, cells))


class CsvCells(dict[str, str]):
    """A text to its cell in a CSV line; most names, posts and offices occur often."""

    def __missing__(self, text: str) -> str:
        if len(self) >= _MOST:
            self.clear()
        cell = self[text] = csv_cell(text)
        return cell


def write_lines(file: BinaryIO, header: Sequence[str], parts: Iterable[bytes]) -> None:
    """Write the header, and encoded lines in parts. The byte order mark tells Excel that the file is UTF-8."""
    file.write(f"\ufeff{fragment(header)}{LINE_END}".encode())
    for part in parts:
        file.write(part)


def encoded_lines(lines: Iterable[str]) -> bytes:
    """Return lines of fragments with their line ends."""
    return "".join(f"{line}{LINE_END}" for line in lines).encode()
