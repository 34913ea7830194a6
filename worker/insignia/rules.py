"""The criteria worked out for one round: ladders, the medal, the general rules.

Knows dates, ranks and figures, not the order in which they are asked: that is evaluate.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from worker.insignia.conditions import Condition, Ground, Since, Standing
from worker.insignia.criteria import GeneralRule, SequenceName
from worker.insignia.officer import Officer


@dataclass(frozen=True, slots=True)
class Rung:
    """A step of a ladder."""

    id: str
    award: str
    abbr_th: str
    rank: int
    prerequisite: str | None
    conditions: tuple[Condition, ...]
    ground: Ground

    def reachable(self, standing: Standing) -> bool:
        """Entered directly, or the class below it is held."""
        return self.prerequisite is None or self.prerequisite in standing.held

    def first_unmet(self, standing: Standing) -> Condition | None:
        for condition in self.conditions:
            if condition.unmet(standing):
                return condition
        return None


@dataclass(frozen=True, slots=True)
class Ladder:
    """The classes one level may climb, lowest first."""

    level: str
    position_type: str | None
    allowance: int | None
    wage_min: int | None
    wage_max_exclusive: int | None
    max_rank: int
    rungs: tuple[Rung, ...]
    retirement: bool
    """Whether the retirement clause is known to apply to this level."""

    @property
    def by_wage(self) -> bool:
        return self.wage_min is not None or self.wage_max_exclusive is not None

    def lacks(self, officer: Officer) -> str | None:
        """The field without which nobody can say whether this ladder is the officer's."""
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
    """By level; a level may have several that are told apart by allowance or wage."""
    by_wage: tuple[Ladder, ...]
    """Those that the wage alone picks, for rosters that do not name the band."""
    minimum: Since
    dated_levels: bool
    """Whether the day the level was reached plays a part in this group."""

    def candidates(self, level: str | None) -> tuple[Ladder, ...]:
        return self.by_wage if level is None else self.ladders.get(level, ())


@dataclass(frozen=True, slots=True)
class Medal:
    id: str
    code: str
    abbr_th: str
    groups: frozenset[str]
    service: tuple[Since, ...]
    ground: Ground


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything evaluate.py asks, for one round."""

    round_be: int
    ceremony: date
    cutoff: date
    sequence: SequenceName
    sequence_ground: Ground
    ranks: Mapping[str, int]
    """Class code to its place in the order of the classes; the medal has none."""
    groups: Mapping[str, GroupRules]
    medal: Medal
    general: Mapping[str, GeneralRule]
    grounds: Mapping[str, Ground]
    """The general rules as grounds."""

    def ground(self, rule_id: str) -> Ground:
        return self.grounds[rule_id]

    def reason(self, rule_id: str) -> str:
        return self.general[rule_id].reason_code
