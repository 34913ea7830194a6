"""Class decisions: every ladder, and the boundaries of every question in the evaluation order."""

import json
from dataclasses import replace
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import pytest

from tests.support.insignia import class_of, confidence_of, day, held, officer, rules
from worker.insignia.criteria.model import Criteria
from worker.insignia.roster.officer import Award, Officer
from worker.insignia.rules.compiler import compile_rules
from worker.insignia.rules.evaluate import evaluate
from worker.insignia.rules.explain import explain

LOW_PAY, HIGH_PAY = 9900, 16500
"""On both sides of the O2 minimum."""


def test_o1_without_a_class_and_enough_pay_gets_ct4_or_with_strict_next_ct5() -> None:
    newcomer = officer("O1", salary=HIGH_PAY)
    assert class_of(newcomer) == "CT4 CS-O1-3"
    assert class_of(newcomer, sequence="strict_next") == "CT5 CS-O1-1"


@pytest.mark.parametrize(
    ("awards", "salary", "level_start", "expected", "strict"),
    [
        (("CT5 2018",), LOW_PAY, "2014-10-01", "WE5 CS-O1-2", "WE5 CS-O1-2"),
        (("CT5 2018",), LOW_PAY, "2015-10-01", "LEVEL_YEARS_TOO_SHORT > WE5", "LEVEL_YEARS_TOO_SHORT > WE5"),
        (("CT5 2018",), HIGH_PAY, "2014-10-01", "CT4 CS-O1-3", "SALARY_BRANCH_NOT_APPLICABLE > WE5"),
        (("CT5 2018",), HIGH_PAY, "2020-10-01", "CT4 CS-O1-3", "SALARY_BRANCH_NOT_APPLICABLE > WE5"),
        (("CT5 2018",), 10190, "2014-10-01", "CT4 CS-O1-3", "SALARY_BRANCH_NOT_APPLICABLE > WE5"),
        (("CT5 2018",), 10189.99, "2014-10-01", "WE5 CS-O1-2", "WE5 CS-O1-2"),
        (("CT5 2015", "WE5 2018"), LOW_PAY, "2014-10-01", "SALARY_TOO_LOW > CT4", "SALARY_TOO_LOW > CT4"),
        (("CT5 2015", "WE5 2018"), HIGH_PAY, "2014-10-01", "CT4 CS-O1-3", "CT4 CS-O1-3"),
        (("CT4 2018",), HIGH_PAY, "2015-06-01", "LEVEL_YEARS_TOO_SHORT > WE4", "LEVEL_YEARS_TOO_SHORT > WE4"),
        (("CT4 2018",), LOW_PAY, "2014-06-01", "SALARY_TOO_LOW > WE4", "SALARY_TOO_LOW > WE4"),
        (("WE4 2018",), HIGH_PAY, "2014-06-01", "ALREADY_AT_MAX", "ALREADY_AT_MAX"),
        (("CT3 2018",), HIGH_PAY, "2014-06-01", "ALREADY_AT_MAX", "ALREADY_AT_MAX"),
    ],
)
def test_o1_branch_is_chosen_by_pay_and_years(
    awards: tuple[str, ...], salary: float, level_start: str, expected: str, strict: str
) -> None:
    one = officer("O1", *awards, salary=salary, level_start=level_start)
    assert class_of(one) == expected
    assert class_of(one, sequence="strict_next") == strict


