"""Finds the tables of officers in the sheets of a file: the header row, the columns, and where the rows begin.

Title rows, cover sheets and hidden sheets are passed over; a header may take two rows; a sheet without a header goes on
from the sheet before it.
"""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import BilingualText, message
from worker.insignia.roster.award_heads import asks, is_proposal, is_this_time, joined_awards, says_which
from worker.insignia.roster.award_words import is_of_awards
from worker.insignia.roster.columns import (
    Columns,
    Headings,
    check_columns,
    count_pairs,
    find_columns,
    names_award,
    no_known_column,
)
from worker.insignia.roster.heading_keys import OTHER_PERSONS
from worker.insignia.roster.officer import ABOUT
from worker.insignia.roster.person_id import is_citizen_id
from worker.insignia.roster.side_columns import SideKind, names_leavers
from worker.insignia.roster.table import Row, Sheet
from worker.insignia.roster.thai import canonical

_HEAD = 40
"""Rows among which the header is expected."""
_YEAR_NAME = re.compile(
    r"(?:บัญชี|รายชื่อ|ข้อมูล|roster|list)?[ _-]*(?:ประจำ|รอบ)?(?:ปี(?:งบประมาณ)?|พ\.?ศ\.?)?[ _.-]*(2[56]\d\d)", re.IGNORECASE
)
"""Names of sheets for the rounds of several years, but not for those who were appointed or retire in a year."""
_NUMBERING, _SEPARATORS = re.compile(r"^\(?\d{1,4}[.)] *"), re.compile("[ -]")
_TITLED = re.compile(r"(?:นาย|นางสาว|นาง|น\.ส\.|ดร\.|ว่าที่|ม\.[รล]\.|(?:mr|mrs|ms|miss|dr)\b\.?) ?[^\d\s]", re.IGNORECASE)
_NAME = re.compile(r"[ก-ฮเ-ไ][ก-๎]{0,24} [ก-ฮเ-ไ][ก-๎]{0,24}|[A-Z][a-z]{1,24} [A-Z][a-z]{1,24}")
_OTHERS = re.compile(
    f"{OTHER_PERSONS}|(?:ตำแหน่ง|ระดับ|เงินเดือน|ข้อมูล)(?:ก่อน|เดิม)|แรกบรรจุ|spouse|husband|wife|father|mother|former|previous",
    re.IGNORECASE,
)
"""Decorations that are held, or a title of the report."""
_ENOUGH = 3
"""Known headings that make a row the header, in a file of several sheets."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows of one sheet, with its columns."""

    sheet: Sheet
    columns: Columns
    heads: tuple[str, ...]
    first_row: int
    """The number of the first row after the header."""
    is_old: bool = False
    """Whether the sheet is named after an earlier year than another one."""

    def hidden_heads(self) -> list[str]:
        """Return the headings of the columns that are read although the sheet hides them."""
        hidden = self.sheet.marks.hidden_columns if self.sheet.marks is not None else frozenset()
        used = {*self.columns.index.values(), *self.columns.classes} & hidden
        return [canonical(self.heads[place]) for place in sorted(used)]


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables of all files of one kind, and the sheets that were not read."""

    segments: tuple[Segment, ...]
    remarks: tuple[BilingualText, ...]


def find_tables(sheets: Sequence[Sheet], headings: Headings) -> Layout:
    """Return the tables in the sheets of one file. Raises RosterUnreadable if there is none, or a column is missing."""
    segments: list[Segment] = []
    remarks: list[BilingualText] = []
    shown = [sheet for sheet in sheets if not sheet.is_hidden]
    remarks += [message("hidden_sheet", name=sheet.file, sheet=sheet.name) for sheet in sheets if sheet.is_hidden]
    heads_seen: list[str] = []
    names: list[tuple[Sheet, Columns, Row]] = []
    for sheet in shown:
        head = header_of(sheet, headings)
        columns = find_columns(sheet, head.cells, headings)
        if len(shown) > 1 and _has_only_names(columns):
            _reject_leavers(sheet, columns)
            names.append((sheet, columns, head))
            remarks.append(message("sheet_of_names", name=sheet.file, sheet=sheet.name))
        elif _is_table(columns, headings, alone=len(shown) == 1):
            check_columns(sheet, columns, headings, head.cells)
            segments.append(Segment(sheet, columns, tuple(head.cells), head.number + 1))
        elif segments and (first := _goes_on(sheet, segments[-1])):
            if not names_leavers(segments[-1].sheet.name):
                _reject_leavers(sheet, columns)
            segments.append(Segment(sheet, segments[-1].columns, segments[-1].heads, first))
        elif head.cells:
            if len(shown) > 1:
                _reject_leavers(sheet, columns)
            heads_seen += head.cells
            remarks.append(message("sheet_without_header", name=sheet.file, sheet=sheet.name))
    if not segments:
        for sheet, columns, head in names:
            check_columns(sheet, columns, headings, head.cells)
        raise _nothing_found(sheets, shown, headings, heads_seen)
    return Layout(tuple(_dated(segments)), tuple(remarks))


def _reject_leavers(sheet: Sheet, columns: Columns) -> None:
    """Raise RosterUnreadable if a sheet that is not read by its own header lists officers who are excluded."""
    has_names = "person_id" in columns or "first_name" in columns
    is_about_exclusion = has_names and SideKind.EXCLUSION in columns.sides.values()
    if is_about_exclusion or (names_leavers(sheet.name) and (has_names or _lists_people(sheet))):
        raise RosterUnreadable(message("list_of_leavers", name=sheet.file, sheet=sheet.name))


def _lists_people(sheet: Sheet) -> bool:
    """Return whether a sheet without known columns has people in it, and not only figures or rules about them.

    Two words are a name without a title only where at least half of the rows have them, since rules have them, too.
    """
    rows = names = 0
    for row in sheet.rows():
        cells = [_NUMBERING.sub("", canonical(cell)) for cell in row.cells if cell]
        if any(_TITLED.match(cell) or is_citizen_id(_SEPARATORS.sub("", cell)) for cell in cells):
            return True
        rows += any(cells)
        names += any(_NAME.fullmatch(cell) for cell in cells)
    return 0 < rows <= 2 * names


def _dated(segments: Sequence[Segment]) -> Iterable[Segment]:
    """Yield the tables; those of sheets that are named after an earlier year than another one are old."""
    years = [_YEAR_NAME.fullmatch(canonical(segment.sheet.name)) for segment in segments]
    latest = max((int(year[1]) for year in years if year), default=0)
    for segment, year in zip(segments, years, strict=True):
        yield replace(segment, is_old=True) if year and int(year[1]) < latest else segment


def heads_of(sheets: Sequence[Sheet], headings: Headings) -> list[str]:
    """Return the headings of all sheets that are shown."""
    return [head for sheet in sheets if not sheet.is_hidden for head in header_of(sheet, headings).cells if head]


def _nothing_found(
    sheets: Sequence[Sheet], shown: Sequence[Sheet], headings: Headings, heads: Sequence[str]
) -> RosterUnreadable:
    if (not shown or not heads) and not any(sheet.columns is not None for sheet in sheets):
        name = sheets[0].title if sheets else "?"
        return RosterUnreadable(message("no_sheets" if len(sheets) > 1 else "empty_file", name=name))
    return no_known_column(shown[0], headings, heads)


def _is_table(columns: Columns, headings: Headings, *, alone: bool) -> bool:
    """Return whether the columns belong to a table of officers; one that stands alone needs only one known heading."""
    if alone:
        return bool(columns.index or columns.classes)
    return "person_id" in columns and len(columns.index) >= min(_ENOUGH, len(headings.required))


def _has_only_names(columns: Columns) -> bool:
    """Return whether a table has ids, and nothing else that a decision can depend on, such as a list of addresses."""
    return "person_id" in columns and not columns.classes and columns.index.keys() <= {"person_id", *ABOUT}


def header_of(sheet: Sheet, headings: Headings) -> Row:
    """Return the row with most known headings among the first ones, joined with the next row if that knows more."""
    if sheet.columns is not None:
        if not sheet.expected:
            raise RosterUnreadable(message("empty_list", name=sheet.title))
        return Row(0, sheet.columns)
    head = list(itertools.islice(sheet.rows(), _HEAD))
    if not head:
        return Row(0, ())
    counts = [headings.count(row.cells) for row in head]
    place = _before_officers(head, counts)
    best = _without_others(head[place - 1].cells if place else (), head[place], headings)
    count = headings.count(best.cells) + count_pairs(best.cells, headings)
    pairs = [head[max(0, place - 1) : place + 1], head[place : place + 2]]
    for upper, lower in (pair for pair in pairs if len(pair) == 2):
        for candidate in _joined(upper, _without_others(upper.cells, lower, headings)):
            found = headings.count(candidate.cells) + count_pairs(candidate.cells, headings)
            if found > count:
                best, count = candidate, found
        best = _divided(upper, lower, headings, count) or best
    return best if count else Row(head[0].number, head[0].cells)


def _divided(upper: Row, lower: Row, headings: Headings, count: int) -> Row | None:
    """Return a header of two rows whose lower one divides a heading of decorations, if it is one; else None."""
    if any(is_citizen_id(canonical(cell)) for cell in lower.cells):
        return None
    above = _spread(upper.cells, len(lower.cells))
    plain = _without_others(upper.cells, lower, headings).cells
    divided = joined_awards(above, plain)
    if divided is None or (divided.has_others and headings.count(lower.cells) < _ENOUGH):
        return None
    found = headings.count(divided.heads) + count_pairs(divided.heads, headings)
    return Row(lower.number, divided.heads) if found >= count - 1 else None


def _before_officers(head: Sequence[Row], counts: Sequence[int]) -> int:
    """Return the place of the row with most known headings; of one above officers, if the other stands below them."""
    place = counts.index(max(counts))
    for above in (above for above in range(place) if counts[above] >= _ENOUGH):
        if any(is_citizen_id(canonical(cell)) for row in head[above + 1 : place] for cell in row.cells):
            return above
    return place


def _joined(upper: Row, lower: Row) -> Iterable[Row]:
    """Yield a header of two rows: the lower heading where there is one, with the upper one before it or without."""
    if any(is_citizen_id(canonical(cell)) for cell in lower.cells):
        return
    above = _spread(upper.cells, len(lower.cells))
    yield Row(lower.number, [low or high for high, low in zip(above, lower.cells, strict=True)])
    yield Row(lower.number, _headed(upper.cells, lower.cells))


def _without_others(upper: Sequence[str], lower: Row, headings: Headings) -> Row:
    """Return a row of headings; those below one about a request or another person keep its words.

    Without them, ชั้นตรา below ขอพระราชทานครั้งนี้ would be a decoration that is held, and สัญชาติ below คู่สมรส the officer's.
    """
    is_title = len(set(upper)) == 1 < len(upper)  # a title that is repeated in all of its merged cells
    if is_title or not any(_may_say_which(high) for high in upper):
        return lower
    pairs = zip(_spread(upper, len(lower.cells)), lower.cells, strict=True)
    titles = {high for high, low in pairs if low.strip() and not names_award(low, headings)}
    found: list[str] = []
    over = ""
    for high, low in zip(_spread(upper, len(lower.cells)), lower.cells, strict=True):
        is_award = bool(low.strip()) and names_award(low, headings)
        is_others = _OTHERS.search(high or over) is not None
        is_named = is_award or (is_others and bool(low.strip()) and headings.field_of(low) is not None)
        over = high if high.strip() else over if is_named else ""
        if is_award and is_of_awards(low) and over not in titles and says_which(over) and not is_proposal(over):
            found.append(f"{low} ({over})")
            continue
        is_asked = is_award and (is_proposal(over) or (over not in titles and is_this_time(over)))
        found.append(f"{over} {low}" if is_asked or (is_others and is_named) else low)
    return Row(lower.number, found)


def _may_say_which(high: str) -> bool:
    return any((asks(high), _OTHERS.search(high), is_this_time(high), says_which(high)))


def _headed(upper: Sequence[str], lower: Sequence[str]) -> list[str]:
    """Return each lower heading after the upper one, which may reach over several columns."""
    found: list[str] = []
    over = ""
    for high, low in zip(_spread(upper, len(lower)), lower, strict=True):
        over = high or over
        found.append(f"{over} {low}".strip() if low else high)
    return found


def _spread(cells: Sequence[str], width: int) -> list[str]:
    return [cells[place] if place < len(cells) else "" for place in range(width)]


def _goes_on(sheet: Sheet, before: Segment) -> int | None:
    """Return the first row of a sheet without a header whose rows have the columns of the sheet before; else None."""
    place = before.columns.index.get("person_id", 0)
    for row in itertools.islice(sheet.rows(), _HEAD):
        if place < len(row.cells) and is_citizen_id(canonical(row.cells[place]).replace("-", "").replace(" ", "")):
            return row.number
    return None
