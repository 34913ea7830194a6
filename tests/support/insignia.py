"""Officers and rules for tests; values that a test does not give do not affect the decision."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from worker.insignia.criteria.loader import load_criteria
from worker.insignia.evaluation import Evaluation, evaluate_roster
from worker.insignia.results.writer import result_row
from worker.insignia.roster.officer import Award, Officer
from worker.insignia.rules.compiler import compile_rules
from worker.insignia.rules.evaluate import evaluate
from worker.insignia.rules.ruleset import Rules

ROUND = 2568
CEREMONY = date(2025, 7, 28)
CUTOFF = date(2025, 5, 29)
PERSON: dict[str, Any] = {
    "employee_group": "civil_servant",
    "level": "K2",
    "birth_date": "1990-03-03",
    "service_start": "2015-04-01",
    "level_start": "2019-05-02",
    "salary": 18900,
    "decorations": [],
}
"""An officer as a roster in JSON has it, but for the id."""


def day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def held(*awards: str) -> tuple[Award, ...]:
    """`"CT5 2017"`: received on the ceremony day of that year; or a whole date."""
    found = []
    for award in awards:
        code, when = award.split(" ")
        received = date.fromisoformat(when) if "-" in when else ceremony(int(when))
        found.append(Award(code, received))
    return tuple(found)


def ceremony(year: int) -> date:
    return date(year, 7, 28) if year >= 2017 else date(year, 12, 5)


def officer(level: str | None = "K2", *awards: str, **facts: Any) -> Officer:
    """Return an officer, by default with ten years in service and five in the level. Dates may be ISO text."""
    groups = {"P": "permanent_employee", "G": "government_employee"}
    known: dict[str, Any] = {
        "person_id": "x",
        "employee_group": groups.get((level or "K")[0], "civil_servant"),
        "level": level,
        "birth_date": date(1985, 3, 3),
        "service_start": date(2014, 10, 1),
        "level_start": date(2019, 10, 1),
        "salary": 18000,
        "decorations": held(*awards),
    }
    known |= {name: day(value) if _is_date(name, value) else value for name, value in facts.items()}
    return Officer(**known)


def _is_date(name: str, value: object) -> bool:
    return isinstance(value, str) and name.endswith(("_date", "_start", "_service", "resigned"))


def rules(round_be: int = ROUND, **options: Any) -> Rules:
    return compile_rules(load_criteria(), round_be, **options)


def class_of(one: Officer, round_be: int = ROUND, **options: Any) -> str:
    """The class decision in short: `"CT2 CS-K2-2"`, `"SALARY_TOO_LOW > CT2"`, `"LEAVE_REVIEW ?"`."""
    return _short(result_row(evaluate(one, rules(round_be, **options)))["class"])


def medal_of(one: Officer, round_be: int = ROUND, **options: Any) -> str:
    return _short(result_row(evaluate(one, rules(round_be, **options)))["medal"])


def confidence_of(one: Officer, round_be: int = ROUND, **options: Any) -> str:
    return evaluate(one, rules(round_be, **options)).class_.confidence


def _short(decision: Mapping[str, str]) -> str:
    if decision["decision"] == "nominate":
        return f"{decision['award']} {decision['step']}"
    if decision["decision"] == "manual_review":
        return f"{decision['reason']} ?"
    return decision["reason"] + (f" > {decision['next_award']}" if "next_award" in decision else "")


def rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [result_row(verdict, evaluation.rules) for verdict in evaluation.verdicts]


def evaluate_objects(officers: Sequence[Mapping[str, Any]], round_be: int = ROUND, **options: Any) -> Evaluation:
    return evaluate_roster(officers, round_be, **{"bad_row_limit": 100.0} | options)