@pytest.mark.parametrize(
    ("level", "awards", "facts", "expected"),
    [
        ("O2", (), {}, "CT3 CS-O2-1"),
        ("O2", ("CT4 2018",), {"level_start": "2025-01-01"}, "CT3 CS-O2-1"),
        ("O2", ("CT3 2018",), {"level_start": "2020-05-29"}, "WE3 CS-O2-2"),
        ("O2", ("CT3 2018",), {"level_start": "2020-05-30"}, "LEVEL_YEARS_TOO_SHORT > WE3"),
        ("O3", ("CT2 2020",), {}, "WE2 CS-O3-2"),
        ("O3", ("WE2 2020",), {}, "ALREADY_AT_MAX"),
        ("O4", ("WE2 2022",), {}, "CT1 CS-O4-1"),
        ("O4", ("CT1 2022",), {}, "WE1 CS-O4-2"),
        ("O4", ("WE1 2021",), {}, "HELD_YEARS_TOO_SHORT > CTS"),
        ("O4", ("CT2 2020",), {}, "PREREQUISITE_NOT_HELD > CT1"),
        ("K1", ("CT3 2020",), {}, "ALREADY_AT_MAX"),
        ("K1", ("CT4 2020",), {}, "CT3 CS-K1-1"),
        ("K2", (), {"salary": 19859}, "WE3 CS-K2-1"),
        ("K2", (), {"salary": 19860}, "CT2 CS-K2-2"),
        ("K2", ("WE3 2020",), {"salary": 19000}, "SALARY_TOO_LOW > CT2"),
        ("K2", ("CT2 2020",), {"salary": 19000, "salary_5y_ago": 17000}, "SALARY_TOO_LOW > WE2"),
        ("K2", ("CT2 2020",), {"salary": 30000, "salary_5y_ago": 19860}, "WE2 CS-K2-3"),
        ("K3", ("WE2 2020",), {"salary": 58390}, "CT1 CS-K3-2"),
        ("K3", ("WE2 2020",), {"salary": 58389}, "SALARY_TOO_LOW > CT1"),
        ("K3", ("WE2 2021",), {"salary": 58390}, "HELD_YEARS_TOO_SHORT > CT1"),
        ("K3", (), {"salary": 58390}, "WE2 CS-K3-1"),
        ("K3", ("CT1 2021",), {"salary": 58390}, "ALREADY_AT_MAX"),
        ("K4", (), {}, "PREREQUISITE_NOT_HELD > CT1"),
        ("K4", ("WE2 2023",), {}, "HELD_YEARS_TOO_SHORT > CT1"),
        ("K4", ("WE2 2018", "CTS 2020"), {}, "ALREADY_AT_MAX"),
        ("K5", ("CT1 2022",), {"position_allowance": 13000}, "WE1 CS-K5a-1"),
        ("K5", ("WE1 2022",), {"position_allowance": 13000}, "CTS CS-K5a-2"),
        ("K5", ("CTS 2021",), {"position_allowance": 13000}, "HELD_YEARS_TOO_SHORT > WES"),
        ("K5", ("WE2 2018",), {"position_allowance": 13000}, "PREREQUISITE_NOT_HELD > WE1"),
        ("K5", ("CTS 2018",), {"position_allowance": 15600}, "RULE_NOT_FOUND ?"),
        ("K5", ("CTS 2018",), {}, "INCOMPLETE_DATA ?"),
        ("D1", (), {}, "WE2 CS-D1-1"),
        ("D1", ("WE2 2022",), {"salary": 59500}, "CT1 CS-D1-2"),
        ("D1", ("WE2 2022",), {"salary": 59000}, "SALARY_TOO_LOW > CT1"),
        ("D1", ("WE2 2023",), {"salary": 59500}, "HELD_YEARS_TOO_SHORT > CT1"),
        ("D2", ("WE2 2022",), {}, "CT1 CS-D2-1"),
        ("D2", ("CT2 2022",), {}, "PREREQUISITE_NOT_HELD > CT1"),
        ("D2", ("WE1 2020",), {}, "CTS CS-D2-3"),
        ("M1", ("WE2 2018",), {}, "RULE_NOT_FOUND ?"),
        ("C8", ("WE2 2018",), {}, "RULE_NOT_FOUND ?"),
        ("GE-1", ("CT5 2020",), {"level_start": None}, "WE5 GE-1-2"),
        ("GE-2", ("CT5 2020",), {"level_start": None}, "WE5 GE-2-1"),
        ("GE-6", ("WE2 2022",), {"level_start": None}, "CT1 GE-6-4"),
        ("GE-6", ("CT2 2022",), {"level_start": None}, "HELD_YEARS_TOO_SHORT > WE2"),
        ("GE-7", ("WE1 2018",), {"level_start": None}, "ALREADY_AT_MAX"),
    ],
)
def test_ladder_gives_the_expected_decision(
    level: str, awards: tuple[str, ...], facts: dict[str, Any], expected: str
) -> None:
    assert class_of(officer(level, *awards, **facts)) == expected


