"""Reads history files: one decoration per line, for many officers. Officers who are missing there are judged here."""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from worker.insignia.errors import BadCell, RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.cells import Unreadable, normalize
from worker.insignia.roster.columns import HISTORY
from worker.insignia.roster.decorations import DecorationParser, says_none, unique
from worker.insignia.roster.history_remarks import RemarkTexts
from worker.insignia.roster.layout import Segment
from worker.insignia.roster.officer import Award
from worker.insignia.roster.person_id import has_valid_check_digit, is_citizen_id, read_person_id
from worker.insignia.roster.roster_data import Report
from worker.insignia.roster.row_shape import RowShape
from worker.insignia.roster.table import Row
from worker.insignia.roster.thai import canonical

_FEWEST = 10
"""Of so many people of the smaller side, at least one must be found on the other."""
_SHOWN = 60
SAMPLE = 200
_FEW = 6
"""How many times as many people without decorations make it cheaper to look for the others' similar ids."""
_MOST_COMPARED = 200_000
"""People of the history that the roster lacks, up to whom ids are compared digit by digit."""


@dataclass(slots=True)
class History:
    """The decorations of many officers by person id, and the lines that could not be read."""

    title: str = ""
    awards: dict[str, list[Award]] = field(default_factory=dict)
    bad: dict[str, list[BadCell]] = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    lines: int = 0
    without_id: list[int] = field(default_factory=list)
    """Numbers of the lines without a usable id."""
    persons: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """Names to the ids that the lines give for them."""
    are_checked: bool | None = None
    is_whole: bool = True
    """Whether who has no line has no decorations; false for the list of one round beside the officers."""

    met: set[str] = field(default_factory=set)
    """Ids that the roster asked for and that have lines."""

    namesakes: dict[str, set[str]] = field(default_factory=dict)
    """Persons who were not found to the ids that the lines give for their name."""

    absent: set[str] = field(default_factory=set)
    """Persons who were not found, and who therefore have no decorations."""

    doubted: set[str] = field(default_factory=set)
    """Persons of whom a remark says that a decoration is not held."""

    elsewhere: set[str] = field(default_factory=set)
    """Persons whose lines are kept in columns; all of them have citizen ids."""

    def find(self, person: str, names: tuple[str, str]) -> tuple[Award, ...] | None:
        """Return the awards of a person, () for a person without any, None if the lines may have been missed.

        Lines may have been missed if the id cannot be right, or if the history has the same name under another id.
        """
        if person in self.awards or person in self.bad:
            self.met.add(person)
            if person in self.doubted:
                return None
            return unique(self.awards.get(person, ()))
        if self._has_check_digits() and not has_valid_check_digit(person):
            return None
        name = _name(*names)
        if name in self.persons:
            self.namesakes[person] = self.persons[name]
            return None
        self.absent.add(person)
        return ()

    def _has_check_digits(self) -> bool:
        """Return whether the check digits of most ids in the history are right, so that a wrong one is a mistake."""
        if self.are_checked is None:
            self.are_checked = are_checked(list(itertools.islice(self.awards, SAMPLE)))
        return self.are_checked

    def mistyped(self, roster: set[str]) -> set[str]:
        """Return those who were not found, and whose id differs in one digit from that of a person the roster lacks."""
        missing = [person for person in self._missing(roster) if is_citizen_id(person)]
        if not missing or not self.absent or len(missing) > _MOST_COMPARED:
            return set()
        if len(missing) * _FEW < len(self.absent) and all(map(is_citizen_id, self.absent)):
            return self.absent.intersection(near for person in missing for near in _similar(person))
        known = {pattern for person in missing for pattern in _patterns(person)}
        return {person for person in self.absent if not known.isdisjoint(_patterns(person))}

    def has_several_years(self) -> bool:
        """Return whether the decorations are of several years, so that they are not the list of one round."""
        known = {award.received.year for held in self.awards.values() for award in held if award.received is not None}
        return len(known) > 1

    def others(self, roster: set[str]) -> int:
        """Return how many people with decorations the roster lacks."""
        return len(self._missing(roster))

    def _missing(self, roster: set[str]) -> set[str]:
        return ({person for person, held in self.awards.items() if held} | self.elsewhere) - roster

    def check(self, officers: int) -> None:
        """Raise RosterUnreadable if the history and the roster seem to have nothing to do with each other."""
        people = len(self.awards.keys() | self.bad.keys()) + len(self.elsewhere)
        met = len(self.met)
        if people and officers and met * _FEWEST < min(people, officers):
            raise RosterUnreadable(
                message("history_does_not_match", name=self.title, people=people, met=met, officers=officers)
            )

    def reject_other_ids(self, is_officer: Callable[[str], bool], *, has_names: bool) -> None:
        """Raise RosterUnreadable if lines have ids of another kind than the roster, so that they may be anyone's.

        `has_names` says whether the roster has names: then lines with names make their namesakes' decorations unknown.
        """
        others = self.met - self.elsewhere
        if 2 * (len(self.met) - len(others) + sum(map(is_citizen_id, others))) <= len(self.met):
            return
        named = set().union(*self.persons.values()) if has_names else set()
        ids = self.awards.keys() | self.bad.keys()
        odd = [one for one in ids if not is_citizen_id(one) and one not in named and not is_officer(one)]
        if odd:
            raise RosterUnreadable(message("history_other_ids", name=self.title, count=len(odd)))


