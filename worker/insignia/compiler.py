"""Works the criteria out for one round: anniversaries become dates, references become figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, assert_never

from worker.insignia.conditions import Condition, Ground, HeldSince, Holds, PayAgainst, Since
from worker.insignia.criteria import (
    FIRST_ROUND,
    LAST_ROUND,
    ClassCondition,
    Criteria,
    Group,
    HeldYears,
    Level,
    LevelYears,
    MedalRule,
    NotAlreadyHeld,
    Pay,
    SequenceName,
    ServiceYears,
    Step,
)
from worker.insignia.faults import RoundInvalid
from worker.insignia.rules import GroupRules, Ladder, Medal, Rules, Rung

BE_OFFSET = 543
"""Buddhist Era minus common era."""


def compile_rules(
    criteria: Criteria,
    round_be: int,
    *,
    sequence: str | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Rules:
    """The rules of a round. `parameters` replaces figures by name. Raises RoundInvalid."""
    check_round(round_be)
    return _Compiler(criteria, round_be, _sequence(criteria, sequence), _figures(criteria, parameters or {})).rules()


def check_round(round_be: int) -> None:
    """Raises RoundInvalid, with a hint where a common-era year was given."""
    if 1900 <= round_be <= 2200:
        meant = round_be + BE_OFFSET
        raise RoundInvalid(f"round {round_be} looks like a common-era year: give the Buddhist year, {meant}")
    if not FIRST_ROUND <= round_be <= LAST_ROUND:
        raise RoundInvalid(f"round {round_be} is no Buddhist year between {FIRST_ROUND} and {LAST_ROUND}")


def years_before(day: date, years: int) -> date:
    """The latest date whose anniversary after `years` falls on `day` or earlier.

    Whoever began on 29 February completes a year on 1 March where there is no 29th.
    """
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return date(day.year - years, 2, 28)


def _sequence(criteria: Criteria, asked: str | None) -> SequenceName:
    policy = criteria.policies.sequence
    for known in (policy.default, *policy.alternatives):
        if asked in (None, known):
            return known
    raise RoundInvalid("the sequence is unknown: give highest_satisfied or strict_next")


def _figures(criteria: Criteria, overrides: Mapping[str, float]) -> dict[str, float]:
    figures = {name: parameter.value for name, parameter in criteria.params.figures.items()}
    for name, value in overrides.items():
        if name not in figures:
            raise RoundInvalid(f"parameter {name!r} is unknown; there are {', '.join(sorted(figures))}")
        if not 0 <= value < 1e12:  # refuses NaN too
            raise RoundInvalid(f"parameter {name}: must be a number from 0 up")
        figures[name] = value
    return figures


@dataclass(frozen=True, slots=True)
class _Compiler:
    criteria: Criteria
    round_be: int
    sequence: SequenceName
    figures: Mapping[str, float]

    def rules(self) -> Rules:
        return Rules(
            round_be=self.round_be,
            ceremony=self._ceremony(),
            cutoff=self._cutoff(),
            sequence=self.sequence,
            sequence_ground=Ground("policies.sequence", self.criteria.policies.sequence.confidence),
            ranks=self.criteria.ranks,
            groups={group.id: self._group(group) for group in self.criteria.groups},
            medal=self._medal(self.criteria.medal_rules[0]),
            general={rule.id: rule for rule in self.criteria.general_rules},
            grounds={rule.id: Ground(rule.id, rule.confidence) for rule in self.criteria.general_rules},
        )

    def _ceremony(self) -> date:
        day = self.criteria.ceremony_of(self.round_be)
        return date(self.round_be - BE_OFFSET, day.month, day.day)

    def _cutoff(self) -> date:
        return self._ceremony() - timedelta(days=self.criteria.calendar.qualification_cutoff_days_before_ceremony)

    def _as_of(self, name: str | None) -> date:
        return self._ceremony() if name == "ceremony" else self._cutoff()

    def _group(self, group: Group) -> GroupRules:
        ladders: dict[str, tuple[Ladder, ...]] = {}
        for level in group.levels:
            ladders[level.level] = (*ladders.get(level.level, ()), self._ladder(group, level))
        every = [ladder for rows in ladders.values() for ladder in rows]
        asked = [condition for level in group.levels for step in level.steps for condition in step.conditions]
        return GroupRules(
            id=group.id,
            ladders=ladders,
            by_wage=tuple(ladder for ladder in every if ladder.by_wage),
            minimum=self._minimum_service(group),
            dated_levels=any(isinstance(condition, LevelYears) for condition in asked),
        )

    def _minimum_service(self, group: Group) -> Since:
        as_of = self.criteria.rule("GR-SERVICE-5").params.as_of
        return self._service(group, ServiceYears(type="service_years", min=group.min_service_years), as_of)

    def _ladder(self, group: Group, level: Level) -> Ladder:
        return Ladder(
            level=level.level,
            position_type=level.position_type,
            allowance=level.applies_when.position_allowance,
            wage_min=level.applies_when.wage_min,
            wage_max_exclusive=level.applies_when.wage_max_exclusive,
            max_rank=self.criteria.ranks[level.max_class],
            rungs=tuple(self._rung(group, step) for step in level.steps),
            retirement=level.retirement_clause is not None,
        )

    def _rung(self, group: Group, step: Step) -> Rung:
        decoration = next(item for item in self.criteria.decorations if item.code == step.award)
        conditions = [self._condition(group, condition) for condition in step.conditions]
        if step.requires_held is not None:
            conditions.append(Holds(step.requires_held, self._reason("requires_held"), self._general("GR-ALTERNATE")))
        return Rung(
            id=step.id,
            award=step.award,
            abbr_th=decoration.abbr_th,
            rank=decoration.rank,
            prerequisite=step.prerequisite,
            conditions=tuple(conditions),
            ground=Ground(step.id, step.confidence),
        )

    def _condition(self, group: Group, condition: ClassCondition) -> Condition:
        match condition:
            case ServiceYears():
                return self._service(group, condition, condition.as_of)
            case LevelYears():
                return self._since("level_start", condition.min, self._cutoff(), self._general("GR-CUTOFF-60"))
            case HeldYears():
                return self._held(condition)
            case Pay():
                return self._pay(condition)
            case _:
                assert_never(condition)

    def _service(self, group: Group, condition: ServiceYears, as_of: str | None) -> Since:
        named = ["GR-SERVICE-5"] if group.id in (self.criteria.rule("GR-SERVICE-5").applies_to or (group.id,)) else []
        named += [] if as_of == "ceremony" else ["GR-CUTOFF-60"]
        return self._since("service_start", condition.min, self._as_of(as_of), self._general(*named))

    def _since(
        self,
        field: Literal["service_start", "level_start"],
        minimum: int | str,
        as_of: date,
        grounds: tuple[Ground, ...],
    ) -> Since:
        years = self._years(minimum)
        return Since(
            field=field,
            years=years,
            as_of=as_of,
            latest=years_before(as_of, years),
            reason=self._reason("service_years" if field == "service_start" else "level_years"),
            grounds=(*self._parameter(minimum), *grounds),
            edge=self._edge(),
        )

    def _held(self, condition: HeldYears) -> HeldSince:
        as_of = self._as_of(self.criteria.rule("GR-HELD-AS-OF").params.as_of)
        years = self._years(condition.min)
        return HeldSince(
            award=condition.award,
            years=years,
            as_of=as_of,
            latest=years_before(as_of, years),
            not_held=self._reason("held_years(not held)"),
            too_short=self._reason("held_years(too short)"),
            grounds=(*self._parameter(condition.min), *self._general("GR-HELD-AS-OF")),
            edge=self._edge(),
        )

    def _pay(self, condition: Pay) -> PayAgainst:
        params = self.criteria.params
        grounds = [
            *self._parameter(condition.ref),
            Ground("params.salary_comparison", params.salary_comparison.confidence),
        ]
        if condition.type == "salary_5y_ago_ge":
            grounds.append(Ground("params.salary_5y_date", params.salary_5y_date.confidence))
        return PayAgainst(
            field="salary_5y_ago" if condition.type == "salary_5y_ago_ge" else "salary",
            figure=condition.ref,
            amount=self.figures[condition.ref.removeprefix("params.")],
            at_least=condition.type != "salary_lt",
            equal_reaches=params.salary_comparison.value == ">=",
            reason=self._reason(condition.type),
            grounds=tuple(grounds),
        )

    def _medal(self, rule: MedalRule) -> Medal:
        medal = next(item for item in self.criteria.service_medals if item.code == rule.award)
        service = [item for item in rule.conditions if not isinstance(item, NotAlreadyHeld)]
        return Medal(
            id=rule.id,
            code=rule.award,
            abbr_th=medal.abbr_th,
            groups=frozenset(rule.applies_to),
            service=tuple(self._since("service_start", item.min, self._as_of(item.as_of), ()) for item in service),
            ground=Ground(rule.id, rule.confidence),
        )

    def _years(self, minimum: int | str) -> int:
        if isinstance(minimum, int):
            return minimum
        name = minimum.removeprefix("params.")
        if self.figures[name] != int(self.figures[name]) or self.figures[name] > 100:
            raise RoundInvalid(f"parameter {name}: must be whole years, at most 100")
        return int(self.figures[name])

    def _parameter(self, reference: int | str) -> tuple[Ground, ...]:
        if isinstance(reference, int):
            return ()
        figure = self.criteria.params.figures[reference.removeprefix("params.")]
        return (Ground(reference, figure.confidence),)

    def _general(self, *names: str) -> tuple[Ground, ...]:
        return tuple(Ground(name, self.criteria.rule(name).confidence) for name in names)

    def _edge(self) -> Ground:
        return Ground("params.full_years_rule", self.criteria.params.full_years_rule.confidence)

    def _reason(self, condition: str) -> str:
        return self.criteria.policies.unmet_reason_codes[condition]
