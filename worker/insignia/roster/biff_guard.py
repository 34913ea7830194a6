"""Checks an XLS file before a native library reads it, and finds the cells with an error and the rows with marks.

The library keeps all sheets as full rectangles and takes an error for an empty cell, as in workbook_guard.py.
"""

import codecs
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.table import RowMarks
from worker.insignia.roster.workbook_guard import Rectangles, SheetFacts

_END = 0xFFFFFFFA
"""Numbers from here on have a special meaning: they do not point to a sector."""
_BOF, _EOF, _BOUNDSHEET, _FILEPASS, _FORMULA, _BOOLERR = 0x0809, 0x000A, 0x0085, 0x002F, 0x0006, 0x0205
_DIMENSIONS = 0x0200
_DATE_MODE, _CODE_PAGE, _EARLIER = 0x0022, 0x0042, b"\x00\x05"
_FONT, _FORMAT, _ROW, _COLUMNS, _NOTE = 0x0031, 0x00E0, 0x0208, 0x007D, 0x001C
_SHEET = 65_536 * 256
"""The cells of the largest sheet."""
_STRUCK, _HIDDEN_ROW, _LAST_COLUMN = 0x08, 0x20, 255
_MISSING_FONT = 4
"""The number that no font has: later ones are counted one higher."""
_BLANK = frozenset({0x0201, 0x00BE})
_CELLS = frozenset({0x0006, 0x0201, 0x0203, 0x0204, 0x0205, 0x027E, 0x00BD, 0x00BE, 0x00D6, 0x00FD})
_SHEET_START = struct.pack("<H", _BOF)
_SEVERAL = {0x00BD: 6, 0x00BE: 2}
"""Records of several cells of one row, which end with the last column: the bytes of each cell in them."""


@dataclass(frozen=True, slots=True)
class _Container:
    """The sectors of an OLE file."""

    data: bytes
    sector: int
    table: tuple[int, ...]
    """The number of the sector that follows each sector."""

    def chain(self, start: int, size: int | None = None) -> bytes:
        """Return the bytes of a chain of sectors. Raises ValueError for a chain with a loop."""
        parts, length, seen = [], 0, 0
        while start < _END and (size is None or length < size):
            seen += 1
            if start >= len(self.table) or seen > len(self.table):
                raise ValueError("broken chain")
            offset = (start + 1) * self.sector
            parts.append(self.data[offset : offset + self.sector])
            length += self.sector
            start = self.table[start]
        whole = b"".join(parts)
        return whole if size is None else whole[:size]


@dataclass(slots=True)
class _SheetScan:
    """What is found in the records of one sheet. Rows are numbered from 1, columns from 0."""

    struck_formats: frozenset[int]
    """Numbers of the formats of cells whose font is struck through."""
    errors: set[tuple[int, int]] = field(default_factory=set)
    hidden: set[int] = field(default_factory=set)
    hidden_columns: set[int] = field(default_factory=set)
    struck: set[int] = field(default_factory=set)
    commented: set[int] = field(default_factory=set)
    rows: int = 0
    columns: int = 0
    """Those of the rectangle around all cells."""
    cells: int = 0

    @property
    def area(self) -> int:
        return self.rows * self.columns

    def add(self, kind: int, body: bytes) -> None:
        """Add a record of one or several cells."""
        row, column, form = struct.unpack_from("<HHH", body)
        last = struct.unpack_from("<H", body, len(body) - 2)[0] if kind in _SEVERAL else column
        self.rows, self.columns = max(self.rows, row + 1), max(self.columns, column + 1, last + 1)
        self.cells += (len(body) - 6) // _SEVERAL[kind] if kind in _SEVERAL else 1
        is_error = kind == _BOOLERR and len(body) >= 8 and body[7] == 1
        is_error = is_error or (kind == _FORMULA and len(body) >= 14 and body[12:14] == b"\xff\xff" and body[6] == 2)
        if is_error:
            self.errors.add((row + 1, column))
        if form in self.struck_formats and kind not in _BLANK:
            self.struck.add(row + 1)

    def look(self, kind: int, body: bytes) -> None:
        """Look at a record that is not a cell."""
        if kind == _ROW and len(body) >= 14 and body[12] & _HIDDEN_ROW:
            self.hidden.add(struct.unpack_from("<H", body)[0] + 1)
        elif kind == _COLUMNS and len(body) >= 10 and body[8] & 1:
            first, last = struct.unpack_from("<HH", body)
            self.hidden_columns |= set(range(first, min(last, _LAST_COLUMN) + 1))
        elif kind == _NOTE and len(body) >= 4:
            self.commented.add(struct.unpack_from("<H", body)[0] + 1)
        elif kind == _DIMENSIONS:
            _check_dimensions(body)

    def facts(self) -> SheetFacts:
        comments = dict.fromkeys(self.commented, ("?",))
        rows = frozenset(self.hidden), frozenset(self.struck)
        is_marked = self.hidden or self.struck or self.commented or self.hidden_columns
        marks = RowMarks(*rows, comments, frozenset(self.hidden_columns)) if is_marked else None
        return SheetFacts(frozenset(self.errors), marks)