def test_k3_minimum_is_a_parameter() -> None:
    one = officer("K2", "WE3 2020", salary=21000)
    assert class_of(one) == "CT2 CS-K2-2"
    assert class_of(one, parameters={"k3_min": 22140}) == "SALARY_TOO_LOW > CT2"


def test_strict_next_begins_with_the_start_class() -> None:
    assert class_of(officer("K2", salary=30000)) == "CT2 CS-K2-2"
    assert class_of(officer("K2", salary=30000), sequence="strict_next") == "WE3 CS-K2-1"


@pytest.mark.parametrize(
    ("level", "wage", "awards", "expected"),
    [
        ("PE-A", 9000, (), "CT5 PE-A-1"),
        ("PE-A", 9000, ("CT5 2020",), "WE5 PE-A-2"),
        ("PE-A", 9000, ("WE5 2021",), "HELD_YEARS_TOO_SHORT > CT4"),
        ("PE-B", 16000, ("CT5 2020",), "WE5 PE-B-1"),
        ("PE-B", 15050, ("WE5 2020",), "CT4 PE-B-2"),
        (None, 8340, (), "CT5 PE-A-1"),
        (None, 15049.99, (), "CT5 PE-A-1"),
        (None, 15050, (), "WE5 PE-B-1"),
        (None, 8339, (), "RULE_NOT_FOUND ?"),
        ("PE-A", 8339, (), "RULE_NOT_FOUND ?"),
        ("PE-A", 16000, (), "RULE_NOT_FOUND ?"),
        ("PE-B", 15000, (), "RULE_NOT_FOUND ?"),
        ("PE-A", None, (), "INCOMPLETE_DATA ?"),
        (None, None, (), "INCOMPLETE_DATA ?"),
    ],
)
def test_permanent_employee_band_is_decided_by_the_wage(
    level: str | None, wage: float | None, awards: tuple[str, ...], expected: str
) -> None:
    one = officer(level, *awards, employee_group="permanent_employee", salary=wage, level_start=None)
    assert class_of(one) == expected


@pytest.mark.parametrize(("years", "expected"), [(8, "CT5 PE-A-1"), (7, "SERVICE_TOO_SHORT")])
def test_permanent_employee_needs_eight_years_of_service(years: int, expected: str) -> None:
    one = officer("PE-A", salary=9000, level_start=None, service_start=f"{2025 - years}-05-29")
    assert class_of(one) == expected


# -- incomplete data: what is asked, and only that


@pytest.mark.parametrize(
    ("level", "awards", "facts", "expected"),
    [
        ("K2", (), {"service_start": None}, "INCOMPLETE_DATA ?"),
        ("K2", (), {"employee_group": None}, "INCOMPLETE_DATA ?"),
        (None, (), {}, "INCOMPLETE_DATA ?"),
        ("K2", (), {"decorations": None}, "INCOMPLETE_DATA ?"),
        ("K2", (), {"salary": None}, "INCOMPLETE_DATA ?"),
        ("O2", (), {"salary": None}, "CT3 CS-O2-1"),
        ("O2", (), {"level_start": None}, "CT3 CS-O2-1"),
        ("O2", ("CT3 2020",), {"level_start": None}, "INCOMPLETE_DATA ?"),
        ("O2", ("WE3 2020",), {"level_start": None}, "ALREADY_AT_MAX"),
        ("K3", (), {"level_start": None}, "WE2 CS-K3-1"),
        ("K3", ("WE2 2020",), {"salary": None}, "INCOMPLETE_DATA ?"),
        ("K2", ("WE3 2020",), {"salary": 30000}, "CT2 CS-K2-2"),
        ("K2", ("CT2 2020",), {"salary": 30000}, "INCOMPLETE_DATA ?"),
        ("K4", ("WE2 2020",), {"birth_date": None}, "CT1 CS-K4-1"),
        ("K4", ("WE2 2023",), {"birth_date": None}, "INCOMPLETE_DATA ?"),
        ("K3", ("WE2 2020",), {"birth_date": None, "salary": 50000}, "SALARY_TOO_LOW > CT1"),
    ],
)
def test_missing_data_matters_only_if_it_is_needed(
    level: str | None, awards: tuple[str, ...], facts: dict[str, Any], expected: str
) -> None:
    assert class_of(officer(level, *awards, **facts)) == expected


