"""The rounds from which the next class is met, and the conditions in words, for whole rosters.

Which conditions they depend on is the same for all officers of a pattern; only days and amounts differ.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import repeat
from typing import Any

import polars as pl

from worker.insignia.buddhist_year import BE_OFFSET
from worker.insignia.columnar.frame import PLACE
from worker.insignia.columnar.record import retirement_year
from worker.insignia.roster.officer import Officer
from worker.insignia.rules.conditions import (
    ANY_DAY,
    Condition,
    Days,
    HeldYears,
    MinimumYears,
    PayCondition,
    RequiresClass,
    ServiceRecord,
)
from worker.insignia.rules.decision import Decision
from worker.insignia.rules.eligibility import service_record
from worker.insignia.rules.explain import ConditionTexts, has_conditions
from worker.insignia.rules.outlook import has_next_round, outlook_of, rounds_until, waits_for_last_class
from worker.insignia.rules.ruleset import Rules

PROSPECT = "prospect"
"""The column with the number of what an officer's prospects depend on."""
_DAY_ZERO = date(1970, 1, 1).toordinal()
"""The day from which columns of dates count."""
_NOBODY = Officer("")
_MOST_VALUES = 200_000
"""Values that are kept for one condition."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the prospects of some officers depend on."""

    shown: tuple[Condition, ...]
    """The conditions that are put into words."""
    lacking: tuple[MinimumYears | HeldYears, ...] | None
    """The conditions to wait for; None if waiting is not enough, or is not asked for."""
    waits_for_last: bool = False
    """Whether the rule against consecutive years excludes the next round as well."""

    @property
    def key(self) -> tuple[object, ...]:
        lacking = None if self.lacking is None else tuple(map(id, self.lacking))
        return tuple(map(id, self.shown)), lacking, self.waits_for_last


