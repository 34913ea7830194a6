"""The conditions of a step, worked out for one round: what is asked of an officer, and what is missing.

Every "so many years before" is a date and every reference a figure; nothing here knows the criteria file.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from worker.insignia.criteria import Confidence
from worker.insignia.officer import Officer

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A rule or parameter a decision rests on. Compared by identity, so that decisions are looked up quickly."""

    id: str
    confidence: Confidence


def weakest(grounds: Iterable[Ground]) -> Confidence:
    """The lowest confidence among them; nothing uncertain was asked: high."""
    found = {ground.confidence for ground in grounds}
    return "low" if "low" in found else "medium" if "medium" in found else "high"


@dataclass(frozen=True, slots=True)
class Standing:
    """An officer as the rules count: continuous service, classes held, the highest of them."""

    officer: Officer
    serving_since: date | None
    in_level_since: date | None
    held: Mapping[str, date | None]
    """Class code to the day it was first received."""
    rank: int
    """Of the highest class held; 0: none."""
    last_class: date | None
    """When a class was received last."""
    highest_dated: bool
    """Whether the roster says when the highest class was received; true when none is held."""
    has_medal: bool


@dataclass(frozen=True, slots=True)
class Since:
    """So many completed years of service or in the level: it must have begun on `latest` or earlier."""

    field: Literal["service_start", "level_start"]
    years: int
    as_of: date
    latest: date
    reason: str
    grounds: tuple[Ground, ...]
    edge: Ground

    def value(self, standing: Standing) -> date | None:
        return standing.serving_since if self.field == "service_start" else standing.in_level_since

    def missing(self, standing: Standing) -> bool:
        return self.value(standing) is None

    def unmet(self, standing: Standing) -> str | None:
        """The reason code, or None when the condition holds."""
        value = self.value(standing)
        return None if value is not None and value <= self.latest else self.reason

    def edge_grounds(self, standing: Standing) -> tuple[Ground, ...]:
        """The way full years are counted, where one day decides: late by the file's count, in time by the Thai one."""
        return (self.edge,) if self.value(standing) == self.latest + ONE_DAY else ()


@dataclass(frozen=True, slots=True)
class HeldSince:
    """A class held for so many completed years: received on `latest` or earlier."""

    award: str
    years: int
    as_of: date
    latest: date
    not_held: str
    too_short: str
    grounds: tuple[Ground, ...]
    edge: Ground
    field: str = "received"

    def missing(self, standing: Standing) -> bool:
        return self.award in standing.held and standing.held[self.award] is None

    def unmet(self, standing: Standing) -> str | None:
        if self.award not in standing.held:
            return self.not_held
        received = standing.held[self.award]
        return None if received is not None and received <= self.latest else self.too_short

    def edge_grounds(self, standing: Standing) -> tuple[Ground, ...]:
        return (self.edge,) if standing.held.get(self.award) == self.latest + ONE_DAY else ()


@dataclass(frozen=True, slots=True)
class PayAgainst:
    """Pay on one side of a figure."""

    field: Literal["salary", "salary_5y_ago"]
    figure: str
    amount: float
    at_least: bool
    """True: pay must have reached the figure; false: it must not."""
    equal_reaches: bool
    """Whether pay equal to the figure has reached it."""
    reason: str
    grounds: tuple[Ground, ...]

    def value(self, standing: Standing) -> float | None:
        return standing.officer.salary if self.field == "salary" else standing.officer.salary_5y_ago

    def missing(self, standing: Standing) -> bool:
        return self.value(standing) is None

    def unmet(self, standing: Standing) -> str | None:
        pay = self.value(standing)
        if pay is None:
            return self.reason
        reached = pay > self.amount or (self.equal_reaches and pay == self.amount)
        return None if reached is self.at_least else self.reason

    def edge_grounds(self, _: Standing) -> tuple[Ground, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Holds:
    """The class below is in the history."""

    award: str
    reason: str
    grounds: tuple[Ground, ...]
    field: str = "decorations"

    def missing(self, _: Standing) -> bool:
        return False

    def unmet(self, standing: Standing) -> str | None:
        return None if self.award in standing.held else self.reason

    def edge_grounds(self, _: Standing) -> tuple[Ground, ...]:
        return ()


Condition = Since | HeldSince | PayAgainst | Holds
