"""What a roster contains after reading: officers, bad rows, notices, repairs, remarks."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.insignia.errors import BadCell, Notice, Repair
from worker.insignia.messages import BilingualText
from worker.insignia.roster.officer import Officer
from worker.insignia.roster.table import Sheet

if TYPE_CHECKING:
    from worker.insignia.columnar.frame import OfficerColumns


@dataclass(slots=True)
class Roster:
    """The contents of all files of a roster."""

    officers: list[Officer] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """The row numbers of these officers in their files."""
    clean: int = 0
    """Officers who are only in `columns`."""
    columns: "OfficerColumns | None" = None
    """All officers, if they were read in columns."""
    bad_cells: list[BadCell] = field(default_factory=list)
    bad_rows: int = 0
    notices: list[Notice] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """About the files as a whole."""
    remarks_th: list[str] = field(default_factory=list)
    unknown_columns: list[str] = field(default_factory=list)
    """Headings of columns that were not used."""

    def remark(self, what: BilingualText) -> None:
        """Add a remark about the files as a whole."""
        self.remarks.append(what.en)
        self.remarks_th.append(what.th)

    @property
    def rows(self) -> int:
        return self.count + self.bad_rows

    @property
    def count(self) -> int:
        return len(self.officers) + self.clean


@dataclass(slots=True)
class Report:
    """Collects what has to be reported about the rows of one file."""

    bad_cells: list[BadCell] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)

    def bad(self, sheet: Sheet, row: int, person: str, column: str, value: str, why: BilingualText) -> None:
        """Add a cell that cannot be read."""
        cell = BadCell(row, person, column, value, why.en, why.th, why.code, file=sheet.file, sheet=sheet.name)
        self.bad_cells.append(cell)

    def notice(self, sheet: Sheet, row: int, person: str, column: str, what: BilingualText) -> None:
        """Add a value to be checked."""
        self.notices.append(Notice(row, person, column, what.code, what.en, what.th, sheet.file, sheet.name))

    def repair(
        self, sheet: Sheet, row: int, person: str, column: str, change: tuple[str, str], what: BilingualText
    ) -> None:
        """Add a value that was read differently from how it is written; `change` is (before, after)."""
        before, after = change
        self.repairs.append(
            Repair(row, person, column, before, after, what.code, what.en, what.th, file=sheet.file, sheet=sheet.name)
        )
