"""Finds what an XLSX workbook shows beside the values of its cells: hidden rows and columns, strokes, comments."""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from worker.insignia.roster.table import RowMarks
from worker.insignia.roster.xml_parts import attributes_of, read_tags

# "<" ends each search for a ">", and an attribute is looked for ahead, once for each opening: so neither a part of many
# openings nor an opening of many attributes takes longer than another one.
_NUMBER = re.compile(rb"""\br\s*=\s*["'](?:[A-Z]{1,3})?(\d{1,7})["']""")
_ROW = re.compile(rb"<(?:\w+:)?row\b([^<>]*)>")
_HIDDEN = re.compile(rb"""\bhidden\s*=\s*["'](?:1|true)["']""")
_COLUMNS = re.compile(rb"<(?:\w+:)?col\b([^<>]*)>")
_FIRST, _LAST = re.compile(rb"""\bmin\s*=\s*["'](\d{1,5})["']"""), re.compile(rb"""\bmax\s*=\s*["'](\d{1,5})["']""")
_SHARED = re.compile(rb"""<(?:\w+:)?c\b(?=[^<>]*\bt\s*=\s*["']s["'])([^<>]*)>\s*<(?:\w+:)?v>(\d{1,9})</""")
_CELL_OR_STRIKE = re.compile(rb"""<(?:\w+:)?(?:c\b([^<>]*)>|strike\b(?![^<>]*\bval\s*=\s*["'](?:0|false)["']))""")
_COMMENTS = "/comments"
"""The end of the type of a relation to comments; their part may have any name."""
_REFERENCE = re.compile(r"[A-Z]{1,3}(\d{1,7})")
_PREFACE = "[Threaded comment]"
_MOST_COLUMNS = 16384
PiecesOf = Callable[[str], Iterator[bytes]]
"""Yields the pieces of a part of the workbook; none if it has no such part."""


@dataclass(slots=True)
class MarkFinder:
    """Finds the marks of one sheet in the pieces of its part."""

    struck_cells: re.Pattern[bytes] | None
    """Cells with a struck format; None if no format is struck."""
    struck_texts: frozenset[int]
    """Numbers of the shared texts that are struck in part or as a whole."""
    hidden: set[int] = field(default_factory=set)
    struck: set[int] = field(default_factory=set)
    hidden_columns: set[tuple[int, int]] = field(default_factory=set)
    """The first of some hidden columns, and the one after the last."""
    row: int = 0
    """The number of the row that was read last."""
    farthest: int = 0
    """The highest number of a row that has none in the file."""

    def look(self, piece: bytes) -> None:
        """Look at a piece of the sheet's part."""
        self._look_at_rows(piece)
        if b"hidden" in piece:
            self.hidden_columns |= {
                (int(first[1]) - 1, min(int(last[1]), _MOST_COLUMNS))
                for match in _COLUMNS.finditer(piece)
                if _HIDDEN.search(match[1]) and (first := _FIRST.search(match[1])) and (last := _LAST.search(match[1]))
            }
        if self.struck_cells is not None:
            self.struck |= _numbers(match[1] for match in self.struck_cells.finditer(piece))
        if self.struck_texts:
            found = _SHARED.finditer(piece)
            self.struck |= _numbers(match[1] for match in found if int(match[2]) in self.struck_texts)
        if b"<strike" in piece or b":strike" in piece:
            self.struck |= _numbers(_cells_with_strikes(piece))

    def _look_at_rows(self, piece: bytes) -> None:
        """Find hidden rows; a row without a number follows the one before it."""
        rows = _ROW.findall(piece)
        numbers = _NUMBER.findall(b"\n".join(rows)) if b"hidden" not in piece else []
        if numbers and len(numbers) == len(rows):
            self.row = int(numbers[-1])
            return
        for attributes in rows:
            number = _NUMBER.search(attributes)
            self.row = int(number[1]) if number else self.row + 1
            self.farthest = self.farthest if number else max(self.farthest, self.row)
            if _HIDDEN.search(attributes):
                self.hidden.add(self.row)

    def marks(self, comments: Mapping[int, tuple[str, ...]]) -> RowMarks | None:
        """Return what was found; None if nothing is marked."""
        if not (self.hidden or self.struck or self.hidden_columns or comments):
            return None
        rows = frozenset(self.hidden), frozenset(self.struck)
        return RowMarks(*rows, comments=comments, hidden_columns=frozenset(_columns(self.hidden_columns)))