def test_strict_next_needs_only_the_data_of_the_next_step() -> None:
    unpaid = officer("K2", salary=None)
    assert class_of(unpaid) == "INCOMPLETE_DATA ?"
    assert class_of(unpaid, sequence="strict_next") == "WE3 CS-K2-1"


def test_undated_highest_class_is_incomplete_and_an_undated_lower_one_is_not() -> None:
    undated = (Award("CT3", None),)
    assert class_of(officer("K2", decorations=undated)) == "INCOMPLETE_DATA ?"
    assert class_of(officer("K2", decorations=(*undated, *held("WE3 2020")), salary=30000)) == "CT2 CS-K2-2"


def test_missing_data_matters_only_without_a_certain_exclusion() -> None:
    assert class_of(officer("K2", salary=None, nationality="XX")) == "NOT_THAI"
    assert class_of(officer("K2", salary=None, service_start="2021-01-01")) == "SERVICE_TOO_SHORT"


def test_review_names_the_fields_that_decide() -> None:
    one = officer("K2", "CT2 2020", salary=30000, salary_5y_ago=None, level_start=None)
    assert evaluate(one, rules()).class_.missing == ("salary_5y_ago",)
    assert evaluate(officer("K2", decorations=None, nationality=None), rules()).class_.missing[0] == "nationality"


@pytest.mark.parametrize(
    ("level", "received", "expected"),
    [
        ("K2", "2019-01-12", "WE3 CS-K2-1"),
        ("K2", "2024-01-12", "INCOMPLETE_DATA ?"),
        ("K1", "2024-01-12", "ALREADY_AT_MAX"),
    ],
)
def test_award_date_outside_a_ceremony_is_asked_only_where_it_decides(level: str, received: str, expected: str) -> None:
    assert class_of(officer(level, f"CT3 {received}")) == expected


@pytest.mark.parametrize(
    ("as_of", "expected"), [("ceremony", "WE1 CS-K4-2"), ("fiscal_year", "HELD_YEARS_TOO_SHORT > WE1")]
)
def test_day_to_which_a_class_is_held_is_a_parameter_of_the_criteria(as_of: str, expected: str) -> None:
    raw = json.loads(files("worker.insignia.criteria").joinpath("criteria.json").read_text("utf-8"))
    next(rule for rule in raw["general_rules"] if rule["id"] == "GR-HELD-AS-OF")["params"]["as_of"] = as_of
    other = compile_rules(Criteria.model_validate_json(json.dumps(raw)), 2568)
    decision = evaluate(officer("K4", "CT1 2022"), other).class_
    named = (decision.award, decision.step) if decision.award else (decision.reason, ">", decision.next_award)
    assert " ".join(map(str, named)) == expected


def test_level_reached_after_the_cutoff_does_not_count() -> None:
    assert class_of(officer("K3", "CT2 2020", level_start="2025-05-29")) == "WE2 CS-K3-1"
    assert class_of(officer("K3", "CT2 2020", level_start="2025-05-30")) == "INCOMPLETE_DATA ?"
    assert class_of(officer("GE-1", level_start="2025-06-15")) == "CT5 GE-1-1"


