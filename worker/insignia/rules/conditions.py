"""The conditions of a step, compiled for one round: whether an officer meets them, and which data is missing.

Every number of years is already a date and every reference a figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from worker.insignia.criteria.model import Confidence
from worker.insignia.roster.officer import Officer

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, eq=False)
class RuleReference:
    """A rule or parameter that a decision rests on. Compared by identity, which makes looking up decisions fast."""

    id: str
    confidence: Confidence


Days = tuple[date, date]
"""The earliest and the latest day that a date may be; both are the same if it is known."""
ANY_DAY: Days = (date.min, date.max)


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """What of an officer's record counts: continuous service, the classes held, the highest of them."""

    officer: Officer
    serving_since: Days
    in_level_since: Days
    held: Mapping[str, Days]
    """Class code to the day it was first received. Empty if the history is unknown."""
    rank: int
    """The rank of the highest class held; 0 without any."""
    last_class: Days | None
    """The day on which the latest class was received."""
    history_gap: str | None
    """The field without which the classes held are unknown; None if they are known."""
    has_medal: bool


@dataclass(frozen=True, slots=True)
class MinimumYears:
    """A number of completed years of service or in the level, which must have begun on `latest` or earlier."""

    field: Literal["service_start", "level_start"]
    years: int
    as_of: date
    latest: date
    reason: str
    references: tuple[RuleReference, ...]
    edge: RuleReference

    def value(self, record: ServiceRecord) -> Days:
        return record.serving_since if self.field == "service_start" else record.in_level_since

    def answer(self, record: ServiceRecord) -> bool | None:
        """Return whether the condition holds; None if a missing value decides."""
        return _began_by(self.latest, self.value(record))

    def unmet_reason(self, _: ServiceRecord) -> str:
        """Return the reason code for a condition that does not hold."""
        return self.reason

    def edge_references(self, record: ServiceRecord) -> tuple[RuleReference, ...]:
        """Return the rule for counting full years if one day decides: the Thai way of counting would be met."""
        return (self.edge,) if self.value(record) == (self.latest + ONE_DAY,) * 2 else ()


@dataclass(frozen=True, slots=True)
class HeldYears:
    """A class held for a number of completed years: received on `latest` or earlier."""

    award: str
    years: int
    as_of: date
    latest: date
    not_held: str
    too_short: str
    references: tuple[RuleReference, ...]
    edge: RuleReference
    field: str = "received"

    def answer(self, record: ServiceRecord) -> bool | None:
        received = record.held.get(self.award)
        if received is None:
            return None if record.history_gap else False
        return _began_by(self.latest, received)

    def unmet_reason(self, record: ServiceRecord) -> str:
        return self.too_short if self.award in record.held else self.not_held

    def edge_references(self, record: ServiceRecord) -> tuple[RuleReference, ...]:
        return (self.edge,) if record.held.get(self.award) == (self.latest + ONE_DAY,) * 2 else ()


@dataclass(frozen=True, slots=True)
class PayCondition:
    """Pay that has reached a figure, or has not."""

    field: Literal["salary", "salary_5y_ago"]
    figure: str
    amount: float
    at_least: bool
    """True: pay must have reached the figure; false: it must not have."""
    equal_reaches: bool
    """Whether pay that equals the figure has reached it."""
    reason: str
    references: tuple[RuleReference, ...]

    def value(self, record: ServiceRecord) -> float | None:
        return record.officer.salary if self.field == "salary" else record.officer.salary_5y_ago

    def answer(self, record: ServiceRecord) -> bool | None:
        pay = self.value(record)
        if pay is None:
            return None
        return (pay > self.amount or (self.equal_reaches and pay == self.amount)) is self.at_least

    def unmet_reason(self, _: ServiceRecord) -> str:
        return self.reason

    def edge_references(self, _: ServiceRecord) -> tuple[RuleReference, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class RequiresClass:
    """The class below has been received."""

    award: str
    reason: str
    references: tuple[RuleReference, ...]
    field: str = "decorations"

    def answer(self, record: ServiceRecord) -> bool | None:
        return True if self.award in record.held else None if record.history_gap else False

    def unmet_reason(self, _: ServiceRecord) -> str:
        return self.reason

    def edge_references(self, _: ServiceRecord) -> tuple[RuleReference, ...]:
        return ()


def _began_by(limit: date, days: Days) -> bool | None:
    earliest, latest = days
    return True if latest <= limit else False if earliest > limit else None


Condition = MinimumYears | HeldYears | PayCondition | RequiresClass
