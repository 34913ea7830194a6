"""The officers of one file, and what putting the files together needs to know of their rows."""

from dataclasses import dataclass, field

from worker.insignia.roster.layout import Segment
from worker.insignia.roster.officer import Award, Officer
from worker.insignia.roster.roster_data import Report


@dataclass(slots=True)
class ShortRows:
    """Rows of one table with the same number of cells, which is too small."""

    lack_decorations: bool
    places: list[int] = field(default_factory=list)
    """Places of their officers."""
    doubtful: list[int] = field(default_factory=list)
    """Those whose last cell is empty, so that a cell in the middle may be missing instead."""
    held: dict[int, tuple[Award, ...] | None] = field(default_factory=dict)
    """Officers' places to what the pairs of columns before the missing cells say, which is all if those were empty.

    None if a decoration is missing beside its day.
    """
    lack_one: bool = False
    """Whether one cell is missing, which may be one in the middle even if the last cell is not empty."""


@dataclass(frozen=True, slots=True)
class CleanRows:
    """Officers that were read in columns, about whom nothing is to be said. Their ids are citizen ids, each once."""

    count: int = 0
    persons: frozenset[str] = frozenset()
    has_leading_zero: bool = False
    """Whether any id begins with 0."""
    unstated: frozenset[str] = frozenset()
    """Those with an empty nationality."""


@dataclass(slots=True)
class FileRows:
    """The officers of one file with their places, and what has to be reported."""

    officers: list[Officer] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """The row number of each officer."""
    segments: list[Segment] = field(default_factory=list)
    """The table of each officer."""
    report: Report = field(default_factory=Report)
    bad_rows: int = 0
    restored: list[int] = field(default_factory=list)
    """Officers whose id got its leading zero back, by their places in `officers`."""
    short: dict[tuple[int, int], "ShortRows"] = field(default_factory=dict)
    """Rows with too few cells, by table and number of cells."""
    counts: dict[str, int] = field(default_factory=dict)
    unstated: list[int] = field(default_factory=list)
    """Officers with an empty nationality, by their places."""
    clean: CleanRows = CleanRows()
    """Officers of the file that are not in `officers`."""

    @property
    def count(self) -> int:
        return len(self.officers) + self.clean.count