# -- exclusions and reviews


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"nationality": "XX"}, "NOT_THAI"),
        ({"decoration_recalled": True}, "DECORATION_RECALLED"),
        ({"left_service": "2025-07-27"}, "NOT_IN_SERVICE_ON_CEREMONY"),
        ({"left_service": "2025-07-28"}, "NOT_IN_SERVICE_ON_CEREMONY"),
        ({"left_service": "2025-07-29"}, "WE3 CS-K2-1"),
        ({"resigned": "2020-01-01"}, "NOT_IN_SERVICE_ON_CEREMONY"),
        ({"left_service": "2020-01-01", "resigned": "2027-01-01"}, "NOT_IN_SERVICE_ON_CEREMONY"),
        ({"left_service": "2027-01-01", "resigned": "2020-01-01"}, "NOT_IN_SERVICE_ON_CEREMONY"),
        ({"left_service": "2016-01-01", "returned_to_service": "2017-01-01"}, "WE3 CS-K2-1"),
        ({"resigned": "2016-01-01", "returned_to_service": "2017-01-01"}, "WE3 CS-K2-1"),
        ({"resigned": "2016-01-01", "returned_to_service": "2025-08-01"}, "NOT_IN_SERVICE_ON_CEREMONY"),
        (
            {"resigned": "2016-01-01", "returned_to_service": "2017-01-01", "left_service": "2025-06-30"},
            "NOT_IN_SERVICE_ON_CEREMONY",
        ),
        ({"imprisonment": True}, "IMPRISONMENT_REVIEW ?"),
        ({"discipline": ("pending",)}, "DISCIPLINE_REVIEW ?"),
        ({"on_leave": "spouse"}, "LEAVE_REVIEW ?"),
        ({"imprisonment": True, "discipline": ("x",), "on_leave": "study"}, "IMPRISONMENT_REVIEW ?"),
        ({"discipline": ("x",), "on_leave": "study"}, "DISCIPLINE_REVIEW ?"),
        ({"discipline": ("x",), "nationality": "XX"}, "NOT_THAI"),
        ({"discipline": ("x",), "service_start": "2024-01-01"}, "SERVICE_TOO_SHORT"),
        ({"level": "M1", "service_start": "2024-01-01"}, "SERVICE_TOO_SHORT"),
        ({"level": "M1", "decorations": held("WES 2020")}, "ALREADY_AT_MAX"),
        ({"discipline": ("x",), "level": "M1"}, "DISCIPLINE_REVIEW ?"),
        ({"level": "M1", "nationality": "XX"}, "NOT_THAI"),
    ],
)
def test_exclusion_takes_precedence_over_review_and_both_over_the_ladder(facts: dict[str, Any], expected: str) -> None:
    assert class_of(officer(**({"level": "K2"} | facts))) == expected


def test_level_of_another_position_type_has_no_ladder() -> None:
    assert class_of(officer("K2", position_type="academic")) == "WE3 CS-K2-1"
    assert class_of(officer("K2", position_type="general")) == "RULE_NOT_FOUND ?"
    assert class_of(officer("GE-1", employee_group="civil_servant")) == "RULE_NOT_FOUND ?"
    assert class_of(officer("K2", employee_group="temporary")) == "RULE_NOT_FOUND ?"


# -- rounds


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ("2023-07-28", "WE3 CS-K2-1"),
        ("2024-07-28", "CONSECUTIVE_YEAR"),
        ("2024-01-12", "INCOMPLETE_DATA ?"),
        ("2025-07-28", "CONSECUTIVE_YEAR"),
        ("2025-07-29", "INCOMPLETE_DATA ?"),
        ("2027-07-28", "INCOMPLETE_DATA ?"),
    ],
)
def test_last_class_in_the_round_before_prevents_another(received: str, expected: str) -> None:
    assert class_of(officer("K2", f"CT3 {received}")) == expected


def test_medal_does_not_count_as_a_class() -> None:
    assert class_of(officer("K2", "CT3 2018", "CKM 2024")) == "WE3 CS-K2-1"
    assert class_of(officer("K2", "CKM 2018")) == "WE3 CS-K2-1"


def test_consecutive_round_takes_precedence_over_the_highest_class() -> None:
    assert class_of(officer("K1", "CT3 2024")) == "CONSECUTIVE_YEAR"


def test_latest_class_decides_the_round_and_the_highest_class_the_ladder() -> None:
    assert class_of(officer("K2", "WE3 2018", "CT3 2024")) == "CONSECUTIVE_YEAR"
    assert class_of(officer("K2", "WE3 2018", "CT3 2020", salary=30000)) == "CT2 CS-K2-2"


