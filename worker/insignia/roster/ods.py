"""Reads the sheets of an OpenDocument spreadsheet."""

import re
import zipfile
from dataclasses import dataclass, field
from functools import partial
from xml.parsers import expat

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.table import Row, RowMarks, Sheet
from worker.insignia.roster.workbook_guard import MAX_CELLS, read_part

_CONTENT = "content.xml"
_HIDDEN = re.compile(
    r'<style:style\b[^>]*?style:name="([^"]*)"[^>]*?style:family="table"[^>]*>(.*?)</style:style>', re.S
)
_MOST_COLUMNS = 16384


@dataclass(slots=True)
class _OdsTable:
    name: str
    style: str
    rows: list[Row] = field(default_factory=list)
    cells: int = 0
    spans: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Column to the last row that a merged cell reaches down to, and its text."""
    merged: set[tuple[int, int]] = field(default_factory=set)
    columns: int = 0
    """Columns that were described."""
    hidden: set[int] = field(default_factory=set)
    hidden_columns: set[int] = field(default_factory=set)
    struck: set[int] = field(default_factory=set)
    comments: dict[int, list[str]] = field(default_factory=dict)

    @property
    def marks(self) -> RowMarks | None:
        """What is marked; None if nothing is."""
        if not (self.hidden or self.struck or self.hidden_columns or self.comments):
            return None
        comments = {row: tuple(filter(None, map(str.strip, texts))) for row, texts in self.comments.items()}
        rows = frozenset(self.hidden), frozenset(self.struck)
        return RowMarks(*rows, comments=comments, hidden_columns=frozenset(self.hidden_columns))


@dataclass(slots=True)
class _Parser:
    """Collects the tables of content.xml."""

    file: str
    tables: list[_OdsTable] = field(default_factory=list)
    number: int = 0
    row_times: int = 1
    row: list[str] = field(default_factory=list)
    cell_times: int = 1
    cell_rows: int = 1
    """Rows that a cell of one column reaches over; 0 for a cell that another one covers."""
    value: str | None = None
    text: list[str] | None = None
    depth: int = 0
    """Levels of annotations, whose text is not part of the value."""
    counts_from_1904: bool = False
    style: str = ""
    """The style that is being described."""
    struck_styles: set[str] = field(default_factory=set)
    is_struck: bool = False
    is_hidden: bool = False
    """Whether the row is."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "table:table":
            self.tables.append(_OdsTable(attributes.get("table:name", ""), attributes.get("table:style-name", "")))
            self.number = 0
        elif tag == "table:table-row":
            self.row, self.row_times = [], _times(attributes.get("table:number-rows-repeated"))
            self.is_hidden = attributes.get("table:visibility", "visible") != "visible"
        elif tag in ("table:table-cell", "table:covered-table-cell"):
            self.cell_times = _times(attributes.get("table:number-columns-repeated"))
            self.cell_rows = _rows_of(tag, attributes)
            self.value, self.text = _typed(attributes), [] if self.tables else None
            self.is_struck = attributes.get("table:style-name") in self.struck_styles
        elif tag == "table:null-date":
            self.counts_from_1904 = attributes.get("table:date-value", "").startswith("1904-01-01")
        elif tag == "office:annotation":
            self.depth += 1
            if self.tables:
                self.tables[-1].comments.setdefault(self.number + 1, []).append("")
        elif tag == "text:p" and self.text and not self.depth:
            self.text.append("\n")
        elif tag == "text:s" and self.text is not None:
            self.text.append(" ")

        else:
            self._describe(tag, attributes)

    def _describe(self, tag: str, attributes: dict[str, str]) -> None:
        """Read what is said of styles and columns."""
        if tag == "style:style":
            self.style = attributes.get("style:name", "")
        elif tag == "style:text-properties":
            if attributes.get("style:text-line-through-style", "none") != "none":
                self.struck_styles.add(self.style)
        elif tag == "text:span":
            self.is_struck |= attributes.get("text:style-name") in self.struck_styles
        elif tag == "table:table-column" and self.tables:
            table, times = self.tables[-1], _times(attributes.get("table:number-columns-repeated"))
            if attributes.get("table:visibility", "visible") != "visible":
                table.hidden_columns |= set(range(table.columns, min(table.columns + times, _MOST_COLUMNS)))
            table.columns += times

    def end(self, tag: str) -> None:
        if tag in ("table:table-cell", "table:covered-table-cell") and self.text is not None:
            self._end_cell()
        elif tag == "table:table-row" and self.tables:
            self._end_row()
        elif tag == "office:annotation":
            self.depth -= 1

    def characters(self, data: str) -> None:
        if self.text is not None and not self.depth:
            self.text.append(data)
        elif self.depth and self.tables and self.number + 1 in self.tables[-1].comments:
            self.tables[-1].comments[self.number + 1][-1] += data

    def _end_cell(self) -> None:
        cell = "".join(self.text or ()) if self.value is None else self.value
        self.text = None
        if self.is_struck and cell:
            self.tables[-1].struck.add(self.number + 1)
        if self.cell_rows > 1 and cell and self.cell_times == 1:
            self.tables[-1].spans[len(self.row)] = (self.number + self.cell_rows, cell)
        if self.cell_rows == 0 and not cell and self.tables[-1].spans:
            self._fill_covered()
        elif len(self.row) + self.cell_times <= _MOST_COLUMNS:
            self.row += [cell] * self.cell_times
        elif cell:
            self._refuse()

    def _fill_covered(self) -> None:
        """Add covered cells with the text of the cell that covers them from above."""
        table = self.tables[-1]
        for column in range(len(self.row), min(len(self.row) + self.cell_times, _MOST_COLUMNS)):
            last, text = table.spans.get(column, (0, ""))
            is_filled = self.number + 1 <= last
            self.row.append(text if is_filled else "")
            if is_filled:
                table.merged.add((self.number + 1, column))

    def _end_row(self) -> None:
        table = self.tables[-1]
        while self.row and not self.row[-1]:
            self.row.pop()
        if self.row:
            table.cells += self.row_times * len(self.row)
            if table.cells > MAX_CELLS or len(table.rows) + self.row_times > MAX_CELLS // 16:
                self._refuse()
            numbers = range(self.number + 1, self.number + 1 + self.row_times)
            table.rows += [Row(number, self.row) for number in numbers]
            if self.is_hidden:  # of a row without any text, however often it is repeated, this says nothing
                table.hidden.update(numbers)
        self.number += self.row_times

    def _refuse(self) -> None:
        sheet = self.tables[-1].name if self.tables else ""
        raise RosterUnreadable(
            message("too_many_cells", name=self.file, sheet=sheet, rows=self.number + self.row_times, columns="?")
        )


