"""The questions of a round as expressions: which ladder applies, and whether each condition is met."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_

import polars as pl

from worker.insignia.columnar.record import held
from worker.insignia.rules.conditions import ONE_DAY, Condition, HeldYears, MinimumYears, PayCondition, RequiresClass
from worker.insignia.rules.ruleset import GroupRules, Ladder, Rules

LADDER = "ladder"
"""The column with the number of the ladder in `ladders_of`; negative without one."""
_NONE, _MISSING_LEVEL, _MISSING_ALLOWANCE, _MISSING_SALARY, _LATE_LEVEL, _NO_GROUP = range(-1, -7, -1)
_MISSING = {"position_allowance": _MISSING_ALLOWANCE, "salary": _MISSING_SALARY}


def ladders_of(rules: Rules) -> tuple[Ladder, ...]:
    """Return all ladders in a fixed order."""
    return tuple(ladder for group in rules.groups.values() for rows in group.ladders.values() for ladder in rows)


def which_ladder(rules: Rules) -> pl.Expr:
    """Return the number of the ladder, or a negative number that says why there is none."""
    numbers = {id(ladder): number for number, ladder in enumerate(ladders_of(rules))}
    group = pl.col("employee_group")
    branches = [(group.is_null() | (group == ""), _NO_GROUP)]
    for entry in rules.groups.values():
        is_group = group == entry.id
        if entry.dated_levels:
            branches.append((is_group & (pl.col("level_start") > rules.cutoff), _LATE_LEVEL))
        branches += [(is_group & condition, number) for condition, number in _branches(entry, numbers)]
    chosen = pl.lit(_NONE, dtype=pl.Int16)
    for condition, number in reversed(branches):
        chosen = pl.when(condition).then(pl.lit(number, dtype=pl.Int16)).otherwise(chosen)
    return chosen.alias(LADDER)


def _branches(group: GroupRules, numbers: dict[int, int]) -> Iterator[tuple[pl.Expr, int]]:
    """Yield in order when a ladder of the group applies, or cannot be determined, and the number for it."""
    level = pl.col("level")
    for name, ladders in group.ladders.items():
        yield from _candidates(level == name, ladders, numbers)
    yield from _candidates(level.is_null(), group.by_wage, numbers)
    if not group.by_wage:
        yield level.is_null(), _MISSING_LEVEL


def _candidates(is_level: pl.Expr, ladders: Sequence[Ladder], numbers: dict[int, int]) -> Iterator[tuple[pl.Expr, int]]:
    for ladder in ladders:
        if ladder.allowance is not None:
            yield is_level & pl.col("position_allowance").is_null(), _MISSING_ALLOWANCE
        if ladder.by_wage:
            yield is_level & pl.col("salary").is_null(), _MISSING_SALARY
        yield reduce(and_, _fits(ladder), is_level), numbers[id(ladder)]


def _fits(ladder: Ladder) -> Iterator[pl.Expr]:
    position = pl.col("position_type")
    if ladder.position_type:
        yield position.is_null() | (position == "") | (position == ladder.position_type)
    if ladder.allowance is not None:
        yield pl.col("position_allowance") == ladder.allowance
    if ladder.wage_min is not None:
        yield pl.col("salary") >= ladder.wage_min
    if ladder.wage_max_exclusive is not None:
        yield pl.col("salary") < ladder.wage_max_exclusive


@dataclass(frozen=True, slots=True)
class Question:
    """A condition in columns."""

    answer: pl.Expr
    """Whether it holds; null if a missing value decides."""
    is_edge: pl.Expr | None = None
    """Whether one day decides, so that the rule for counting full years is one of the grounds."""


def question(condition: Condition) -> Question:
    """Return a condition as expressions over the columns of the service record."""
    match condition:
        case MinimumYears():
            name = "serving" if condition.field == "service_start" else "level"
            earliest, latest = pl.col(f"{name}_earliest"), pl.col(f"{name}_latest")
            return Question(_began_by(condition, earliest, latest), _is_edge(condition, earliest, latest))
        case HeldYears():
            is_held, earliest, latest = held(condition.award)
            answer = pl.when(is_held).then(_began_by(condition, earliest, latest)).otherwise(_absent())
            return Question(answer, is_held & _is_edge(condition, earliest, latest))
        case PayCondition():
            pay = pl.col(condition.field)
            has_reached = pay >= condition.amount if condition.equal_reaches else pay > condition.amount
            return Question(has_reached if condition.at_least else ~has_reached)
        case RequiresClass():
            return Question(pl.when(held(condition.award)[0]).then(True).otherwise(_absent()))


def classes_of(ladder: Ladder) -> tuple[str, ...]:
    """Return the classes that the steps ask for, in a fixed order."""
    conditions = (condition for step in ladder.steps for condition in step.conditions)
    named = [condition.award for condition in conditions if isinstance(condition, HeldYears | RequiresClass)]
    named += [step.prerequisite for step in ladder.steps if step.prerequisite is not None]
    return tuple(dict.fromkeys(named))


def _began_by(condition: MinimumYears | HeldYears, earliest: pl.Expr, latest: pl.Expr) -> pl.Expr:
    return pl.when(latest <= condition.latest).then(True).when(earliest > condition.latest).then(False)


def _is_edge(condition: MinimumYears | HeldYears, earliest: pl.Expr, latest: pl.Expr) -> pl.Expr:
    day = condition.latest + ONE_DAY
    return (earliest == day) & (latest == day)


def _absent() -> pl.Expr:
    """Return the answer about a class without a record: no, or unknown if the history is."""
    return pl.when(pl.col("history_gap").is_null()).then(False)
