"""Buddhist years, which number the rounds of decorations."""

from datetime import date

from worker.insignia.errors import RoundInvalid
from worker.insignia.messages import message

BE_OFFSET = 543
"""Buddhist Era minus common era."""
FIRST_ROUND, LAST_ROUND = 2400, 2700
"""Buddhist years that a round may have: wide enough for any record, narrow enough to detect a common-era year."""


def check_round(round_be: int) -> None:
    """Raise RoundInvalid for a round out of range, with a hint if it looks like a common-era year."""
    if 1900 <= round_be <= 2200:
        raise RoundInvalid(message("round_common_era", round=round_be, meant=round_be + BE_OFFSET))
    if not FIRST_ROUND <= round_be <= LAST_ROUND:
        raise RoundInvalid(message("round_out_of_range", round=round_be, first=FIRST_ROUND, last=LAST_ROUND))


def years_before(day: date, years: int) -> date:
    """Return the latest date whose anniversary after `years` falls on `day` or earlier.

    For a start on 29 February a year is complete on 1 March, in years without a 29th.
    """
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return date(day.year - years, 2, 28)


def thai_date(day: date) -> str:
    """Return the date as Thai offices write it in figures: day/month/Buddhist year."""
    return f"{day.day}/{day.month}/{day.year + BE_OFFSET}"
