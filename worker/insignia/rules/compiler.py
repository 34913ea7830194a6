"""Compiles the criteria for one round: anniversaries become dates, references become figures."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal, assert_never

import orjson

from worker.insignia.buddhist_year import BE_OFFSET, check_round, years_before
from worker.insignia.criteria.identity import identify
from worker.insignia.criteria.model import (
    ClassCondition,
    Criteria,
    GroupCriteria,
    HeldYearsCriterion,
    LevelCriteria,
    LevelYears,
    MedalRule,
    NotAlreadyHeld,
    Pay,
    SequenceName,
    ServiceYears,
    StepCriteria,
)
from worker.insignia.errors import RoundInvalid
from worker.insignia.messages import message
from worker.insignia.rules.conditions import (
    Condition,
    HeldYears,
    MinimumYears,
    PayCondition,
    RequiresClass,
    RuleReference,
)
from worker.insignia.rules.rule_sources import collect_sources
from worker.insignia.rules.ruleset import GroupRules, Ladder, Medal, Rules, Step


def compile_rules(
    criteria: Criteria,
    round_be: int,
    *,
    sequence: str | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Rules:
    """Return the rules of a round; `parameters` replaces figures by name. Raises RoundInvalid."""
    check_round(round_be)
    compiler = _Compiler(criteria, round_be, _sequence(criteria, sequence), _figures(criteria, parameters or {}))
    return replace(compiler.rules(), sources=collect_sources(criteria), **_identity(compiler, parameters or {}))


def _identity(compiler: "_Compiler", parameters: Mapping[str, float]) -> dict[str, Any]:
    """Return what identifies the rules in results."""
    identity = identify(compiler.criteria)
    changed = {name: float(value) for name, value in parameters.items()}
    basis = orjson.dumps([identity.sha256, compiler.round_be, compiler.sequence, sorted(changed.items())])
    return {"criteria": identity, "basis": hashlib.sha256(basis).hexdigest()}


def _sequence(criteria: Criteria, named: str | None) -> SequenceName:
    policy = criteria.policies.sequence
    for known in (policy.default, *policy.alternatives):
        if named in (None, known):
            return known
    raise RoundInvalid(message("sequence_unknown"))


def _figures(criteria: Criteria, overrides: Mapping[str, float]) -> dict[str, float]:
    figures = {name: parameter.value for name, parameter in criteria.params.figures.items()}
    for name, value in overrides.items():
        if name not in figures:
            raise RoundInvalid(message("parameter_unknown", name=name, known=", ".join(sorted(figures))))
        if not 0 <= value < 1e12:  # rejects NaN too
            raise RoundInvalid(message("parameter_negative", name=name))
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
            sequence_reference=RuleReference("policies.sequence", self.criteria.policies.sequence.confidence),
            ranks=self.criteria.ranks,
            groups={group.id: self._group(group) for group in self.criteria.groups},
            medal=self._medal(self.criteria.medal_rules[0]),
            general={rule.id: rule for rule in self.criteria.general_rules},
            references={rule.id: RuleReference(rule.id, rule.confidence) for rule in self.criteria.general_rules},
            ceremony_days=frozenset((day.month, day.day) for day in self.criteria.calendar.ceremony),
            abbreviations={
                **{item.code: item.abbr_th for item in self.criteria.decorations},
                **{item.code: item.abbr_th for item in self.criteria.service_medals},
            },
        )

    def _ceremony(self) -> date:
        day = self.criteria.ceremony_of(self.round_be)
        return date(self.round_be - BE_OFFSET, day.month, day.day)

    def _cutoff(self) -> date:
        return self._ceremony() - timedelta(days=self.criteria.calendar.qualification_cutoff_days_before_ceremony)

    def _as_of(self, name: str | None) -> date:
        if name == "fiscal_year":
            return date(self.round_be - BE_OFFSET - 1, 10, 1)
        return self._ceremony() if name == "ceremony" else self._cutoff()

    def _group(self, group: GroupCriteria) -> GroupRules:
        ladders: dict[str, tuple[Ladder, ...]] = {}
        for level in group.levels:
            ladders[level.level] = (*ladders.get(level.level, ()), self._ladder(group, level))
        every = [ladder for rows in ladders.values() for ladder in rows]
        named = [condition for level in group.levels for step in level.steps for condition in step.conditions]
        return GroupRules(
            id=group.id,
            ladders=ladders,
            by_wage=tuple(ladder for ladder in every if ladder.by_wage),
            minimum=self._minimum_service(group),
            dated_levels=any(isinstance(condition, LevelYears) for condition in named),
        )

    def _minimum_service(self, group: GroupCriteria) -> MinimumYears:
        as_of = self.criteria.rule("GR-SERVICE-5").params.as_of
        return self._service(group, ServiceYears(type="service_years", min=group.min_service_years), as_of)

    def _ladder(self, group: GroupCriteria, level: LevelCriteria) -> Ladder:
        return Ladder(
            level=level.level,
            position_type=level.position_type,
            allowance=level.applies_when.position_allowance,
            wage_min=level.applies_when.wage_min,
            wage_max_exclusive=level.applies_when.wage_max_exclusive,
            max_rank=self.criteria.ranks[level.max_class],
            steps=tuple(self._step(group, step) for step in level.steps),
            retirement=level.retirement_clause is not None,
        )

    def _step(self, group: GroupCriteria, step: StepCriteria) -> Step:
        decoration = next(item for item in self.criteria.decorations if item.code == step.award)
        conditions = [self._condition(group, condition) for condition in step.conditions]
        if step.requires_held is not None:
            conditions.append(
                RequiresClass(step.requires_held, self._reason("requires_held"), self._general("GR-ALTERNATE"))
            )
        return Step(
            id=step.id,
            award=step.award,
            abbr_th=decoration.abbr_th,
            rank=decoration.rank,
            prerequisite=step.prerequisite,
            conditions=tuple(conditions),
            reference=RuleReference(step.id, step.confidence),
        )

    def _condition(self, group: GroupCriteria, condition: ClassCondition) -> Condition:
        match condition:
            case ServiceYears():
                return self._service(group, condition, condition.as_of)
            case LevelYears():
                return self._minimum_years("level_start", condition.min, self._cutoff(), self._general("GR-CUTOFF-60"))
            case HeldYearsCriterion():
                return self._held_years(condition)
            case Pay():
                return self._pay(condition)
            case _:
                assert_never(condition)

    def _service(self, group: GroupCriteria, condition: ServiceYears, as_of: str | None) -> MinimumYears:
        named = ["GR-SERVICE-5"] if group.id in (self.criteria.rule("GR-SERVICE-5").applies_to or (group.id,)) else []
        named += [] if as_of == "ceremony" else ["GR-CUTOFF-60"]
        return self._minimum_years("service_start", condition.min, self._as_of(as_of), self._general(*named))

    def _minimum_years(
        self,
        field: Literal["service_start", "level_start"],
        minimum: int | str,
        as_of: date,
        references: tuple[RuleReference, ...],
    ) -> MinimumYears:
        years = self._years(minimum)
        return MinimumYears(
            field=field,
            years=years,
            as_of=as_of,
            latest=years_before(as_of, years),
            reason=self._reason("service_years" if field == "service_start" else "level_years"),
            references=(*self._parameter(minimum), *references),
            edge=self._edge(),
        )

    def _held_years(self, condition: HeldYearsCriterion) -> HeldYears:
        as_of = self._as_of(self.criteria.rule("GR-HELD-AS-OF").params.as_of)
        years = self._years(condition.min)
        return HeldYears(
            award=condition.award,
            years=years,
            as_of=as_of,
            latest=years_before(as_of, years),
            not_held=self._reason("held_years(not held)"),
            too_short=self._reason("held_years(too short)"),
            references=(*self._parameter(condition.min), *self._general("GR-HELD-AS-OF")),
            edge=self._edge(),
        )

    def _pay(self, condition: Pay) -> PayCondition:
        params = self.criteria.params
        references = [
            *self._parameter(condition.ref),
            RuleReference("params.salary_comparison", params.salary_comparison.confidence),
        ]
        if condition.type == "salary_5y_ago_ge":
            references.append(RuleReference("params.salary_5y_date", params.salary_5y_date.confidence))
        return PayCondition(
            field="salary_5y_ago" if condition.type == "salary_5y_ago_ge" else "salary",
            figure=condition.ref,
            amount=self.figures[condition.ref.removeprefix("params.")],
            at_least=condition.type != "salary_lt",
            equal_reaches=params.salary_comparison.value == ">=",
            reason=self._reason(condition.type),
            references=tuple(references),
        )

    def _medal(self, rule: MedalRule) -> Medal:
        medal = next(item for item in self.criteria.service_medals if item.code == rule.award)
        service = [item for item in rule.conditions if not isinstance(item, NotAlreadyHeld)]
        return Medal(
            id=rule.id,
            code=rule.award,
            abbr_th=medal.abbr_th,
            groups=frozenset(rule.applies_to),
            service=tuple(
                self._minimum_years("service_start", item.min, self._as_of(item.as_of), ()) for item in service
            ),
            reference=RuleReference(rule.id, rule.confidence),
        )

    def _years(self, minimum: int | str) -> int:
        if isinstance(minimum, int):
            return minimum
        name = minimum.removeprefix("params.")
        if self.figures[name] != int(self.figures[name]) or self.figures[name] > 100:
            raise RoundInvalid(message("parameter_years", name=name))
        return int(self.figures[name])

    def _parameter(self, reference: int | str) -> tuple[RuleReference, ...]:
        if isinstance(reference, int):
            return ()
        figure = self.criteria.params.figures[reference.removeprefix("params.")]
        return (RuleReference(reference, figure.confidence),)

    def _general(self, *names: str) -> tuple[RuleReference, ...]:
        return tuple(RuleReference(name, self.criteria.rule(name).confidence) for name in names)

    def _edge(self) -> RuleReference:
        return RuleReference("params.full_years_rule", self.criteria.params.full_years_rule.confidence)

    def _reason(self, condition: str) -> str:
        return self.criteria.policies.unmet_reason_codes[condition]
