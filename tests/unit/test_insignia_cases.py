"""The worked cases that came with the criteria, each as a roster of one."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.insignia import evaluate_objects, rows

CASES: list[dict[str, Any]] = json.loads(Path(__file__).parent.parent.joinpath("data/cases.json").read_text("utf-8"))[
    "cases"
]
LEVELS = ("low", "medium", "high")


def decide(case: dict[str, Any], **options: Any) -> dict[str, Any]:
    [row] = rows(evaluate_objects([{"person_id": case["id"], **case["officer"]}], case["round_year_be"], **options))
    return row


def without_confidence(decision: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in decision.items() if name != "confidence"}


def named(cases: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in cases]


@pytest.mark.parametrize("case", named(CASES))
def test_a_worked_case_is_decided_as_expected(case: dict[str, Any]) -> None:
    row = decide(case)
    assert row["person_id"] == case["id"]
    assert without_confidence(row["class"]) == case["expected"]["class"]
    assert without_confidence(row["medal"]) == case["expected"]["medal"]


@pytest.mark.parametrize("case", named(CASES))
def test_a_worked_case_under_strict_next_differs_only_where_it_says_so(case: dict[str, Any]) -> None:
    expected = case["expected"] | case.get("expected_if_strict_next", {})
    assert without_confidence(decide(case, sequence="strict_next")["class"]) == expected["class"]


@pytest.mark.parametrize("case", named([case for case in CASES if "expected_if_param" in case]))
def test_a_worked_case_with_another_parameter(case: dict[str, Any]) -> None:
    other = case["expected_if_param"]
    row = decide(case, parameters={other["param"]: other["value"]})
    assert without_confidence(row["class"]) == other["class"]


@pytest.mark.parametrize("case", named(CASES))
def test_every_decision_of_a_worked_case_says_how_sure_it_is(case: dict[str, Any]) -> None:
    row = decide(case)
    assert {row["class"]["confidence"], row["medal"]["confidence"]} <= set(LEVELS)


def test_there_are_forty_of_them() -> None:
    assert len(CASES) == 40
