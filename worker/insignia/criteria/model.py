"""The contents of a criteria file as strict, frozen values: decorations, ladders, parameters, general rules.

Describes the shape of each part. Whether the parts agree is checked in validation.py. A value that the program cannot
apply is rejected, so that an edited file never has less effect than its editor expects.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

Confidence = Literal["low", "medium", "high"]
CONFIDENCES: tuple[Confidence, ...] = ("low", "medium", "high")
"""From the lowest to the highest."""
SequenceName = Literal["highest_satisfied", "strict_next"]
Sources = tuple[str, ...]


def weakest(confidences: Iterable[Confidence]) -> Confidence:
    """Return the lowest of several confidences; high if there are none."""
    return min(confidences, key=CONFIDENCES.index, default="high")


class Part(BaseModel):
    """A part that the program applies: unknown keys are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Decoration(Part):
    rank: int = Field(ge=1)
    code: str = Field(min_length=1)
    order: str
    class_: str = Field(alias="class")
    group: str
    abbr_th: str = Field(min_length=1)
    name_th: str
    name_en: str
    precedence_no: int | None
    dpis_code: str | None
    post_nominal: str | None
    source: Sources
    confidence: Confidence


class ServiceMedal(Part):
    code: str = Field(min_length=1)
    abbr_th: str = Field(min_length=1)
    name_th: str
    name_en: str
    group: str
    dpis_code: str | None
    in_class_sequence: Literal[False]
    source: Sources
    confidence: Confidence


class Ceremony(Part):
    """The day of the ceremony for a range of rounds."""

    round_year_be_from: int | None = None
    round_year_be_to: int | None = None
    month: int = Field(ge=1, le=12)
    day: int = Field(ge=1, le=28)

    def covers(self, round_be: int) -> bool:
        first, last = self.round_year_be_from, self.round_year_be_to
        return (first is None or round_be >= first) and (last is None or round_be <= last)


class Calendar(Part):
    ceremony: tuple[Ceremony, ...] = Field(min_length=1)
    qualification_cutoff_days_before_ceremony: int = Field(ge=0, le=365)
    qualification_cutoff_28_july: str
    submission_to_soc_days_before_ceremony: int
    round_year: str
    source: Sources
    confidence: Confidence
    note: str | None = None


class Parameter(Part):
    """A figure that may be overridden for one evaluation."""

    value: int | float
    alternative: int | float | None = None
    meaning: str | None = None
    source: Sources
    confidence: Confidence
    note: str | None = None


class SalaryComparison(Part):
    value: Literal[">=", ">"]
    note: str | None = None
    source: Sources
    confidence: Confidence


class FullYearsRule(Part):
    value: Literal["anniversary date on or before the as-of date"]
    note: str | None = None
    source: Sources
    confidence: Confidence


class SalaryHistoryDate(Part):
    value: Literal["1 April of (round year CE - 5)"]
    source: Sources
    confidence: Confidence