def test_round_before_2560_ends_on_5_december() -> None:
    old = rules(2559)
    assert (str(old.ceremony), str(old.cutoff)) == ("2016-12-05", "2016-10-06")
    assert class_of(officer("K1", service_start="2011-10-06", level_start="2012-01-01"), 2559) == "CT3 CS-K1-1"
    assert class_of(officer("K1", service_start="2011-10-07", level_start="2012-01-01"), 2559) == "SERVICE_TOO_SHORT"
    assert (str(rules(2560).ceremony), str(rules(2560).cutoff)) == ("2017-07-28", "2017-05-29")


@pytest.mark.parametrize(
    ("start", "expected"),
    [("2020-05-28", "WE3 CS-K2-1"), ("2020-05-29", "WE3 CS-K2-1"), ("2020-05-30", "SERVICE_TOO_SHORT")],
)
def test_service_of_five_years_is_complete_on_the_anniversary(start: str, expected: str) -> None:
    assert class_of(officer("K2", service_start=start, level_start="2020-06-01")) == expected


def test_service_from_29_february_completes_a_year_on_1_march() -> None:
    from worker.insignia.buddhist_year import years_before

    leap, last, first = (
        officer(service_start=text).service_start for text in ("2020-02-29", "2025-02-28", "2025-03-01")
    )
    assert leap is not None
    assert last is not None
    assert first is not None
    assert leap > years_before(last, 5)
    assert leap <= years_before(first, 5)
    assert str(years_before(leap, 5)) == "2015-02-28"


def test_service_after_a_break_is_counted_from_the_return() -> None:
    back = {"resigned": "2018-01-01", "service_start": "2010-01-01", "level_start": "2012-01-01"}
    assert class_of(officer("K2", returned_to_service="2020-05-29", **back)) == "WE3 CS-K2-1"
    assert class_of(officer("K2", returned_to_service="2020-05-30", **back)) == "SERVICE_TOO_SHORT"


@pytest.mark.parametrize(
    ("resigned", "expected"),
    [
        ("2018-01-01", "WE5 CS-O1-2"),
        ("2012-03-01", "LEVEL_YEARS_TOO_SHORT > WE5"),
        (None, "INCOMPLETE_DATA ?"),
    ],
)
def test_years_in_the_level_are_counted_in_total_without_the_break(resigned: str | None, expected: str) -> None:
    facts = {"level_start": "2012-01-01", "service_start": "2010-01-01", "resigned": resigned}
    one = officer("O1", "CT5 2016", salary=9000, returned_to_service="2019-01-01", **facts)
    assert class_of(one) == expected


# -- the retirement clause


@pytest.mark.parametrize(
    ("birth", "expected"),
    [
        ("1964-09-30", "HELD_YEARS_TOO_SHORT > WE1"),
        ("1964-10-01", "RETIREMENT_CLAUSE_REVIEW ?"),
        ("1965-09-30", "RETIREMENT_CLAUSE_REVIEW ?"),
        ("1965-10-01", "HELD_YEARS_TOO_SHORT > WE1"),
    ],
)
def test_retirement_year_is_the_fiscal_year_of_the_60th_birthday(birth: str, expected: str) -> None:
    assert class_of(officer("K4", "WE2 2017", "CT1 2023", birth_date=birth)) == expected


@pytest.mark.parametrize(
    ("level", "awards", "facts", "expected"),
    [
        ("K4", ("CT1 2022",), {}, "WE1 CS-K4-2"),
        ("K4", ("CTS 2022",), {}, "ALREADY_AT_MAX"),
        ("K4", ("CT1 2024",), {}, "CONSECUTIVE_YEAR"),
        ("K4", ("CT1 2023",), {"left_service": "2025-08-31"}, "HELD_YEARS_TOO_SHORT > WE1"),
        ("K4", ("CT1 2023",), {"left_service": "2025-09-30"}, "RETIREMENT_CLAUSE_REVIEW ?"),
        ("K4", ("CT1 2023",), {"left_service": "2025-10-01"}, "RETIREMENT_CLAUSE_REVIEW ?"),
        ("K3", ("WE2 2021",), {"salary": 58390}, "HELD_YEARS_TOO_SHORT > CT1"),
        ("K4", ("CT1 2023",), {"resigned": "2025-09-01"}, "HELD_YEARS_TOO_SHORT > WE1"),
        ("D2", ("CT1 2023",), {}, "RETIREMENT_CLAUSE_REVIEW ?"),
        ("O4", ("CT1 2023",), {}, "RETIREMENT_CLAUSE_REVIEW ?"),
    ],
)
def test_retirement_clause_applies_without_a_step_unless_resigned(
    level: str, awards: tuple[str, ...], facts: dict[str, Any], expected: str
) -> None:
    assert class_of(officer(level, *awards, birth_date="1965-03-03", **facts)) == expected


