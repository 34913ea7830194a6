"""Decides one officer's class and medal for a round: nominate, not_eligible or manual_review, and why.

The questions follow the order of policies.evaluation_order in the criteria file, one function for each. Pure functions
of the officer and the rules of the round.
"""

from worker.insignia.roster.officer import Officer
from worker.insignia.rules.conditions import RuleReference, ServiceRecord
from worker.insignia.rules.decision import (
    NO_LADDER,
    Decision,
    Verdict,
    by_rule,
    excluded,
    incomplete,
    nominated,
    not_eligible,
    service_break,
    to_be_reviewed,
)
from worker.insignia.rules.eligibility import (
    LadderMatch,
    candidate_steps,
    deciding_fields,
    match_ladder,
    received_last_round,
    retires,
    service_record,
    steps_above,
)
from worker.insignia.rules.medal import decide_medal
from worker.insignia.rules.ruleset import GroupRules, Ladder, Rules, Step


def evaluate(officer: Officer, rules: Rules) -> Verdict:
    """Return both decisions for one officer."""
    record = service_record(officer, rules)
    return Verdict(officer.person_id, decide_class(record, rules), decide_medal(record, rules), officer)


def decide_class(record: ServiceRecord, rules: Rules) -> Decision:
    """Decide the class: first what is certain, then the missing fields that can change it, then what to review."""
    match = match_ladder(record.officer, rules)
    return (
        excluded(record, rules)
        or _refuse(record, match, rules)
        or _incomplete(record, match, rules)
        or to_be_reviewed(record, rules)
        or _by_ladder(record, match, rules)
    )


def _refuse(record: ServiceRecord, match: LadderMatch, rules: Rules) -> Decision | None:
    """Return not eligible if that is certain, whatever the missing values are."""
    return (
        _consecutive(record, rules)
        or _at_highest_class(record, match.ladder, rules)
        or _short_service(record, match, rules)
        or (_unmet(record, match.ladder, rules) if match.ladder else None)
    )


def _incomplete(record: ServiceRecord, match: LadderMatch, rules: Rules) -> Decision | None:
    fields = tuple(deciding_fields(record, match, rules))
    return incomplete(*fields) if fields else None


def _by_ladder(record: ServiceRecord, match: LadderMatch, rules: Rules) -> Decision:
    group, ladder = match.group, match.ladder
    if group is None or ladder is None:
        return NO_LADDER
    return _nominate(record, group, ladder, rules) or by_rule("GR-RETIREMENT", rules)


def _consecutive(record: ServiceRecord, rules: Rules) -> Decision | None:
    if not received_last_round(record, rules):
        return None
    references = [rules.reference("GR-CONSECUTIVE")]
    if record.last_class and record.last_class[0].year == rules.ceremony.year:  # it has already given its one class
        references.append(rules.reference("GR-ONE-PER-ROUND"))
    return not_eligible(rules.reason("GR-CONSECUTIVE"), references)


def _at_highest_class(record: ServiceRecord, ladder: Ladder | None, rules: Rules) -> Decision | None:
    """Without a ladder, only the highest class of all leaves nothing to nominate for."""
    if record.rank < (ladder.max_rank if ladder else max(rules.ranks.values())):
        return None
    references = [rules.reference("GR-HIGHER-ONLY"), *([ladder.steps[-1].reference] if ladder else [])]
    return not_eligible(rules.reason("GR-HIGHER-ONLY"), references)


def _short_service(record: ServiceRecord, match: LadderMatch, rules: Rules) -> Decision | None:
    groups = [match.group] if match.group else [] if record.officer.employee_group else list(rules.groups.values())
    if not groups or any(group.minimum.answer(record) is not False for group in groups):
        return None
    references = [*_service_references(record, groups[0], rules), *groups[0].minimum.edge_references(record)]
    return not_eligible(rules.reason("GR-SERVICE-5"), references)


def _service_references(record: ServiceRecord, group: GroupRules, rules: Rules) -> list[RuleReference]:
    return [*group.minimum.references, *service_break(record, rules)]


def _nominate(record: ServiceRecord, group: GroupRules, ladder: Ladder, rules: Rules) -> Decision | None:
    steps = candidate_steps(record, ladder, rules)
    chosen = _highest_satisfied(record, steps)
    if chosen is None:
        return None
    references = _service_references(record, group, rules)
    references += [
        chosen.reference,
        *(reference for condition in chosen.conditions for reference in condition.references),
    ]
    references += _blocked_above(record, chosen, steps)
    references += _policy_reference(record, ladder, rules)
    return nominated(chosen.award, chosen.abbr_th, chosen.id, references)


def _highest_satisfied(record: ServiceRecord, steps: tuple[Step, ...]) -> Step | None:
    for step in reversed(steps):
        if step.answer(record):
            return step
    return None


def _blocked_above(record: ServiceRecord, chosen: Step, steps: tuple[Step, ...]) -> list[RuleReference]:
    """Return the rules that prevented a higher class: if their figures were wrong, that class would be due."""
    references: list[RuleReference] = []
    for step in steps:
        if step.rank > chosen.rank and step.reachable(record):
            unmet_reason = step.first_unmet(record)
            references += (
                [] if unmet_reason is None else [*unmet_reason.references, *unmet_reason.edge_references(record)]
            )
    return references


def _policy_reference(record: ServiceRecord, ladder: Ladder, rules: Rules) -> list[RuleReference]:
    """Return the sequence policy if the other policy would decide differently."""
    above = steps_above(record, ladder)
    if len(above) == 1 or _highest_satisfied(record, above) is _highest_satisfied(record, above[:1]):
        return []
    return [rules.sequence_reference]


def _unmet(record: ServiceRecord, ladder: Ladder, rules: Rules) -> Decision | None:
    """Return not eligible with the first condition of the next step that does not hold; None if a class is possible."""
    steps = candidate_steps(record, ladder, rules)
    if any(step.answer(record) is not False for step in steps) or retires(record, ladder, rules) is not False:
        return None
    following = steps[0]
    unmet = following.first_unmet(record)
    assert unmet is not None, "a step that is refused has a condition that does not hold"
    references = [following.reference, *unmet.references, *unmet.edge_references(record)]
    references += _policy_reference(record, ladder, rules)
    return not_eligible(unmet.unmet_reason(record), references, None if record.history_gap else following.award)
