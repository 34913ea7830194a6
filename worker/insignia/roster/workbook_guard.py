"""Checks a zip archive before a native library reads it, and finds the cells whose formulas have no value.

The library keeps a sheet as a full rectangle and takes an error for an empty cell. So the size of every part and the
corners of every sheet are checked here first, and cells with an error are listed; so is what sheet_marks.py finds.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.sheet_marks import CommentParts, MarkFinder, PiecesOf, has_strokes, part_name, strokes
from worker.insignia.roster.table import RowMarks
from worker.insignia.roster.xml_parts import attributes_of

MAX_UNPACKED = 2 << 30
"""Bytes of all parts of a workbook."""
MAX_CELLS = 40_000_000
"""Cells of the rectangles around the contents of all sheets."""
_MOST_EMPTY = 4_000_000
"""Cells up to which the rectangles may be empty: the library takes 270 MB for them. Beyond, one in `_FILLED` must be in
the file, so that a small file cannot take much memory."""
_FILLED = 8
_PIECE = 4 << 20
_SHEETS = "xl/worksheets/"
# XML allows either quote and spaces around "="; searches end as in sheet_marks.py.
_AT = rb"""\br\s*=\s*["']([A-Za-z]+)(\d+)["']"""
_WIDE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{2,})\d""")
_LONG = re.compile(rb"""\br\s*=\s*["'][A-Za-z]+(\d{6,})["']""")
_ROWS = re.compile(rb"""\br\s*=\s*["'](\d+)["']""")
_IS_ERROR = re.compile(rb"""\bt\s*=\s*["']e["']""")
_ERROR_CELL = rb"<(?:\w+:)?c\b(?=[^<>]*" + _IS_ERROR.pattern + rb")"
_ERROR = re.compile(_ERROR_CELL + rb"[^<>]*?" + _AT)
_ERROR_SOMEWHERE = re.compile(_ERROR_CELL + rb"(?![^<>]*?" + _AT + rb")")
_LACKS_VALUE = re.compile(rb"</(?:\w+:)?f\s*>\s*</|<(?:\w+:)?f\b[^<>]*/>|<(?:\w+:)?v\s*(?:/>|>\s*</)")
"""What stands in a piece that has any formula without a value."""
_FORMULA_CELL = rb"""<(?:\w+:)?c\b(?![^<>]*\bt\s*=\s*["']str["'])"""
_NOTHING = (
    rb"[^<>]*>\s*<(?:\w+:)?f\b(?:[^<>]*/>|[^<>]*>[^<]*</(?:\w+:)?f\s*>)\s*"
    rb"(?:<(?:\w+:)?v\s*(?:/>|>\s*</(?:\w+:)?v\s*>)\s*)?</(?:\w+:)?c\s*>"
)
_NO_VALUE = re.compile(_FORMULA_CELL + rb"(?=[^<>]*?" + _AT + rb")" + _NOTHING)
_NO_VALUE_SOMEWHERE = re.compile(_FORMULA_CELL + rb"(?![^<>]*?" + _AT + rb")" + _NOTHING)
_MOST_LETTERS = 6
"""Of a column; the last one of a sheet has three."""
_FAR = 99_999
"""The last row that `_LONG` does not find: a cell may stand there although its row has another number, or none."""
_CELL = re.compile(_AT)
_EMPTY_CELL = re.compile(rb'<(?:\w+:)?c r="[A-Z]{1,3}\d{1,7}"(?: s="\d+")?\s*(?:/>|></(?:\w+:)?c>)')
"""A cell that only has a format, as spreadsheets write it; the library leaves it out. One that is written in any other
way counts as filled."""
_CONTENT = (b"<v", b"<is", b"<f", b":v", b":is", b":f")
"""How the tags of values and formulas begin."""
_ROW_TAG, _BARE_CELL = re.compile(rb"<(?:\w+:)?row\b"), re.compile(rb"<(?:\w+:)?c\b(?![^<>]*?" + _AT + rb")")
_TRUE = frozenset({"1", "true", "on"})


@dataclass(slots=True)
class _Corner:
    rows: int = 1
    columns: int = 26
    errors: set[tuple[int, int]] = field(default_factory=set)
    """(row number, column) of cells with an error."""
    bare: int = 0
    """The most cells of a row that do not say where they are: they stand beside each other."""
    bare_in_row: int = 0
    """Those of the last row."""
    filled: int = 0
    """Cells with a value or a formula; some are counted twice."""


@dataclass(slots=True)
class Rectangles:
    """The rectangles around the contents of the sheets, which the library keeps at once."""

    area: int = 0
    cells: int = 0

    def fits(self, area: int, cells: int) -> bool:
        """Return whether the next sheet fits, with so many cells in it."""
        area, cells = self.area + area, self.cells + cells
        return area <= min(MAX_CELLS, max(_MOST_EMPTY, cells * _FILLED))

    def add(self, area: int, cells: int) -> bool:
        """Add a sheet; return whether it fits."""
        fits = self.fits(area, cells)
        self.area, self.cells = self.area + area, self.cells + cells
        return fits


@dataclass(frozen=True, slots=True)
class SheetFacts:
    """What the library does not tell of a sheet."""

    errors: frozenset[tuple[int, int]] = frozenset()
    """(row number, column) of cells with an error."""
    marks: RowMarks | None = None


def open_archive(name: str, data: bytes) -> zipfile.ZipFile:
    """Return the archive. Raises RosterUnreadable for a damaged one or one that unpacks to too much."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, UnicodeDecodeError):
        raise RosterUnreadable(message("broken_workbook", name=name)) from None
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED or len(entries) > 10_000:
        raise RosterUnreadable(message("zip_bomb", name=name, limit=MAX_UNPACKED >> 20))
    if any(entry.flag_bits & 1 for entry in entries):
        raise RosterUnreadable(message("password", name=name))
    return archive


def check_workbook(name: str, archive: zipfile.ZipFile) -> dict[str, SheetFacts]:
    """Return what is to be known of the sheets by their names. Raises RosterUnreadable."""
    try:
        return _check_workbook(name, archive)
    except ValueError:  # a part that cannot be read to its end, or comments that would have to be joined
        raise RosterUnreadable(message("broken_workbook", name=name)) from None


def _check_workbook(name: str, archive: zipfile.ZipFile) -> dict[str, SheetFacts]:
    pieces_of = partial(_pieces, name, archive, _by_name(archive))
    titles = _titles(pieces_of)
    sheets = []
    has_struck_texts = False
    for entry in archive.infolist():
        part = entry.filename.lower()
        if part in titles or (part.startswith(_SHEETS) and part.endswith(".xml")):
            sheets.append(entry)
        elif part.endswith((".xml", ".rels")):  # a part whose size in the directory is wrong ends here
            is_struck = has_strokes(read_part(name, archive, entry))
            has_struck_texts |= is_struck and part == "xl/sharedstrings.xml"
    found: dict[str, SheetFacts] = {}
    struck = strokes(pieces_of, has_struck_texts=has_struck_texts)
    comments = CommentParts(pieces_of)
    rectangles = Rectangles()
    for entry in sheets:
        title = titles.get(entry.filename.lower(), entry.filename.removeprefix(_SHEETS))
        finder = struck.finder()
        corner = _corner(name, archive, entry, finder)
        if corner.columns * _FAR > MAX_CELLS:
            corner.rows = max(corner.rows, _last_cell(name, archive, entry, filled=False)[0])
        # No real cells take less than a byte each, however alike they are.
        cells = min(corner.filled, entry.compress_size)
        if not corner.bare and not rectangles.fits(corner.rows * corner.columns, cells):
            corner.rows, corner.columns = _last_cell(name, archive, entry, filled=True)
        if not rectangles.add(corner.rows * corner.columns, cells):
            raise RosterUnreadable(
                message("too_many_cells", name=name, sheet=title, rows=corner.rows, columns=corner.columns)
            )
        found[title] = SheetFacts(frozenset(corner.errors), finder.marks(comments.of_sheet(entry.filename)))
    return found


def counts_from_1904(name: str, archive: zipfile.ZipFile) -> bool:
    """Return whether the day numbers of a workbook begin in 1904."""
    found = attributes_of(_pieces(name, archive, _by_name(archive), "xl/workbook.xml"), "workbookPr")
    return any(one.get("date1904", "") in _TRUE for one in found)


def read_part(name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the pieces of a part, at most as many bytes as the directory states. Raises RosterUnreadable."""
    try:
        with archive.open(entry) as part:
            while piece := part.read(_PIECE):
                yield piece
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
        raise RosterUnreadable(message("broken_workbook", name=name)) from None


def _corner(name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, finder: MarkFinder) -> _Corner:
    corner = _Corner()
    for rows in _whole_rows(name, archive, entry):
        _measure(corner, rows)
        finder.look(rows)
    corner.rows = max(corner.rows, finder.farthest)
    corner.columns += corner.bare
    return corner


def _whole_rows(name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the pieces of a sheet, cut after a row. Raises ValueError for a tag that is as long as many rows."""
    rest = b""
    for piece in read_part(name, archive, entry):
        rest += piece
        cut = rest.rfind(b"row>") + 4  # of any prefix
        if cut < 4:
            if len(rest) < 4 * _PIECE:
                continue
            cut = rest.rfind(b"<")  # a row is seldom so long; then it is cut before any tag
            if cut <= 0:
                raise ValueError("no tag")
        yield rest[:cut]
        rest = rest[cut:]
    yield rest


def _last_cell(name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, *, filled: bool) -> tuple[int, int]:
    """Return the last row and column in which a cell stands by its own number. Few sheets need this.

    `filled`: cells that only have a format do not count.
    """
    last_row, last_column = 1, 1
    for rows in _whole_rows(name, archive, entry):
        found = _CELL.findall(_EMPTY_CELL.sub(b"", rows) if filled else rows)
        last_row = max([last_row, *(int(row) for _, row in found)])
        last_column = max([last_column, *map(column_number, {column for column, _ in found})])
    return last_row, last_column


def _measure(corner: _Corner, piece: bytes) -> None:
    """Find the corner of a piece, and its errors. Raises ValueError for an error in a cell that does not say where."""
    numbers = list(map(int, {*_ROWS.findall(piece), *_LONG.findall(piece)}))
    corner.rows = max([corner.rows, *numbers])
    corner.columns = max([corner.columns, *map(column_number, set(_WIDE.findall(piece)))])
    if b":c" in piece or piece.count(b"<c") != piece.count(b"<c r="):
        _count_bare_cells(corner, piece)
    corner.filled += sum(map(piece.count, _CONTENT))
    if _IS_ERROR.search(piece):
        corner.errors |= _cells(_ERROR, _ERROR_SOMEWHERE, piece)
    if _LACKS_VALUE.search(piece):
        corner.errors |= _cells(_NO_VALUE, _NO_VALUE_SOMEWHERE, piece)


def _count_bare_cells(corner: _Corner, piece: bytes) -> None:
    """Count the cells of each row that do not say where they are. The first row may have begun in the piece before."""
    first, *others = (len(_BARE_CELL.findall(row)) for row in _ROW_TAG.split(piece))
    counts = [corner.bare_in_row + first, *others]
    corner.bare_in_row = counts[-1]
    corner.bare = max(corner.bare, *counts)


def _cells(pattern: re.Pattern[bytes], lost: re.Pattern[bytes], piece: bytes) -> set[tuple[int, int]]:
    if lost.search(piece):
        raise ValueError("no place")
    return {(int(row), column_number(column) - 1) for column, row in pattern.findall(piece)}


def column_number(letters: bytes) -> int:
    """Return the number of a column, counted from 1: A is 1, AA is 27. More letters than any has count as six."""
    number = 0
    for letter in letters[:_MOST_LETTERS].upper():
        number = number * 26 + letter - 64
    return number


def _titles(pieces_of: PiecesOf) -> dict[str, str]:
    """Return the sheets' names by the names of their parts in lower case."""
    relations = attributes_of(pieces_of("xl/_rels/workbook.xml.rels"), "Relationship")
    targets = {one["Id"]: part_name("xl", one["Target"]) for one in relations if "Id" in one and "Target" in one}
    found: dict[str, str] = {}
    for sheet in attributes_of(pieces_of("xl/workbook.xml"), "sheet"):
        for key, value in sheet.items():
            if key.endswith(":id") and value in targets:
                found[targets[value].lower()] = sheet.get("name", "")
    return found


def _by_name(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the parts by their names in lower case: relations may write them otherwise."""
    return {entry.filename.lower(): entry for entry in archive.infolist()}


def _pieces(name: str, archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], part: str) -> Iterator[bytes]:
    if part.lower() in entries:
        yield from read_part(name, archive, entries[part.lower()])