# -- confidence


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (officer("K1"), "high"),
        (officer("K2", "WE3 2020", salary=30000), "medium"),
        (officer("K2", salary=30000), "low"),
        (officer("O1", salary=16500), "low"),
        (officer("O1", "WE5 2018", salary=16500), "medium"),
        (officer("D1", "CT2 2018"), "medium"),
        (officer("D1", "WE2 2018", salary=59500), "low"),
        (officer("D1", "WE2 2018", salary=50000), "low"),
        (officer("K4", "WE2 2018"), "low"),
        (officer("PE-A", salary=9000, level_start=None), "medium"),
        (officer("K2", discipline=("x",)), "low"),
        (officer("K2", on_leave="study"), "medium"),
        (officer("K2", imprisonment=True), "medium"),
        (officer("K2", nationality="XX"), "high"),
        (officer("M1"), "high"),
        (officer("K1", service_start="2020-05-30"), "high"),
        (officer("K1", service_start="2020-05-31"), "high"),
        (officer("K1", resigned="2016-01-01", returned_to_service="2017-01-01"), "medium"),
    ],
)
def test_confidence_is_the_lowest_of_the_rules_used(one: Officer, expected: str) -> None:
    assert confidence_of(one) == expected


def test_explain_names_the_rules_and_conditions_of_a_nomination() -> None:
    one = officer("K2", "WE3 2020", salary=30000)
    decision = evaluate(one, rules()).class_
    assert {"CS-K2-2", "params.k3_min", "GR-SERVICE-5"} <= set(decision.rules)
    reported = "\n".join(explain(one, rules()))
    assert "salary 30,000 >= 19,860 (params.k3_min): yes" in reported
    assert "nominate CT2" in reported


def test_explain_names_missing_data_and_the_deciding_rule() -> None:
    assert "missing: level_start" in "\n".join(explain(officer("O2", "CT3 2020", level_start=None), rules()))
    assert "GR-LEAVE: On study leave" in "\n".join(explain(officer("K2", on_leave="study"), rules()))
    assert "WE2 held 5 years on 2025-07-28, received 2021-07-28: no" in "\n".join(
        explain(officer("K3", "WE2 2021", salary=58390), rules())
    )


@pytest.mark.parametrize(("received", "expected"), [("2021-07-28", 2569), ("2023-07-28", 2571)])
def test_explain_says_from_which_round_the_years_are_complete(received: str, expected: int) -> None:
    lines = explain(officer("K3", f"WE2 {received}", salary=58390), rules())
    assert any(f"received {received}: no, met from round {expected}" in line for line in lines)


def test_explain_in_thai_compares_pay_in_words_and_says_complete_of_years_only() -> None:
    reported = "\n".join(explain(officer("O1", "CT4 2015", salary=18890), rules(), "th"))
    assert "เงินเดือน 18,890 บาท ไม่ต่ำกว่า 10,190 บาท (เงินเดือนขั้นต่ำระดับชำนาญงาน): ใช่" in reported
    assert "เคยได้รับ จ.ม.: ใช่" in reported
    assert ": ครบ" in reported
    unknown = "\n".join(explain(officer("K2", "CT2 2020", salary=30000), rules(), "th"))
    assert "เงินเดือนเมื่อ 5 ปีก่อน ไม่ทราบ ไม่ต่ำกว่า 19,860 บาท" in unknown


