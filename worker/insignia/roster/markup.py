"""Reads tables in markup: web pages (which many programs save under the name .xls) and SpreadsheetML (Excel 2003)."""

import email
import email.policy
import re
from functools import partial
from html.parser import HTMLParser
from xml.parsers import expat

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.markup_table import MOST_COLUMNS, Filled, MarkupTable
from worker.insignia.roster.page_text import PageText, is_hidden
from worker.insignia.roster.table import Sheet
from worker.insignia.roster.text_encoding import decode

_MOST_TITLES = 40
"""Rows of a table that may only be a title above the next one; a header stands among as many."""
_PARTS = ("td", "th", "tr", "table")
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
            above=tuple(table.above),
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


class _HtmlTables(HTMLParser):
    """Collects the tables of a page; a table inside a cell is a table of its own."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.tables: list[MarkupTable] = []
        self._open: list[MarkupTable] = []
        self._text: list[str] | None = None
        self._spans = (1, 1)
        self._silent = 0
        self._struck_classes: set[str] = set()
        self._is_row_struck = self._is_struck = False
        self._page = PageText()
        self._filled = Filled()
        self._said: list[str] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._meet(tag)
        self._page.start(tag, dict(attrs))
        if tag == "table":
            self._start_table()
        elif tag in ("style", "script"):
            self._silent += 1
        elif not self._open:
            return
        elif tag == "tr":
            self._open[-1].start_row()
            self._is_row_struck = self._strikes(tag, dict(attrs))
            if is_hidden(dict(attrs)):
                self._open[-1].hidden.add(self._open[-1].number)
        elif tag in ("td", "th"):
            self._start_cell(tag, dict(attrs))
        elif tag == "col":
            self._open[-1].describe_columns(_span(dict(attrs).get("span")), is_hidden=is_hidden(dict(attrs)))
        elif self._text is not None:
            self._is_struck |= self._strikes(tag, dict(attrs))
            if tag == "br":
                self._text.append("\n")
                self._said.append("\n")

    def _meet(self, tag: str) -> None:
        self._tell_place()
        if tag in _PARTS:
            self._end_cell()  # its end may be missing

    def _start_cell(self, tag: str, attributes: dict[str, str | None]) -> None:
        self._text, self._said, self._depth = [], [], self._page.depth
        self._spans = (_span(attributes.get("colspan")), _span(attributes.get("rowspan")))
        self._is_struck = self._is_row_struck or self._strikes(tag, attributes)

    def _start_table(self) -> None:
        if self._open:
            self._tell_titles(self._open[-1])
        table = MarkupTable(self.name, str(len(self.tables) + 1), self._filled, above=[*self._page.take()])
        table.is_in_rows = self._page.is_among_rows
        self._open.append(table)
        self.tables.append(table)

    def _end_table(self) -> None:
        table = self._open.pop()
        table.end_row()
        table.above += self._page.own()
        self._tell_place()
        if not table.is_in_rows and table.is_of_titles(_MOST_TITLES):
            self._tell_titles(table)

    def _tell_place(self) -> None:
        """Tell whether text outside of the cells now stands among the rows of a table of officers."""
        self._page.is_among_rows = bool(self._open) and (self._open[-1].is_wide or self._open[-1].is_in_rows)

    def _tell_titles(self, table: MarkupTable) -> None:
        for title in table.titles():
            self._page.add(title)

    def _strikes(self, tag: str, attributes: dict[str, str | None]) -> bool:
        """Return whether a tag strikes through the text that follows."""
        classes = (attributes.get("class") or "").split()
        is_styled = "line-through" in (attributes.get("style") or "").lower()
        return tag in ("s", "strike", "del") or is_styled or not self._struck_classes.isdisjoint(classes)

    def handle_endtag(self, tag: str) -> None:
        self._meet(tag)
        self._page.end(tag)
        if tag in ("style", "script"):
            self._silent = max(0, self._silent - 1)
        elif not self._open:
            return
        elif tag == "tr":
            self._open[-1].end_row()
        elif tag == "table":
            self._end_table()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            write = self._page.characters if self._text is None else self._text.append
            write(data)
            if self._text is not None and self._page.says(self._depth):
                self._said.append(data)
        elif "line-through" in data.lower():
            for text in data.split("}"):
                selector, _, rule = text.rpartition("{")
                if "line-through" in rule.lower():
                    self._struck_classes.update(_CLASS.findall(selector))

    @property
    def is_in_table(self) -> bool:
        """Whether the end of a table is missing."""
        return bool(self._open)

    def _end_cell(self) -> None:
        if self._text is not None and self._open:
            text = "".join(self._text).strip()
            if self._is_struck and text:
                self._open[-1].struck.add(self._open[-1].number)
            is_whole = self._page.depth > self._depth or len(self._said) == len(self._text)
            self._page.cut(self._depth)
            self._open[-1].add(text, *self._spans, None if is_whole else "".join(self._said).strip())
        self._text = None


def _span(text: str | None) -> int:
    digits = (text or "").strip()[:5]
    return max(1, int(digits)) if digits.isdecimal() else 1


def _html_tables(name: str, text: str) -> list[MarkupTable]:
    parser = _HtmlTables(name)
    parser.feed(text)
    parser.close()
    while parser.is_in_table:
        parser.handle_endtag("table")
    return parser.tables


class _XmlTables:
    """Collects the worksheets of SpreadsheetML."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tables: list[MarkupTable] = []
        self._filled = Filled()
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
                self.tables.append(MarkupTable(self.name, plain.get("Name", ""), self._filled))
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
            table.described = min(max(int(index[:7]) - 1, 0), MOST_COLUMNS)
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


def _xml_tables(name: str, text: str) -> list[MarkupTable]:
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
