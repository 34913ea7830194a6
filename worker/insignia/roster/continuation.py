"""Recognises rows that continue the officer above: reports write further decorations on lines of their own.

Such a row has a decoration and no data of its own. What it leaves empty is the same as in the row above.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.insignia.roster.cells import Unreadable, normalize
from worker.insignia.roster.decorations import DecorationParser
from worker.insignia.roster.layout import Segment
from worker.insignia.roster.table import UNKNOWN, Row

SUPPORT = ("birth_date", "service_start", "level_start", "level", "employee_group")
"""Columns of which an officer's row has at least one."""
_AWARDS = ("decorations", "last_decoration", "last_decoration_date")
_NO_NAMES = frozenset({"unknown_decoration", "decoration_number", "unreadable_list", "must_be_a_list"})
"""Why a cell of decorations cannot be read if it names none."""


@dataclass(slots=True)
class Continuation:
    """The rows of one table, one after the other."""

    segment: Segment
    parser: DecorationParser
    above: Row | None = None
    """The officer's row before."""

    def filled(self, row: Row) -> Row:
        """Return the row; with the cells of the officer above if it continues that officer's row."""
        if self.segment.sheet.columns is not None:
            return row
        index = self.segment.columns.index
        person = index.get("person_id", 0)
        if self.above is not None and self._continues(row, self.above):
            own = self._own_places()
            cells = [text if place in own else self.above.cells[place] for place, text in enumerate(row.cells)]
            return Row(row.number, cells)
        if normalize(row.cells[person]):
            self.above = row
        return row

    def _own_places(self) -> set[int]:
        columns = self.segment.columns
        pairs = {place for pair in columns.pairs for place in pair}
        return pairs | {*columns.classes, *(columns.index[name] for name in _AWARDS if name in columns)}

    def _continues(self, row: Row, above: Row) -> bool:
        index = self.segment.columns.index
        if any(self._is_filled(row, index[name]) for name in SUPPORT if name in index):
            return False
        own = self._own_places()
        return names_award(self.segment, self.parser, row.cells) and all(
            place in own or not text.strip() or text.strip() == above.cells[place].strip()
            for place, text in enumerate(row.cells)
        )

    def _is_filled(self, row: Row, place: int) -> bool:
        return (row.number, place) not in self.segment.sheet.merged and bool(normalize(row.cells[place]))


def names_award(segment: Segment, parser: DecorationParser, cells: Sequence[str]) -> bool:
    """Return whether the cells of a row name a decoration, even one whose date cannot be read."""
    index = segment.columns.index
    places = [index[name] for name in _AWARDS[:2] if name in index]
    places += [what for what, _ in segment.columns.pairs]
    if any(_names_decoration(parser, cells[place]) for place in places):
        return True
    return any(_is_received(parser, code, cells[place]) for place, code in segment.columns.classes.items())


def _names_decoration(parser: DecorationParser, text: str) -> bool:
    if not normalize(text) or text.strip() == UNKNOWN:
        return False
    try:
        return bool(parser.awards(text)[0])
    except Unreadable as exc:
        return exc.message.code not in _NO_NAMES


def _is_received(parser: DecorationParser, code: str, text: str) -> bool:
    try:
        return parser.class_column(code, text)[0] is not None
    except Unreadable:
        return False
