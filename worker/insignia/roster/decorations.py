"""Reads decorations: single ones, lists in one cell, and columns that contain the year of one class."""

import ast
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import orjson

from worker.insignia.roster.cells import (
    TIME,
    DateForm,
    Unreadable,
    is_placeholder,
    normalize,
    parse_date,
    parse_month_first,
    parse_year,
)
from worker.insignia.roster.columns import history_kind
from worker.insignia.roster.history_remarks import doubts_award
from worker.insignia.roster.negations import says_nothing
from worker.insignia.roster.officer import Award
from worker.insignia.roster.other_orders import OTHER_ORDER
from worker.insignia.roster.table import UNKNOWN, cell_text
from worker.insignia.roster.vocabulary import Vocabulary

MONTH_FIRST, NOT_A_CEREMONY_DAY, YEAR_ONLY = "received_month_first", "received_odd_day", "received_year_only"
OTHER_NOTICE, WITHOUT_DAY = "other_orders", "received_unknown"
_TICKS = frozenset("✓✔☑√/")
"""Marks in a class's own column that say that it was received."""


@dataclass(frozen=True, slots=True)
class DecorationParser:
    """Reads decorations with the vocabulary and the ceremony days of one criteria file."""

    vocabulary: Vocabulary
    ceremony_days: frozenset[tuple[int, int]]
    """(month, day)."""
    ceremony_of: Callable[[int], date | None]
    """The ceremony day of a common-era year."""
    made: dict[tuple[str, str, str], tuple[Award, str]] = field(default_factory=dict, compare=False)
    """Cache of texts and their awards: most lines of a history repeat the words and the day of another."""

    def award(self, decoration: str, received: str, abbreviation: str = "") -> tuple[Award, str]:
        """Return one decoration and the code of a notice on it, which may be empty. Raises Unreadable."""
        written = (decoration, received, abbreviation)
        if written not in self.made:
            self.made[written] = self._award(decoration, received, abbreviation)
        return self.made[written]

    def _award(self, decoration: str, received: str, abbreviation: str) -> tuple[Award, str]:
        if not normalize(received) and not abbreviation and (match := _ENTRY.fullmatch(normalize(decoration))):
            decoration, received = match[1], match[2]
        code = self.vocabulary.decoration(decoration or abbreviation)
        if decoration and abbreviation and self.vocabulary.decoration(abbreviation) != code:
            raise Unreadable("two_decorations")
        if code == OTHER_ORDER:
            return Award(code, self._any_day(received)), OTHER_NOTICE
        day, notice = self.received(received)
        return Award(code, day), notice

    def _any_day(self, text: str) -> date | None:
        """Return the day on which a decoration was received that does not count, if it can be read."""
        try:
            return self.received(text)[0]
        except Unreadable:
            return None

    def received(self, text: str) -> tuple[date | None, str]:
        """Return the day of receipt, and the code of a notice if only the year is given or the day is doubtful."""
        year = parse_year(text)
        if year is not None:
            return self.ceremony_of(year), YEAR_ONLY
        return parse_received(text, self.ceremony_days)

    def last(self, text: str, received: str) -> tuple[tuple[Award, ...] | None, tuple[str, ...]]:
        """Return the last decoration, or all of a cell that lists several, with codes of notices. Raises Unreadable."""
        if says_none(text):
            return (), ()
        if len(_split(text)) > 1:
            return self.awards(with_dates(text, received))
        award, note = self.award(text, received)
        return (award,), (note,) if note else ()

    def class_column(self, code: str, cell: str) -> tuple[Award | None, str]:
        """Return the decoration that a cell of a class's own column stands for; None for an empty cell."""
        plain = normalize(cell)
        if says_none(plain):
            return None, ""
        if plain.lower() in _UNKNOWN:
            raise Unreadable("date_unknown_form")
        if plain in _TICKS:
            return Award(code, None), WITHOUT_DAY
        match = _ENTRY.fullmatch(plain)
        day, notice = self.received(match[2] if match and self.vocabulary.is_decoration(match[1]) == code else plain)
        return Award(code, day), notice

    def awards(self, cell: str) -> tuple[tuple[Award, ...] | None, tuple[str, ...]]:
        """Return all decorations of a cell, or None if they are unknown, and codes of notices. Raises Unreadable."""
        if cell.strip().lower() in _UNKNOWN:
            return None, ()
        found: list[Award] = []
        notices: list[str] = []
        for decoration, received, abbreviation in _entries(cell):
            award, notice = self.award(decoration, received, abbreviation)
            found.append(award)
            notices += [notice] if notice else []
        return unique(found), tuple(notices)


