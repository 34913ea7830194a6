"""Explains a stored decision: repeats it from the officer's normal form and the criteria kept with the results."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from worker.insignia.criteria.loader import load_criteria
from worker.insignia.results.row_index import StoredOfficer
from worker.insignia.results.table import decision_row
from worker.insignia.rules.compiler import compile_rules
from worker.insignia.rules.decision_id import decision_id_of, officer_of
from worker.insignia.rules.evaluate import evaluate
from worker.insignia.rules.explain import ExplanationLine, explanation
from worker.insignia.rules.ruleset import Rules


@dataclass(frozen=True, slots=True)
class ExplainedRow:
    """One officer's decisions and why."""

    row: dict[str, Any]
    rules: Rules
    same_answer: bool
    """Whether the stored criteria, read again, give the stored decision under its id."""
    th: Sequence[ExplanationLine]
    en: Sequence[ExplanationLine]


def explain_row(stored: StoredOfficer, criteria: Path) -> ExplainedRow:
    """Decide again and explain. Raises CriteriaInvalid if the stored criteria can no longer be applied."""
    rules = _rules(criteria, criteria.stat().st_mtime_ns, stored.round_be, stored.sequence)
    officer = officer_of(stored.form, stored.about)
    verdict = evaluate(officer, rules)
    decided = {"class": decision_row(verdict.class_), "medal": decision_row(verdict.medal)}
    is_same = decision_id_of(stored.form, rules) == stored.row["decision_id"] and all(
        stored.row[name] == decided[name] for name in decided
    )
    lines = (explanation(officer, rules, language) for language in ("th", "en"))
    th, en = lines
    return ExplainedRow(stored.row, rules, is_same, th, en)


@lru_cache(maxsize=16)
def _rules(criteria: Path, _changed: int, round_be: int, sequence: str) -> Rules:
    return compile_rules(load_criteria(criteria), round_be, sequence=sequence)
