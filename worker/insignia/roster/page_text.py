"""Collects the text of a web page outside of the cells of its tables: headings, paragraphs and captions.

It stands above the tables like the first rows of a sheet, where a title may exclude the officers below it.
Menus, links, lists and forms do not count as titles. As the end of one may be missing, its text is dropped only at its
end; until then that text can exclude officers, but cannot end an exclusion.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from worker.insignia.roster.sections import of_any_page
from worker.insignia.roster.thai import canonical
from worker.insignia.roster.titles import TitleKind, is_request, judge

_INLINE = frozenset(
    {"a", "abbr", "b", "big", "cite", "em", "font", "i", "img", "input", "ins", "label", "mark", "o:p", "q", "s"}
)
_INLINE |= {"small", "span", "strike", "strong", "sub", "sup", "tt", "u", "wbr"}
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "caption"})
_BLOCKS = _HEADINGS | {"table", "tr", "td", "th", "tbody", "thead", "p", "li", "ul", "ol", "nav", "form", "hr"}
"""What stands in no heading or paragraph, so that the end of one before it is missing."""
_CONTROLS = frozenset({"button", "select", "datalist", "textarea", "nav", "label", "li", "noscript", "template"})
"""What a page offers to do, such as to log out, and what it lists: they say nothing of the officers in a table."""
_CONTROL_CLASSES = frozenset({"btn", "button", "nav-link", "menu"})
_CONTROL_ROLES = frozenset({"button", "navigation", "menu", "menubar", "menuitem", "tab", "tablist"})
_LISTS = frozenset({"ul", "ol", "menu"})
_NO_CONTROLS = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
"""What has no end."""
_NO_CONTROLS |= {"html", "body", "form", "table", "caption", "colgroup", "thead", "tbody", "tfoot", "tr", "td", "th"}
_MOST_CONTROLS = 50
"""Controls in one another; a page with more leaves their ends out."""
_LONGEST = 1000
"""Characters of a line that are read together; a title is shorter."""
_OVERLAP = 100
_MOST_PARTS = 100
_MOST_LINES = 1000
"""Lines above a table that are kept; of those before them only the last title that excludes."""
_MOST_REPORTS = 20
_LEGEND = re.compile(r"\s*\*|.*=\s*+(?!\d)", re.DOTALL)
"""A footnote, or what an abbreviation means."""


def is_hidden(attributes: dict[str, str | None]) -> bool:
    """Return whether the page does not show what has these attributes."""
    style = (attributes.get("style") or "").replace(" ", "").lower()
    return "hidden" in attributes or "display:none" in style


class _Line(NamedTuple):
    text: str
    is_heading: bool
    is_doubtful: bool
    """Whether it may stand in a menu or among the rows of a table."""


@dataclass(slots=True)
class _Control:
    tag: str
    place: int
    """The lines of the page before it."""
    depth: int = 1
    """It and what has the same tag inside it."""


@dataclass(slots=True)
class PageText:
    """The lines since the last table, and the last one that says which officers belong to the roster."""

    is_among_rows: bool = False
    """Whether the text stands between the rows of a table of officers, and not above it."""
    _lines: list[_Line] = field(default_factory=list)
    _line: list[str] = field(default_factory=list)
    _taken: int = 0
    _holding: tuple[str, ...] = ()
    _reports: dict[str, None] = field(default_factory=dict)
    """Titles of the whole report, which every page may repeat."""
    _controls: list[_Control] = field(default_factory=list)
    _heading: str = ""
    _is_option: bool = False
    """Whether the text belongs to a box to tick."""
    _keeps_lines: bool = False

    @property
    def depth(self) -> int:
        """How many controls are open."""
        return len(self._controls)

    def start(self, tag: str, attributes: dict[str, str | None]) -> None:
        """Note the start of a tag."""
        self._break(tag)
        if tag in _BLOCKS:
            self._heading = ""
            if self._controls and self._controls[-1].tag == "p":
                self._close("p")
        if tag in _HEADINGS:
            self._heading = tag
        elif tag == "pre":
            self._keeps_lines = True
        elif tag == "li":
            self._close(tag)
        elif tag == "a":
            self._forget(tag)
        self._is_option |= tag == "input" and (attributes.get("type") or "").lower() in ("radio", "checkbox")
        self._open(tag, is_control=_is_control(tag, attributes) and not (tag == "a" and self._heading))

    def _open(self, tag: str, *, is_control: bool) -> None:
        if tag in _NO_CONTROLS:
            return
        if is_control and self.depth < _MOST_CONTROLS:
            self._flush()
            self._controls.append(_Control(tag, self._taken + len(self._lines)))
        elif (place := self._find(tag)) is not None:
            self._controls[place].depth += 1

    def end(self, tag: str) -> None:
        """Note the end of a tag."""
        self._break(tag)
        if tag == self._heading:
            self._heading = ""
        place = self._find(tag)
        if tag in _LISTS:
            self._close("li")
        if place is not None and place < self.depth:
            self._controls[place].depth -= 1
            if not self._controls[place].depth:
                self._close(tag)

    def _find(self, tag: str) -> int | None:
        """Return the place of the innermost control with a tag."""
        return next((place for place in range(self.depth - 1, -1, -1) if self._controls[place].tag == tag), None)

    def _close(self, tag: str) -> None:
        """Drop the text of the innermost control with a tag; a heading is a title even in a link."""
        place = self._find(tag)
        if place is not None:
            self._flush()
            first = max(0, self._controls[place].place - self._taken)
            self._lines[first:] = [line for line in self._lines[first:] if tag == "a" and line.is_heading]
            del self._controls[place:]

    def _forget(self, tag: str) -> None:
        """Keep the text of a control without an end."""
        place = self._find(tag)
        if place is not None:
            self._flush()
            del self._controls[place]

    def cut(self, depth: int) -> None:
        """Leave the controls that a cell began and did not end."""
        del self._controls[depth:]

    def _break(self, tag: str) -> None:
        if tag not in _INLINE:
            self._flush()
            self._is_option = False
            self._keeps_lines &= tag == "br"

    def _flush(self) -> None:
        if self._line:
            self.add("".join(self._line))
            self._line.clear()

    def characters(self, data: str) -> None:
        """Note text that is in no cell."""
        if self._is_option:
            return
        first, *others = data.splitlines() if self._keeps_lines and data.strip("\r\n") else [data]
        self._line.append(first)
        for line in others:
            self._flush()
            self._line.append(line)
        if self._keeps_lines and data.endswith(("\r", "\n")):
            self._flush()

    def says(self, depth: int) -> bool:
        """Return whether text of a cell, which began inside so many controls, may belong to a title."""
        is_linked_heading = self._heading and self.depth == depth + 1 and self._controls[-1].tag == "a"
        return not self._is_option and (self.depth <= depth or bool(is_linked_heading))

    def add(self, line: str) -> None:
        """Note a line of its own."""
        if not line.strip() or _LEGEND.match(line):
            return
        is_long = len(line) > _LONGEST
        is_doubtful = is_long or self.is_among_rows or bool(self._controls)
        for first in range(0, min(len(line), _MOST_PARTS * _LONGEST), _LONGEST - _OVERLAP):
            part = canonical(line[first : first + _LONGEST])
            self._lines.append(_Line(part, bool(self._heading), is_doubtful))
        if len(self._lines) > 2 * _MOST_LINES:
            self._hold(_titles(self._lines[:_MOST_LINES]))
            del self._lines[:_MOST_LINES]
            self._taken += _MOST_LINES

    def own(self) -> tuple[str, ...]:
        """Return the lines inside a table that ends."""
        lines = _titles(self._lines)
        self._hold(lines)
        self._taken += len(self._lines)
        self._lines.clear()
        return lines

    def take(self) -> tuple[str, ...]:
        """Return the lines above a table, and what holds on from the text above the tables before it."""
        before = (*self._reports, *self._holding)
        return (*before, *self.own())

    def _hold(self, lines: tuple[str, ...]) -> None:
        for line in lines:
            kind = judge(line)
            if kind is TitleKind.EXCLUDED:
                self._holding = (line,)
            elif kind is TitleKind.INCLUDED and of_any_page(line) not in self._reports:
                self._holding = ()
            if is_request(line) and len(self._reports) < _MOST_REPORTS:
                self._reports[of_any_page(line)] = None


def _titles(lines: list[_Line]) -> tuple[str, ...]:
    return tuple(line.text for line in lines if not line.is_doubtful or judge(line.text) is TitleKind.EXCLUDED)


def _is_control(tag: str, attributes: dict[str, str | None]) -> bool:
    if tag == "a":
        return "href" in attributes or "onclick" in attributes or is_hidden(attributes)
    classes = (attributes.get("class") or "").lower().split()
    role = (attributes.get("role") or "").lower()
    is_part = not _CONTROL_CLASSES.isdisjoint(classes) or role in _CONTROL_ROLES
    return tag in _CONTROLS or is_part or is_hidden(attributes)
