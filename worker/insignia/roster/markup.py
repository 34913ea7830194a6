"""Reads tables in markup: web pages (which many programs save under the name .xls) and SpreadsheetML (Excel 2003)."""

import email
import email.policy
import re
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from xml.parsers import expat

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.table import Row, RowMarks, Sheet
from worker.insignia.roster.text_encoding import decode
from worker.insignia.roster.workbook_guard import MAX_CELLS

_MOST_COLUMNS = 16384
_DATE_1904 = re.compile(r"<(?:\w+:)?Date1904\s*/?>")
_CLASS = re.compile(r"\.([\w-]+)")
_SPREADSHEET = "urn:schemas-microsoft-com:office:spreadsheet"


def markup_sheets(name: str, data: bytes) -> list[Sheet]:
    """Return the tables of a page or of an XML workbook. Raises RosterUnreadable."""
    text = _page(name, data)
    is_workbook = _SPREADSHEET in text[:4000] and "<html" not in text[:4000].lower()
    tables = _xml_tables(name, text) if is_workbook else _html_tables(name, text)
    if not any(table.rows for table in tables):
        raise RosterUnreadable(message("page_without_table", name=name))
    return [
        Sheet(
            name,
            table.name,
            partial(iter, table.rows),
            len(table.rows),
            is_hidden=table.is_hidden,
            merged=frozenset(table.merged),
            marks=table.marks,
            drops_empty=is_workbook,
            counts_from_1904=is_workbook and _DATE_1904.search(text) is not None,
        )
        for table in tables
    ]


def _page(name: str, data: bytes) -> str:
    """Return the text of the page; of a web archive (MHTML), the part with the page."""
    if data[:20].lower().startswith((b"mime-version:", b"content-type:")):
        archive = email.message_from_bytes(data, policy=email.policy.compat32)
        for part in archive.walk():
            if part.get_content_type() == "text/html":
                content = part.get_payload(decode=True)
                return decode(name, content) if isinstance(content, bytes) else ""
        raise RosterUnreadable(message("page_without_table", name=name))
    return decode(name, data)