_UNKNOWN = frozenset({UNKNOWN, "unknown", "ไม่ทราบ", "ไม่แน่ใจ", "รอตรวจสอบ"})


def unique(awards: Iterable[Award]) -> tuple[Award, ...]:
    """Return the awards without repetitions: rosters and histories often list the same award."""
    found = tuple(awards)
    return found if len(found) < 2 else tuple(dict.fromkeys(found))


def joined(sources: Iterable[tuple[Award, ...]]) -> tuple[Award, ...]:
    """Return the awards of several sources, each without repetitions of its own."""
    filled = [awards for awards in sources if awards]
    return filled[0] if len(filled) == 1 else unique(itertools.chain.from_iterable(filled))


def parse_received(text: str, ceremony_days: frozenset[tuple[int, int]]) -> tuple[date | None, str]:
    """Return the day of receipt, and the code of a notice if it is doubtful.

    DPIS writes 12/05/2557 for 5 December: a text that is a ceremony day only if read month first is read that way. Both
    readings are in the same year, so the round of the award does not change. A day number is read only if it gives a
    ceremony day.
    """
    straight = _or_none(text)
    if _is_ceremony(straight, ceremony_days):
        return straight, ""
    swapped = parse_month_first(text)
    if _is_ceremony(swapped, ceremony_days):
        return swapped, MONTH_FIRST
    serial = _or_none(text, DateForm.SERIAL)
    if _is_ceremony(serial, ceremony_days):
        return serial, ""
    day = parse_date(text)
    return day, "" if day is None else NOT_A_CEREMONY_DAY


def _or_none(text: str, form: DateForm = DateForm.PLAIN) -> date | None:
    try:
        return parse_date(text, form)
    except Unreadable:
        return None


def _is_ceremony(day: date | None, ceremony_days: frozenset[tuple[int, int]]) -> bool:
    return day is not None and (day.month, day.day) in ceremony_days


_DATE = (
    rf"\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}\S*{TIME}|\d{{1,2}}[-/. ]\d{{1,2}}[-/. ]\d{{2,4}}{TIME}|"
    r"\d{1,2} ?(?:เดือน ?)?[^\d\s]+ ?(?:(?:พ\.? ?ศ\.?|พุทธศักราช) ?)?\d{2,4}|\d{4}|\d{5}|\d{8}"
)
_BEFORE_DATE = (
    r"(?:ได้รับ(?:พระราชทาน)?|เมื่อ|วัน(?:จันทร์|อังคาร|พุธ|พฤหัสบดี|พฤหัส|ศุกร์|เสาร์|อาทิตย์)? ?ที่|ปี|พ\.? ?ศ\.?|พุทธศักราช|\s)*"
)
_ENTRY = re.compile(rf"(.+?)(?:[\s:=@(\[,-]+|(?<=[.\u0e01-\u0e4e])){_BEFORE_DATE}({_DATE})\s*[\])]*")
_NOTHING = frozenset({"", "none", "no", "false", "0", "[]"})
_NEVER_RECEIVED = re.compile(
    "(?:ยัง)?(?:ไม่มี|ไม่เคย|ไม่ได้|มิได้|มิเคย)(?:เคย)?(?:มี|ได้รับ|ได้|รับ)?(?:การ)?(?:พระราชทาน)?"
    "(?:เครื่องราชอิสริยาภรณ์|เครื่องราชฯ|เครื่องราช)?(?:ใดๆ|เลย|มาก่อน)*|"
    "(?:ยัง)?ไม่เคย(?:เสนอ)?ขอ(?:รับ)?(?:พระราชทาน)?(?:มาก่อน)?|(?:เสนอ)?(?:ขอ)?(?:พระราชทาน)?(?:เป็น)?ครั้งแรก"
)


def says_none(text: str) -> bool:
    """Return whether a cell of decorations says that there are none."""
    plain = normalize(text).lower()
    return plain in _NOTHING or _NEVER_RECEIVED.fullmatch(plain.replace(" ", "").strip("-().*")) is not None


