"""A table of a page or of an XML workbook, as its reader fills it."""

from dataclasses import dataclass, field

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.table import Row, RowMarks
from worker.insignia.roster.titles import title_of
from worker.insignia.roster.workbook_guard import MAX_CELLS

MOST_COLUMNS = 16384
_MOST_FILLED = 5_000_000
"""Cells of a file that others above them reach into: a few letters may make a whole column of them."""
_FEW = 3
"""Texts of a row that no title has, but any header and any officer."""


@dataclass(slots=True)
class Filled:
    """How many cells of a file were filled from above."""

    cells: int = 0


@dataclass(slots=True)
class MarkupTable:
    """A table that grows cell by cell, with cells that reach over several rows and columns."""

    file: str
    name: str = ""
    filled: Filled = field(default_factory=Filled)
    """The same one for all tables of a file."""
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
    above: list[str] = field(default_factory=list)
    """The lines of the page above the table, and its caption."""
    told: int = 0
    """Rows that stand above another table."""
    is_wide: bool = False
    """Whether a row has as many texts as one of officers."""
    is_in_rows: bool = False
    """Whether it stands in a cell of such a table, or of a table in one."""
    said: dict[tuple[int, int], str] = field(default_factory=dict)
    """(row number, column) of cells with links or other controls to their text without these."""

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
        places = range(self.described, min(self.described + count, MOST_COLUMNS))
        self.described = places.stop
        if is_hidden:
            self.hidden_columns |= set(places)
        return places

    def skip_to(self, column: int) -> None:
        if column > MOST_COLUMNS:
            self._refuse()
        while len(self.row) < column:
            self._fill_from_above()

    def add(self, text: str, columns: int, rows: int, said: str | None = None) -> None:
        while len(self.row) in self.below:
            self._fill_from_above()
        if said is not None:
            self.said[self.number, len(self.row)] = said
        if rows > 1 and columns == 1:
            self.below[len(self.row)] = (rows - 1, text)
        if len(self.row) + columns > MOST_COLUMNS:
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
        self.filled.cells += left > 0

    def end_row(self) -> None:
        if not self.is_row_open:
            return
        self.is_row_open = False
        while len(self.row) in self.below:
            self._fill_from_above()
        self.cells += len(self.row)
        self.is_wide = self.is_wide or sum(map(bool, self.row)) >= _FEW
        if self.cells > MAX_CELLS or self.filled.cells > _MOST_FILLED:
            self._refuse()
        if any(self.row):
            self.rows.append(Row(self.number, self.row))

    def titles(self) -> list[str]:
        """Return the further rows that may be titles; they stand above a table that begins now."""
        rows = self.rows[self.told :]
        if self.is_row_open and len(self.row) < 9:
            rows.append(Row(self.number, self.row))
        self.told = len(self.rows)
        return [title for row in rows if (title := self._title(row))]

    def is_of_titles(self, most: int) -> bool:
        """Return whether none of the first rows may be a header."""
        return all(self._title(row) or not any(row.cells) for row in self.rows[:most])

    def _title(self, row: Row) -> str:
        return title_of([self.said.get((row.number, column), cell) for column, cell in enumerate(row.cells)])

    def _refuse(self) -> None:
        raise RosterUnreadable(
            message("too_many_cells", name=self.file, sheet=self.name, rows=self.number, columns=len(self.row))
        )
