"""What a roster says of one officer. Plain values; knows no rule and no file."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Award:
    """A decoration in an officer's history."""

    code: str
    received: date | None
    """None: the roster does not say when."""


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
    """`decorations` holds the last one alone; what came before it is unknown."""
    nationality: str = "TH"
    decoration_recalled: bool = False
    imprisonment: bool = False
    discipline: tuple[str, ...] = ()
    on_leave: str | None = None
    left_service: date | None = None
    resigned: date | None = None
    """An earlier end of service, usually followed by a return."""
    returned_to_service: date | None = None