def _entries(cell: str) -> Iterable[tuple[str, str, str]]:
    """Yield (decoration, received, abbreviation) of `CT5 2017-07-28; WE5 2020-07-28`, or of a JSON list."""
    text = normalize(cell)
    if says_none(text):
        return
    if text.startswith("["):
        yield from (_of_object(item) for item in parse_list(text))
        return
    for part in _SEPARATORS.split(cell):
        if match := _DATE_FIRST.fullmatch(_NUMBERED.sub("", normalize(part))):
            yield match[2], match[1], ""
            continue
        for piece in _AFTER_YEAR.split(part):
            entry = _NUMBERED.sub("", normalize(piece))
            match = _ENTRY.fullmatch(entry)
            if entry:
                yield (match[1], match[2], "") if match else (entry, "", "")


def with_dates(cell: str, dates: str) -> str:
    """Return a cell of decorations with the dates that stand in a column beside it, if there is one for each."""
    entries, days = (
        [entry for part in _split(text) if (entry := _NUMBERED.sub("", normalize(part)))] for text in (cell, dates)
    )
    if not entries or len(entries) != len(days) or entries[0].startswith("[") or any(map(_ENTRY.fullmatch, entries)):
        return cell
    return "; ".join(f"{entry} {day}" for entry, day in zip(entries, days, strict=True))


def _split(text: str) -> list[str]:
    """Return the parts of a list of decorations or days."""
    return [piece for part in _SEPARATORS.split(text) for piece in _AFTER_YEAR.split(part)]


def lacks_decoration(cell: str, received: str) -> bool:
    """Return whether a day of receipt stands beside an empty cell, so that a decoration is missing there."""
    return not (normalize(cell) or says_none(received) or is_placeholder(normalize(received)))


_SEPARATORS = re.compile(r"[;|,\n\r\v]| และ ")
_AFTER_YEAR = re.compile(r"(?<=[ /.(]\d{4})\)?(?: +| *[/+] *| +\(?\d{1,2}[.)] +)(?=[\u0e01-\u0e2e\u0e40-\u0e44A-Z])")
"""A space, a stroke or a number after a year, if a name follows."""
_DATE_FIRST = re.compile(rf"{_BEFORE_DATE}({_DATE})[\s:=-]+([\u0e01-\u0e2e\u0e40-\u0e44A-Z][^\d]*)")
_NUMBERED = re.compile(r"^\(?\d{1,2}[.)] +(?=\D)")
"""The number of an entry in a numbered list."""


def parse_list(text: str) -> list[Any]:
    """Return the list in a cell, written as JSON or as Python prints it. Raises Unreadable."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise Unreadable("unreadable_list") from None
    if not isinstance(value, list):
        raise Unreadable("must_be_a_list")
    return value


_OF_OBJECT = frozenset({"code", "decoration", "abbr_th", "received"})


def _of_object(item: object) -> tuple[str, str, str]:
    if isinstance(item, str):
        match = _ENTRY.fullmatch(normalize(item))
        return (match[1], match[2], "") if match else (item, "", "")
    if not isinstance(item, Mapping):
        raise Unreadable("decoration_not_an_object")
    if any(doubts_award(history_kind(str(name)), cell_text(item[name])) for name in item.keys() - _OF_OBJECT):
        raise Unreadable("decoration_doubted")
    texts = {name: cell_text(item.get(name)) for name in _OF_OBJECT}
    code = normalize(texts["code"]) or normalize(texts["decoration"])
    if not code and not normalize(texts["abbr_th"]):
        raise Unreadable("decoration_without_code")
    return code, texts["received"], normalize(texts["abbr_th"])


def parse_discipline(cell: str) -> tuple[str, ...]:
    """Return the penalties in a cell; any text that does not mean "none" is a penalty."""
    text = normalize(cell)
    if not text or text.lower() in _NO_PENALTY or says_nothing(text):
        return ()
    if text.startswith("["):
        return tuple(_penalty(item) for item in parse_list(text))
    parts = (normalize(part) for part in text.split(";"))
    return tuple(part for part in parts if part and part.lower() not in _NO_PENALTY and not says_nothing(part))


_NO_PENALTY = frozenset({"none", "no", "false", "0", "[]", "n", "ไม่มี", "ไม่", "ไม่เคย", "ไม่ใช่"})


def _penalty(item: object) -> str:
    if isinstance(item, Mapping):
        return str(item.get("penalty") or item.get("penalty_th") or "recorded")
    return str(item)
