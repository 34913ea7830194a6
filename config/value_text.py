"""How numbers and time spans are written in settings: as .NET's binder reads them.

Python's int() and float(), and pydantic with them, also read `1_0`. Where .NET refuses a text, the operator has made a
mistake.
"""

import re
from typing import Final

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TIMESPAN: Final = re.compile(r"(-)?(?:([0-9]+)\.)?([0-9]{1,2}):([0-5]?[0-9])(?::([0-5]?[0-9])(?:\.([0-9]{1,7}))?)?")
_HOURS_OF_A_DAY: Final = 24


def is_number(text: str) -> bool:
    """Return whether the text is a decimal number; blanks around it are allowed."""
    return _NUMBER.fullmatch(text.strip()) is not None


def timespan_seconds(text: str) -> float | None:
    """Return .NET's TimeSpan text `[d.]hh:mm[:ss[.fffffff]]` in seconds; None when it is not one.

    Raises ValueError for more than 23 hours: .NET reads `24:00:00` as 24 days.
    """
    match = _TIMESPAN.fullmatch(text.strip())
    if match is None:
        return None
    sign, days, hours, minutes, seconds, fraction = match.groups()
    if int(hours) >= _HOURS_OF_A_DAY:
        raise ValueError("must have at most 23 hours; days come first, such as 1.00:00:00")
    total = int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)
    return (-1 if sign else 1) * (total + float(f"0.{fraction or 0}"))
