"""Reads one cell of text as one value: dates, pay, yes or no. Accepts untidy spellings, rejects doubtful ones.

A cell that cannot be read raises Unreadable, with a reason that does not repeat the cell.
"""

import re
from datetime import date, timedelta
from enum import Enum
from functools import lru_cache

from worker.insignia.buddhist_year import BE_OFFSET
from worker.insignia.messages import BilingualText, message
from worker.insignia.roster.negations import says_nothing
from worker.insignia.roster.thai import CACHE, canonical


class Unreadable(ValueError):
    """The text is not a value of this kind; the message says why."""

    def __init__(self, code: str, **values: object) -> None:
        self.message: BilingualText = message(code, **values)
        super().__init__(self.message.en)


_EMPTY = frozenset({"", "?", "-", "--", "---", "null", "none", "nan", "nat", "na", "<na>", "n/a", "ไม่มี", "0000-00-00"})
_ERRORS = frozenset({"#ref!", "#value!", "#name?", "#div/0!", "#null!", "#num!", "#spill!", "#n/a", "#calc!", "#####"})


def normalize(text: str) -> str:
    """Return the text in its canonical form; words for "nothing" become ""."""
    plain = canonical(text)
    return "" if plain.lower() in _EMPTY else plain


def reject_formula_errors(plain: str) -> None:
    """Raise Unreadable for the error of a formula, which is not a value."""
    if plain.startswith("#") and plain.lower() in _ERRORS:
        raise Unreadable("formula_error")


class DateForm(Enum):
    """How the cells of a date column are written, judged by the whole column."""

    PLAIN = "plain"
    """Year first, or day first."""
    MONTH_FIRST = "month first"
    SERIAL = "serial"
    """Day numbers of a spreadsheet, counted from 30 December 1899."""
    SERIAL_1904 = "serial from 1904"
    """Day numbers counted from 1 January 1904."""
    YEAR_FIRST_DIGITS = "yyyymmdd"
    DAY_FIRST_DIGITS = "ddmmyyyy"


_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "มกราคม มกรา มค jan january",
            "กุมภาพันธ์ กุมภา กพ feb february",
            "มีนาคม มีนา มีค mar march",
            "เมษายน เมษา เมย apr april",
            "พฤษภาคม พฤษภา พค may",
            "มิถุนายน มิถุนา มิย jun june",
            "กรกฎาคม กรกฏาคม กรกฎา กค jul july",
            "สิงหาคม สิงหา สค aug august",
            "กันยายน กันยา กย sep sept september",
            "ตุลาคม ตุลา ตค oct october",
            "พฤศจิกายน พฤศจิกา พย nov november",
            "ธันวาคม ธันวา ธค dec december",
        ),
        start=1,
    )
    for name in names.split()
}
TIME = r"(?: \d{1,2}[:.][\d:.]+(?: ?[AaPp][Mm]| น\.?)?)?"
"""A time after a date, which programs write and which means nothing here."""
_ISO = re.compile(rf"(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}})(?:[T ](\d\d:[\d:.]+)(Z|[+-]\d\d:?\d\d)?|{TIME})?")
_TIDY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DAY_FIRST = re.compile(rf"(\d{{1,2}})(?: ?[-/.] ?| )(\d{{1,2}})(?: ?[-/.] ?| )(\d{{4}}){TIME}")
_MONTH_NAME = re.compile(rf"(\d{{1,2}})[ /-]*([^\d\s/-]+?)[ /-]*(\d{{4}}){TIME}")
_NAME_FIRST = re.compile(rf"([a-z]+)\.? (\d{{1,2}}),? (\d{{4}}){TIME}", re.IGNORECASE)
_ERA = re.compile(
    r"\b(?:พ\.? ?ศ\.?|ค\.? ?ศ\.?|พุทธศักราช|คริสต์?ศักราช)(?=[ \d])|(?<=\d) ?เดือน ?|"
    r"^วัน(?:จันทร์|อังคาร|พุธ|พฤหัสบดี|พฤหัส|ศุกร์|เสาร์|อาทิตย์)? ?ที่ ?|^(?:mon|tues|wednes|thurs|fri|satur|sun)day,? ",
    re.IGNORECASE,
)
_SHORT_YEAR = re.compile(r"\d{1,2}[-/. ]*(?:\d{1,2}|[^\d\s/-]+)[-/. ]*\d{2}")
_SERIAL = re.compile(r"(\d{4,6})(?:\.0+)?")
_PLACEHOLDER = re.compile(
    rf"(?:0|00:00:00|0?0[-/.]0?0[-/.]0000|0?[01][-/.]0?[01][-/.](?:1900|2443|0001|1753|2296)|3[01][-/.]12[-/.](?:1899|2442|9999)|"
    rf"(?:0001|1753|1900|2443)-01-0[01]|1899-12-3[01]|2442-12-3[01]|9999-12-31)(?:T00:00:00)?{TIME}"
)
_FIRST_YEAR, _LAST_YEAR, FIRST_BUDDHIST_YEAR = 1900, 2200, 2400
_EPOCH = date(1899, 12, 30)


