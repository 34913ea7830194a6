"""The checks of `doctor ws` as a table for people, printed line by line while they are made."""

import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Final

from rich.cells import cell_len, chop_cells

from worker.cli.doctor import Check
from worker.cli.doctor_connection import Verdict

MARKS: Final[dict[Verdict, str]] = {"ok": "✅", "warning": "❗", "failed": "❌"}
"""All of them are two columns wide on every terminal."""
_NAME_WIDTH: Final = 10
_TIME_WIDTH: Final = 9
_NARROWEST: Final = 24
_INDENT: Final = " " * (3 + _NAME_WIDTH + 1)


def header(width: int | None) -> str:
    """Return the headings; `width`: columns of the terminal, None: lines are not broken."""
    return "\n".join(_row("   ", "check", "finding", "time", width))


def rows_of(check: Check, width: int | None) -> str:
    """Return a check as rows of the table, with its remedy below it."""
    rows = list(_row(f"{MARKS[check.verdict]} ", check.name, check.text, f"{check.seconds * 1000:.0f} ms", width))
    if check.remedy:
        first, *more = _wrapped(check.remedy, None if width is None else _finding_width(width) - 2)
        rows.append(f"{_INDENT}→ {first}")
        rows += [f"{_INDENT}  {line}" for line in more]
    return "\n".join(rows)


def table_printer() -> Callable[[Check], None]:
    """Print the headings; return what prints a check. Lines are broken where stdout is a terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(header(width), flush=True)
    return lambda check: print(rows_of(check, width), flush=True)


def _finding_width(width: int) -> int:
    return max(_NARROWEST, width - len(_INDENT) - _TIME_WIDTH - 1)


def _row(mark: str, name: str, text: str, time: str, width: int | None) -> Iterator[str]:
    column = _finding_width(width) if width is not None else 0
    first, *more = _wrapped(text, column or None)
    yield f"{mark}{_padded(name, _NAME_WIDTH)} {_padded(first, column)} {time:>{_TIME_WIDTH if column else 0}}"
    for line in more:
        yield _INDENT + line


def _padded(text: str, width: int) -> str:
    """Fill up with blanks to this width on a terminal, where Thai vowels take no column and emoji take two."""
    return text + " " * (width - cell_len(text))


def _wrapped(text: str, width: int | None) -> list[str]:
    """Break a text between words; a word that is too long, such as a Thai sentence, between characters."""
    words = text.split()
    if width is None or not words:
        return [" ".join(words)]
    lines = [""]
    for word in words:
        for piece in chop_cells(word, width) if cell_len(word) > width else [word]:
            joined = f"{lines[-1]} {piece}" if lines[-1] else piece
            if cell_len(joined) <= width:
                lines[-1] = joined
            else:
                lines.append(piece)
    return lines
