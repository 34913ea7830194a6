"""Checks that the parts of a criteria file agree with each other and with what this program can apply."""

from collections.abc import Iterable, Iterator

from worker.insignia.buddhist_year import FIRST_ROUND, LAST_ROUND
from worker.insignia.criteria.model import (
    Criteria,
    Decoration,
    GeneralRule,
    HeldYearsCriterion,
    LevelCriteria,
    NotAlreadyHeld,
    Pay,
    Policies,
    ServiceMedal,
    ServiceYears,
    StepCriteria,
)

EVALUATION_ORDER = (
    "hard exclusions: NOT_THAI, DECORATION_RECALLED, NOT_IN_SERVICE_ON_CEREMONY",
    "last class received in the year before -> CONSECUTIVE_YEAR",
    "highest class held >= max_class -> ALREADY_AT_MAX",
    "minimum service -> SERVICE_TOO_SHORT",
    "no step possible, and no retirement clause: not_eligible with the unmet conditions of the next step",
    "missing data that can change the decision -> manual_review INCOMPLETE_DATA",
    "IMPRISONMENT, DISCIPLINE, LEAVE -> manual_review",
    "level has no ladder -> manual_review RULE_NOT_FOUND",
    "steps by policies.sequence",
    "no step: retirement clause of the level and retirement year -> manual_review",
)
"""The order that evaluate.py follows; a file with another order is rejected."""

GENERAL_RULES = (
    "GR-NATIONALITY",
    "GR-RECALLED",
    "GR-IN-SERVICE",
    "GR-IMPRISONMENT",
    "GR-DISCIPLINE",
    "GR-LEAVE",
    "GR-SERVICE-5",
    "GR-BREAK",
    "GR-CUTOFF-60",
    "GR-HELD-AS-OF",
    "GR-CONSECUTIVE",
    "GR-ONE-PER-ROUND",
    "GR-ALTERNATE",
    "GR-HIGHER-ONLY",
    "GR-RETIREMENT",
)
DECIDING = (*GENERAL_RULES[:6], "GR-RETIREMENT")
"""Rules whose `effect` is the decision itself."""
UNMET = (
    "service_years",
    "level_years",
    "salary_ge",
    "salary_lt",
    "salary_5y_ago_ge",
    "held_years(not held)",
    "held_years(too short)",
    "requires_held",
)


def find_faults(criteria: Criteria) -> Iterator[str]:
    """Yield one line for each contradiction, with its place in the file."""
    yield from _decoration_faults(criteria)
    yield from _rule_faults(criteria)
    yield from _policy_faults(criteria.policies)
    for group in criteria.groups:
        yield from _figure_faults(f"groups.{group.id}", [group.min_service_years], criteria)
        for level in group.levels:
            yield from _level_faults(f"groups.{group.id}.{level.level}", level, criteria)
    yield from _duplicates("step id", (step.id for step in _steps(criteria)))
    yield from _duplicates("group", (group.id for group in criteria.groups))
    yield from _medal_faults(criteria)


def _steps(criteria: Criteria) -> Iterator[StepCriteria]:
    for group in criteria.groups:
        for level in group.levels:
            yield from level.steps


def _duplicates(what: str, names: Iterable[object]) -> Iterator[str]:
    seen: set[object] = set()
    for name in names:
        if name in seen:
            yield f"{what} {name!r} occurs twice"
        seen.add(name)


def _decoration_faults(criteria: Criteria) -> Iterator[str]:
    everything: list[Decoration | ServiceMedal] = [*criteria.decorations, *criteria.service_medals]
    yield from _duplicates("decoration code", (entry.code for entry in everything))
    yield from _duplicates("abbreviation", (entry.abbr_th for entry in everything))
    yield from _duplicates("rank", (entry.rank for entry in criteria.decorations))
    for year in range(FIRST_ROUND, LAST_ROUND + 1):
        if sum(day.covers(year) for day in criteria.calendar.ceremony) != 1:
            yield f"calendar.ceremony: round {year} must have exactly one ceremony day"


