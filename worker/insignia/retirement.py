"""Says when an officer retires."""

from datetime import date

YOUNGEST = 15
"""The age below which no one is in the service."""
RETIRES_AT = 60
"""The age in whose fiscal year an officer retires."""


def retirement_day(birth: date) -> date:
    """Return 30 September of the fiscal year (October to September) in which that age is reached."""
    return date(birth.year + RETIRES_AT + (birth.month >= 10), 9, 30)