def test_explain_in_thai_has_buddhist_years_and_no_english_sentence() -> None:
    lines = explain(officer("K3", "WE2 2021", salary=58390), rules(), "th")
    assert lines[0].startswith("ชั้นตรา: ยังไม่เข้าเกณฑ์ ครองชั้นปัจจุบันยังไม่ครบจำนวนปีตามเกณฑ์ ชั้นถัดไป ป.ม.")
    assert not any("CT1" in line for line in lines)
    assert any("ณ วันที่ 28/7/2568 ได้รับเมื่อ 28/7/2564: ไม่ครบ จะครบในรอบปี 2569" in line for line in lines)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({}, "INCOMPLETE_DATA", id="no day of leaving"),
        pytest.param({"birth_date": "1964-10-01"}, "CT5", id="retires in the year of the round"),
        pytest.param({"birth_date": "1964-09-30"}, "INCOMPLETE_DATA", id="retired in the year before"),
        pytest.param({"left_service": "2024-10-01"}, "NOT_IN_SERVICE_ON_CEREMONY", id="left"),
        pytest.param({"left_service": "2026-10-01"}, "CT5", id="leaves after the ceremony"),
        pytest.param({"resigned": "2010-01-01", "returned_to_service": "2012-01-01"}, "INCOMPLETE_DATA", id="returned"),
        pytest.param({"service_start": "2022-01-01"}, "SERVICE_TOO_SHORT", id="excluded on other grounds"),
    ],
)
def test_officer_past_retirement_is_reviewed_where_the_day_of_leaving_decides(
    facts: dict[str, Any], expected: str
) -> None:
    one = officer("O1", salary=LOW_PAY, **{"birth_date": "1960-03-03"} | facts)
    assert class_of(one).split(" ")[0] == expected
    if expected == "INCOMPLETE_DATA":
        verdict = evaluate(one, rules())
        assert verdict.class_.missing == ("left_service",)
        medal = evaluate(
            replace(one, service_start=day("1999-01-01"), resigned=None, returned_to_service=None), rules()
        ).medal
        assert (medal.reason, medal.missing) == ("INCOMPLETE_DATA", ("left_service",))


_SERVICE, _LEFT = ("service_start",), ("left_service",)


@pytest.mark.parametrize(
    ("facts", "expected", "missing"),
    [
        pytest.param({"service_start": "2028-04-01"}, "INCOMPLETE_DATA", _SERVICE, id="after the round's year"),
        pytest.param({"service_start": "2025-12-01"}, "SERVICE_TOO_SHORT", (), id="later in the round's year"),
        pytest.param({"returned_to_service": "2028-04-01"}, "INCOMPLETE_DATA", _SERVICE, id="returns later"),
        pytest.param(
            {"resigned": "2027-04-01", "returned_to_service": "2028-04-01"}, "INCOMPLETE_DATA", _SERVICE, id="both"
        ),
        pytest.param(
            {"resigned": "2023-04-01", "returned_to_service": "2028-04-01"}, "NOT_IN_SERVICE_ON_CEREMONY", (), id="away"
        ),
        pytest.param(
            {"birth_date": None, "service_start": "1957-01-01"}, "INCOMPLETE_DATA", _LEFT, id="57 years early"
        ),
        pytest.param(
            {"birth_date": "2028-01-01", "service_start": "1957-01-01"}, "INCOMPLETE_DATA", _LEFT, id="born later"
        ),
        pytest.param({"birth_date": None, "service_start": "1980-01-01"}, "CT5", (), id="in service for 45 years"),
        pytest.param({"birth_date": None, "service_start": "1979-01-01"}, "INCOMPLETE_DATA", _LEFT, id="46 years"),
    ],
)
def test_dates_that_no_one_in_service_has_are_unknown(
    facts: dict[str, Any], expected: str, missing: tuple[str, ...]
) -> None:
    one = officer("O1", salary=LOW_PAY, **facts)
    assert class_of(one).split(" ")[0] == expected
    assert evaluate(one, rules()).class_.missing == missing
    if find_spec("polars") is not None:
        from worker.insignia.columnar.evaluator import evaluate_all

        assert list(evaluate_all([one], rules())) == [evaluate(one, rules())]
