"""Decides one officer's class and medal for a round: nominate, not_eligible or manual_review, and why.

The questions are asked in the order of the criteria file's policies.evaluation_order, one function each.
Pure: knows the rules of the round and the officer, no file and no clock.
"""

from worker.insignia.conditions import Ground, Standing
from worker.insignia.decision import (
    INCOMPLETE,
    Decision,
    Verdict,
    by_rule,
    excluded,
    nominated,
    not_eligible,
    service_break,
    to_be_reviewed,
)
from worker.insignia.medal import decide_medal
from worker.insignia.officer import Officer
from worker.insignia.rules import GroupRules, Ladder, Rules, Rung
from worker.insignia.standing import Place, considered, gaps, place_of, retirement_day, rungs_above, standing_of


def evaluate(officer: Officer, rules: Rules) -> Verdict:
    """The verdict on one officer."""
    standing = standing_of(officer, rules)
    return Verdict(officer.person_id, decide_class(standing, rules), decide_medal(standing, rules))


def decide_class(standing: Standing, rules: Rules) -> Decision:
    """The class of the two orders: the first four questions, then those that need a ladder."""
    place = place_of(standing.officer, rules)
    return (
        _incomplete(standing, place, rules)
        or excluded(standing, rules)
        or to_be_reviewed(standing, rules)
        or _by_ladder(standing, place, rules)
    )


def _by_ladder(standing: Standing, place: Place, rules: Rules) -> Decision:
    group, ladder = place.group, place.ladder
    if group is None or ladder is None:
        return Decision("manual_review", "high", reason="RULE_NOT_FOUND", rules=("unresolved",))
    return (
        _consecutive(standing, rules)
        or _at_the_top(standing, ladder, rules)
        or _served_too_short(standing, group, rules)
        or _step(standing, group, ladder, rules)
        or _retiring(standing, ladder, rules)
        or _unmet(standing, ladder, rules)
    )


def _incomplete(standing: Standing, place: Place, rules: Rules) -> Decision | None:
    return INCOMPLETE if next(gaps(standing, place, rules), None) else None


def _consecutive(standing: Standing, rules: Rules) -> Decision | None:
    if standing.last_class is None:
        return None
    rounds_since = rules.ceremony.year - standing.last_class.year
    if rounds_since > 1:
        return None
    grounds = [rules.ground("GR-CONSECUTIVE")]
    if rounds_since == 0:  # this very round has already given its one class
        grounds.append(rules.ground("GR-ONE-PER-ROUND"))
    return not_eligible(rules.reason("GR-CONSECUTIVE"), grounds)


def _at_the_top(standing: Standing, ladder: Ladder, rules: Rules) -> Decision | None:
    if standing.rank < ladder.max_rank:
        return None
    return not_eligible(rules.reason("GR-HIGHER-ONLY"), [rules.ground("GR-HIGHER-ONLY"), ladder.rungs[-1].ground])


def _served_too_short(standing: Standing, group: GroupRules, rules: Rules) -> Decision | None:
    if group.minimum.unmet(standing) is None:
        return None
    grounds = [*_service_grounds(standing, group, rules), *group.minimum.edge_grounds(standing)]
    return not_eligible(rules.reason("GR-SERVICE-5"), grounds)


def _service_grounds(standing: Standing, group: GroupRules, rules: Rules) -> list[Ground]:
    return [*group.minimum.grounds, *service_break(standing, rules)]


def _step(standing: Standing, group: GroupRules, ladder: Ladder, rules: Rules) -> Decision | None:
    rungs = considered(standing, ladder, rules)
    chosen = _highest_satisfied(standing, rungs)
    if chosen is None:
        return None
    grounds = _service_grounds(standing, group, rules)
    grounds += [chosen.ground, *(ground for condition in chosen.conditions for ground in condition.grounds)]
    grounds += _refused_above(standing, chosen, rungs)
    grounds += _policy_ground(standing, ladder, rules)
    return nominated(chosen.award, chosen.abbr_th, chosen.id, grounds)


def _highest_satisfied(standing: Standing, rungs: tuple[Rung, ...]) -> Rung | None:
    for rung in reversed(rungs):
        if rung.reachable(standing) and rung.first_unmet(standing) is None:
            return rung
    return None


def _refused_above(standing: Standing, chosen: Rung, rungs: tuple[Rung, ...]) -> list[Ground]:
    """What kept a higher class away was asked too: were that figure wrong, the higher class would be due."""
    grounds: list[Ground] = []
    for rung in rungs:
        if rung.rank > chosen.rank and rung.reachable(standing):
            unmet = rung.first_unmet(standing)
            grounds += [] if unmet is None else [*unmet.grounds, *unmet.edge_grounds(standing)]
    return grounds


def _policy_ground(standing: Standing, ladder: Ladder, rules: Rules) -> list[Ground]:
    """The sequence policy is a ground only where the other policy would decide otherwise."""
    above = rungs_above(standing, ladder)
    if len(above) == 1 or _highest_satisfied(standing, above) is _highest_satisfied(standing, above[:1]):
        return []
    return [rules.sequence_ground]


def _retiring(standing: Standing, ladder: Ladder, rules: Rules) -> Decision | None:
    """The retirement clause may give one class more; whether it does, the office must find out."""
    officer = standing.officer
    if not ladder.retirement:
        return None
    if officer.birth_date is None:
        return INCOMPLETE
    last_day = retirement_day(officer.birth_date)
    resigns = officer.left_service is not None and officer.left_service < last_day
    if last_day.year != rules.ceremony.year or resigns:
        return None
    return by_rule("GR-RETIREMENT", rules)


def _unmet(standing: Standing, ladder: Ladder, rules: Rules) -> Decision:
    """Not eligible: the first condition of the next step that does not hold."""
    following = rungs_above(standing, ladder)[0]
    unmet = following.first_unmet(standing)
    assert unmet is not None, "a step whose conditions hold was taken before"
    grounds = [following.ground, *unmet.grounds, *unmet.edge_grounds(standing)]
    grounds += _policy_ground(standing, ladder, rules)
    return not_eligible(unmet.unmet(standing) or "", grounds, following.award)