def _columns(ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Yield the columns of some ranges, each once."""
    done = 0
    for first, end in sorted(ranges):
        yield from range(max(first, done), end)
        done = max(done, end)


def _numbers(cells: Iterator[bytes]) -> set[int]:
    """Return the rows of cells by their attributes. Raises ValueError for a cell that does not say where it is."""
    found = [_NUMBER.search(attributes) for attributes in cells]
    if None in found:
        raise ValueError("no place")
    return {int(match[1]) for match in found if match is not None}


def _cells_with_strikes(piece: bytes) -> Iterator[bytes]:
    """Yield the attributes of cells that contain their text themselves, and some of it is struck through."""
    attributes = None
    for match in _CELL_OR_STRIKE.finditer(piece):
        if match[1] is not None:
            attributes = match[1]
        elif attributes is not None:
            yield attributes


@dataclass(frozen=True, slots=True)
class Strokes:
    """Which formats and shared texts of a workbook are struck through."""

    cells: re.Pattern[bytes] | None
    texts: frozenset[int]

    def finder(self) -> MarkFinder:
        return MarkFinder(self.cells, self.texts)


def strokes(pieces_of: PiecesOf, *, has_struck_texts: bool) -> Strokes:
    """Return what is struck through in a workbook. Raises ValueError for a part that cannot be read to its end."""
    styles = _Strikes()
    read_tags(pieces_of("xl/styles.xml"), styles.start)
    numbers = "|".join(map(str, styles.struck_formats())).encode()
    cells = rb"""<(?:\w+:)?c\b(?=[^<>]*\bs\s*=\s*["'](?:""" + numbers + rb""")["'])([^<>]*)(?<!/)>"""
    texts = _Strikes()
    if has_struck_texts:
        read_tags(pieces_of("xl/sharedStrings.xml"), texts.start)
    return Strokes(re.compile(cells) if numbers else None, frozenset(texts.struck["si"]))


class _Strikes:
    """Numbers the fonts and shared texts, and finds those that are struck through."""

    def __init__(self) -> None:
        self.counts = {"font": 0, "si": 0}
        self.struck: dict[str, set[int]] = {"font": set(), "si": set()}
        self.fonts: list[str] = []
        """The font of each format of cells."""
        self._is_format = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in self.counts:
            self.counts[tag] += 1
        elif tag == "strike" and attributes.get("val", "1") not in ("0", "false"):
            kind = "si" if self.counts["si"] else "font"
            self.struck[kind].add(self.counts[kind] - 1)
        elif tag in ("cellXfs", "cellStyleXfs", "dxfs"):
            self._is_format = tag == "cellXfs"
        elif tag == "xf" and self._is_format:
            self.fonts.append(attributes.get("fontId", ""))

    def struck_formats(self) -> list[int]:
        """Return the numbers of the formats whose font is struck through."""
        struck = set(map(str, self.struck["font"]))
        return [number for number, font in enumerate(self.fonts) if font in struck]


class _Comments:
    """Collects the comments of a part by rows."""

    def __init__(self) -> None:
        self.rows: dict[int, list[str]] = {}
        self._texts: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "comment" and (match := _REFERENCE.fullmatch(attributes.get("ref", ""))):
            self._texts = self.rows.setdefault(int(match[1]), [])
            self._texts.append("")

    def characters(self, data: str) -> None:
        if self._texts:
            self._texts[-1] += data


class CommentParts:
    """The comments of a workbook; each part with comments is read once."""

    def __init__(self, pieces_of: PiecesOf) -> None:
        self._pieces_of = pieces_of
        self._read: dict[str, dict[int, tuple[str, ...]]] = {}

    def of_sheet(self, part: str) -> dict[int, tuple[str, ...]]:
        """Return the comments on the cells of a sheet by their rows; `part` is the name of the sheet's part.

        Raises ValueError for a part that cannot be read to its end, and for a sheet with several parts of comments,
        which would have to be joined for each sheet.
        """
        folder, name = posixpath.split(part)
        relations = attributes_of(self._pieces_of(f"{folder}/_rels/{name}.rels"), "Relationship")
        targets = (one.get("Target", "") for one in relations if one.get("Type", "").endswith(_COMMENTS))
        parts = list(dict.fromkeys(part_name(folder, target) for target in targets))
        if len(parts) > 1:
            raise ValueError("several parts of comments")
        return self._comments(parts[0]) if parts else {}

    def _comments(self, part: str) -> dict[int, tuple[str, ...]]:
        if part not in self._read:
            found = _Comments()
            read_tags(self._pieces_of(part), found.start, found.characters)
            self._read[part] = {row: tuple(filter(None, map(_bare, texts))) for row, texts in found.rows.items()}
        return self._read[part]


def part_name(folder: str, target: str) -> str:
    """Return the name of the part to which a relation of a part in a folder leads."""
    return posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")


def _bare(text: str) -> str:
    """Return a comment without the notice that programs put before it."""
    return (text.rpartition("Comment:")[2] if text.lstrip().startswith(_PREFACE) else text).strip()


def has_strokes(pieces: Iterator[bytes]) -> bool:
    """Return whether a part has any text that is struck through; reads all of it."""
    found, rest = False, b""
    for piece in pieces:
        found = found or b"<strike" in rest + piece or b":strike" in rest + piece
        rest = piece[-8:]
    return found
