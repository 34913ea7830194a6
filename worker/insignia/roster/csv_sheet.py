"""Reads delimited text: any usual separator, quotes, line ends."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.table import DelimitedText, Row, Sheet

SEPARATORS = ",;\t|"
_HEAD = 40
"""Records among which the header is expected, when the separator is chosen."""
LONGEST_LINE = 1 << 20

csv.field_size_limit(LONGEST_LINE)


def csv_sheet(name: str, text: str, count_headings: Callable[[Sequence[str]], int]) -> Sheet:
    """Return the table of a text. `count_headings` counts the known headings in a record, to choose the separator."""
    separator, skipped = _separator(text, count_headings)
    source = DelimitedText(text, separator, skipped)
    return Sheet(name, "", lambda: _records(name, source), max(1, text.count("\n")), delimited=source)


def _separator(text: str, count_headings: Callable[[Sequence[str]], int]) -> tuple[str, int]:
    """Return the separator, and the number of first lines that only declare it (`sep=;`, as Excel writes it)."""
    start = text.lstrip("\r\n")
    first = start[:200].splitlines()[0] if start else ""
    if first.lower().startswith("sep=") and len(first.rstrip()) == 5:
        return first.rstrip()[4], text[: text.index(first)].count("\n") + 1
    head = start[: LONGEST_LINE // 4]
    scores = {separator: _score(head, separator, count_headings) for separator in SEPARATORS}
    return max(SEPARATORS, key=lambda separator: (scores[separator], first.count(separator))), 0


def _score(head: str, separator: str, count_headings: Callable[[Sequence[str]], int]) -> int:
    best = 0
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(head, newline=""), delimiter=separator)):
            if number == _HEAD:
                break
            best = max(best, count_headings(cells) if len(cells) > 1 else 0)
    except csv.Error:
        pass
    return best


def _records(name: str, source: DelimitedText) -> Iterator[Row]:
    """Yield each record that is not blank, with the line on which it starts."""
    separator, skipped = source.separator, source.skipped
    reader = csv.reader(io.StringIO(source.text, newline=""), delimiter=separator)
    start = 1
    try:
        for cells in reader:
            line = reader.line_num
            if start > skipped and not is_blank(cells):
                if line > start and _swallowed_lines(cells, separator):
                    raise RosterUnreadable(message("open_quote", name=name, line=start))
                yield Row(start, cells)
            start = line + 1
    except csv.Error:
        raise RosterUnreadable(message("open_quote", name=name, line=start)) from None


def is_blank(cells: Sequence[str]) -> bool:
    """Return whether a record has nothing but spaces."""
    return not any(cells) or (not cells[0].strip() and "".join(cells).isspace())


def _swallowed_lines(cells: Sequence[str], separator: str) -> bool:
    """Return whether an unclosed quote has taken whole lines into its cell, which would lose them without a message."""
    later = [line for cell in cells for line in cell.splitlines()[1:]]
    return any(line.count(separator) >= min(3, len(cells) - 1) for line in later)
