"""Decides the long-service medal, independently of the classes."""

from worker.insignia.rules.conditions import RuleReference, ServiceRecord
from worker.insignia.rules.decision import (
    Decision,
    excluded,
    incomplete,
    nominated,
    not_eligible,
    service_break,
    to_be_reviewed,
)
from worker.insignia.rules.eligibility import is_past_retirement
from worker.insignia.rules.ruleset import Rules


def decide_medal(record: ServiceRecord, rules: Rules) -> Decision:
    """Decide the medal. Missing data and reviews come last: they are needed only if everything else holds."""
    return (
        excluded(record, rules)
        or _unmet(record, rules)
        or _incomplete(record, rules)
        or to_be_reviewed(record, rules)
        or _due(record, rules)
    )


def _incomplete(record: ServiceRecord, rules: Rules) -> Decision | None:
    """Ask for what decides. If only the last decoration is known, the medal may have come before it."""
    officer = record.officer
    unknown = {
        "employee_group": officer.employee_group is None,
        "service_start": any(condition.answer(record) is None for condition in rules.medal.service),
        "nationality": officer.nationality is None,
        "left_service": is_past_retirement(officer, rules),
        "decorations": officer.decorations is None or officer.last_only,
    }
    fields = [name for name, is_unknown in unknown.items() if is_unknown]
    return incomplete(*fields) if fields else None


def _unmet(record: ServiceRecord, rules: Rules) -> Decision | None:
    medal = rules.medal
    if record.officer.employee_group is not None and record.officer.employee_group not in medal.groups:
        return not_eligible("GROUP_NOT_COVERED", [medal.reference])
    if record.has_medal:
        return not_eligible("ALREADY_HELD", [medal.reference])
    for condition in medal.service:
        if condition.answer(record) is False:
            return not_eligible(condition.reason, [*_grounds(record, rules), *condition.edge_references(record)])
    return None


def _due(record: ServiceRecord, rules: Rules) -> Decision:
    medal = rules.medal
    return nominated(medal.code, medal.abbr_th, medal.id, _grounds(record, rules))


def _grounds(record: ServiceRecord, rules: Rules) -> list[RuleReference]:
    return [rules.medal.reference, *service_break(record, rules)]
