"""Reads the cells of a column, each different text once, and remembers what has to be reported about it."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Literal, NamedTuple

from worker.insignia.messages import BilingualText, message
from worker.insignia.roster.cells import (
    DateForm,
    Unreadable,
    is_placeholder,
    normalize,
    parse_amount,
    parse_date,
    parse_yes_or_no,
)
from worker.insignia.roster.date_columns import DateReading
from worker.insignia.roster.decorations import DecorationParser, parse_discipline
from worker.insignia.roster.nationality import parse_nationality
from worker.insignia.roster.negations import is_in_office, says_nothing

DATES = ("birth_date", "service_start", "level_start", "left_service", "resigned", "returned_to_service")
_LISTS = frozenset({"left_service", "resigned", "returned_to_service"})
"""Dates of which DPIS puts several into one cell, separated by `;;`."""
_ENDS = frozenset({"left_service", "resigned"})
_LEAST_PAY, _MOST_PAY = 3000, 200_000
"""Monthly pay outside these bounds is a mistake: pay in thousands, in satang or of a year."""

_FORM_REPAIRS = {
    DateForm.SERIAL: "date_from_serial",
    DateForm.SERIAL_1904: "date_from_serial",
    DateForm.MONTH_FIRST: "date_month_first",
    DateForm.YEAR_FIRST_DIGITS: "date_compact",
    DateForm.DAY_FIRST_DIGITS: "date_compact",
}


class Note(NamedTuple):
    """What has to be reported about a cell."""

    kind: Literal["bad", "notice", "repair"]
    message: BilingualText
    after: str = ""
    """The value of a repaired cell."""


class Noted(NamedTuple):
    """A value with its notes."""

    value: Any
    notes: tuple[Note, ...]


def notice(value: Any, code: str) -> Noted:
    return Noted(value, (Note("notice", message(code)),))


def repaired(value: Any, code: str) -> Noted:
    return Noted(value, (Note("repair", message(code), str(value)),))


class CellReader(dict[str, Any]):
    """A text to its value; texts that were not seen before are parsed. `notes` has the texts to report."""

    __slots__ = ("_parse", "notes")

    def __init__(self, parse: Callable[[str], Any]) -> None:
        super().__init__()
        self._parse = parse
        self.notes: dict[str, tuple[Note, ...]] = {}

    def __missing__(self, text: str) -> Any:
        value: Any = None
        try:
            value = self._parse(text)
        except Unreadable as exc:
            self.notes[text] = (Note("bad", exc.message),)
        if isinstance(value, Noted):
            self.notes[text] = value.notes
            value = value.value
        self[text] = value
        return value


def cell_readers(decorations: DecorationParser, forms: Mapping[str, DateReading]) -> dict[str, CellReader]:
    """Return a reader for each column whose cells can be read on their own."""
    words = decorations.vocabulary
    parsers: dict[str, Callable[[str], Any]] = {
        "employee_group": words.group,
        "position_type": words.position_type,
        "salary": _pay,
        "salary_5y_ago": _past_pay,
        "position_allowance": _allowance,
        "nationality": _nationality,
        "decoration_recalled": parse_yes_or_no,
        "imprisonment": parse_yes_or_no,
        "discipline": parse_discipline,
        "on_leave": _leave,
        "service_status": _leave,
        "decorations": _decorations(decorations),
    }
    for name in DATES:
        read = _dates(forms.get(name, DateReading()), is_list=name in _LISTS)
        parsers[name] = _unless_in_office(read) if name in _ENDS else read
    return {name: CellReader(parse) for name, parse in parsers.items()}


def _pay(text: str) -> Any:
    amount = parse_amount(text)
    if amount == 0:
        return notice(None, "zero_pay")
    if amount is not None and not _LEAST_PAY <= amount <= _MOST_PAY:
        return notice(None, "implausible_pay")
    return amount


def _past_pay(text: str) -> Any:
    """Return the pay five years ago; words instead of a figure, such as ยังไม่บรรจุ, make it unknown."""
    try:
        return _pay(text)
    except Unreadable as exc:
        if exc.message.code == "formula_error" or any(map(str.isdigit, text)):
            raise
        return notice(None, "pay_in_words")


def _allowance(text: str) -> Any:
    """Return the allowance; 0 is what DPIS writes if there is none on file, so it is unknown."""
    if normalize(text).replace(" ", "") in _NOT_RECEIVED:
        return None
    amount = parse_amount(text)
    if amount is not None and amount > _MOST_PAY:
        return notice(None, "implausible_pay")
    return amount or None


_NOT_RECEIVED = frozenset({"ไม่ได้รับ", "ไม่มีเงินประจำตำแหน่ง", "ไม่ได้รับเงินประจำตำแหน่ง"})


def _nationality(text: str) -> Any:
    code = parse_nationality(text)
    return notice(None, "unknown_nationality") if code is None else code


def _leave(text: str) -> Any:
    """Return any leave that is recorded, or any status but in service; the rules decide whether it matters."""
    try:
        return "unnamed" if parse_yes_or_no(text) else None
    except Unreadable as exc:
        if exc.message.code == "formula_error":
            raise
        return None if says_nothing(text) else normalize(text)


def _decorations(parser: DecorationParser) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        awards, codes = parser.awards(text)
        return Noted(awards, tuple(Note("notice", message(code)) for code in codes)) if codes else awards

    return read


def _dates(reading: DateReading, *, is_list: bool) -> Callable[[str], Any]:
    may_doubt = not reading.is_default

    def read(text: str) -> Any:
        if is_placeholder(normalize(text)):
            return notice(None, "placeholder_date")
        if is_list and ";" in text:
            days = [day for part in text.split(";") if (day := parse_date(part, reading.form))]
            return repaired(max(days, default=None), "last_of_several") if len(days) > 1 else max(days, default=None)
        if may_doubt and reading.doubts(text):
            parse_date(text, reading.form)  # a cell without any date is bad
            return notice(None, "date_order_unclear")
        day = parse_date(text, reading.form)
        if day is not None and reading.form is not DateForm.PLAIN and day != _plain(text):
            return repaired(day, _FORM_REPAIRS[reading.form])
        return day

    return read


def _unless_in_office(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if is_in_office(text) else read(text)


def _plain(text: str) -> date | None:
    try:
        return parse_date(text)
    except Unreadable:
        return None