def _rows_of(tag: str, attributes: dict[str, str]) -> int:
    if tag == "table:covered-table-cell":
        return 0
    is_one_column = _times(attributes.get("table:number-columns-spanned")) == 1
    return _times(attributes.get("table:number-rows-spanned")) if is_one_column else 1


def _times(text: str | None) -> int:
    return max(1, int(text[:9])) if text and text.isdigit() else 1


def _typed(attributes: dict[str, str]) -> str | None:
    """Return the value of a typed cell; None for text, which stands between the tags."""
    kind = attributes.get("office:value-type", attributes.get("calcext:value-type"))
    if attributes.get("calcext:value-type") == "error":
        return "#REF!"
    if kind in ("float", "currency", "percentage"):
        value = attributes.get("office:value", "")
        return value.removesuffix(".0")
    if kind == "date":
        return attributes.get("office:date-value", "").removesuffix("T00:00:00")
    if kind == "boolean":
        return attributes.get("office:boolean-value", "")
    return None


def ods_sheets(name: str, archive: zipfile.ZipFile) -> list[Sheet]:
    """Return the sheets of the document. Raises RosterUnreadable."""
    parser = _Parser(name)
    reader = expat.ParserCreate()
    reader.buffer_text = True
    reader.StartElementHandler = parser.start
    reader.EndElementHandler = parser.end
    reader.CharacterDataHandler = parser.characters
    head = b""
    try:
        for piece in read_part(name, archive, archive.getinfo(_CONTENT)):
            head = head or piece[: 1 << 20]
            reader.Parse(piece, False)
        reader.Parse(b"", True)
    except (expat.ExpatError, KeyError, ValueError):
        raise RosterUnreadable(message("broken_workbook", name=name)) from None
    hidden = {style for style, body in _HIDDEN.findall(head.decode("utf-8", "replace")) if 'display="false"' in body}
    return [
        Sheet(
            name,
            table.name,
            partial(iter, table.rows),
            len(table.rows),
            is_hidden=table.style in hidden,
            merged=frozenset(table.merged),
            marks=table.marks,
            drops_empty=True,
            counts_from_1904=parser.counts_from_1904,
        )
        for table in parser.tables
    ]
