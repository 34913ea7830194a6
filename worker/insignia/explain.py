"""Says in sentences why an officer gets what is proposed: for the clerk who has to answer for it. Decides nothing."""

from collections.abc import Iterator
from datetime import date

from worker.insignia.conditions import Condition, HeldSince, Holds, PayAgainst, Since, Standing
from worker.insignia.decision import Decision
from worker.insignia.evaluate import decide_class
from worker.insignia.medal import decide_medal
from worker.insignia.officer import Officer
from worker.insignia.rules import Ladder, Rules, Rung
from worker.insignia.standing import gaps, place_of, rungs_above, standing_of


def explain(officer: Officer, rules: Rules) -> list[str]:
    """A line for each decision, and under it what was asked and answered. Holds no name and no id."""
    standing = standing_of(officer, rules)
    return [*_class_lines(standing, rules), *_medal_lines(standing, rules)]


def _class_lines(standing: Standing, rules: Rules) -> Iterator[str]:
    decision = decide_class(standing, rules)
    place = place_of(standing.officer, rules)
    yield f"class: {_headline(decision)}"
    if decision.reason == "INCOMPLETE_DATA":
        missing = list(dict.fromkeys(gaps(standing, place, rules))) or ["birth_date"]
        yield f"  not known, but asked: {', '.join(missing)}"
    yield from _rule_texts(decision, rules)
    rung = _decisive(decision, standing, place.ladder)
    if rung is not None:
        yield f"  step {rung.id} to {rung.award} ({rung.abbr_th}):"
        yield from (f"    {_answer(condition, standing)}" for condition in rung.conditions)


def _medal_lines(standing: Standing, rules: Rules) -> Iterator[str]:
    decision = decide_medal(standing, rules)
    yield f"medal: {_headline(decision)}"
    yield from _rule_texts(decision, rules)
    if standing.officer.employee_group in rules.medal.groups:
        yield from (f"    {_answer(condition, standing)}" for condition in rules.medal.service)


def _headline(decision: Decision) -> str:
    what = decision.award or decision.reason
    target = f", next {decision.next_award}" if decision.next_award else ""
    return f"{decision.decision} {what}{target}; confidence {decision.confidence}; rests on {', '.join(decision.rules)}"


def _rule_texts(decision: Decision, rules: Rules) -> Iterator[str]:
    """The words of the general rule that decided."""
    for rule_id in decision.rules:
        rule = rules.general.get(rule_id)
        if rule is not None and rule.reason_code == decision.reason:
            yield f"  {rule_id}: {rule.rule}"


def _decisive(decision: Decision, standing: Standing, ladder: Ladder | None) -> Rung | None:
    if ladder is None:
        return None
    wanted = decision.award or decision.next_award
    return next((rung for rung in rungs_above(standing, ladder) if rung.award == wanted), None)


def _answer(condition: Condition, standing: Standing) -> str:
    met = "no" if condition.unmet(standing) else "yes"
    match condition:
        case Since():
            kind = "of service" if condition.field == "service_start" else "in the level"
            since = _day(condition.value(standing))
            return f"{condition.years} years {kind} on {condition.as_of}, since {since}: {met}"
        case HeldSince():
            since = _day(standing.held.get(condition.award))
            return f"{condition.award} held {condition.years} years on {condition.as_of}, received {since}: {met}"
        case PayAgainst():
            sign = ">=" if condition.at_least else "<"
            pay = condition.value(standing)
            told = "unknown" if pay is None else f"{pay:,}"
            return f"{condition.field} {told} {sign} {condition.amount:,} ({condition.figure}): {met}"
        case Holds():
            return f"{condition.award} held: {met}"


def _day(day: date | None) -> str:
    return "unknown" if day is None else day.isoformat()
