"""Judges lines between the officers of a sheet: a title may say that the officers below it have left or are excluded.

Titles that name an office, a post, a level, a report, a total or a signature say nothing of them. Any other title is
left to a reviewer, together with the officers below it.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import date
from operator import itemgetter
from typing import NamedTuple

from worker.insignia.roster.layout import Segment
from worker.insignia.roster.side_columns import SideKind
from worker.insignia.roster.table import UNKNOWN, Row
from worker.insignia.roster.thai import canonical
from worker.insignia.roster.titles import (
    TitleKind,
    excluding_cell,
    is_request,
    judge,
    names_part,
    names_people,
    texts_of,
    title_of,
)


class Title(NamedTuple):
    """A title that speaks of the officers below it, or may do so."""

    row: int
    text: str
    code: str
    """Of the notice about each of these officers."""


_BELOW = 5
"""Rows below a title among which its words are looked for."""
_GAP = r"[^\w\u0e31-\u0e4e]"
"""What stands between words; the marks over Thai letters belong to the word."""
_PAGE_NUMBER = re.compile(
    rf"(?<!{_GAP}){_GAP}*(?:(?:หน้า|แผ่น|page)(?:ที่)? ?\d+(?: ?(?:/|จาก|of) ?\d+)?|\(ต่อ\))\W*$", re.IGNORECASE
)


_ANY_SHEET = re.compile(
    r"(?:sheet|page|list|table|data|roster|หน้า|แผ่น|งาน|ชีท|ชีต|ตาราง|รายชื่อ|บัญชี|ข้อมูล|รายงาน|เอกสาร|ส่วน|ชุด|ตอน|ที่|ต่อ|[\d\W_])*+",
    re.IGNORECASE,
)
"""Names of sheets that name no list of their own."""
_LONGEST = 60
"""Characters of the name of a sheet that are compared."""
_YEAR = re.compile(r"2[45]\d\d")
_COUNTED = re.compile(r"[\s\d()\[\]_.\-]*(?:ต่อ|continued|cont\.?)?[\s\d()\[\]_.\-]*$", re.IGNORECASE)


@dataclass(slots=True)
class Sections:
    """The titles of one table, in the order of its rows."""

    segment: Segment
    before: InitVar["Sections | None"] = None
    """The titles of the sheet before, which this one may continue."""
    excluding: Title | None = None
    """The last title that excludes the officers below it. A title that names an office does not end it."""
    unclear: Title | None = None
    changes: list[tuple[int, Title | None]] = field(default_factory=list)
    """Row numbers, and the title that holds from there on."""
    remarks: dict[int, Title] = field(default_factory=dict)
    """Row numbers of officers to a remark in the row below."""
    has_remarks: bool = False
    """Whether there is such a remark, even if it is not known about whom."""

    running: set[str] = field(default_factory=set)
    """The titles above the header, and other titles of the report, which every page may repeat."""

    heads: set[str] = field(default_factory=set)
    """The texts of the header and of the wide rows above it, which a page may repeat."""

    def __post_init__(self, before: "Sections | None") -> None:
        self.heads.update(map(canonical, self.segment.heads))
        if before is not None and _runs_on(before.segment, self.segment):
            self.excluding, self.unclear = before.excluding, before.unclear
            self.running |= before.running
            holding = self.excluding or self.unclear
            self.changes += [(0, holding)] if holding else []
        self.open(Row(0, (line,)) for line in self.segment.sheet.above)

    @property
    def is_any(self) -> bool:
        """Return whether any title speaks of officers."""
        return self.has_remarks or any(title is not None for _, title in self.changes)

    def open(self, above: Iterable[Row]) -> None:
        """Begin with the rows above the first officer, of which only titles that exclude count."""
        heads = " ".join(canonical(head) for head in self.segment.heads)
        for row in above:
            title = title_of(row.cells)
            if not title or title in heads or all(text in heads for text in texts_of(row.cells)):
                self.heads.update(texts_of(row.cells))
                continue
            kind = judge(title)
            if kind in (TitleKind.EXCLUDED, TitleKind.INCLUDED) and not self._is_running(title, kind):
                self._add(row.number, title, kind)
            self.running.add(of_any_page(title))

    def meet(self, rows: Sequence[Row], place: int, persons: Sequence[str | None]) -> None:
        """Read a row that is not an officer's; `persons` has the officers of the rows before it."""
        row = rows[place]
        title = self._title(row)
        if not title:
            return
        kind = judge(title)
        ends = kind is not TitleKind.NEUTRAL or names_part(title)
        below = rows[place + 1 : place + 1 + _BELOW]
        if kind is TitleKind.UNCLEAR and any(title in canonical(cell) for one in below for cell in one.cells):
            kind = TitleKind.NEUTRAL  # such as an office whose name the officers' rows repeat
        self.tell_above(rows, place, persons)
        if ends and not self._is_remark(row) and not self._is_running(title, kind):
            self._add(row.number, title, kind)
        if is_request(title):
            self.running.add(of_any_page(title))

    def tell_above(self, rows: Sequence[Row], place: int, persons: Sequence[str | None]) -> None:
        """Note the officer above a row that is not an officer's, if it is, or may be, about that officer."""
        row = rows[place]
        title = self._title(row)
        if not title or judge(title) is not TitleKind.EXCLUDED:
            return
        above = next((one for one in range(min(place, len(persons)) - 1, -1, -1) if persons[one] is not None), None)
        if self._is_remark(row) or title.startswith(("(", "[")):
            self.has_remarks = True
        elif above != place - 1 or not _first_place(row) or names_people(title):
            return  # otherwise it may be about either side
        if above is not None:
            self.has_remarks = True
            self.remarks[rows[above].number] = Title(row.number, title, "row_below_exclusion")

    def _title(self, row: Row) -> str:
        title = title_of(row.cells)
        return title if title or self._has_names(row) else excluding_cell(row.cells, self.heads)

    def _has_names(self, row: Row) -> bool:
        """Return whether a row has both names of a person, who only lacks an id."""
        index = self.segment.columns.index
        places = [index[name] for name in ("first_name", "last_name") if name in index]
        return len(places) > 1 and all(row.cells[place].strip() for place in places)

    def _is_remark(self, row: Row) -> bool:
        return self.segment.columns.sides.get(_first_place(row)) is SideKind.REMARK

    def _is_running(self, title: str, kind: TitleKind) -> bool:
        """Return whether a title only stands at the head of another page, so that it changes nothing."""
        return kind is not TitleKind.EXCLUDED and of_any_page(title) in self.running

    def _add(self, number: int, text: str, kind: TitleKind) -> None:
        if kind is TitleKind.EXCLUDED:
            self.excluding = Title(number, text, "section_exclusion" if number else "page_exclusion")
        elif kind is TitleKind.INCLUDED:
            self.excluding = None
        self.unclear = Title(number, text, "section_unclear") if kind is TitleKind.UNCLEAR else None
        holding = self.excluding or self.unclear
        if holding is not None or self.changes:
            self.changes.append((number, holding))

    def title_over(self, number: int, birth: date | None) -> Title | None:
        """Return the title that makes the officer of a row doubtful."""
        if number in self.remarks:
            return self.remarks[number]
        place = bisect_right(self.changes, number, key=itemgetter(0))
        title = self.changes[place - 1][1] if place else None
        if title is None or title.code == "section_unclear":
            return title
        return title if judge(title.text, birth) is TitleKind.EXCLUDED else None


def _runs_on(before: Segment, now: Segment) -> bool:
    """Return whether a sheet may continue the section with which the sheet before ends.

    One with a header of its own may do so as well, unless its name is that of another list, such as one of an office.
    """
    if before.columns is now.columns:
        return True
    name, name_before = canonical(now.sheet.name)[:_LONGEST], canonical(before.sheet.name)[:_LONGEST]
    if not _YEAR.search(name) and (_ANY_SHEET.fullmatch(name) or _bare(name) == _bare(name_before)):
        return True
    return not _YEAR.search(name) and judge(name) in (TitleKind.UNCLEAR, TitleKind.EXCLUDED)


def _bare(name: str) -> str:
    """Return the name of a sheet without what tells it from the sheet that it continues."""
    return _COUNTED.sub("", name)


def _first_place(row: Row) -> int:
    """Return the column of the first text of a row that has one."""
    return next(column for column, cell in enumerate(row.cells) if cell.strip() not in ("", UNKNOWN))


def of_any_page(title: str) -> str:
    """Return a title without its page number."""
    return _PAGE_NUMBER.sub("", title)