def _rule_faults(criteria: Criteria) -> Iterator[str]:
    rules = {rule.id: rule for rule in criteria.general_rules}
    yield from _duplicates("general rule", (rule.id for rule in criteria.general_rules))
    for missing in [name for name in GENERAL_RULES if name not in rules]:
        yield f"general_rules: {missing} is missing"
        return
    for name in DECIDING:
        if rules[name].effect not in {"not_eligible", "manual_review"}:
            yield f"general_rules.{name}.effect: must be not_eligible or manual_review"
    for name in (*DECIDING, "GR-SERVICE-5", "GR-CONSECUTIVE", "GR-HIGHER-ONLY"):
        if not rules[name].reason_code:
            yield f"general_rules.{name}.reason_code: is missing"
    yield from _disagreements(criteria, rules)


def _disagreements(criteria: Criteria, rules: dict[str, GeneralRule]) -> Iterator[str]:
    """Check the figures that the file states twice: the program must not choose one of two without a message."""
    if rules["GR-CUTOFF-60"].params.days != criteria.calendar.qualification_cutoff_days_before_ceremony:
        yield "general_rules.GR-CUTOFF-60.params.days differs from calendar.qualification_cutoff_days_before_ceremony"
    first = rules["GR-SERVICE-5"]
    for group in criteria.groups:
        if group.id in (first.applies_to or ()) and group.min_service_years != first.params.years:
            yield f"groups.{group.id}.min_service_years differs from general_rules.GR-SERVICE-5.params.years"
    for group in criteria.groups:
        for level in group.levels:
            if level.retirement_clause and level.level not in (rules["GR-RETIREMENT"].applies_to or (level.level,)):
                yield f"groups.{group.id}.{level.level}.retirement_clause: GR-RETIREMENT does not apply to it"


def _policy_faults(policies: Policies) -> Iterator[str]:
    if policies.evaluation_order != EVALUATION_ORDER:
        yield "policies.evaluation_order: differs from the order this program follows"
    for condition in UNMET:
        if condition not in policies.unmet_reason_codes:
            yield f"policies.unmet_reason_codes: {condition} is missing"


def _level_faults(where: str, level: LevelCriteria, criteria: Criteria) -> Iterator[str]:
    ranks = criteria.ranks
    named = [level.max_class, level.start_class, *(step.award for step in level.steps)]
    named += [step.requires_held for step in level.steps]
    named += [item.award for step in level.steps for item in step.conditions if isinstance(item, HeldYearsCriterion)]
    for code in named:
        if code is not None and code not in ranks:
            yield f"{where}: {code!r} is not a class of the two orders"
            return
    yield from _order_faults(where, level, ranks)
    for step in level.steps:
        figures = [item.ref if isinstance(item, Pay) else item.min for item in step.conditions]
        yield from _figure_faults(f"{where}.{step.id}", figures, criteria)


def _order_faults(where: str, level: LevelCriteria, ranks: dict[str, int]) -> Iterator[str]:
    climbed = [ranks[step.award] for step in level.steps]
    if climbed != sorted(set(climbed)):
        yield f"{where}.steps: the classes must rise"
    if level.steps[-1].award != level.max_class:
        yield f"{where}.max_class: must be the class of the last step"
    if level.start_class != (level.steps[0].award if level.steps[0].entry else None):
        yield f"{where}.start_class: must be the class of the first step if that may be entered directly, else null"
    for step in level.steps:
        below = step.prerequisite
        if not step.entry and below is None:
            yield f"{where}.{step.id}: neither entry, nor requires_held, nor held_years"
        elif below is not None and ranks[below] >= ranks[step.award]:
            yield f"{where}.{step.id}: {below} is not below {step.award}"


def _figure_faults(where: str, figures: Iterable[int | str], criteria: Criteria) -> Iterator[str]:
    for figure in figures:
        if isinstance(figure, str) and figure.removeprefix("params.") not in criteria.params.figures:
            yield f"{where}: {figure} does not exist"


def _medal_faults(criteria: Criteria) -> Iterator[str]:
    [rule] = criteria.medal_rules
    medals = {medal.code for medal in criteria.service_medals}
    groups = {group.id for group in criteria.groups}
    named = {rule.award} | {item.award for item in rule.conditions if isinstance(item, NotAlreadyHeld)}
    for code in sorted(named - medals):
        yield f"medal_rules.{rule.id}: {code!r} is not a service medal"
    for group in sorted(set(rule.applies_to) - groups):
        yield f"medal_rules.{rule.id}.applies_to: {group!r} is not a group"
    figures = [item.min for item in rule.conditions if isinstance(item, ServiceYears)]
    yield from _figure_faults(f"medal_rules.{rule.id}", figures, criteria)
