"""One cell of text to one value: dates, pay, yes or no, ids. Untidy spellings are understood, doubtful ones refused.

Knows no column and no file. What cannot be read raises Unreadable with a reason that does not repeat the cell.
"""

import re
import unicodedata
from datetime import date
from functools import lru_cache
from operator import mul

from worker.insignia.compiler import BE_OFFSET

_CACHE = 1 << 16
"""Rosters repeat themselves: the same dates and amounts stand in thousands of rows."""


class Unreadable(ValueError):
    """The text is not a value of this kind; the message says why."""


_EMPTY = frozenset({"", "?", "-", "--", "–", "—", "null", "none", "nan", "nat", "n/a", "#n/a", "ไม่มี", "0000-00-00"})
_TIDIER: dict[int, str | None] = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"), None)
_TIDIER |= {ord("๐") + digit: str(digit) for digit in range(10)}


@lru_cache(_CACHE)
def tidy(text: str) -> str:
    """Without invisible characters and outer blanks, digits as 0-9; the texts that mean "nothing" become empty."""
    plain = text if text.isascii() else unicodedata.normalize("NFC", text.translate(_TIDIER))
    plain = " ".join(plain.split())
    return "" if plain.lower() in _EMPTY else plain


_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "มกราคม ม.ค. มค jan january",
            "กุมภาพันธ์ ก.พ. กพ feb february",
            "มีนาคม มี.ค. มีค mar march",
            "เมษายน เม.ย. เมย apr april",
            "พฤษภาคม พ.ค. พค may",
            "มิถุนายน มิ.ย. มิย jun june",
            "กรกฎาคม ก.ค. กค jul july",
            "สิงหาคม ส.ค. สค aug august",
            "กันยายน ก.ย. กย sep september",
            "ตุลาคม ต.ค. ตค oct october",
            "พฤศจิกายน พ.ย. พย nov november",
            "ธันวาคม ธ.ค. ธค dec december",
        ),
        start=1,
    )
    for name in names.split()
}
_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ][\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?")
_DAY_FIRST = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4})(?: [\d:.]+)?")
_MONTH_NAME = re.compile(r"(\d{1,2})[ -]?([^\d\s-]+)[ -]?(?:พ\.?ศ\.? ?)?(\d{4})")
_SHORT_YEAR = re.compile(r"\d{1,2}[-/. ]\d{1,2}[-/. ]\d{2}")
_FIRST_YEAR, _LAST_YEAR, _FIRST_BUDDHIST_YEAR = 1900, 2200, 2400


@lru_cache(_CACHE)
def a_date(text: str) -> date | None:
    """Year-month-day or day-month-year; a year from 2400 on is Buddhist. Empty: None."""
    plain = tidy(text)
    if not plain:
        return None
    if match := _ISO.fullmatch(plain):
        return _day(match[1], match[2], match[3])
    if match := _DAY_FIRST.fullmatch(plain):
        return _day(match[3], match[2], match[1])
    if (match := _MONTH_NAME.fullmatch(plain)) and match[2].lower() in _MONTHS:
        return _day(match[3], str(_MONTHS[match[2].lower()]), match[1])
    raise Unreadable(_why_no_date(plain))


def month_first(text: str) -> date | None:
    """The other reading of day/month/year text, month first; None when there is none."""
    match = _DAY_FIRST.fullmatch(tidy(text))
    if match is None:
        return None
    try:
        return _day(match[3], match[1], match[2])
    except Unreadable:
        return None


def _day(year_text: str, month: str, day: str) -> date:
    year = int(year_text)
    year -= BE_OFFSET if year >= _FIRST_BUDDHIST_YEAR else 0
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise Unreadable("the year is neither a likely Buddhist nor a likely common-era one")
    try:
        return date(year, int(month), int(day))
    except ValueError:
        raise Unreadable("there is no such day in the calendar") from None


def _why_no_date(plain: str) -> str:
    if _SHORT_YEAR.fullmatch(plain):
        return "a year of two digits is ambiguous: write all four"
    if re.fullmatch(r"\d{5}(\.\d+)?", plain):
        return "looks like a spreadsheet's day number: format the column as a date and save again"
    return "no date: write 2025-07-28 or 28/07/2568"


_AMOUNT = re.compile(r"(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?")
_BAHT = re.compile(r"^(?:฿|thb|บาท)\s*|\s*(?:บาท|baht|thb|\.-)\.?$", re.IGNORECASE)


@lru_cache(_CACHE)
def an_amount(text: str) -> float | None:
    """Baht: 15050, "15,050.00", ๑๕,๐๕๐ บาท. Empty: None."""
    plain = _BAHT.sub("", tidy(text))
    if not plain:
        return None
    match = _AMOUNT.fullmatch(plain)
    if match is None:
        raise Unreadable("no amount of money: write 15050 or 15,050.00")
    value = float(plain.replace(",", ""))
    if value >= 1e9:
        raise Unreadable("the amount is too large for a month's pay")
    return int(value) if value.is_integer() else value


_YES = frozenset({"true", "1", "1.0", "yes", "y", "t", "ใช่", "มี", "เคย"})
_NO = frozenset({"", "false", "0", "0.0", "no", "n", "f", "ไม่ใช่", "ไม่", "ไม่เคย", "[]"})


@lru_cache(_CACHE)
def yes_or_no(text: str) -> bool:
    plain = tidy(text).lower()
    if plain in _YES:
        return True
    if plain in _NO:
        return False
    raise Unreadable("neither yes nor no: write true or false")


_AS_FORMULA = re.compile(r'^="(.*)"$')
"""How some programs keep a spreadsheet from taking an id for a number."""
_SCIENTIFIC = re.compile(r"\d(\.\d+)?[eE]\+?\d+")


def a_person_id(text: str) -> str:
    """A citizen id as 13 digits, whatever stood between them; any other text as it is."""
    if len(text) == 13 and text.isascii() and text.isdigit():
        return text
    plain = _AS_FORMULA.sub(r"\1", tidy(text)).removeprefix("'").strip()
    if not plain:
        raise Unreadable("there is no id")
    if _SCIENTIFIC.fullmatch(plain):
        raise Unreadable("a spreadsheet has rounded the id: format the column as text and save again")
    if len(plain) > 100 or not plain.isprintable():
        raise Unreadable("the id is longer than 100 characters or holds control characters")
    digits = plain.replace("-", "").replace(" ", "")
    return digits if len(digits) == 13 and digits.isascii() and digits.isdigit() else plain


def check_digit_fits(person_id: str) -> bool:
    """Whether the last of 13 digits fits the others (weights 13 to 2, modulo 11); true for ids of another kind."""
    if len(person_id) != 13 or not person_id.isascii() or not person_id.isdigit():
        return True
    return check_digit(person_id[:12]) == int(person_id[12])


def check_digit(twelve: str) -> int:
    """The digit that belongs after twelve others."""
    codes: int = sum(map(mul, twelve.encode("ascii"), _WEIGHTS))
    return (11 - (codes - ord("0") * sum(_WEIGHTS)) % 11) % 10


_WEIGHTS = range(13, 1, -1)