@dataclass(slots=True)
class _Table:
    """A table that grows cell by cell, with cells that reach over several rows and columns."""

    file: str
    name: str = ""
    rows: list[Row] = field(default_factory=list)
    row: list[str] = field(default_factory=list)
    number: int = 0
    below: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Column to the rows that a cell still reaches over, and its text."""
    merged: set[tuple[int, int]] = field(default_factory=set)
    hidden: set[int] = field(default_factory=set)
    struck: set[int] = field(default_factory=set)
    comments: dict[int, list[str]] = field(default_factory=dict)
    hidden_columns: set[int] = field(default_factory=set)
    described: int = 0
    """Columns that are described before the rows."""
    cells: int = 0
    is_hidden: bool = False
    is_row_open: bool = False

    def start_row(self, number: int | None = None) -> None:
        self.end_row()  # pages often leave the end of a row out
        self.is_row_open = True
        self.number = self.number + 1 if number is None else number
        self.row = []

    @property
    def marks(self) -> RowMarks | None:
        """What is marked; None if nothing is."""
        if not (self.hidden or self.struck or self.comments or self.hidden_columns):
            return None
        comments = {row: tuple(filter(None, map(str.strip, texts))) for row, texts in self.comments.items()}
        return RowMarks(frozenset(self.hidden), frozenset(self.struck), comments, frozenset(self.hidden_columns))

    def describe_columns(self, count: int, *, is_hidden: bool) -> range:
        """Count columns that are described together, and return their places."""
        places = range(self.described, min(self.described + count, _MOST_COLUMNS))
        self.described = places.stop
        if is_hidden:
            self.hidden_columns |= set(places)
        return places

    def skip_to(self, column: int) -> None:
        if column > _MOST_COLUMNS:
            self._refuse()
        while len(self.row) < column:
            self._fill_from_above()

    def add(self, text: str, columns: int, rows: int) -> None:
        while len(self.row) in self.below:
            self._fill_from_above()
        if rows > 1 and columns == 1:
            self.below[len(self.row)] = (rows - 1, text)
        if len(self.row) + columns > _MOST_COLUMNS:
            self._refuse()
        self.row += [text, *[""] * (columns - 1)]

    def _fill_from_above(self) -> None:
        column = len(self.row)
        left, text = self.below.pop(column, (0, ""))
        if left and text:
            self.merged.add((self.number, column))
        if left > 1:
            self.below[column] = (left - 1, text)
        self.row.append(text)

    def end_row(self) -> None:
        if not self.is_row_open:
            return
        self.is_row_open = False
        while len(self.row) in self.below:
            self._fill_from_above()
        self.cells += len(self.row)
        if self.cells > MAX_CELLS:
            self._refuse()
        if any(self.row):
            self.rows.append(Row(self.number, self.row))

    def _refuse(self) -> None:
        raise RosterUnreadable(
            message("too_many_cells", name=self.file, sheet=self.name, rows=self.number, columns=len(self.row))
        )


class _HtmlTables(HTMLParser):
    """Collects the tables of a page; a table inside a cell is a table of its own."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.tables: list[_Table] = []
        self._open: list[_Table] = []
        self._text: list[str] | None = None
        self._spans = (1, 1)
        self._silent = 0
        self._struck_classes: set[str] = set()
        self._is_row_struck = self._is_struck = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._end_cell()
            self._open.append(_Table(self.name, str(len(self.tables) + 1)))
            self.tables.append(self._open[-1])
        elif tag in ("style", "script"):
            self._silent += 1
        elif not self._open:
            return
        elif tag == "tr":
            self._end_cell()
            self._open[-1].start_row()
            self._is_row_struck = self._strikes(tag, dict(attrs))
            if _is_hidden(dict(attrs)):
                self._open[-1].hidden.add(self._open[-1].number)
        elif tag in ("td", "th"):
            self._end_cell()
            values = dict(attrs)
            self._text, self._spans = [], (_span(values.get("colspan")), _span(values.get("rowspan")))
            self._is_struck = self._is_row_struck or self._strikes(tag, values)
        elif tag == "col":
            self._open[-1].describe_columns(_span(dict(attrs).get("span")), is_hidden=_is_hidden(dict(attrs)))
        elif self._text is not None and tag != "br":
            self._is_struck |= self._strikes(tag, dict(attrs))
        elif tag == "br" and self._text is not None:
            self._text.append("\n")

    def _strikes(self, tag: str, attributes: dict[str, str | None]) -> bool:
        """Return whether a tag strikes through the text that follows."""
        classes = (attributes.get("class") or "").split()
        is_styled = "line-through" in (attributes.get("style") or "").lower()
        return tag in ("s", "strike", "del") or is_styled or not self._struck_classes.isdisjoint(classes)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("style", "script"):
            self._silent = max(0, self._silent - 1)
        elif not self._open:
            return
        elif tag in ("td", "th", "tr", "table"):
            self._end_cell()
            if tag == "tr":
                self._open[-1].end_row()
            elif tag == "table":
                self._open.pop().end_row()

    def handle_data(self, data: str) -> None:
        if self._text is not None and not self._silent:
            self._text.append(data)
        elif self._silent and "line-through" in data.lower():
            for text in data.split("}"):
                selector, _, rule = text.rpartition("{")
                if "line-through" in rule.lower():
                    self._struck_classes.update(_CLASS.findall(selector))

    def _end_cell(self) -> None:
        if self._text is not None and self._open:
            text = "".join(self._text).strip()
            if self._is_struck and text:
                self._open[-1].struck.add(self._open[-1].number)
            self._open[-1].add(text, *self._spans)
        self._text = None


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    style = (attributes.get("style") or "").replace(" ", "").lower()
    return "hidden" in attributes or "display:none" in style


def _span(text: str | None) -> int:
    digits = (text or "").strip()[:5]
    return max(1, int(digits)) if digits.isdecimal() else 1


def _html_tables(name: str, text: str) -> list[_Table]:
    parser = _HtmlTables(name)
    parser.feed(text)
    parser.close()
    for table in parser.tables:
        table.end_row()
    return parser.tables


