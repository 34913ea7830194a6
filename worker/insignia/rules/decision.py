"""Decisions about an officer, and the two questions that class and medal share: exclusions and reviews."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from worker.insignia.criteria.model import Confidence, weakest
from worker.insignia.roster.officer import Officer
from worker.insignia.rules.conditions import RuleReference, ServiceRecord
from worker.insignia.rules.eligibility import in_service
from worker.insignia.rules.ruleset import Rules

DecisionCode = Literal["nominate", "not_eligible", "manual_review"]


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision and its reason; fields that do not apply are None."""

    decision: DecisionCode
    confidence: Confidence
    """The lowest confidence of the rules and parameters it rests on."""
    award: str | None = None
    abbr_th: str | None = None
    step: str | None = None
    reason: str | None = None
    next_award: str | None = None
    rules: tuple[str, ...] = ()
    """The rules and parameters it rests on."""
    missing: tuple[str, ...] = ()
    """The fields without which it cannot be decided."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Both decisions for one officer."""

    person_id: str
    class_: Decision
    medal: Decision
    officer: Officer


@lru_cache(1 << 10)
def incomplete(*fields: str) -> Decision:
    """Return a review that names the fields without which it cannot be decided.

    Its confidence is high whatever the missing data may be: the row certainly goes back to the office.
    """
    missing = tuple(dict.fromkeys(fields))
    return Decision("manual_review", "high", reason="INCOMPLETE_DATA", rules=("evaluation_order",), missing=missing)


def not_eligible(reason: str, references: Sequence[RuleReference], next_award: str | None = None) -> Decision:
    """Return a refusal with its reason code."""
    return _not_eligible(reason, next_award, tuple(references))


# Cached: a roster of a hundred thousand officers has a few hundred different decisions.
@lru_cache(1 << 12)
def _not_eligible(reason: str, next_award: str | None, references: tuple[RuleReference, ...]) -> Decision:
    confidence = weakest(reference.confidence for reference in references)
    return Decision("not_eligible", confidence, reason=reason, next_award=next_award, rules=_names(references))


def nominated(award: str, abbr_th: str, step: str, references: Sequence[RuleReference]) -> Decision:
    """Return a nomination."""
    return _nominated(award, abbr_th, step, tuple(references))


@lru_cache(1 << 12)
def _nominated(award: str, abbr_th: str, step: str, references: tuple[RuleReference, ...]) -> Decision:
    confidence = weakest(reference.confidence for reference in references)
    return Decision("nominate", confidence, award=award, abbr_th=abbr_th, step=step, rules=_names(references))


def _names(references: tuple[RuleReference, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reference.id for reference in references))


def excluded(record: ServiceRecord, rules: Rules) -> Decision | None:
    """Decide the hard exclusions: nationality, a recalled decoration, not in service on the day of the ceremony."""
    officer = record.officer
    if officer.nationality not in ("TH", None):
        return by_rule("GR-NATIONALITY", rules)
    if officer.decoration_recalled:
        return by_rule("GR-RECALLED", rules)
    if not in_service(officer, rules.ceremony):
        return by_rule("GR-IN-SERVICE", rules)
    return None


def to_be_reviewed(record: ServiceRecord, rules: Rules) -> Decision | None:
    """Decide what has to be reviewed by a person: imprisonment, discipline, leave."""
    officer = record.officer
    if officer.imprisonment:
        return by_rule("GR-IMPRISONMENT", rules)
    if officer.discipline:
        return by_rule("GR-DISCIPLINE", rules)
    if officer.on_leave:
        return by_rule("GR-LEAVE", rules)
    return None


def by_rule(rule_id: str, rules: Rules) -> Decision:
    """Return the decision that the criteria file gives as the effect of a rule: exclusion or review."""
    rule = rules.general[rule_id]
    return _by_rule(rule_id, rule.effect, rule.reason_code, rule.confidence)


@lru_cache(1 << 10)
def _by_rule(rule_id: str, effect: str, reason: str, confidence: Confidence) -> Decision:
    word: DecisionCode = "not_eligible" if effect == "not_eligible" else "manual_review"
    return Decision(word, confidence, reason=reason, rules=(rule_id,))


NO_LADDER = Decision("manual_review", "high", reason="RULE_NOT_FOUND", rules=("unresolved",))
"""The review of an officer whose level has no ladder."""


def service_break(record: ServiceRecord, rules: Rules) -> tuple[RuleReference, ...]:
    """Return the rule for counting service from the return, if the officer has returned."""
    return (rules.reference("GR-BREAK"),) if record.officer.returned_to_service is not None else ()
