"""Collects the text of a web page outside of the cells of its tables: headings, paragraphs and captions.

It stands above the tables like the first rows of a sheet, where a title may exclude the officers below it.
"""

from dataclasses import dataclass, field

from worker.insignia.roster.thai import canonical
from worker.insignia.roster.titles import TitleKind, judge

_INLINE = frozenset(
    {"a", "abbr", "b", "big", "cite", "em", "font", "i", "img", "ins", "label", "mark", "o:p", "q", "s", "small"}
)
_INLINE |= {"span", "strike", "strong", "sub", "sup", "tt", "u", "wbr"}
_CONTROLS = frozenset({"button", "select", "nav"})
"""What a page offers to do, such as to log out, which says nothing of officers."""
_OUTSIDE_CONTROLS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "caption", "table"})
"""What stands in no control, so that the end of one before it is missing."""
_LONGEST = 1000
"""Characters of a line that are read; a title is shorter."""


@dataclass(slots=True)
class PageText:
    """The lines since the last table, and the last one that says which officers belong to the roster."""

    _lines: list[str] = field(default_factory=list)
    _line: list[str] = field(default_factory=list)
    _holding: tuple[str, ...] = ()
    _controls: int = 0
    _is_link: bool = False

    def start(self, tag: str, attributes: dict[str, str | None]) -> None:
        """Note the start of a tag."""
        self._controls = 0 if tag in _OUTSIDE_CONTROLS else self._controls + (tag in _CONTROLS)
        self._break(tag)
        if tag == "a":
            self._is_link = "href" in attributes

    def end(self, tag: str) -> None:
        """Note the end of a tag."""
        self._controls = max(0, self._controls - (tag in _CONTROLS))
        self._break(tag)
        self._is_link = self._is_link and tag != "a"

    def _break(self, tag: str) -> None:
        if tag not in _INLINE:
            self.add("".join(self._line))
            self._line.clear()
            self._is_link = False  # its end may be missing

    def characters(self, data: str) -> None:
        """Note text that is in no cell."""
        if not (self._controls or self._is_link):
            self._line.append(data)

    def add(self, line: str) -> None:
        """Note a line of its own."""
        if line.strip():
            self._lines.append(canonical(line[:_LONGEST]))

    def take(self) -> tuple[str, ...]:
        """Return the lines above a table, and what holds on from the text above the tables before it."""
        found = (*self._holding, *self._lines)
        for line in self._lines:
            if judge(line) in (TitleKind.EXCLUDED, TitleKind.INCLUDED):
                self._holding = (line,)
        self._lines.clear()
        return found
