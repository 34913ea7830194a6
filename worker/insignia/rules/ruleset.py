"""The rules of one round: ladders, the medal, the general rules. evaluate.py applies them in order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from worker.insignia.criteria.identity import UNKNOWN, CriteriaIdentity
from worker.insignia.criteria.model import Confidence, GeneralRule, SequenceName
from worker.insignia.roster.officer import Officer
from worker.insignia.rules.conditions import Condition, MinimumYears, RuleReference, ServiceRecord


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a ladder."""

    id: str
    award: str
    abbr_th: str
    rank: int
    prerequisite: str | None
    conditions: tuple[Condition, ...]
    reference: RuleReference

    def answer(self, record: ServiceRecord) -> bool | None:
        """Return whether all conditions hold; None if a missing value decides. The class below is one of them."""
        answers = [condition.answer(record) for condition in self.conditions]
        return False if False in answers else None if None in answers else True

    def reachable(self, record: ServiceRecord) -> bool:
        """Return whether the step may be entered directly or the class below it is held."""
        return self.prerequisite is None or self.prerequisite in record.held

    def first_unmet(self, record: ServiceRecord) -> Condition | None:
        return next((condition for condition in self.conditions if condition.answer(record) is False), None)


@dataclass(frozen=True, slots=True)
class Ladder:
    """The steps that one level may climb, lowest first."""

    level: str
    position_type: str | None
    allowance: int | None
    wage_min: int | None
    wage_max_exclusive: int | None
    max_rank: int
    steps: tuple[Step, ...]
    retirement: bool
    """Whether the retirement clause is known to apply to this level."""

    @property
    def by_wage(self) -> bool:
        return self.wage_min is not None or self.wage_max_exclusive is not None

    def missing_field(self, officer: Officer) -> str | None:
        """Return the field without which it is unknown whether this ladder applies; None if nothing is missing."""
        if self.allowance is not None and officer.position_allowance is None:
            return "position_allowance"
        return "salary" if self.by_wage and officer.salary is None else None

    def fits(self, officer: Officer) -> bool:
        if self.position_type and officer.position_type and self.position_type != officer.position_type:
            return False
        if self.allowance is not None and officer.position_allowance != self.allowance:
            return False
        return not self.by_wage or self._pays(officer.salary or 0)

    def _pays(self, wage: float) -> bool:
        below = self.wage_max_exclusive
        return wage >= (self.wage_min or 0) and (below is None or wage < below)


@dataclass(frozen=True, slots=True)
class GroupRules:
    id: str
    ladders: Mapping[str, tuple[Ladder, ...]]
    """By level; allowance or wage distinguish several ladders of one level."""
    by_wage: tuple[Ladder, ...]
    """Ladders that depend on the wage alone, for rosters that do not name the band."""
    minimum: MinimumYears
    dated_levels: bool
    """Whether the day on which the level was reached matters in this group."""

    def candidates(self, level: str | None) -> tuple[Ladder, ...]:
        return self.by_wage if level is None else self.ladders.get(level, ())


@dataclass(frozen=True, slots=True)
class Medal:
    id: str
    code: str
    abbr_th: str
    groups: frozenset[str]
    service: tuple[MinimumYears, ...]
    reference: RuleReference


@dataclass(frozen=True, slots=True)
class RuleSource:
    """Where a rule, step or parameter comes from."""

    text: str
    """In English, as the criteria file words it; may be empty."""
    confidence: Confidence
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that evaluate.py needs for one round."""

    round_be: int
    ceremony: date
    cutoff: date
    sequence: SequenceName
    sequence_reference: RuleReference
    ranks: Mapping[str, int]
    """Class code to its rank among the classes; the medal has none."""
    groups: Mapping[str, GroupRules]
    medal: Medal
    general: Mapping[str, GeneralRule]
    references: Mapping[str, RuleReference]
    """References to the general rules."""
    ceremony_days: frozenset[tuple[int, int]] = frozenset()
    """(month, day) of the ceremonies of all rounds."""
    criteria: CriteriaIdentity = UNKNOWN
    basis: str = ""
    """A hash of everything but the officer that a decision depends on: criteria, round, sequence, parameters."""
    sources: Mapping[str, RuleSource] = field(default_factory=dict)
    """By the id of a rule, step or parameter."""
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    """Code of a class or medal to its Thai abbreviation."""

    def reference(self, rule_id: str) -> RuleReference:
        return self.references[rule_id]

    def is_ceremony_day(self, day: date) -> bool:
        """Return whether decorations may have been received on a day; the date of a Gazette is none."""
        return (day.month, day.day) in self.ceremony_days

    def reason(self, rule_id: str) -> str:
        return self.general[rule_id].reason_code
