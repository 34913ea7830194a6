"""What an officer lacks for the next class, and from which round it would be met if nothing else changes."""

from dataclasses import dataclass
from datetime import date

from worker.insignia.buddhist_year import BE_OFFSET, years_before
from worker.insignia.retirement import retirement_day
from worker.insignia.rules.conditions import Condition, HeldYears, MinimumYears, ServiceRecord
from worker.insignia.rules.decision import Decision, Verdict
from worker.insignia.rules.eligibility import (
    match_ladder,
    received_last_round,
    service_record,
    steps_above,
)
from worker.insignia.rules.ruleset import Rules, Step

_BY_TIME = frozenset(("SERVICE_TOO_SHORT", "LEVEL_YEARS_TOO_SHORT", "HELD_YEARS_TOO_SHORT", "CONSECUTIVE_YEAR"))
"""Reasons that time alone can remove."""
_ALONE = _BY_TIME | {
    "SALARY_TOO_LOW",
    "SALARY_HISTORY_TOO_LOW",
    "SALARY_BRANCH_NOT_APPLICABLE",
    "PREREQUISITE_NOT_HELD",
}
"""Reasons with a next class."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The next class of an officer who gets none in this round."""

    step: Step
    lacking: tuple[Condition, ...]
    """The conditions that do not hold, or cannot be checked, in this round."""
    from_round: int | None
    """The Buddhist year in which all of them hold; None if waiting alone is not enough, or service ends before."""


def outlook(verdict: Verdict, rules: Rules) -> Outlook | None:
    """Return what is lacking; None for officers with a proposal, at their highest class, or excluded."""
    if verdict.class_.decision != "not_eligible" or verdict.class_.reason not in _ALONE:
        return None
    return outlook_of(service_record(verdict.officer, rules), rules)


def outlook_of(record: ServiceRecord, rules: Rules) -> Outlook | None:
    """Return the same for a record that is not eligible now; None without a ladder or without steps above."""
    match = match_ladder(record.officer, rules)
    if match.ladder is None or match.group is None:
        return None
    steps = steps_above(record, match.ladder)
    if not steps:
        return None
    wanted = [match.group.minimum, *steps[0].conditions]
    lacking = tuple(condition for condition in wanted if condition.answer(record) is not True)
    return Outlook(steps[0], lacking, _first_round(record, lacking, rules))


def next_round(verdict: Verdict, rules: Rules) -> int | None:
    """Return the round from which the next class would be met; None if waiting alone is not enough."""
    return next_round_of(service_record(verdict.officer, rules), rules) if has_next_round(verdict.class_) else None


def has_next_round(decision: Decision) -> bool:
    """Return whether time alone may change a class decision."""
    return decision.decision == "not_eligible" and decision.reason in _BY_TIME


def next_round_of(record: ServiceRecord, rules: Rules) -> int | None:
    """Return the same as `next_round` for a record whose decision time alone may change."""
    found = outlook_of(record, rules)
    return None if found is None else found.from_round


def _first_round(record: ServiceRecord, lacking: tuple[Condition, ...], rules: Rules) -> int | None:
    rounds = [_rounds_after_last_class(record, rules)]
    for condition in lacking:
        if not isinstance(condition, MinimumYears | HeldYears):
            return None
        since = started(condition, record)
        if since is None:
            return None
        rounds.append(rounds_until(condition, since))
    found = rules.round_be + max(rounds)
    return None if _ends_before(record, found, rules) else found


def _rounds_after_last_class(record: ServiceRecord, rules: Rules) -> int:
    """Return how many rounds the rule against consecutive years still excludes."""
    if not waits_for_last_class(record, rules) or record.last_class is None:
        return 0
    return max(0, record.last_class[1].year + 2 - rules.ceremony.year)


def waits_for_last_class(record: ServiceRecord, rules: Rules) -> bool:
    """Return whether the rule against consecutive years may exclude later rounds as well."""
    return bool(received_last_round(record, rules)) and record.last_class is not None


def _ends_before(record: ServiceRecord, round_be: int, rules: Rules) -> bool:
    """Return whether the officer retires before the ceremony of that round."""
    birth = record.officer.birth_date
    if birth is None:
        return False
    year = round_be - BE_OFFSET
    return retirement_day(birth) < date(year, rules.ceremony.month, rules.ceremony.day)


def started(condition: MinimumYears | HeldYears, record: ServiceRecord) -> date | None:
    """Return the day from which the years of a condition count; None if it is unknown or has not come."""
    days = condition.value(record) if isinstance(condition, MinimumYears) else record.held.get(condition.award)
    return days[0] if days is not None and days[0] == days[1] else None


def rounds_until(condition: MinimumYears | HeldYears, since: date) -> int:
    """Return after how many rounds the years are complete, if nothing else changes."""
    rounds = max(0, since.year + condition.years - condition.as_of.year)
    while since > years_before(_years_after(condition.as_of, rounds), condition.years):
        rounds += 1
    return rounds


def _years_after(day: date, years: int) -> date:
    return years_before(day, -years)
