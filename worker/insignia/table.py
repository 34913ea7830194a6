"""A file, or a list of objects, as rows of text under named columns. Knows encodings and quotes, no officer.

What is no table is refused with one line that says what to do: a workbook, a web page, UTF-16, an unclosed quote.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from worker.insignia.cells import tidy
from worker.insignia.faults import RosterUnreadable

UNKNOWN = "?"
"""The cell of a JSON list that was null or absent where absence is not the same as "none"."""
MAX_BYTES = 256 * 1024 * 1024
_SEPARATORS = ",;\t|"
_MAGIC = (
    (b"PK\x03\x04", "is a workbook (XLSX or ODS) or another zip archive, whatever its name says"),
    (b"\xd0\xcf\x11\xe0", "is an old workbook (XLS), whatever its name says"),
    (b"%PDF", "is a PDF"),
    (b"\x1f\x8b", "is compressed (gzip)"),
    (b"SQLite format 3", "is a database"),
    (b"\x89PNG", "is a picture"),
    (b"\xff\xd8\xff", "is a picture"),
    (b"GIF8", "is a picture"),
    (b"\x7fELF", "is a program"),
    (b"#!", "is a script"),
    (b"{\\rtf", "is a word processor's document (RTF)"),
    (b"Rar!", "is compressed (RAR)"),
    (b"7z\xbc\xaf", "is compressed (7z)"),
)
_AS_CSV = "open it and save it as CSV UTF-8"


class Row(NamedTuple):
    number: int
    """The line it starts on, or its place in a JSON list from 1."""
    cells: Sequence[str]
    fault: str = ""
    """Why its cells cannot be told apart; empty when they can."""


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    """What messages call it: the file's name without its folder."""
    columns: tuple[str, ...]
    """As written, without outer blanks."""
    rows: Iterator[Row]
    expected: int
    """About how many rows there are, for the progress bar."""
    sparse: bool = False
    """Whether a field may be left out of single rows, as in JSON."""


def read_table(path: Path, list_name: str) -> Table:
    """The rows of a CSV or JSON file. Raises RosterUnreadable, at once or on the way.

    In JSON, a list of objects or one object that holds the list as `list_name`.
    """
    data = _bytes_of(path)
    refuse_other_formats(path.name, data)
    text = _decoded(path.name, data)
    if not text.strip():
        raise RosterUnreadable(f"{path.name} is empty")
    if text.lstrip().startswith(("[", "{")):
        return _json_table(path.name, text, list_name)
    refuse_pages(path.name, text)
    return _csv_table(path.name, text)


def objects_table(name: str, objects: Sequence[Any]) -> Table:
    """The same for a list of objects already in memory."""
    columns = dict.fromkeys(key for item in objects if isinstance(item, Mapping) for key in item)
    names = tuple(str(column) for column in columns)
    return Table(name, names, _object_rows(objects, names), len(objects), sparse=True)


def _bytes_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RosterUnreadable(f"{path.name} is larger than {MAX_BYTES // 1024**2} MB: split it")
        return path.read_bytes()
    except IsADirectoryError:
        raise RosterUnreadable(f"{path.name} is a folder, not a file") from None
    except FileNotFoundError:
        raise RosterUnreadable(f"{path.name} does not exist") from None
    except OSError as exc:
        raise RosterUnreadable(f"{path.name} cannot be read: {exc.strerror or type(exc).__name__}") from exc


def refuse_other_formats(name: str, data: bytes) -> None:
    """Told by how the data begins. Raises RosterUnreadable."""
    if not data:
        raise RosterUnreadable(f"{name} is empty")
    for magic, what in _MAGIC:
        if data.startswith(magic):
            raise RosterUnreadable(f"{name} {what}: {_AS_CSV}")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RosterUnreadable(f"{name} is UTF-16 (Excel's Unicode text): save it as CSV UTF-8")
    if b"\0" in data[:65536]:
        raise RosterUnreadable(f"{name} is binary or UTF-16, no text: {_AS_CSV}")


def refuse_pages(name: str, text: str) -> None:
    """Raises RosterUnreadable."""
    if text.lstrip()[:200].lower().startswith(("<!doctype", "<html", "<?xml", "<table")):
        raise RosterUnreadable(f"{name} is a web page or XML, whatever its name says: {_AS_CSV}")


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        if data[: exc.start].isascii():
            return _decoded_thai(name, data)
        raise damaged(name, data.count(b"\n", 0, exc.start) + 1) from None


