"""One row of a roster to one officer, or to the reasons why not. Knows columns and words, no file and no rule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from worker.insignia.cells import Unreadable, a_date, a_person_id, an_amount, check_digit_fits, tidy, yes_or_no
from worker.insignia.faults import BadCell, Notice
from worker.insignia.history import History, Reader, discipline_of, distinct, remark_text
from worker.insignia.officer import Award, Officer
from worker.insignia.table import UNKNOWN, Row, Table
from worker.insignia.vocabulary import key


@dataclass(slots=True)
class Roster:
    """What a roster file holds."""

    officers: list[Officer] = field(default_factory=list)
    bad_cells: list[BadCell] = field(default_factory=list)
    bad_rows: int = 0
    notices: list[Notice] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """About the file as a whole."""

    @property
    def rows(self) -> int:
        return len(self.officers) + self.bad_rows


def _nationality(text: str) -> str:
    word = key(text)
    return "TH" if word in _THAI else word.upper()[:40]


_THAI = frozenset(key(word) for word in ("", "th", "tha", "thai", "thailand", "ไทย", "สัญชาติไทย"))


def _leave(text: str) -> str | None:
    """Any leave that is on file; whether it matters is for the rules."""
    try:
        return "unnamed" if yes_or_no(text) else None
    except Unreadable:
        return tidy(text)


_SIMPLE: dict[str, Callable[[str], object]] = {
    "birth_date": a_date,
    "service_start": a_date,
    "level_start": a_date,
    "salary": an_amount,
    "salary_5y_ago": an_amount,
    "position_allowance": an_amount,
    "nationality": lru_cache(1 << 10)(_nationality),
    "decoration_recalled": yes_or_no,
    "imprisonment": yes_or_no,
    "discipline": lru_cache(1 << 10)(discipline_of),
    "on_leave": lru_cache(1 << 10)(_leave),
    "left_service": a_date,
    "resigned": a_date,
    "returned_to_service": a_date,
}
"""Columns whose cell needs no other cell to be understood."""


@dataclass(slots=True)
class Rows:
    """Takes row by row; good ones become officers, bad ones are reported cell by cell."""

    table: Table
    columns: Mapping[str, int]
    reader: Reader
    past: History | None
    paid_by_wage: frozenset[str]
    roster: Roster = field(default_factory=Roster)
    lines: dict[str, int] = field(default_factory=dict)
    """Person id to the row of a good officer."""
    simple: list[tuple[int, str, Callable[[str], object]]] = field(default_factory=list)
    levels: dict[tuple[str, str | None, str | None], str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        words = self.reader.vocabulary
        parsers: dict[str, Callable[[str], object]] = {
            "employee_group": cache(words.group),
            "position_type": cache(words.position_type),
        }
        parsers |= _SIMPLE
        self.simple = [(self.columns[name], name, parse) for name, parse in parsers.items() if name in self.columns]

    def take(self, row: Row) -> None:
        bad: list[BadCell] = []
        if row.fault:
            bad.append(BadCell(row.number, "", "(row)", "", row.fault))
        else:
            officer = self._officer(row, bad)
        if bad:
            self.roster.bad_rows += 1
            self.roster.bad_cells += bad
        else:
            self.lines[officer.person_id] = row.number
            self.roster.officers.append(officer)

    def _officer(self, row: Row, bad: list[BadCell]) -> Officer:
        person = self._person(row, bad)
        values: dict[str, Any] = {}
        for index, name, parse in self.simple:
            try:
                values[name] = parse(row.cells[index])
            except Unreadable as exc:
                bad.append(BadCell(row.number, person, name, row.cells[index], str(exc)))
        values["level"] = self._level(row, person, values, bad)
        values["decorations"], values["last_only"] = self._decorations(row, person, bad)
        return Officer(person, **values)

    def _person(self, row: Row, bad: list[BadCell]) -> str:
        text = self._cell(row, "person_id")
        try:
            person = a_person_id(text)
            if person in self.lines:
                raise Unreadable(f"the same id stands in row {self.lines[person]}")
        except Unreadable as exc:
            bad.append(BadCell(row.number, tidy(text), "person_id", text, str(exc)))
            return tidy(text)
        if not check_digit_fits(person):
            self._notice(row, person, "person_id", "check_digit", "the check digit does not fit the other twelve")
        return person

    def _level(self, row: Row, person: str, values: Mapping[str, Any], bad: list[BadCell]) -> str | None:
        text, group = self._cell(row, "level"), values.get("employee_group")
        asked = (text, group, values.get("position_type"))
        if asked not in self.levels:
            try:
                self.levels[asked] = self.reader.vocabulary.level(*asked)
            except Unreadable as exc:
                if group not in self.paid_by_wage:
                    bad.append(BadCell(row.number, person, "level", text, str(exc)))
                    return None
                self._notice(row, person, "level", "level_by_wage", "no known level: the wage picks the band")
                return None
        return self.levels[asked]

    def _decorations(self, row: Row, person: str, bad: list[BadCell]) -> tuple[tuple[Award, ...] | None, bool]:
        """The history, None where it is unknown; and whether only its last entry is told."""
        whole = [
            awards for awards in (self._told(row, person, bad), self._past(row, person, bad)) if awards is not None
        ]
        last = self._last(row, person, bad)
        if not whole:
            return last, bool(last)
        return distinct(award for awards in (*whole, last or ()) for award in awards), False

    def _told(self, row: Row, person: str, bad: list[BadCell]) -> tuple[Award, ...] | None:
        text = self._cell(row, "decorations")
        try:
            awards, remarks = self.reader.awards(text)
        except Unreadable as exc:
            bad.append(BadCell(row.number, person, "decorations", text, str(exc)))
            return ()
        for remark in remarks:
            self._notice(row, person, "decorations", remark, remark_text(remark))
        return awards

    def _last(self, row: Row, person: str, bad: list[BadCell]) -> tuple[Award, ...] | None:
        text = self._cell(row, "last_decoration")
        if text.strip() == UNKNOWN:
            return None
        if not tidy(text):
            return ()
        try:
            award, remark = self.reader.award(text, self._cell(row, "last_decoration_date"))
        except Unreadable as exc:
            bad.append(BadCell(row.number, person, "last_decoration", text, str(exc)))
            return ()
        if remark:
            self._notice(row, person, "last_decoration_date", remark, remark_text(remark))
        return (award,)

    def _past(self, row: Row, person: str, bad: list[BadCell]) -> tuple[Award, ...] | None:
        if self.past is None:
            return None
        for cell in self.past.bad.get(person, ()):
            # Somebody whose history cannot be read has an unknown history: no decision may rest on the rest of it.
            reason = f"history line {cell.row}: {cell.reason}"
            bad.append(BadCell(row.number, person, "history", cell.value, reason))
        return tuple(self.past.awards.get(person, ()))

    def _cell(self, row: Row, name: str) -> str:
        return row.cells[self.columns[name]] if name in self.columns else UNKNOWN

    def _notice(self, row: Row, person: str, column: str, code: str, text: str) -> None:
        self.roster.notices.append(Notice(row.number, person, column, code, text))

    def remark(self, strangers: Sequence[str]) -> None:
        """What is to be said of the files as a whole."""
        if strangers:
            self.roster.remarks.append(f"columns that are not known and were not used: {', '.join(strangers)}")
        if self.past is not None:
            self.roster.notices += self.past.notices
            others = len(self.past.awards.keys() - self.lines.keys())
            if others:
                self.roster.remarks.append(f"the history names {others} people who are not among the good rows")
