"""The evaluator in columns decides every officer exactly as the readable one."""

import importlib.util
import itertools
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.insignia import officer
from tests.support.random_rounds import RandomOfficers, random_criteria
from tests.support.worked_cases import ROUNDS, assert_as_expected, of_round, table
from tests.unit.test_insignia_properties import officers
from worker.insignia import evaluate_roster, evaluation, load_criteria, result_row
from worker.insignia.columnar import evaluator
from worker.insignia.columnar.evaluator import evaluate_all
from worker.insignia.roster.officer import Officer
from worker.insignia.rules.compiler import compile_rules
from worker.insignia.rules.decision import Verdict
from worker.insignia.rules.evaluate import evaluate
from worker.insignia.rules.ruleset import Rules

_SEEDS = st.integers(0, 2**32)
_SEQUENCES = st.sampled_from(("highest_satisfied", "strict_next"))
_PARAMETERS = st.fixed_dictionaries(
    {}, optional={"k3_min": st.sampled_from((0.0, 22140.5)), "permanent_employee_service_years": st.integers(0, 12)}
)
_often = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def assert_equal(people: list[Officer], rules: Rules) -> None:
    """Compare everything about both decisions: code, award, step, reason, confidence, rules, missing fields."""
    for one, other in zip(evaluate_all(people, rules), (evaluate(person, rules) for person in people), strict=True):
        assert one == other, one.officer


@_often
@given(seed=_SEEDS, round_be=st.sampled_from((2557, 2560, 2569, 2571)), sequence=_SEQUENCES, parameters=_PARAMETERS)
def test_evaluate_all_equals_evaluate_for_random_officers(
    seed: int, round_be: int, sequence: str, parameters: dict[str, float]
) -> None:
    rules = compile_rules(load_criteria(), round_be, sequence=sequence, parameters=parameters)
    maker = RandomOfficers(Random(seed), rules)
    assert_equal([maker.make(number) for number in range(400)], rules)


@_often
@given(seed=_SEEDS, round_be=st.sampled_from((2559, 2569)), sequence=_SEQUENCES)
def test_evaluate_all_equals_evaluate_for_random_criteria(seed: int, round_be: int, sequence: str) -> None:
    rng = Random(seed)
    rules = compile_rules(random_criteria(rng), round_be, sequence=sequence)
    maker = RandomOfficers(rng, rules)
    assert_equal([maker.make(number) for number in range(400)], rules)


@_often
@given(people=st.lists(officers(), min_size=1, max_size=20), sequence=_SEQUENCES)
def test_evaluate_all_equals_evaluate_for_officers_that_can_be_made_smaller(
    people: list[Officer], sequence: str
) -> None:
    assert_equal(people, compile_rules(load_criteria(), 2569, sequence=sequence))


def test_evaluate_all_equals_evaluate_for_every_order_of_leaving_and_return() -> None:
    days = (None, "2012-05-01", "2016-05-01", "2026-07-28", "2026-09-30", "2026-11-01", "2027-02-01")
    people = [
        officer("K2", birth_date=birth, left_service=left, resigned=resigned, returned_to_service=returned)
        for left, resigned, returned in itertools.product(days, repeat=3)
        for birth in ("1966-05-01", "1990-05-01")
    ]
    assert_equal(people, compile_rules(load_criteria(), 2569))


@pytest.mark.parametrize("round_be", ROUNDS)
def test_evaluate_all_decides_the_worked_cases(round_be: int) -> None:
    cases = of_round(round_be)
    heads, *rest = table(cases)
    listed: list[dict[str, Any]] = [dict(zip(heads, row, strict=True)) for row in rest]
    people = [verdict.officer for verdict in evaluate_roster(listed, round_be, bad_row_limit=100.0).verdicts]
    decided = evaluate_all(people, compile_rules(load_criteria(), round_be))
    assert_as_expected(cases, map(result_row, decided))


def test_evaluate_all_in_chunks_keeps_the_order_and_reports_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator, "_CHUNK", 7)
    rules = compile_rules(load_criteria(), 2569)
    maker, reported = RandomOfficers(Random(7), rules), list[int]()
    people = [maker.make(number) for number in range(20)]
    verdicts = evaluate_all(people, rules, reported.append)
    assert [verdict.person_id for verdict in verdicts] == [officer.person_id for officer in people]
    assert list(verdicts) == [evaluate(officer, rules) for officer in people]
    assert reported == [0, 7, 14]


def test_evaluate_all_without_officers_is_empty() -> None:
    assert list(evaluate_all([], compile_rules(load_criteria(), 2569))) == []


@pytest.mark.parametrize("has_polars", [True, False])
def test_evaluate_roster_decides_large_rosters_in_columns_if_polars_is_installed(
    has_polars: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counted(people: list[Officer], rules: Rules, report: Any) -> Sequence[Verdict]:
        calls.append(len(people))
        return evaluate_all(people, rules, report)

    monkeypatch.setattr(evaluation, "_LARGE", 3)
    monkeypatch.setattr(evaluator, "evaluate_all", counted)
    if not has_polars:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    heads, *rest = table(of_round(2568)[:5])
    listed = [dict(zip(heads, row, strict=True)) for row in rest]
    for count in (2, 5):
        found = evaluate_roster(listed[:count], 2568, bad_row_limit=100.0)
        assert list(found.verdicts) == [evaluate(one.officer, found.rules) for one in found.verdicts]
    assert calls == ([5] if has_polars else [])