class Params(BaseModel):
    """Three counting rules, and figures under names that the file chooses."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    __pydantic_extra__: dict[str, Parameter] = Field(init=False)

    salary_comparison: SalaryComparison
    full_years_rule: FullYearsRule
    salary_5y_date: SalaryHistoryDate

    @property
    def figures(self) -> dict[str, Parameter]:
        return dict(self.__pydantic_extra__)


class RuleParams(Part):
    """Only what the program applies; `penalty_effects` stays empty until the effects are known."""

    years: int | None = None
    as_of: Literal["qualification_cutoff", "ceremony", "fiscal_year"] | None = None
    continuous: Literal[True] | None = None
    days: int | None = None
    scope: Literal["orders only, not the medal"] | None = None
    extra_classes: int | None = None
    ceiling: None = None
    retirement_day: Literal["30 September of the fiscal year of the 60th birthday"] | None = None
    penalty_effects: dict[str, Any] | None = Field(None, max_length=0)


class GeneralRule(Part):
    id: str
    kind: str
    effect: str
    rule: str
    params: RuleParams = RuleParams()
    applies_to: tuple[str, ...] | None = None
    reason_code: str = ""
    source: Sources
    confidence: Confidence


class SequencePolicy(Part):
    default: SequenceName
    alternatives: tuple[SequenceName, ...]
    highest_satisfied: str
    strict_next: str
    note: str | None = None
    source: Sources
    confidence: Confidence


class Policies(Part):
    sequence: SequencePolicy
    evaluation_order: tuple[str, ...]
    unmet_reason_codes: dict[str, str]


Figure = Annotated[str, Field(pattern=r"^params\.[a-z0-9_]+$")]
"""A reference to a parameter."""
Years = Annotated[int, Field(ge=0, le=100)] | Figure


class ServiceYears(Part):
    type: Literal["service_years"]
    min: Years
    as_of: Literal["qualification_cutoff", "ceremony"] = "qualification_cutoff"


class LevelYears(Part):
    type: Literal["level_years"]
    min: Years


class HeldYearsCriterion(Part):
    type: Literal["held_years"]
    award: str
    min: Years


class Pay(Part):
    type: Literal["salary_ge", "salary_lt", "salary_5y_ago_ge"]
    ref: Figure


class NotAlreadyHeld(Part):
    type: Literal["not_already_held"]
    award: str


ClassCondition = Annotated[ServiceYears | LevelYears | HeldYearsCriterion | Pay, Field(discriminator="type")]
MedalCondition = Annotated[ServiceYears | NotAlreadyHeld, Field(discriminator="type")]


class StepCriteria(Part):
    id: str
    award: str
    entry: bool
    """Whether the class may be awarded without the one below it."""
    conditions: tuple[ClassCondition, ...]
    requires_held: str | None = None
    source: Sources
    confidence: Confidence
    note: str | None = None

    @property
    def prerequisite(self) -> str | None:
        """The class that must be held before this one; None if the step may be entered directly."""
        held = (condition.award for condition in self.conditions if isinstance(condition, HeldYearsCriterion))
        return None if self.entry else self.requires_held or next(held, None)


class AppliesWhen(Part):
    """Distinguishes rows of one level, and levels without a name of their own. Baht per month."""

    position_allowance: int | None = None
    wage_min: int | None = None
    wage_max_exclusive: int | None = None

    @property
    def by_wage(self) -> bool:
        return self.wage_min is not None or self.wage_max_exclusive is not None


class LevelCriteria(Part):
    level: str
    position_type: str | None = None
    position_type_th: str | None = None
    level_th: str
    level_en: str
    start_class: str | None
    max_class: str
    steps: tuple[StepCriteria, ...] = Field(min_length=1)
    applies_when: AppliesWhen = AppliesWhen()
    retirement_clause: Literal["GR-RETIREMENT"] | None = None
    table_row: int | None = None
    note: str | None = None


class GroupCriteria(Part):
    id: str
    name_th: str
    name_en: str
    min_service_years: Years
    levels: tuple[LevelCriteria, ...] = Field(min_length=1)


class MedalRule(Part):
    id: str
    award: str
    applies_to: tuple[str, ...]
    conditions: tuple[MedalCondition, ...]
    source: Sources
    confidence: Confidence
    note: str | None = None


class Criteria(BaseModel):
    """The whole file. Parts that are only for readers are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1]
    version: str = Field("", max_length=100)
    """Named in results, so that people can tell one edition of the file from another."""
    title: str
    regulation: dict[str, Any]
    confidence_scale: dict[str, str]
    sources: dict[str, Any]
    decorations: tuple[Decoration, ...] = Field(min_length=1)
    service_medals: tuple[ServiceMedal, ...]
    calendar: Calendar
    params: Params
    salary_bands: dict[str, Any]
    general_rules: tuple[GeneralRule, ...]
    policies: Policies
    condition_types: dict[str, str]
    groups: tuple[GroupCriteria, ...]
    medal_rules: tuple[MedalRule, ...] = Field(min_length=1, max_length=1)
    legacy_levels: dict[str, Any]
    unresolved: tuple[dict[str, Any], ...]
    _file_name: str = PrivateAttr("")

    @property
    def file_name(self) -> str:
        """Return the name of the file they were read from, without its folder; empty if there was none."""
        return self._file_name

    def named(self, file_name: str) -> Self:
        """Set the name of the file they were read from, and return them."""
        self._file_name = file_name
        return self

    @property
    def ranks(self) -> dict[str, int]:
        return {decoration.code: decoration.rank for decoration in self.decorations}

    def rule(self, rule_id: str) -> GeneralRule:
        return next(rule for rule in self.general_rules if rule.id == rule_id)

    def ceremony_of(self, round_be: int) -> Ceremony:
        """Return the ceremony day of a round; validation.py ensures that there is exactly one."""
        return next(day for day in self.calendar.ceremony if day.covers(round_be))
