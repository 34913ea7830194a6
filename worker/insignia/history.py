"""Decorations as rosters and history files write them: single ones, lists in one cell, a file with a line each."""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import orjson

from worker.insignia.cells import Unreadable, a_date, a_person_id, month_first, tidy
from worker.insignia.columns import history_columns
from worker.insignia.faults import BadCell, Notice
from worker.insignia.officer import Award
from worker.insignia.table import UNKNOWN, Table, as_text
from worker.insignia.vocabulary import Vocabulary, key

MONTH_FIRST, ODD_DAY, NOBODYS = "received_month_first", "received_odd_day", "history_line"
_REMARKS = {
    MONTH_FIRST: "read month first, because only so it falls on a ceremony day",
    ODD_DAY: "falls on no ceremony day (28 July, formerly 5 December): check it",
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads decorations by the words and ceremony days of one criteria file."""

    vocabulary: Vocabulary
    ceremony_days: frozenset[tuple[int, int]]
    """(month, day)."""
    made: dict[tuple[str, str, str], tuple[Award, str]] = field(default_factory=dict, compare=False)
    """Awards as they were written so far: most lines of a history repeat another one's words and day."""

    def award(self, decoration: str, received: str, abbreviation: str = "") -> tuple[Award, str]:
        """One decoration and a remark on its date (MONTH_FIRST, ODD_DAY or none); raises Unreadable."""
        written = (decoration, received, abbreviation)
        if written not in self.made:
            self.made[written] = self._award(decoration, received, abbreviation)
        return self.made[written]

    def _award(self, decoration: str, received: str, abbreviation: str) -> tuple[Award, str]:
        code = self.vocabulary.decoration(decoration or abbreviation)
        if decoration and abbreviation and self.vocabulary.decoration(abbreviation) != code:
            raise Unreadable("code and abbreviation name two different decorations")
        day, remark = received_on(received, self.ceremony_days)
        return Award(code, day), remark

    def awards(self, cell: str) -> tuple[tuple[Award, ...] | None, list[str]]:
        """All decorations of one cell, and remarks. None: unknown. Raises Unreadable."""
        if cell.strip().lower() in _UNKNOWN:
            return None, []
        found: list[Award] = []
        remarks: list[str] = []
        for decoration, received, abbreviation in _entries(cell):
            award, remark = self.award(decoration, received, abbreviation)
            found.append(award)
            remarks += [remark] if remark else []
        return distinct(found), remarks


_UNKNOWN = frozenset({UNKNOWN, "unknown", "ไม่ทราบ"})


def remark_text(remark: str) -> str:
    return _REMARKS[remark]


def distinct(awards: Iterable[Award]) -> tuple[Award, ...]:
    """Without repetitions: rosters and histories often tell the same award twice."""
    found = tuple(awards)
    return found if len(found) < 2 else tuple(dict.fromkeys(found))


def received_on(text: str, ceremony_days: frozenset[tuple[int, int]]) -> tuple[date | None, str]:
    """The day of receipt, and a remark where it is doubtful.

    DPIS writes 12/05/2557 for 5 December: where day first is no ceremony day but month first is one, that is meant.
    Both readings lie in the same year, so the round of the award is the same.
    """
    straight = _day_first(text)
    if _is_ceremony(straight, ceremony_days):
        return straight, ""
    swapped = month_first(text)
    if _is_ceremony(swapped, ceremony_days):
        return swapped, MONTH_FIRST
    day = a_date(text)
    return day, "" if day is None else ODD_DAY


def _day_first(text: str) -> date | None:
    try:
        return a_date(text)
    except Unreadable:
        return None


def _is_ceremony(day: date | None, ceremony_days: frozenset[tuple[int, int]]) -> bool:
    return day is not None and (day.month, day.day) in ceremony_days


_ENTRY = re.compile(r"(.+?)[\s:=@(]+(\d.*?)\)?")
_NOTHING = frozenset({"none", "no", "false", "0", "[]", "ไม่มี", "ไม่เคยได้รับ"})


def _entries(cell: str) -> Iterable[tuple[str, str, str]]:
    """(decoration, received, abbreviation) of each; `CT5 2017-07-28; WE5 2020-07-28`, or a JSON list."""
    text = tidy(cell)
    if not text or text.lower() in _NOTHING:
        return
    if text.startswith("["):
        yield from (_of_object(item) for item in listed(text))
        return
    for part in re.split(r"[;|,]", cell.replace("\n", ";")):
        entry = tidy(part)
        match = _ENTRY.fullmatch(entry)
        if entry:
            yield (match[1], match[2], "") if match else (entry, "", "")


def listed(text: str) -> list[Any]:
    """The list a cell holds, as JSON or as Python prints it; raises Unreadable."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise Unreadable("begins like a list, but is none: write JSON") from None
    if not isinstance(value, list):
        raise Unreadable("must be a list")
    return value


def _of_object(item: object) -> tuple[str, str, str]:
    if isinstance(item, str):
        match = _ENTRY.fullmatch(tidy(item))
        return (match[1], match[2], "") if match else (item, "", "")
    if not isinstance(item, Mapping):
        raise Unreadable("a decoration must be an object with code and received")
    texts = {name: as_text(item.get(name)) for name in ("code", "decoration", "abbr_th", "received")}
    code = tidy(texts["code"]) or tidy(texts["decoration"])
    if not code and not tidy(texts["abbr_th"]):
        raise Unreadable("a decoration has neither code nor abbr_th")
    return code, texts["received"], tidy(texts["abbr_th"])


@dataclass(slots=True)
class History:
    """The decorations of many officers, by person id; what could not be read lies beside them."""

    awards: dict[str, list[Award]] = field(default_factory=dict)
    bad: dict[str, list[BadCell]] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    lines: int = 0
    nobodys: int = 0
    """Lines so damaged that nobody can say whose they are."""


def read_history(table: Table, reader: Reader) -> History:
    """Raises RosterUnreadable where the file as a whole is no history."""
    columns = history_columns(table)
    history = History()
    who, what, when = columns["person_id"], columns["decoration"], columns["received"]
    for row in table.rows:
        history.lines += 1
        try:
            if row.fault:
                raise Unreadable(row.fault)
            person = a_person_id(row.cells[who])
        except Unreadable as exc:
            history.nobodys += 1
            history.notices.append(Notice(row.number, "", "history", NOBODYS, f"nobody's line: {exc}"))
        else:
            _take(history, reader, row.number, person, row.cells[what], row.cells[when])
    return history


def _take(history: History, reader: Reader, line: int, person: str, what: str, when: str) -> None:
    try:
        award, remark = reader.award(what, when)
    except Unreadable as exc:
        value = f"{what} {when}".strip()
        history.bad.setdefault(person, []).append(BadCell(line, person, "history", value, str(exc)))
        return
    history.awards.setdefault(person, []).append(award)
    if remark:
        history.notices.append(Notice(line, person, "history", remark, remark_text(remark)))


def discipline_of(cell: str) -> tuple[str, ...]:
    """The penalties of a cell; whatever is written there and does not mean "none" is one."""
    text = tidy(cell)
    if not text or text.lower() in _NOTHING or key(text) in _NO_PENALTY:
        return ()
    if text.startswith("["):
        return tuple(_penalty(item) for item in listed(text))
    return tuple(part for part in (tidy(part) for part in text.split(";")) if part)


_NO_PENALTY = frozenset({key("ไม่เคยถูกลงโทษ"), key("ไม่เคย")})


def _penalty(item: object) -> str:
    if isinstance(item, Mapping):
        return str(item.get("penalty") or item.get("penalty_th") or "recorded")
    return str(item)
