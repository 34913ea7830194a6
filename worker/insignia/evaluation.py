"""Evaluates a whole roster by the rules of one round. results/writer.py writes what it returns."""

import importlib.util
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.insignia.collector import rare_collections
from worker.insignia.criteria.identity import canonical_form
from worker.insignia.criteria.loader import load_criteria
from worker.insignia.criteria.model import Criteria
from worker.insignia.errors import BadCell, Notice, Repair
from worker.insignia.progress import DECIDING, ProgressReporter
from worker.insignia.roster.officer import Officer
from worker.insignia.roster.reader import Source, read_roster
from worker.insignia.roster.roster_data import Roster
from worker.insignia.rules.compiler import compile_rules
from worker.insignia.rules.decision import Decision, Verdict
from worker.insignia.rules.evaluate import evaluate
from worker.insignia.rules.ruleset import Rules

if TYPE_CHECKING:
    from worker.insignia.columnar.evaluator import DecidedColumns

_Counted = Iterable[tuple[Decision, int]]
"""Decisions with the number of their officers."""
_STRIDE = 1000
_LARGE = 25_000
"""Officers from which on columns save more than loading Polars costs."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The decisions for a roster, and what could not be read."""

    rules: Rules
    verdicts: Sequence[Verdict]
    """One for each good row, in the roster's order."""
    bad_cells: Sequence[BadCell]
    bad_rows: int
    notices: Sequence[Notice]
    remarks: Sequence[str]
    repairs: Sequence[Repair] = ()
    remarks_th: Sequence[str] = ()
    unknown_columns: Sequence[str] = ()
    """Headings of columns that were not used."""
    criteria_form: bytes = b""
    """The criteria in their canonical form, whose hash `rules.criteria` states."""
    columns: "DecidedColumns | None" = None
    """The verdicts in columns, for a large roster."""

    def summary(self) -> dict[str, Any]:
        """Return the counts of the job's result; of class decisions, except under `medal`."""
        counted = list(self._counted())
        classes = [(class_, count) for class_, _, count in counted]
        medals = [(medal, count) for _, medal, count in counted]
        return {
            "round": self.rules.round_be,
            "officers": len(self.verdicts),
            **_counts(classes),
            "byClass": self._by_class(classes),
            "byReason": _by_reason(classes),
            "badRows": self.bad_rows,
            "medal": _counts(medals) | {"byReason": _by_reason(medals)},
            "byConfidence": dict(_total((decision.confidence, count) for decision, count in classes)),
            "toCheck": sum(count for class_, medal, count in counted if is_uncertain(class_, medal)),
            "sequence": self.rules.sequence,
            "criteria": self.rules.criteria.as_json(),
            "ceremony": self.rules.ceremony.isoformat(),
            "cutoff": self.rules.cutoff.isoformat(),
            "notices": dict(sorted(Counter(notice.code for notice in self.notices).items())),
            "repairs": dict(sorted(Counter(repair.code for repair in self.repairs).items())),
            "remarks": list(self.remarks),
            "remarksTh": list(self.remarks_th),
            **({"unknownColumns": list(self.unknown_columns)} if self.unknown_columns else {}),
        }

    def _counted(self) -> Iterable[tuple[Decision, Decision, int]]:
        """Return decisions about class and medal with the number of their officers, in the order of the roster."""
        if self.columns is not None:
            return self.columns.counts()
        return ((verdict.class_, verdict.medal, 1) for verdict in self.verdicts)

    def _by_class(self, decisions: _Counted) -> dict[str, int]:
        counted = _total((decision.award, count) for decision, count in decisions if decision.award is not None)
        return {code: counted[code] for code in self.rules.ranks if code in counted}


def is_uncertain(class_: Decision, medal: Decision) -> bool:
    """Return whether one of an officer's two decisions rests on a rule below high confidence."""
    return class_.confidence != "high" or medal.confidence != "high"


def _total(counted: Iterable[tuple[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for text, count in counted:
        total[text] += count
    return total


def _counts(decisions: _Counted) -> dict[str, Any]:
    words = _total((decision.decision, count) for decision, count in decisions)
    return {
        "nominate": words["nominate"],
        "notEligible": words["not_eligible"],
        "manualReview": words["manual_review"],
    }


def _by_reason(decisions: _Counted) -> dict[str, int]:
    counted = _total((decision.reason, count) for decision, count in decisions if decision.reason is not None)
    return dict(sorted(counted.items()))


@rare_collections()
def evaluate_roster(
    roster: Source,
    round_be: int,
    *,
    history: Source | None = None,
    criteria: Criteria | None = None,
    sequence: str | None = None,
    parameters: Mapping[str, float] | None = None,
    bad_row_limit: float = 5.0,
    mapping: Mapping[str, str] | None = None,
    remembered: Mapping[str, str] | None = None,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Evaluation:
    """Decide class and medal for each officer in a file, in several files, or in a list of objects.

    `round_be` is a Buddhist year, `bad_row_limit` a percentage; `mapping` gives fields for headings that are not known,
    `remembered` for those that nothing else explains.
    `progress` receives percent and a note. Raises an InsigniaError: CriteriaInvalid, RoundInvalid,
    RosterUnreadable, RosterRejected or EvaluationCancelled.
    """
    criteria = criteria or load_criteria()
    rules = compile_rules(criteria, round_be, sequence=sequence, parameters=parameters)
    reporter = ProgressReporter(progress, cancelled)
    read = read_roster(
        roster,
        criteria,
        history=history,
        bad_row_limit=bad_row_limit,
        reporter=reporter,
        mapping=mapping,
        remembered=remembered,
        large=_LARGE if importlib.util.find_spec("polars") is not None else None,
    )
    return _decided(read, rules, criteria, reporter)


def _decided(read: Roster, rules: Rules, criteria: Criteria, reporter: ProgressReporter) -> Evaluation:
    columns = _decide_columns(read, rules, reporter)
    verdicts = _decide(read.officers, rules, reporter) if columns is None else columns
    return Evaluation(
        rules=rules,
        verdicts=verdicts,
        columns=columns,
        bad_cells=read.bad_cells,
        bad_rows=read.bad_rows,
        notices=read.notices,
        remarks=read.remarks,
        repairs=read.repairs,
        remarks_th=read.remarks_th,
        unknown_columns=read.unknown_columns,
        criteria_form=canonical_form(criteria),
    )


def _decide_columns(read: Roster, rules: Rules, reporter: ProgressReporter) -> "DecidedColumns | None":
    """Return the decisions in columns; None if the roster is small, or Polars is not installed."""
    if read.columns is None and (read.count < _LARGE or importlib.util.find_spec("polars") is None):
        return None
    from worker.insignia.columnar.evaluator import decide_columns, evaluate_all  # loads Polars

    def report(count: int) -> None:
        DECIDING.report(reporter, count, read.count)

    if read.columns is not None:
        return decide_columns(read.columns, rules, report)
    return evaluate_all(read.officers, rules, report)


def _decide(officers: Sequence[Officer], rules: Rules, reporter: ProgressReporter) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for count, officer in enumerate(officers):
        if count % _STRIDE == 0:
            DECIDING.report(reporter, count, len(officers))
        verdicts.append(evaluate(officer, rules))
    return verdicts
