"""What results say about each officer besides the decisions, computed once for all files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from worker.insignia.evaluation import Evaluation
from worker.insignia.progress import IDS, PROSPECTS, Phase, ProgressReporter
from worker.insignia.rules.decision_id import decision_id_of, normal_form
from worker.insignia.rules.eligibility import service_record
from worker.insignia.rules.explain import ConditionTexts, has_conditions
from worker.insignia.rules.outlook import has_next_round, next_round_of

if TYPE_CHECKING:
    from worker.insignia.columnar.result_rows import ResultRows

_STRIDE = 5000


@dataclass
class ResultDetails:
    """Ids of the decisions, rounds from which the next class is met, and conditions, in roster order."""

    evaluation: Evaluation
    reporter: ProgressReporter = field(default_factory=ProgressReporter)
    keeps_forms: bool = False
    """Whether the normal forms of the officers are needed as well, which take a few hundred bytes each."""

    @cached_property
    def rows(self) -> "ResultRows | None":
        """The rows of the results in columns, for a roster that was decided in columns."""
        columns = self.evaluation.columns
        if columns is None:
            return None
        from worker.insignia.columnar.result_rows import ResultRows  # loads Polars

        return ResultRows(columns, self.reporter, keeps_forms=self.keeps_forms)

    @cached_property
    def summary(self) -> dict[str, Any]:
        return self.evaluation.summary()

    @property
    def ids(self) -> Sequence[str]:
        return self._identified[0]

    @property
    def forms(self) -> Sequence[bytes]:
        assert self.keeps_forms, "the forms are kept only on request"
        return self._identified[1]

    @property
    def next_rounds(self) -> Sequence[int | None]:
        return self._prospects[0]

    @property
    def conditions(self) -> Sequence[str]:
        """The conditions of the proposed or next class, in Thai."""
        return self._prospects[1]

    @cached_property
    def _identified(self) -> tuple[list[str], list[bytes]]:
        ids, forms = [], []
        for count, verdict in enumerate(self.evaluation.verdicts):
            self._advance(IDS, count)
            form = normal_form(verdict.officer)
            ids.append(decision_id_of(form, self.evaluation.rules))
            if self.keeps_forms:
                forms.append(bytes(memoryview(form)))  # a copy, as orjson's result keeps a large buffer
        return ids, forms

    @cached_property
    def _prospects(self) -> tuple[list[int | None], list[str]]:
        rules = self.evaluation.rules
        texts = ConditionTexts(rules, "th")
        rounds: list[int | None] = []
        conditions: list[str] = []
        for count, verdict in enumerate(self.evaluation.verdicts):
            self._advance(PROSPECTS, count)
            decision = verdict.class_
            waits, is_shown = has_next_round(decision), has_conditions(decision)
            record = service_record(verdict.officer, rules) if waits or is_shown else None
            rounds.append(next_round_of(record, rules) if waits and record else None)
            conditions.append(texts.of(record, decision) if is_shown and record else "")
        return rounds, conditions

    def _advance(self, phase: Phase, count: int) -> None:
        if count % _STRIDE == 0:
            phase.report(self.reporter, count, len(self.evaluation.verdicts))
