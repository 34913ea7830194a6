"""A table of a page or of an XML workbook, as its reader fills it."""

from dataclasses import dataclass, field

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.table import Row, RowMarks
from worker.insignia.roster.workbook_guard import MAX_CELLS

MOST_COLUMNS = 16384


@dataclass(slots=True)
class MarkupTable:
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
    above: list[str] = field(default_factory=list)
    """The lines of the page above the table, and its caption."""
    told: int = 0
    """Rows that stand above another table."""

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

    def add(self, text: str, columns: int, rows: int) -> None:
        while len(self.row) in self.below:
            self._fill_from_above()
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

    def titles(self) -> list[str]:
        """Return the texts of further rows that have only one; they stand above a table that begins now."""
        rows = [row.cells for row in self.rows[self.told :]] + (
            [self.row] if self.is_row_open and len(self.row) < 9 else []
        )
        self.told = len(self.rows)
        texts = ([cell for cell in cells if cell] for cells in rows)
        return [found[0] for found in texts if len(found) == 1]

    def _refuse(self) -> None:
        raise RosterUnreadable(
            message("too_many_cells", name=self.file, sheet=self.name, rows=self.number, columns=len(self.row))
        )