def _decoded_thai(name: str, data: bytes) -> str:
    try:
        return data.decode("cp874")
    except UnicodeDecodeError as exc:
        raise neither(name, data.count(b"\n", 0, exc.start) + 1) from None


def damaged(name: str, line: int) -> RosterUnreadable:
    """UTF-8 until then."""
    return RosterUnreadable(f"{name}: line {line} is damaged (the rest is UTF-8): save it again as UTF-8")


def neither(name: str, line: int) -> RosterUnreadable:
    """In no encoding that is read."""
    return RosterUnreadable(f"{name}: line {line} is neither UTF-8 nor Thai (code page 874): save it as CSV UTF-8")


def _json_table(name: str, text: str, list_name: str) -> Table:
    try:
        loaded = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise RosterUnreadable(f"{name}: line {exc.lineno}, column {exc.colno}: no JSON; correct it there") from None
    objects = loaded.get(list_name) if isinstance(loaded, dict) else loaded
    if not isinstance(objects, list):
        raise RosterUnreadable(f'{name}: must be a list of objects, or {{"{list_name}": [...]}}')
    return objects_table(name, objects)


def _object_rows(objects: Sequence[Any], columns: tuple[str, ...]) -> Iterator[Row]:
    for number, item in enumerate(objects, start=1):
        if isinstance(item, Mapping):
            yield Row(number, [as_text(item.get(column)) for column in columns])
        else:
            yield Row(number, (), "is no object with named fields")


def as_text(value: object) -> str:
    """A JSON value as a CSV cell would hold it."""
    if isinstance(value, str):
        return value
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return orjson.dumps(value, default=str).decode()


def _csv_table(name: str, text: str) -> Table:
    lines = _records(name, text)
    first = next(lines, None)
    if first is None:
        raise RosterUnreadable(f"{name} is empty")
    columns = tuple(tidy(cell) for cell in first.cells)
    while columns and not columns[-1]:
        columns = columns[:-1]
    rows = _checked(name, lines, len(columns))
    return Table(name, columns, rows, max(1, text.count("\n")))


def _records(name: str, text: str) -> Iterator[Row]:
    """Every record that is not blank, with the line it starts on."""
    separator, skipped = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    start = 1
    try:
        for cells in reader:
            if start > skipped and any(cells) and not "".join(cells).isspace():
                swallowed = reader.line_num > start and _swallowed(cells, separator)
                yield Row(start, cells, _UNCLOSED if swallowed else "")
            start = reader.line_num + 1
    except csv.Error:
        raise RosterUnreadable(f"{name}: the quote opened on line {start} {_UNCLOSED}") from None


def _separator(text: str) -> tuple[str, int]:
    """The separator, and how many first lines only name it (`sep=;`, which Excel writes)."""
    head = text.lstrip("\r\n")[:10000].splitlines() or [""]
    if head[0].lower().startswith("sep=") and len(head[0].rstrip()) == 5:
        return head[0].rstrip()[4], text[: text.index(head[0])].count("\n") + 1
    return max(_SEPARATORS, key=head[0].count), 0


def _checked(name: str, records: Iterator[Row], width: int) -> Iterator[Row]:
    for record in records:
        cells = record.cells
        if len(cells) > width and not any(cells[width:]):
            cells = cells[:width]
        if record.fault or (len(cells) != width and any("\n" in cell or "\r" in cell for cell in cells)):
            raise RosterUnreadable(f"{name}: the quote opened on line {record.number} {_UNCLOSED}")
        if len(cells) == width:
            yield Row(record.number, cells)
        else:
            yield Row(record.number, (), f"has {len(cells)} cells where the header has {width}")


_UNCLOSED = "is not closed in its place: correct it there"


def _swallowed(cells: Sequence[str], separator: str) -> bool:
    """Whether a quote that was never closed took whole lines into its cell: none of them may vanish in silence."""
    later = [line for cell in cells for line in cell.splitlines()[1:]]
    return any(line.count(separator) >= min(3, len(cells) - 1) for line in later)