class _XmlTables:
    """Collects the worksheets of SpreadsheetML."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tables: list[_Table] = []
        self._spans = (1, 1)
        self._kind = ""
        self._text: list[str] | None = None
        self._is_cell_open = False
        self._style = ""
        self._struck_styles: set[str] = set()
        self._row_style = ""
        self._column_styles: dict[int, str] = {}
        self._is_struck = False
        self._comment: list[str] | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        plain = {key.rpartition(":")[2]: value for key, value in attributes.items()}
        match tag.rpartition(":")[2]:
            case "Worksheet":
                self.tables.append(_Table(self.name, plain.get("Name", "")))
                self._column_styles = {}
            case "Column" if self.tables:
                self._describe_columns(plain)
            case "Row" if self.tables:
                index = plain.get("Index", "")
                self.tables[-1].start_row(int(index[:7]) if index.isdecimal() else None)
                self._row_style = plain.get("StyleID", "")
                if plain.get("Hidden") == "1":
                    self.tables[-1].hidden.add(self.tables[-1].number)
            case "Cell" if self.tables:
                self._start_cell(plain)
            case "Data" if self._is_cell_open:
                self._kind = plain.get("Type", "")
                self._text = []
            case "Comment" if self.tables:
                self._is_cell_open, self._comment = False, []
            case "Visible" if self.tables:
                self._text = []
            case kind:
                self._describe(kind, plain)

    def _start_cell(self, plain: dict[str, str]) -> None:
        index = plain.get("Index", "")
        if index.isdecimal():
            self.tables[-1].skip_to(int(index[:7]) - 1)
        self._spans = (1 + _merge(plain.get("MergeAcross")), 1 + _merge(plain.get("MergeDown")))
        self._is_cell_open, self._text, self._kind = True, [], ""
        style = plain.get("StyleID") or self._row_style or self._column_styles.get(len(self.tables[-1].row), "")
        self._is_struck = style in self._struck_styles

    def _describe_columns(self, plain: dict[str, str]) -> None:
        table, index = self.tables[-1], plain.get("Index", "")
        if index.isdecimal():
            table.described = min(max(int(index[:7]) - 1, 0), _MOST_COLUMNS)
        places = table.describe_columns(1 + _merge(plain.get("Span")), is_hidden=plain.get("Hidden") == "1")
        self._column_styles |= dict.fromkeys(places, plain.get("StyleID", ""))

    def _describe(self, kind: str, plain: dict[str, str]) -> None:
        if kind == "Style":
            self._style = plain.get("ID", "")
            if plain.get("Parent") in self._struck_styles:
                self._struck_styles.add(self._style)
        elif kind == "S" and self._is_cell_open:
            self._is_struck = True
        elif kind == "Font" and plain.get("StrikeThrough") == "1":
            self._struck_styles.add(self._style)
        elif kind == "Font" and "StrikeThrough" in plain:
            self._struck_styles.discard(self._style)

    def end(self, tag: str) -> None:
        match tag.rpartition(":")[2]:
            case "Cell" if self.tables:
                value = _xml_value(self._kind, "".join(self._text or ()))
                if self._is_struck and value:
                    self.tables[-1].struck.add(self.tables[-1].number)
                self.tables[-1].add(value, *self._spans)
                self._text, self._is_cell_open = None, False
            case "Row" if self.tables:
                self.tables[-1].end_row()
            case "Visible" if self.tables:
                self.tables[-1].is_hidden = "".join(self._text or ()) in ("SheetHidden", "SheetVeryHidden")
                self._text = None
            case "Comment" if self._comment is not None:
                self.tables[-1].comments.setdefault(self.tables[-1].number, []).append("".join(self._comment))
                self._comment = None

    def characters(self, data: str) -> None:
        if self._comment is not None:
            self._comment.append(data)
        elif self._text is not None and (self._is_cell_open or not self._kind):
            self._text.append(data)


def _merge(text: str | None) -> int:
    return int(text[:5]) if text and text.isdecimal() else 0


def _xml_value(kind: str, text: str) -> str:
    plain = text.strip()
    if kind == "Error":
        return "#REF!"
    if kind == "DateTime":
        return plain.removesuffix(".000").removesuffix("T00:00:00")
    return plain.removesuffix(".0") if kind == "Number" else plain


def _xml_tables(name: str, text: str) -> list[_Table]:
    tables = _XmlTables(name)
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = tables.start
    parser.EndElementHandler = tables.end
    parser.CharacterDataHandler = tables.characters
    parser.StartDoctypeDeclHandler = partial(_reject_doctype, name)
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except (expat.ExpatError, ValueError):
        raise RosterUnreadable(message("broken_workbook", name=name)) from None
    return tables.tables


def _reject_doctype(name: str, *_: object) -> None:
    raise RosterUnreadable(message("broken_workbook", name=name))