@lru_cache(CACHE)
def parse_date(text: str, form: DateForm = DateForm.PLAIN) -> date | None:
    """Return the date of a cell, None for an empty cell; years from 2400 on are Buddhist."""
    if text not in _EMPTY and (match := _TIDY.fullmatch(text)):  # most dates of most files; it needs no normal form
        return _day(match[1], match[2], match[3])
    plain = normalize(text)
    if not plain:
        return None
    if form in (DateForm.SERIAL, DateForm.SERIAL_1904) and (match := _SERIAL.fullmatch(plain)):
        return _serial(int(match[1]), date(1904, 1, 1) if form is DateForm.SERIAL_1904 else _EPOCH)
    if len(plain) == 8 and plain.isdigit() and form in (DateForm.YEAR_FIRST_DIGITS, DateForm.DAY_FIRST_DIGITS):
        if form is DateForm.YEAR_FIRST_DIGITS:
            return _day(plain[:4], plain[4:6], plain[6:])
        return _day(plain[4:], plain[2:4], plain[:2])
    if form is DateForm.MONTH_FIRST and (match := _DAY_FIRST.fullmatch(plain)):
        return _day(match[3], match[1], match[2])
    return _written_date(plain)


def is_placeholder(plain: str) -> bool:
    """Return whether a date in canonical form is what programs write for none: day 0, their first or last day."""
    return _PLACEHOLDER.fullmatch(plain) is not None


def _written_date(plain: str) -> date:
    if match := _ISO.fullmatch(plain):
        day = _day(match[1], match[2], match[3])
        return _shifted(day, match[4], match[5]) if match[5] else day
    if match := _DAY_FIRST.fullmatch(plain):
        return _day(match[3], match[2], match[1])
    named = " ".join(_ERA.sub(" ", plain).split())
    if (match := _MONTH_NAME.fullmatch(named)) and (month := _MONTHS.get(match[2].lower().replace(".", ""))):
        return _day(match[3], str(month), match[1])
    if (match := _NAME_FIRST.fullmatch(named)) and (month := _MONTHS.get(match[1].lower())):
        return _day(match[3], str(month), match[2])
    if (match := _DAY_FIRST.fullmatch(named)) is not None:
        return _day(match[3], match[2], match[1])
    raise _no_date(plain)


def parse_month_first(text: str) -> date | None:
    """Return the date of a day/month/year text read month first; None if that is not a date."""
    match = _DAY_FIRST.fullmatch(normalize(text))
    if match is None:
        return None
    try:
        return _day(match[3], match[1], match[2])
    except Unreadable:
        return None


def _shifted(day: date, time: str, zone: str) -> date:
    """Return the day in Thailand of midnight in a zone: programs write 28 July 00:00 there as 27 July 17:00 UTC."""
    if not time.strip("0:."):
        return day
    if zone in {"Z", "+00:00", "+0000"} and time.startswith("17:00") and not time[5:].strip("0:."):
        return day + timedelta(days=1)
    raise Unreadable("date_unknown_form")


def _serial(number: int, epoch: date) -> date:
    day = epoch + timedelta(days=number)
    return _day(str(day.year), str(day.month), str(day.day))


def _day(year_text: str, month: str, day: str) -> date:
    year = int(year_text)
    year -= BE_OFFSET if year >= FIRST_BUDDHIST_YEAR else 0
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise Unreadable("date_year")
    try:
        return date(year, int(month), int(day))
    except ValueError:
        raise Unreadable("date_impossible") from None


def _no_date(plain: str) -> Unreadable:
    reject_formula_errors(plain)
    if _SHORT_YEAR.fullmatch(plain) and not plain.isdigit():
        return Unreadable("date_short_year")
    return Unreadable("date_serial" if re.fullmatch(r"\d{5}(\.\d+)?", plain) else "date_unknown_form")


@lru_cache(CACHE)
def parse_year(text: str) -> int | None:
    """Return the common-era year of a cell that contains only a year, such as 2563 or `พ.ศ. 2563`; else None."""
    plain = " ".join(_ERA.sub(" ", normalize(text).replace("ปี", " ").strip() + " ").split())
    plain = plain.removesuffix(".0")
    if len(plain) != 4 or not plain.isdigit():
        return None
    year = int(plain)
    year -= BE_OFFSET if year >= FIRST_BUDDHIST_YEAR else 0
    return year if _FIRST_YEAR <= year <= _LAST_YEAR else None


_SURELY_SMALL = 9
"""Digits that are below the largest amount."""
_AMOUNT = re.compile(r"(\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d+)(\.\d+)?")
_BAHT = re.compile(
    r"^(?:฿|thb|บาท)\s*|\s*(?:บาทถ้วน|บาท(?: ?(?:/|ต่อ) ?เดือน)?|baht|thb|฿|\.-|/-|\.=|=|-)\.?$", re.IGNORECASE
)


@lru_cache(CACHE)
def parse_amount(text: str) -> float | None:
    """Return an amount in baht, such as 15050, "15,050.00" or ๑๕,๐๕๐ บาท; None for an empty cell."""
    if len(text) <= _SURELY_SMALL and text.isascii() and text.isdigit():
        return int(text)
    plain = _BAHT.sub("", normalize(text))
    if not plain:
        return None
    match = _AMOUNT.fullmatch(plain)
    if match is None:
        reject_formula_errors(plain)
        raise Unreadable("not_an_amount")
    value = float(plain.replace(",", "").replace(" ", ""))
    if value >= 1e9:
        raise Unreadable("amount_too_large")
    return int(value) if value.is_integer() else value


_YES = frozenset({"true", "1", "1.0", "yes", "y", "t", "ใช่", "มี", "เคย"})
_NO = frozenset({"", "false", "0", "0.0", "no", "n", "f", "ไม่ใช่", "ไม่", "ไม่เคย", "[]"})


@lru_cache(CACHE)
def parse_yes_or_no(text: str) -> bool:
    """Return true or false; an empty cell, and words such as ไม่เคยต้องโทษ, are false."""
    plain = normalize(text).lower()
    if plain in _YES:
        return True
    if plain in _NO or says_nothing(plain):
        return False
    reject_formula_errors(plain)
    raise Unreadable("not_yes_or_no")
