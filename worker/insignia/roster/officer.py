"""An officer as plain values, as a roster describes them."""

from dataclasses import dataclass
from datetime import date
from operator import attrgetter

ABOUT = ("title", "first_name", "last_name", "sex", "post", "office")
"""The fields that say who an officer is: kept as the roster writes them, and no decision depends on them."""
about_of = attrgetter(*ABOUT)
"""Returns their values."""


@dataclass(frozen=True, slots=True)
class Award:
    """A decoration in an officer's history."""

    code: str
    received: date | None
    """None: the roster has no date."""


@dataclass(frozen=True, slots=True)
class Officer:
    """One officer at a round. None means unknown, never "no". Money is baht per month."""

    person_id: str
    employee_group: str | None = None
    level: str | None = None
    service_start: date | None = None
    decorations: tuple[Award, ...] | None = None
    position_type: str | None = None
    birth_date: date | None = None
    level_start: date | None = None
    salary: float | None = None
    """In force at the qualification cut-off; the wage for permanent employees."""
    salary_5y_ago: float | None = None
    """In force on 1 April five years before the round's year."""
    position_allowance: float | None = None
    last_only: bool = False
    """`decorations` contains only the last one; earlier ones are unknown."""
    nationality: str | None = "TH"
    decoration_recalled: bool = False
    imprisonment: bool = False
    discipline: tuple[str, ...] = ()
    on_leave: str | None = None
    left_service: date | None = None
    resigned: date | None = None
    """An earlier end of service, usually followed by a return."""
    returned_to_service: date | None = None
    title: str = ""
    first_name: str = ""
    """The whole name if the roster has it in one column."""
    last_name: str = ""
    sex: str = ""
    post: str = ""
    office: str = ""


def known_about(officer: Officer) -> dict[str, str]:
    """Return what the roster says of the person, without what is empty."""
    return {name: value for name, value in zip(ABOUT, about_of(officer), strict=True) if value}
