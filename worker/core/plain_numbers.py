"""Numbers that come as text from outside: digits as every language reads them.

Python's int() and float(), and pydantic with them, also read `1_0`, spaces around the digits and digits of other
scripts. A caller that sends these means something else, or nothing.
"""

import re
from typing import Any, Final

LARGEST_INTEGER: Final = 10**18 - 1
"""The largest number of 18 digits."""
_INTEGER: Final = re.compile(r"[0-9]{1,18}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")


def plain_integer(value: Any) -> Any:
    """Return the value; raise ValueError for true and false, and a text that is not a number of at most 18 digits."""
    if isinstance(value, bool) or (isinstance(value, str) and not _INTEGER.fullmatch(value)):
        raise ValueError("is not a whole number")
    return value


def json_integer(value: Any) -> Any:
    """Return the value, a whole number as int: JSON does not distinguish 3.0 from 3, and many programs write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def plain_number(value: Any) -> Any:
    """Return the value; raise ValueError for a text that is not a number as JSON has them."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError("is not a number")
    return value
