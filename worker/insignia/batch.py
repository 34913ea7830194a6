"""A whole roster through the rules of one round. The library's front door, together with report.py."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.insignia.compiler import compile_rules
from worker.insignia.criteria import Criteria
from worker.insignia.decision import Decision, Verdict
from worker.insignia.evaluate import evaluate
from worker.insignia.faults import BadCell, Notice
from worker.insignia.loading import load_criteria
from worker.insignia.officer import Officer
from worker.insignia.roster import Source, Watch, read_roster
from worker.insignia.rules import Rules

_READ, _DECIDED = 45.0, 80.0
"""Percent of the whole way that are done after reading and after deciding; the rest is writing."""
_STRIDE = 1000


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of a roster."""

    rules: Rules
    verdicts: Sequence[Verdict]
    """One for each good row, in the roster's order."""
    bad_cells: Sequence[BadCell]
    bad_rows: int
    notices: Sequence[Notice]
    remarks: Sequence[str]

    def summary(self) -> dict[str, Any]:
        """Counts, in the words of the job's result; class decisions unless under `medal`."""
        classes = [verdict.class_ for verdict in self.verdicts]
        return {
            "round": self.rules.round_be,
            "officers": len(self.verdicts),
            **_counts(classes),
            "byClass": self._by_class(classes),
            "byReason": _by_reason(classes),
            "badRows": self.bad_rows,
            "medal": _counts(medals := [verdict.medal for verdict in self.verdicts]) | {"byReason": _by_reason(medals)},
            "byConfidence": dict(Counter(decision.confidence for decision in classes)),
            "toCheck": sum(below_high(verdict) for verdict in self.verdicts),
            "sequence": self.rules.sequence,
            "ceremony": self.rules.ceremony.isoformat(),
            "cutoff": self.rules.cutoff.isoformat(),
            "notices": dict(sorted(Counter(notice.code for notice in self.notices).items())),
            "remarks": list(self.remarks),
        }

    def _by_class(self, decisions: Iterable[Decision]) -> dict[str, int]:
        counted = Counter(decision.award for decision in decisions if decision.award is not None)
        return {code: counted[code] for code in self.rules.ranks if code in counted}


def below_high(verdict: Verdict) -> bool:
    """Whether something uncertain was asked for one of the two decisions."""
    return verdict.class_.confidence != "high" or verdict.medal.confidence != "high"


def _counts(decisions: Sequence[Decision]) -> dict[str, Any]:
    words = Counter(decision.decision for decision in decisions)
    return {
        "nominate": words["nominate"],
        "notEligible": words["not_eligible"],
        "manualReview": words["manual_review"],
    }


def _by_reason(decisions: Iterable[Decision]) -> dict[str, int]:
    counted = Counter(decision.reason for decision in decisions if decision.reason is not None)
    return dict(sorted(counted.items()))


def evaluate_roster(
    roster: Source,
    round_be: int,
    *,
    history: Source | None = None,
    criteria: Criteria | None = None,
    sequence: str | None = None,
    parameters: Mapping[str, float] | None = None,
    bad_row_limit: float = 5.0,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Evaluation:
    """Decide class and medal for everybody in a CSV or JSON file, or in a list of objects.

    `round_be` is a Buddhist year; `bad_row_limit` a percentage. `progress` hears percent and a note. Raises a kind of
    InsigniaError: CriteriaInvalid, RoundInvalid, RosterUnreadable, RosterRejected, EvaluationCancelled.
    """
    criteria = criteria or load_criteria()
    rules = compile_rules(criteria, round_be, sequence=sequence, parameters=parameters)
    watch = Watch(progress, cancelled)
    read = read_roster(roster, criteria, history=history, bad_row_limit=bad_row_limit, watch=watch, share=_READ)
    verdicts = _decide(read.officers, rules, watch)
    return Evaluation(rules, verdicts, read.bad_cells, read.bad_rows, read.notices, read.remarks)


def _decide(officers: Sequence[Officer], rules: Rules, watch: Watch) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for count, officer in enumerate(officers):
        if count % _STRIDE == 0:
            watch.tell(_READ + (_DECIDED - _READ) * count / len(officers), "deciding")
        verdicts.append(evaluate(officer, rules))
    return verdicts
