"""Ids of decisions, explanations of stored rows, and the round from which the next class is met."""

import functools
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.insignia import held, officer
from tests.support.insignia import rules as compiled
from worker.insignia import ROW_INDEX, RowQuery, evaluate_roster, load_criteria, read_rows, write_results, write_sample
from worker.insignia.criteria.identity import canonical_form, identify
from worker.insignia.criteria.loader import load_criteria as load
from worker.insignia.results.explained import explain_row
from worker.insignia.results.row_index import read_officer
from worker.insignia.roster.officer import Award, Officer
from worker.insignia.rules.compiler import compile_rules
from worker.insignia.rules.decision_id import decision_id, normal_form, officer_of
from worker.insignia.rules.evaluate import evaluate
from worker.insignia.rules.explain import explanation
from worker.insignia.rules.outlook import next_round

rules = functools.cache(compiled)
LEVELS = ("O1", "O2", "O3", "O4", "K1", "K2", "K3", "K4", "D1", "D2", "M1", "PE-A", "GE-2")
DAYS = st.dates(date(1985, 1, 1), date(2025, 6, 1))
AWARDS = st.lists(
    st.sampled_from(
        [
            *(
                f"{order}{rank} {year}"
                for order in ("CT", "WE")
                for rank in range(1, 6)
                for year in (2012, 2020, 2023, 2024)
            ),
            "CT3 2021-03-05",
        ]
    ),
    max_size=3,
    unique_by=lambda text: text.split(" ")[0],
)


@st.composite
def officers(draw: st.DrawFn) -> Officer:
    started = draw(DAYS)
    facts: dict[str, Any] = {
        "birth_date": date(started.year - draw(st.integers(18, 45)), 3, 3),
        "service_start": draw(st.sampled_from([started, None])) if draw(st.booleans()) else started,
        "level_start": draw(st.one_of(DAYS, st.none())),
        "salary": draw(st.one_of(st.sampled_from([9000, 18000, 19860, 30000.5, 59500]), st.none())),
        "salary_5y_ago": draw(st.sampled_from([None, 15000, 60000])),
        "position_allowance": draw(st.sampled_from([None, 13000])),
        "nationality": draw(st.sampled_from(["TH", "TH", "TH", None, "XX"])),
        "discipline": draw(st.sampled_from([(), (), ("x",)])),
        "on_leave": draw(st.sampled_from([None, None, "study"])),
    }
    return replace(officer(draw(st.sampled_from(LEVELS))), decorations=held(*draw(AWARDS)), **facts)


@given(officers())
@settings(max_examples=150, deadline=None)
def test_normal_form_keeps_everything_that_decides(one: Officer) -> None:
    again = officer_of(normal_form(one), {"first_name": "ใจดี"})
    assert normal_form(again) == normal_form(one)
    assert evaluate(again, rules()).class_ == evaluate(one, rules()).class_
    assert evaluate(again, rules()).medal == evaluate(one, rules()).medal


def test_decision_id_depends_on_the_officer_the_round_and_the_criteria_only() -> None:
    one = officer("K2", "CT3 2021", "CT4 2015")
    assert one.decorations is not None
    same = replace(one, title="นาง", office="สำนักการคลัง", salary=18000.0, decorations=one.decorations[::-1])
    criteria = load_criteria()
    policies = criteria.policies.model_copy(update={"unmet_reason_codes": {**criteria.policies.unmet_reason_codes}})
    equal = criteria.model_copy(update={"policies": policies})
    other = criteria.model_copy(update={"title": "another edition"})
    known = decision_id(one, rules())
    assert decision_id(same, rules()) == known == decision_id(one, compile_rules(equal, 2568))
    changed = [
        decision_id(replace(one, salary=18001), rules()),
        decision_id(replace(one, decorations=(Award("CT3", None),)), rules()),
        decision_id(replace(one, decorations=None), rules()),
        decision_id(one, rules(2569)),
        decision_id(one, rules(sequence="strict_next")),
        decision_id(one, compiled(parameters={"k3_min": 22140})),
        decision_id(one, compile_rules(other, 2568)),
    ]
    assert len({known, *changed}) == 1 + len(changed)


def test_canonical_criteria_can_be_loaded_again(tmp_path: Path) -> None:
    kept = tmp_path / "criteria.json"
    kept.write_bytes(canonical_form(load_criteria()))
    assert identify(load(kept)).sha256 == identify(load_criteria()).sha256