def _similar(person: str) -> Iterator[str]:
    """Yield the ids of digits that share a pattern with this one, and are others."""
    for place, digit in enumerate(person):
        yield from (f"{person[:place]}{other}{person[place + 1 :]}" for other in "0123456789" if other != digit)
        yield f"{person[:place]}{person[place : place + 2][::-1]}{person[place + 2 :]}"


def are_checked(persons: Sequence[str]) -> bool:
    """Return whether the check digits of most ids are right."""
    return 2 * sum(map(has_valid_check_digit, persons)) > len(persons)


def _patterns(person: str) -> Iterator[str]:
    """Yield the id with each digit replaced by a mark, and with each pair of neighbours in a fixed order."""
    for place in range(len(person)):
        yield f"{person[:place]}*{person[place + 1 :]}"
        yield f"{person[:place]}{''.join(sorted(person[place : place + 2]))}+{person[place + 2 :]}"


def _name(first: str, last: str) -> tuple[str, str]:
    """Return a name for comparison, without title; a whole name in one column is split at the first space."""
    words = _TITLE.sub("", canonical(f"{normalize(first)} {normalize(last)}")).split(" ", 1)
    return (words[0], words[1]) if len(words) == 2 and words[1] else _NO_NAME


_NO_NAME = ("", "")
_TITLE = re.compile(
    r"^(?:นางสาว|นาง|นาย|น\.ส\.|ดร\.|ว่าที่ ?(?:ร้อย|พัน)?(?:ตรี|โท|เอก)(?:หญิง)?"
    r"|ว่าที่ ?ร\.[ตทอ]\.(?:หญิง)?|m(?:r|rs|s|iss)\.? ) ?",
    re.IGNORECASE,
)
"""Titles that some files write into the column of the first name."""


_NOT_YET: tuple[None, str] = (None, "")


