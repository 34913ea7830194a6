"""Fits the cells of a row to the columns of its table: missing cells, surplus cells, shifted cells."""

import itertools
import re
from collections.abc import Sequence

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import BilingualText, message
from worker.insignia.roster.columns import names_same
from worker.insignia.roster.heading_keys import heading_key
from worker.insignia.roster.layout import Segment
from worker.insignia.roster.person_id import is_citizen_id
from worker.insignia.roster.table import UNKNOWN, Row

_AMOUNTS = ("salary", "salary_5y_ago", "position_allowance")
_HELD = ("decorations", "last_decoration")
"""Columns in which a missing cell is not the same as an empty one, which means "none"."""
_HALF = re.compile(r"\s*\d{1,3}\s*")
_OTHER_HALF = re.compile(r"\s*\d{3}(?:\.\d+)?\s*")
_SAME = 3
"""Cells that repeat their headings and make a row the header again."""


class RowShape:
    """The width of one table, and what its rows may differ in."""

    def __init__(self, segment: Segment) -> None:
        self._segment, columns = segment, segment.columns
        self.width = max(columns.width, 1)
        self._amounts = [columns.index[name] for name in _AMOUNTS if name in columns]
        held = [columns.index[name] for name in _HELD if name in columns]
        self._held = sorted([*held, *(what for what, _ in columns.pairs)])
        self._person = columns.index.get("person_id", self.width)
        self._drops_empty = segment.sheet.drops_empty
        self._uses: dict[int, str] = dict(columns.classes)
        """Columns that are read to their fields or decorations."""
        self._uses |= {place: "decorations" for pair in columns.pairs for place in pair}
        self._uses |= {place: name for name, place in columns.index.items()}
        self._heads = [heading_key(head) for head in segment.heads]

    def fit(self, row: Row) -> Sequence[str] | str | None:
        """Return the row's cells, one for each column; the code of the reason if that is impossible; None for a blank.

        Missing cells at the end are empty cells, as programs leave out the last separators; a missing cell of
        decorations is unknown, unless the format leaves out empty cells.
        """
        cells = row.cells
        if len(cells) == self.width:
            return cells
        if not row.is_object:
            return "not_an_object"
        if len(cells) < self.width:
            return self._padded(cells) if any(map(str.strip, cells)) else None
        if any(map(str.strip, cells[self.width :])):
            return "row_width"
        return "row_shifted" if self._is_amount_split(cells) else cells[: self.width]

    def _is_amount_split(self, cells: Sequence[str]) -> bool:
        """Return whether an amount with a thousands separator was taken for two cells, which shifts the others."""
        return any(_HALF.fullmatch(cells[place]) and _OTHER_HALF.fullmatch(cells[place + 1]) for place in self._amounts)

    def _padded(self, cells: Sequence[str]) -> list[str]:
        padded = [*cells, *[""] * (self.width - len(cells))]
        for place in self._held:
            if place >= len(cells) and not self._drops_empty:
                padded[place] = UNKNOWN
        return padded

    def person(self, row: Row) -> str:
        """Return the citizen id in a row that does not fit; empty if there is none in its place."""
        text = row.cells[self._person] if self._person < len(row.cells) else ""
        return text if is_citizen_id(text) else ""

    def lacks_decorations(self, cells: int) -> bool:
        """Return whether rows with so many cells have no cell of decorations."""
        return bool(self._held) and self._held[0] >= cells

    def is_doubtful(self, row: Row) -> bool:
        """Return whether a row with too few cells may lack one in the middle: its last cell is empty."""
        return not self._drops_empty and not row.cells[-1].strip()

    def why(self, code: str, row: Row) -> BilingualText:
        return message(code, cells=len(row.cells), width=self.width)

    def is_header(self, row: Row) -> bool:
        """Return whether a row repeats the headings.

        Raises RosterUnreadable if it has other columns: the rows below it would be read as something else.
        """
        keys = [heading_key(cell) if cell.strip() else "" for cell in row.cells[: len(self._heads)]]
        same = sum(bool(head) and key == head for key, head in zip(keys, self._heads, strict=False))
        if same < min(_SAME, len(self._heads)):
            return False
        if any(not self._is_headed(place, cell) for place, cell in enumerate(row.cells[: len(self._heads)])):
            raise RosterUnreadable(message("other_header", name=self._segment.sheet.title, row=row.number))
        return True

    def _is_headed(self, place: int, cell: str) -> bool:
        """Return whether a cell of a second header may stand above the column."""
        if cell.strip() in ("", UNKNOWN) or names_same(cell, self._segment.heads[place], self._uses.get(place)):
            return True
        # A header of two rows is repeated as two rows.
        return any(place < len(head.cells) and head.cells[place].strip() == cell.strip() for head in self._head_rows())

    def _head_rows(self) -> list[Row]:
        """Return the row of the header, and the one above it."""
        first = self._segment.first_row
        rows = itertools.takewhile(lambda row: row.number < first, self._segment.sheet.rows())
        return [row for row in rows if row.number >= first - 2]