@dataclass(slots=True)
class Prospects:
    """Finds the prospects of officers whose patterns are known."""

    rules: Rules
    plans: list[_Plan] = field(default_factory=list)
    _known: dict[tuple[object, ...], int] = field(default_factory=dict)
    _texts: ConditionTexts = field(init=False)
    _worded: dict[int, dict[Any, str]] = field(default_factory=dict)
    _rounds: dict[int, dict[Any, int | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._texts = ConditionTexts(self.rules, "th")

    def number(self, officer: Officer, decision: Decision) -> int:
        """Return the number of the plan for all officers of the same pattern."""
        plan = self._plan(officer, decision)
        number = self._known.setdefault(plan.key, len(self.plans))
        if number == len(self.plans):
            self.plans.append(plan)
        return number

    def _plan(self, officer: Officer, decision: Decision) -> _Plan:
        waits, is_shown = has_next_round(decision), has_conditions(decision)
        if not waits and not is_shown:
            return _Plan((), None)
        record = service_record(officer, self.rules)
        shown = tuple(self._texts.conditions(record, decision)) if is_shown else ()
        found = outlook_of(record, self.rules) if waits else None
        if found is None:
            return _Plan(shown, None)
        lacking = tuple(one for one in found.lacking if isinstance(one, MinimumYears | HeldYears))
        if len(lacking) < len(found.lacking):
            return _Plan(shown, None)
        return _Plan(shown, lacking, waits_for_last_class(record, self.rules))

    def of(self, record: pl.DataFrame) -> pl.DataFrame:
        """Return `next_round` and `conditions` of each officer of the frame, which has the column PROSPECT."""
        places: list[pl.Series] = []
        rounds: list[int | None] = []
        texts: list[str] = []
        as_numbers = record.with_columns(
            pl.col("last_latest").dt.year().alias("last_year"),
            pl.col("^(earliest|latest)\\..*|.*_(earliest|latest)$").to_physical(),
            retirement_year().alias("retirement_year"),
        )
        for (number,), part in as_numbers.partition_by(PROSPECT, as_dict=True).items():
            plan = self.plans[number]
            places.append(part[PLACE])
            rounds += self._next_rounds(plan, part)
            texts += self._conditions(plan, part)
        found = pl.DataFrame(
            {PLACE: pl.concat(places), "next_round": rounds, "conditions": texts},
            schema_overrides={"next_round": pl.Int32, "conditions": pl.String},
        )
        return found.sort(PLACE).drop(PLACE)

    # -- conditions in words

    def _conditions(self, plan: _Plan, part: pl.DataFrame) -> Iterable[str]:
        columns = [self._words(condition, part) for condition in plan.shown]
        return map("; ".join, zip(*columns, strict=True)) if columns else repeat("", part.height)

    def _words(self, condition: Condition, part: pl.DataFrame) -> Iterator[str]:
        known = self._worded.setdefault(id(condition), {})  # by identity: the rules keep each of them alive
        if len(known) > _MOST_VALUES:
            known.clear()
        values = _values(condition, part)
        for value in set(values) - known.keys():
            known[value] = self._texts.text_of(_record_of(condition, value), condition)
        return map(known.__getitem__, values)

    # -- the next round

    def _next_rounds(self, plan: _Plan, part: pl.DataFrame) -> Iterable[int | None]:
        if plan.lacking is None:
            return repeat(None, part.height)
        waits: list[Iterable[int | None]] = [self._waits(condition, part) for condition in plan.lacking]
        waits.append(self._after_last(part) if plan.waits_for_last else [0] * part.height)
        ends = part["retirement_year"].to_list()
        is_before = (self.rules.ceremony.month, self.rules.ceremony.day) > (9, 30)
        return [self._found(rounds, end, is_before=is_before) for *rounds, end in zip(*waits, ends, strict=True)]

    def _found(self, rounds: list[Any], end: int | None, *, is_before: bool) -> int | None:
        """Return the round after so many, None if it is unknown or the officer retires in `end`, before it."""
        if None in rounds:
            return None
        found: int = self.rules.round_be + max(rounds)
        year = found - BE_OFFSET
        return None if end is not None and (end < year or (end == year and is_before)) else found

    def _waits(self, condition: MinimumYears | HeldYears, part: pl.DataFrame) -> list[int | None]:
        known = self._rounds.setdefault(id(condition), {})
        values = _values(condition, part)
        for value in set(values) - known.keys():
            known[value] = self._rounds_until(condition, value)
        return [known[value] for value in values]

    def _rounds_until(self, condition: MinimumYears | HeldYears, value: tuple[Any, ...]) -> int | None:
        days = _days(value)
        return rounds_until(condition, days[0]) if days is not None and days[0] == days[1] else None

    def _after_last(self, part: pl.DataFrame) -> list[int]:
        year = self.rules.ceremony.year
        return [max(0, last + 2 - year) for last in part["last_year"].to_list()]


def _values(condition: Condition, part: pl.DataFrame) -> list[Any]:
    """Return for each officer everything that the words for a condition, and the years to wait, depend on."""
    match condition:
        case MinimumYears():
            name = "serving" if condition.field == "service_start" else "level"
            return _rows(part, f"{name}_earliest", f"{name}_latest")
        case PayCondition():
            return part[condition.field].to_list()
        case HeldYears():
            award = condition.award
            return _rows(part, f"earliest.{award}", f"latest.{award}", f"held.{award}", "history_gap")
        case RequiresClass():
            return _rows(part, f"held.{condition.award}", "history_gap")


def _rows(part: pl.DataFrame, *names: str) -> list[Any]:
    return list(zip(*(part[name].to_list() for name in names), strict=True))


def _record_of(condition: Condition, value: Any) -> ServiceRecord:
    """Return a record with these values, for one condition alone."""
    officer, days, gap = _NOBODY, ANY_DAY, None
    classes: dict[str, Days] = {}
    match condition:
        case MinimumYears():
            days = _days(value) or ANY_DAY
        case PayCondition():
            officer = Officer("", salary=value, salary_5y_ago=value)
        case HeldYears():
            found, gap = _days(value), value[-1]
            classes = {} if found is None else {condition.award: found}
        case RequiresClass():
            is_held, gap = value
            classes = {condition.award: ANY_DAY} if is_held else {}
    return ServiceRecord(
        officer=officer,
        serving_since=days,
        in_level_since=days,
        held=classes,
        rank=0,
        last_class=None,
        history_gap=gap,
        has_medal=False,
    )


def _days(value: tuple[Any, ...]) -> Days | None:
    """Return the days of a value; None for a class that is not held."""
    earliest, latest, *held_and_gap = value
    if held_and_gap and not held_and_gap[0]:
        return None
    return date.fromordinal(earliest + _DAY_ZERO), date.fromordinal(latest + _DAY_ZERO)