def check_biff(name: str, data: bytes) -> dict[str, SheetFacts]:
    """Return what is to be known of the sheets by their names. Raises RosterUnreadable."""
    try:
        stream = _workbook_stream(data)
        titles, struck = _globals(stream)
        sheets = sorted(titles)
        found: dict[str, SheetFacts] = {}
        rectangles = Rectangles()
        # The records of a sheet end before the next sheet begins. Where they do not, sheets share records, and this
        # check and the library would read these once for each sheet.
        for (offset, title), (end, _) in zip(sheets, [*sheets[1:], (len(stream), "")], strict=True):
            scan = _SheetScan(struck)
            _scan(scan, stream[offset:end], may_be_cut_off=end == len(stream))
            if not rectangles.add(scan.area, scan.cells):
                size = {"rows": scan.rows, "columns": scan.columns}
                raise RosterUnreadable(message("too_many_cells", name=name, sheet=title, **size))
            found[title] = scan.facts()
        return found
    except (struct.error, ValueError, IndexError, UnicodeDecodeError):
        raise RosterUnreadable(message("broken_workbook", name=name)) from None
    except PermissionError:
        raise RosterUnreadable(message("password", name=name)) from None


def counts_from_1904(data: bytes) -> bool:
    """Return whether the day numbers of a workbook that was checked begin in 1904."""
    for kind, body in _records(_workbook_stream(data), 0):
        if kind == _DATE_MODE:
            return body[:2] == b"\x01\x00"
        if kind == _EOF:
            break
    return False