@dataclass(slots=True)
class HistoryReader:
    """Reads the tables of one history file."""

    parser: DecorationParser
    history: History
    above: str = ""
    """The person of the line before."""
    remarks: list[tuple[int, RemarkTexts]] = field(default_factory=list)
    """The columns of the table that no field uses."""

    def read(self, segment: Segment, rows: Iterator[Row]) -> None:
        """Add the lines of a table."""
        self.above = ""
        shape, index = RowShape(segment), segment.columns.index
        place, what, when = (index[name] for name in HISTORY)
        made, awards = self.parser.made, self.history.awards
        may_skip = "first_name" not in index and not segment.columns.pairs
        remarks = self.remarks = remark_columns(segment)
        for row in rows:
            cells = row.cells
            if row.number < segment.first_row:
                continue
            # Most lines have a plain id, and the same words and day as an earlier line.
            if may_skip and len(cells) == shape.width and is_citizen_id(person := cells[place]):
                award, note = made.get((cells[what], cells[when], ""), _NOT_YET)
                if award is not None and not note and not any(codes[cells[column]] for column, codes in remarks):
                    self.history.lines += 1
                    awards.setdefault(person, []).append(award)
                    continue
            self._line(segment, shape, row)

    def _line(self, segment: Segment, shape: RowShape, row: Row) -> None:
        index = segment.columns.index
        cells = shape.fit(row)
        if cells is None:
            return
        if isinstance(cells, str):
            self._lost(segment, row.number)
            return
        what, when = cells[index["decoration"]], cells[index["received"]]
        text = cells[index["person_id"]]
        if not is_citizen_id(text) and segment.sheet.columns is None and _is_beside(cells, text, what):
            return
        try:
            person, repair = (
                (above, "id_of_above") if (above := self._continued(segment, cells)) else read_person_id(text)
            )
        except Unreadable:
            if segment.sheet.columns is None and not normalize(when) and not normalize(what):
                return  # a total or a signature
            if not shape.is_header(Row(row.number, cells)):
                self._lost(segment, row.number)
            return
        is_line = is_citizen_id(person)  # no heading is one
        if not is_line and (shape.is_header(Row(row.number, cells)) or not normalize(what + when)):
            return
        self.history.lines += 1
        self.above = person
        if repair:
            self.history.report.repair(segment.sheet, row.number, person, "person_id", (text, person), message(repair))
        self._add_name(index, cells, person)
        self._add(segment, row.number, person, what, when)
        self._add_more(segment, row.number, person, cells)

    def _add_name(self, index: Mapping[str, int], cells: Sequence[str], person: str) -> None:
        if "first_name" in index:
            last = cells[index["last_name"]] if "last_name" in index else ""
            name = _name(cells[index["first_name"]], last)
            if name != _NO_NAME:
                self.history.persons.setdefault(name, set()).add(person)

    def _add_more(self, segment: Segment, number: int, person: str, cells: Sequence[str]) -> None:
        """Add further decorations of the line, and report what the columns without a field say of it."""
        for what, when in segment.columns.pairs:
            if normalize(cells[what] + cells[when]):
                self._add(segment, number, person, cells[what], cells[when])
        for column, codes in self.remarks:
            if code := codes[cells[column]]:
                self.history.doubted |= {person} if code == "history_doubted" else set()
                head = canonical(segment.heads[column])
                self.history.report.notice(segment.sheet, number, person, head, message(code))

    def _continued(self, segment: Segment, cells: Sequence[str]) -> str:
        """Return the person of the line above, if a line has a decoration and leaves out both id and name; else ""."""
        index = segment.columns.index
        who = [index[name] for name in ("person_id", "first_name", "last_name") if name in index]
        is_continued = len(who) > 1 and not any(normalize(cells[place]) for place in who)
        return self.above if is_continued and normalize(cells[index["decoration"]]) else ""

    def _lost(self, segment: Segment, number: int) -> None:
        self.history.lines += 1
        self.above = ""
        self.history.without_id.append(number)
        why = message("id_missing")
        what = message("history_line", why=why.en, why_th=why.th)
        self.history.report.notice(segment.sheet, number, "", "history", what)

    def _add(self, segment: Segment, number: int, person: str, what: str, when: str) -> None:
        sheet = segment.sheet
        if says_none(what) and not normalize(when):
            self.history.awards.setdefault(person, [])  # a list of all officers, of whom this one has none
            return
        try:
            award, note = self.parser.award(what, when)
        except Unreadable as exc:
            value, why = f"{what} {when}".strip(), exc.message
            cell = BadCell(
                number, person, "history", value, why.en, why.th, why.code, file=sheet.file, sheet=sheet.name
            )
            self.history.bad.setdefault(person, []).append(cell)
            return
        self.history.awards.setdefault(person, []).append(award)
        if note:
            self.history.report.notice(sheet, number, person, "history", message(note))


def _is_beside(cells: Sequence[str], person: str, what: str) -> bool:
    """Return whether a line is a total or a signature: it begins with a word for one, and names no decoration."""
    first = next((canonical(cell) for cell in cells if cell.strip()), "")
    is_one = _BESIDE.match(first) is not None and _COUNT.fullmatch(canonical(what)) is not None
    return is_one and (canonical(person) == first or not normalize(person))


_BESIDE = re.compile(
    r"(?:รวม|ยอด|ทั้งหมด|ทั้งสิ้น|จำนวน|(?:grand )?total|ลงชื่อ|ลงนาม|"
    r"ผู้(?:จัดทำ|รายงาน|รับรอง|ตรวจสอบ|ตรวจ|พิมพ์|บันทึก))++(?![ก-๎\w])",
    re.IGNORECASE,
)
_COUNT = re.compile(
    r"(?:(?:รวม|ยอด|จำนวน|ทั้งสิ้น|ทั้งหมด|total)[\s:]*+)*+\d*\s?(?:คน|รายการ|ราย|ดวง|ชั้น|ครั้ง|items?)?|[-. ]*+", re.IGNORECASE
)


def remark_columns(segment: Segment) -> list[tuple[int, RemarkTexts]]:
    """Return the columns that no field uses with what their texts say."""
    return [(column, RemarkTexts(kind)) for column, kind in segment.columns.sides.items()]


def reject_lines_without_id(history: History) -> None:
    """Raise RosterUnreadable if any line has no usable id: it could belong to any officer."""
    if history.without_id:
        rows = ", ".join(map(str, history.without_id))[:_SHOWN]
        raise RosterUnreadable(
            message(
                "history_without_id",
                name=history.title,
                count=len(history.without_id),
                lines=history.lines,
                rows=rows,
            )
        )
