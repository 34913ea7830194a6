"""Judges a column of dates as a whole: the order of day and month, day numbers, digits without separators."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from worker.insignia.roster.cells import TIME, DateForm, Unreadable, is_placeholder, normalize, parse_date

_SLASHED = re.compile(rf"(\d{{1,2}})(?: ?[-/.] ?| )(\d{{1,2}})(?: ?[-/.] ?| )\d{{4}}{TIME}")
_ISO = re.compile(r"\d{4}-(\d\d)-(\d\d)(?:[T ].*)?")
_SERIAL = re.compile(r"\d{5,6}(?:\.0+)?")
_MOST = 0.9
"""Share of a column's cells that must have one form for the column to have it."""
_FEW = 20
"""How many times as many cells month first make the cells day first mistakes."""
_SURE = 3
"""Cells that are dates only month first, from which on the column is."""
_MISTAKES = 50
"""How many times as many cells day first make the cells month first mistakes."""
_RIVALS = 3
"""How many times as many dates day first leave no doubt about the columns that show no order."""
_SWAPPED = 4
"""Dates that must all have a day up to 12 for a spreadsheet to be suspected of having read them month first."""


@dataclass(frozen=True, slots=True)
class DateReading:
    """How a column of dates is to be read."""

    form: DateForm = DateForm.PLAIN
    is_mixed: bool = False
    """Cells that could be day first or month first are doubtful."""
    is_swapped: bool = False
    """A spreadsheet has probably exchanged day and month of those dates that it recognised."""

    @property
    def is_default(self) -> bool:
        return self == DateReading()

    def from_1904(self) -> "DateReading":
        """Return the same for a workbook whose day numbers begin in 1904."""
        return replace(self, form=DateForm.SERIAL_1904) if self.form is DateForm.SERIAL else self

    def doubts(self, text: str) -> bool:
        """Return whether a cell could be read in two ways."""
        plain = normalize(text)
        if self.is_mixed and (match := _SLASHED.fullmatch(plain)):
            return int(match[1]) <= 12 and int(match[2]) <= 12 and match[1].lstrip("0") != match[2].lstrip("0")
        match = _ISO.fullmatch(plain) if self.is_swapped else None
        return match is not None and int(match[2]) <= 12 and match[1] != match[2]


@dataclass(frozen=True, slots=True)
class OrderCounts:
    """How many different dates of a column show the order of day and month."""

    slashed: int = 0
    """Dates such as 5/12/2557."""
    day_first: int = 0
    """Those that are dates only day first."""
    month_first: int = 0
    iso: int = 0
    """Dates such as 2014-12-05."""
    last_day: int = 0
    """The highest day among these."""
    named: int = 0
    """Dates with the name of their month, which show nothing."""

    def __add__(self, other: "OrderCounts") -> "OrderCounts":
        return OrderCounts(
            self.slashed + other.slashed,
            self.day_first + other.day_first,
            self.month_first + other.month_first,
            self.iso + other.iso,
            max(self.last_day, other.last_day),
            self.named + other.named,
        )


_NO_DATES = OrderCounts()


@dataclass(frozen=True, slots=True)
class DateColumn:
    """The different cells of one column."""

    cells: Iterable[str] = ()
    counted: OrderCounts = _NO_DATES
    """Further cells."""


def judge_columns(columns: Mapping[str, DateColumn]) -> dict[str, DateReading]:
    """Return how each column of one file is to be read.

    One program writes all dates of a file in one way: a column that does not show its own order, such as one with the
    first days of months only, has the order that the others show.
    """
    judged = {name: _judged(column.cells, column.counted) for name, column in columns.items()}
    orders = [counts for reading, counts in judged.values() if reading.form in (DateForm.PLAIN, DateForm.MONTH_FIRST)]
    shown = _shown([reading for reading, _ in judged.values()], sum(orders, _NO_DATES))
    return {name: _settled(reading, counts, shown) for name, (reading, counts) in judged.items()}


def _shown(readings: Sequence[DateReading], whole: OrderCounts) -> DateReading:
    """Return what the columns of a file show together."""
    one_is = any(reading.form is DateForm.MONTH_FIRST for reading in readings)
    is_sure = (one_is or whole.month_first >= _SURE) and whole.month_first >= _FEW * whole.day_first
    return DateReading(
        DateForm.MONTH_FIRST if is_sure else DateForm.PLAIN,
        is_mixed=one_is or whole.month_first * _RIVALS > whole.day_first,
        is_swapped=any(reading.is_swapped for reading in readings),
    )


def _settled(reading: DateReading, counts: OrderCounts, shown: DateReading) -> DateReading:
    """Return how a column is to be read, given what all columns show."""
    if reading.form is not DateForm.PLAIN:
        return reading
    if counts.slashed and not counts.day_first and shown.is_mixed:
        return replace(reading, form=shown.form, is_mixed=shown.form is DateForm.PLAIN)
    if counts.iso and counts.last_day <= 12 and shown.is_swapped and counts.slashed == counts.day_first:
        return replace(reading, is_swapped=True)
    return reading


def _judged(cells: Iterable[str], counted: OrderCounts) -> tuple[DateReading, OrderCounts]:
    texts = [plain for plain in map(normalize, cells) if plain and not is_placeholder(plain)]
    whole = len(texts) + counted.slashed + counted.iso + counted.named
    if not whole:
        return DateReading(), _NO_DATES
    serials = sum(_SERIAL.fullmatch(text) is not None for text in texts)
    if serials >= _MOST * whole:
        return DateReading(DateForm.SERIAL), _NO_DATES
    digits = [text for text in texts if len(text) == 8 and text.isdigit()]
    if len(digits) >= _MOST * whole:
        forms = (DateForm.YEAR_FIRST_DIGITS, DateForm.DAY_FIRST_DIGITS)
        return DateReading(max(forms, key=lambda form: sum(_is_date(text, form) for text in digits))), _NO_DATES
    counts = _counts(texts) + counted
    return _order(counts), counts


def _counts(texts: list[str]) -> OrderCounts:
    pairs = [(int(match[1]), int(match[2])) for text in texts if (match := _SLASHED.fullmatch(text))]
    recognised = [int(match[2]) for text in texts if (match := _ISO.fullmatch(text))]
    return OrderCounts(
        len(pairs),
        sum(first > 12 >= second for first, second in pairs),
        sum(second > 12 >= first for first, second in pairs),
        len(recognised),
        max(recognised, default=0),
    )


def _order(counts: OrderCounts) -> DateReading:
    day_first, month_first = counts.day_first, counts.month_first
    is_month_first = month_first >= _SURE and month_first >= _FEW * day_first
    is_mixed = not is_month_first and month_first * _MISTAKES > day_first
    # What the spreadsheet did not recognise has a day above 12 in the place where it expects the month.
    is_certain = 0 < counts.slashed == day_first + month_first
    is_swapped = counts.iso >= _SWAPPED and counts.last_day <= 12 and is_certain
    form = DateForm.MONTH_FIRST if is_month_first else DateForm.PLAIN
    return DateReading(form, is_mixed=is_mixed, is_swapped=is_swapped)


def _is_date(text: str, form: DateForm) -> bool:
    try:
        return parse_date(text, form) is not None
    except Unreadable:
        return False
