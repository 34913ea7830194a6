"""What commands print: results on stdout, messages for people on stderr."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from worker.observability.journal import PRIORITIES, is_journal

if TYPE_CHECKING:
    from rich.text import Text

PROGRAM: Final = "insignia-worker"
_NARROWEST: Final = 8
"""Width in characters below which a shortened column is left out."""
_STATE_COLOURS: Final = {
    "queued": "yellow",
    "pending": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "delivered": "green",
    "failed": "red",
    "dead": "red",
    "cancelled": "dim",
}


def print_message(text: str, level: Literal["INFO", "WARNING", "ERROR"] = "INFO") -> None:
    """Print a line for people on stderr; a line that begins with a blank continues the one before.

    The journal receives the level, so that `journalctl -p err` shows why a service did not start. Where stderr cannot
    be written, the line is lost: the exit code says the same.
    """
    line = text if text.startswith(" ") else f"{PROGRAM}: {text}"
    with contextlib.suppress(OSError):
        print(f"<{PRIORITIES[level]}>{line}" if is_journal(sys.stderr) else line, file=sys.stderr, flush=True)


def print_warning(text: object) -> None:
    """Print a warning on stderr."""
    print_message(f"warning: {text}", "WARNING")


def print_error(text: object) -> None:
    """Print on stderr why a command fails."""
    print_message(str(text), "ERROR")


def print_json(value: Any) -> None:
    """Print one line of JSON on stdout; characters such as Thai letters are not escaped."""
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def _as_text(value: Any) -> str:
    """Return a text as it is, and anything else as it is written in JSON: `true`, `[]`, a number."""
    if value is None or isinstance(value, str):
        return value or ""
    return orjson.dumps(value).decode()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table on a terminal.

    `overflow` says what happens where the terminal is too narrow: ids are printed `whole`, long texts are shortened
    (`ellipsis`) or continue on the next line (`fold`).
    """

    key: str
    heading: str
    format: Callable[[Any], str] = _as_text
    overflow: Literal["whole", "ellipsis", "fold"] = "whole"


def print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[Column], *, as_json: bool) -> None:
    """Print a table on a terminal; one JSON object per line elsewhere, or with `as_json`."""
    if as_json or not sys.stdout.isatty():
        for row in rows:
            print_json(row)
        return
    _print_table(rows, columns)


def _print_table(rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    cells = [[column.format(row.get(column.key)).replace("\n", " ") for column in columns] for row in rows]
    natural = [max(map(cell_len, (column.heading, *(row[at] for row in cells)))) for at, column in enumerate(columns)]
    console = Console()
    widths = fitting_widths(columns, natural, console.width)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for at, width in widths.items():
        overflow = columns[at].overflow
        shortened: Literal["fold", "ellipsis"] = "fold" if overflow == "fold" else "ellipsis"
        table.add_column(columns[at].heading, width=width, no_wrap=overflow != "fold", overflow=shortened)
    for row in cells:
        table.add_row(*(_coloured(columns[at], row[at]) for at in widths))
    # An id that does not fit continues on the terminal's next line; shortened, it could not be used in a command.
    needed = sum((widths[at] or 0) + 1 for at in widths if columns[at].overflow == "whole")
    console.width = max(console.width, needed)
    console.print(table)


def _coloured(column: Column, text: str) -> "Text":
    from rich.text import Text

    return Text(text, style=_STATE_COLOURS.get(text, "") if column.key == "status" else "")


def fitting_widths(columns: Sequence[Column], natural: Sequence[int], available: int) -> dict[int, int | None]:
    """Return the width of each column that is shown, by its place in `columns`.

    Columns whose `overflow` is `whole` keep their natural width; the shortened ones share what is left, and the last of
    them are left out when a share is too narrow to be read. None: the table's own layout decides (`fold`).
    """
    widths: dict[int, int | None] = {
        at: None if column.overflow == "fold" else natural[at] for at, column in enumerate(columns)
    }
    shortened = [at for at, column in enumerate(columns) if column.overflow == "ellipsis"]
    while shortened:
        rest = available - sum((width or 0) + 1 for at, width in widths.items() if at not in shortened)
        shares = _shared([natural[at] for at in shortened], rest - len(shortened))
        if all(share >= min(_NARROWEST, natural[at]) for at, share in zip(shortened, shares, strict=True)):
            widths.update(zip(shortened, shares, strict=True))
            break
        del widths[shortened.pop()]
    return widths


def _shared(wanted: Sequence[int], available: int) -> list[int]:
    """Divide `available` characters: the short ones get all they want, the long ones an equal share of the rest."""
    shares = [0] * len(wanted)
    for place, at in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        shares[at] = max(0, min(wanted[at], available // (len(wanted) - place)))
        available -= shares[at]
    return shares


def local_time(value: str | None) -> str:
    """Return a timestamp of the API in the time zone of this machine, such as `29 Nov 14:05`."""
    return "" if value is None else datetime.fromisoformat(value).astimezone().strftime("%d %b %H:%M")


def duration_text(milliseconds: float | None) -> str:
    """Return a duration with its unit: `350 ms`, `1.2 s`, `2 min 5 s`, `3 h 12 min`."""
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