def _workbook_stream(data: bytes) -> bytes:
    shift, mini_shift = struct.unpack_from("<HH", data, 30)
    if shift not in (9, 12) or mini_shift != 6:
        raise ValueError("sector size")
    count, directory = struct.unpack_from("<II", data, 44)
    cutoff, mini_start = struct.unpack_from("<II", data, 56)
    next_list = struct.unpack_from("<I", data, 68)[0]
    sector = 1 << shift
    lists = [number for number in struct.unpack_from("<109I", data, 76) if number < _END]
    for _ in range(len(data) // sector):  # no more lists than sectors, so that a loop of lists ends
        if next_list >= _END or len(lists) > len(data) // sector:
            break
        more = struct.unpack_from(f"<{sector // 4}I", data, (next_list + 1) * sector)
        lists += [number for number in more[:-1] if number < _END]
        next_list = more[-1]
    table: list[int] = []
    for number in lists[: max(count, 1)]:
        table += struct.unpack_from(f"<{sector // 4}I", data, (number + 1) * sector)
    container = _Container(data, sector, tuple(table))
    entries = container.chain(directory)
    root = None
    for offset in range(0, len(entries) - 127, 128):
        title = entries[offset : offset + 64].decode("utf-16-le", "replace")[: max(0, entries[offset + 64] // 2 - 1)]
        start, size = struct.unpack_from("<II", entries, offset + 116)
        if offset == 0:
            root = (start, size)
        if title in ("Workbook", "Book"):
            if size >= cutoff or root is None:
                return container.chain(start, size)
            return _mini_stream(container, container.chain(mini_start), root, start)[:size]
    raise ValueError("no workbook")


def _mini_stream(container: _Container, mini_table: bytes, root: tuple[int, int], start: int) -> bytes:
    table = struct.unpack(f"<{len(mini_table) // 4}I", mini_table[: len(mini_table) // 4 * 4])
    body = container.chain(root[0], root[1])
    parts: list[bytes] = []
    while start < _END:
        if start >= len(table) or len(parts) > len(table):
            raise ValueError("broken chain")
        parts.append(body[start * 64 : start * 64 + 64])
        start = table[start]
    return b"".join(parts)


def _records(stream: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    while offset + 4 <= len(stream):
        kind, size = struct.unpack_from("<HH", stream, offset)
        yield kind, stream[offset + 4 : offset + 4 + size]
        offset += 4 + size


def _globals(stream: bytes) -> tuple[list[tuple[int, str]], frozenset[int]]:
    """Return the offset and name of each sheet, and the numbers of the formats of cells with a struck font.

    Raises PermissionError for an encrypted workbook.
    """
    titles: list[tuple[int, str]] = []
    fonts: list[bool] = []
    formats: list[int] = []
    encoding = ""
    for kind, body in _records(stream, 0):
        if kind == _FILEPASS:
            raise PermissionError
        if kind == _BOUNDSHEET and len(body) > 7:
            titles.append((struct.unpack_from("<I", body)[0], _title(body, encoding)))
        elif kind == _BOF and body[:2] == _EARLIER:
            encoding = "cp1252"
        elif kind == _CODE_PAGE and encoding and len(body) >= 2:
            encoding = f"cp{struct.unpack_from('<H', body)[0]}"
        elif kind == _FONT and len(body) >= 4:
            fonts.append(bool(body[2] & _STRUCK))
        elif kind == _FORMAT and len(body) >= 2:
            font = struct.unpack_from("<H", body)[0]
            formats.append(font - (font > _MISSING_FONT))
        elif kind == _EOF:
            break
    struck = (number for number, font in enumerate(formats) if font < len(fonts) and fonts[font])
    return titles, frozenset(struck)


def _title(body: bytes, encoding: str) -> str:
    """Return the name of a sheet; the encoding is empty in the version that has one for all texts."""
    length, is_wide = body[6], body[7] & 1
    if not encoding:
        text = body[8 : 8 + length * (2 if is_wide else 1)].decode("utf-16-le" if is_wide else "latin-1")
    else:
        with_default = encoding if _is_known(encoding) else "cp1252"
        text = body[7 : 7 + length].decode(with_default, "replace")
    return text.replace("\0", "")


def _is_known(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding) is not None
    except LookupError:
        return False


def _scan(scan: _SheetScan, sheet: bytes, *, may_be_cut_off: bool) -> None:
    """Look at all records of one sheet. Raises ValueError if they do not end."""
    if not sheet.startswith(_SHEET_START):
        raise ValueError("no sheet there")
    depth = 0
    for kind, body in _records(sheet, 0):
        depth += (kind == _BOF) - (kind == _EOF)
        if depth == 0:
            break
        if kind in _CELLS and len(body) >= 6:
            scan.add(kind, body)
        else:
            scan.look(kind, body)
    if depth > 0 and not may_be_cut_off:
        raise ValueError("sheet without an end")


def _check_dimensions(body: bytes) -> None:
    """Check the size that a sheet says it has: the library reserves memory for it, and ends the process if it cannot.

    Raises ValueError for one that no sheet has, or that ends before it begins.
    """
    first_row, end_row, first_column, end_column = struct.unpack_from("<HHHH" if len(body) == 10 else "<IIHH", body)
    if not end_row or not end_column:
        return  # the sheet is empty
    rows, columns = end_row - first_row, end_column - first_column
    if rows <= 0 or columns <= 0 or rows * columns > _SHEET:
        raise ValueError("dimensions")
