"""What is decided about an officer, and the two questions that class and medal share: exclusions and reviews."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from worker.insignia.conditions import Ground, Standing, weakest
from worker.insignia.criteria import Confidence
from worker.insignia.rules import Rules
from worker.insignia.standing import in_service

Word = Literal["nominate", "not_eligible", "manual_review"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is proposed and why; fields that do not apply are None."""

    decision: Word
    confidence: Confidence
    """The lowest of the rules and parameters asked."""
    award: str | None = None
    abbr_th: str | None = None
    step: str | None = None
    reason: str | None = None
    next_award: str | None = None
    rules: tuple[str, ...] = ()
    """The rules and parameters it rests on."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Both decisions for one officer."""

    person_id: str
    class_: Decision
    medal: Decision


INCOMPLETE = Decision("manual_review", "high", reason="INCOMPLETE_DATA", rules=("evaluation_order",))
"""Certain as a decision, whatever the missing data may be: the row goes back to the office."""


def not_eligible(reason: str, grounds: Sequence[Ground], next_award: str | None = None) -> Decision:
    return _not_eligible(reason, next_award, tuple(grounds))


# Remembered: a roster of a hundred thousand comes to a few hundred different decisions.
@lru_cache(1 << 12)
def _not_eligible(reason: str, next_award: str | None, grounds: tuple[Ground, ...]) -> Decision:
    return Decision("not_eligible", weakest(grounds), reason=reason, next_award=next_award, rules=_names(grounds))


def nominated(award: str, abbr_th: str, step: str, grounds: Sequence[Ground]) -> Decision:
    return _nominated(award, abbr_th, step, tuple(grounds))


@lru_cache(1 << 12)
def _nominated(award: str, abbr_th: str, step: str, grounds: tuple[Ground, ...]) -> Decision:
    return Decision("nominate", weakest(grounds), award=award, abbr_th=abbr_th, step=step, rules=_names(grounds))


def _names(grounds: tuple[Ground, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ground.id for ground in grounds))


def excluded(standing: Standing, rules: Rules) -> Decision | None:
    """Hard exclusions: nationality, a recalled decoration, not serving on the day of the ceremony."""
    officer = standing.officer
    if officer.nationality != "TH":
        return by_rule("GR-NATIONALITY", rules)
    if officer.decoration_recalled:
        return by_rule("GR-RECALLED", rules)
    if not in_service(officer, rules.ceremony):
        return by_rule("GR-IN-SERVICE", rules)
    return None


def to_be_reviewed(standing: Standing, rules: Rules) -> Decision | None:
    """What somebody has to look at: imprisonment, discipline, leave."""
    officer = standing.officer
    if officer.imprisonment:
        return by_rule("GR-IMPRISONMENT", rules)
    if officer.discipline:
        return by_rule("GR-DISCIPLINE", rules)
    if officer.on_leave:
        return by_rule("GR-LEAVE", rules)
    return None


def by_rule(rule_id: str, rules: Rules) -> Decision:
    """The rule's effect is the decision: the criteria file says whether it bars or asks for a review."""
    rule = rules.general[rule_id]
    word: Word = "not_eligible" if rule.effect == "not_eligible" else "manual_review"
    return Decision(word, rule.confidence, reason=rule.reason_code, rules=(rule_id,))


def service_break(standing: Standing, rules: Rules) -> tuple[Ground, ...]:
    """Counting from the return is a ground of its own wherever service is counted."""
    return (rules.ground("GR-BREAK"),) if standing.officer.returned_to_service is not None else ()
