"""The worked cases of the criteria, each as a roster with one officer."""

from typing import Any

import pytest

from tests.support.insignia import evaluate_objects, rows
from tests.support.worked_cases import CASES

LEVELS = ("low", "medium", "high")


def decide(case: dict[str, Any], **options: Any) -> dict[str, Any]:
    [row] = rows(evaluate_objects([{"person_id": case["id"], **case["officer"]}], case["round_year_be"], **options))
    return row


def without_confidence(decision: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in decision.items() if name != "confidence"}


def named(cases: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in cases]


@pytest.mark.parametrize("case", named(CASES))
def test_worked_case_gives_the_expected_decision(case: dict[str, Any]) -> None:
    row = decide(case)
    assert row["person_id"] == case["id"]
    assert without_confidence(row["class"]) == case["expected"]["class"]
    assert without_confidence(row["medal"]) == case["expected"]["medal"]


@pytest.mark.parametrize("case", named(CASES))
def test_worked_case_with_strict_next_differs_only_as_stated(case: dict[str, Any]) -> None:
    expected = case["expected"] | case.get("expected_if_strict_next", {})
    assert without_confidence(decide(case, sequence="strict_next")["class"]) == expected["class"]


@pytest.mark.parametrize("case", named([case for case in CASES if "expected_if_param" in case]))
def test_worked_case_with_another_parameter_gives_the_stated_decision(case: dict[str, Any]) -> None:
    other = case["expected_if_param"]
    row = decide(case, parameters={other["param"]: other["value"]})
    assert without_confidence(row["class"]) == other["class"]


@pytest.mark.parametrize("case", named(CASES))
def test_worked_case_has_a_confidence_for_every_decision(case: dict[str, Any]) -> None:
    row = decide(case)
    assert {row["class"]["confidence"], row["medal"]["confidence"]} <= set(LEVELS)


def test_worked_cases_are_complete() -> None:
    assert len(CASES) == 40 + 15
