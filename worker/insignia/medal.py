"""Decides the long-service medal. Pure; knows nothing of the classes."""

from worker.insignia.conditions import Ground, Standing
from worker.insignia.decision import (
    INCOMPLETE,
    Decision,
    excluded,
    nominated,
    not_eligible,
    service_break,
    to_be_reviewed,
)
from worker.insignia.rules import Rules


def decide_medal(standing: Standing, rules: Rules) -> Decision:
    """Exclusions come before the medal's own conditions, reviews after: a review is asked only where all else holds."""
    return (
        _incomplete(standing, rules)
        or excluded(standing, rules)
        or _unmet(standing, rules)
        or _history_unknown(standing)
        or to_be_reviewed(standing, rules)
        or _due(standing, rules)
    )


def _incomplete(standing: Standing, rules: Rules) -> Decision | None:
    group = standing.officer.employee_group
    if group is None or (group in rules.medal.groups and standing.serving_since is None):
        return INCOMPLETE
    return None


def _unmet(standing: Standing, rules: Rules) -> Decision | None:
    medal = rules.medal
    if standing.officer.employee_group not in medal.groups:
        return not_eligible("GROUP_NOT_COVERED", [medal.ground])
    if standing.has_medal:
        return not_eligible("ALREADY_HELD", [medal.ground])
    for condition in medal.service:
        reason = condition.unmet(standing)
        if reason:
            return not_eligible(reason, [*_grounds(standing, rules), *condition.edge_grounds(standing)])
    return None


def _history_unknown(standing: Standing) -> Decision | None:
    """Where only the last decoration is told, the medal may have come before it."""
    officer = standing.officer
    return INCOMPLETE if officer.decorations is None or officer.last_only else None


def _due(standing: Standing, rules: Rules) -> Decision:
    medal = rules.medal
    return nominated(medal.code, medal.abbr_th, medal.id, _grounds(standing, rules))


def _grounds(standing: Standing, rules: Rules) -> list[Ground]:
    return [rules.medal.ground, *service_break(standing, rules)]