def test_stored_rows_are_decided_again_with_the_same_answer(tmp_path: Path) -> None:
    write_sample(tmp_path / "r.csv", count=400)
    evaluation = evaluate_roster(tmp_path / "r.csv", 2569)
    write_results(evaluation, tmp_path / "out", row_index=True)
    index, criteria = tmp_path / "out" / ROW_INDEX, tmp_path / "out/criteria.json"
    written = json.loads((tmp_path / "out/results.json").read_text("utf-8"))
    for row in read_rows(index, RowQuery(limit=500)).rows:
        stored = read_officer(index, row["n"])
        assert stored is not None
        found = explain_row(stored, criteria)
        assert found.same_answer
        assert found.rules.criteria.sha256 == evaluation.rules.criteria.sha256
        expected = written[row["n"] - 1]
        for name in ("person_id", "class", "medal", "decision_id", "first_name", "next_round"):
            assert found.row.get(name) == expected.get(name)
        assert found.th[0].kind == found.en[0].kind == "decision"
        assert len(found.th) == len(found.en)
    assert read_officer(index, 100_000) is None


def test_stored_row_whose_criteria_were_changed_says_so(tmp_path: Path) -> None:
    write_sample(tmp_path / "r.csv", count=10)
    write_results(evaluate_roster(tmp_path / "r.csv", 2569), tmp_path / "out", row_index=True)
    kept = tmp_path / "out/criteria.json"
    kept.write_bytes(canonical_form(load_criteria().model_copy(update={"title": "changed"})))
    stored = read_officer(tmp_path / "out" / ROW_INDEX, 1)
    assert stored is not None
    assert not explain_row(stored, kept).same_answer


def test_rows_are_found_by_name_office_hyphened_id_and_decision_id(tmp_path: Path) -> None:
    person = {
        "person_id": "0000002797348",
        "first_name": "น้ำใจ",
        "last_name": "ดีงาม",
        "office": "สำนักการคลัง",
        "decorations": [],
    }
    others = [{"person_id": f"000000000{n:04}", "decorations": []} for n in range(1000, 1100)]
    evaluation = evaluate_roster([*others, person], 2569, bad_row_limit=100.0)
    write_results(evaluation, tmp_path / "out", row_index=True)
    identity = decision_id(evaluation.verdicts[-1].officer, evaluation.rules)
    for text in ("น้ําใจ", "ดีงาม น้ำใจ", "การคลัง", "0-0000-02797-34-8", "๒๗๙๗๓๔๘", identity.upper()):
        found = read_rows(tmp_path / "out" / ROW_INDEX, RowQuery(text=text))
        assert [row["person_id"] for row in found.rows] == ["0000002797348"], text
    last = read_rows(tmp_path / "out" / ROW_INDEX, RowQuery(limit=50, skip=100))
    assert ([row["n"] for row in last.rows], last.matched, last.cursor) == ([101], 101, None)


@given(officers())
@settings(max_examples=300, deadline=None)
def test_next_round_is_the_first_with_a_class_if_nothing_else_changes(one: Officer) -> None:
    """That round is evaluated, with the officer as they are now."""
    start = 2568
    found = next_round(evaluate(one, rules(start)), rules(start))
    if found is None:
        return
    assert found > start
    wanted = evaluate(replace(one), rules(found)).class_
    assert wanted.decision == "nominate" or wanted.reason in {"DISCIPLINE_REVIEW", "LEAVE_REVIEW", "INCOMPLETE_DATA"}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (officer("O2", "CT3 2020", level_start="2022-01-01"), 2570),
        (officer("K3", "WE2 2023", salary=58390), 2571),
        (officer("K2", "CT3 2024"), 2569),
        (officer("K1", service_start="2023-06-01"), 2572),
        (officer("K2", "WE3 2020", salary=19000), None),
        (officer("K3", "WE2 2023", salary=58390, birth_date="1967-03-03"), None),
        (officer("K2"), None),
    ],
)
def test_next_round_counts_the_years_that_are_missing(one: Officer, expected: int | None) -> None:
    assert next_round(evaluate(one, rules()), rules()) == expected


@given(officers(), st.sampled_from(["th", "en"]))
@settings(max_examples=150, deadline=None)
def test_explanation_names_the_deciding_question_and_no_person(one: Officer, language: Any) -> None:
    one = replace(one, person_id="2568000000071", first_name="ชื่อจริง")
    verdict, lines = evaluate(one, rules()), explanation(one, rules(), language)
    text = "\n".join(line.text for line in lines)
    assert "2568000000071" not in text
    assert "ชื่อจริง" not in text
    asked = [line for line in lines if line.about == "class" and line.answer is not None]
    if verdict.class_.decision == "nominate":
        assert {line.answer for line in asked} == {"yes"}
    elif verdict.class_.decision == "not_eligible":
        assert "no" in {line.answer for line in asked}
    elif verdict.class_.missing:
        assert any(line.kind == "missing" for line in lines)
    if language == "th":
        assert not [line.text for line in lines if " years " in line.text or "unknown" in line.text]
