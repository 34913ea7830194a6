"""Properties that hold for every possible officer."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.insignia import rows, rules
from worker.insignia import evaluate_roster, load_criteria, result_row
from worker.insignia.roster.officer import Award, Officer
from worker.insignia.roster.plausibility import plausibility
from worker.insignia.rules.decision import Decision
from worker.insignia.rules.eligibility import match_ladder
from worker.insignia.rules.evaluate import evaluate
from worker.insignia.rules.ruleset import Rules

CRITERIA = load_criteria()
RANKS = CRITERIA.ranks
LEVELS = [level.level for group in CRITERIA.groups for level in group.levels] + ["M1", "M2", "C8", None]
HIGHEST, STRICT = rules(2569), rules(2569, sequence="strict_next")

quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
dates = st.dates(date(1985, 1, 1), date(2027, 12, 31))


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


figures = [10190, 13000, 15050, 15600, 19860, 22140, 58390, 59500]
pay = maybe(st.sampled_from([*figures, *(figure - 1 for figure in figures)]) | st.integers(8000, 80000))
ceremonies = st.builds(
    lambda year, odd: odd if year is None else date(year, 7, 28) if year >= 2017 else date(year, 12, 5),
    maybe(st.integers(2005, 2026)),
    dates,
)
awards = st.builds(Award, st.sampled_from([*RANKS, "CKM"]), maybe(ceremonies))


@st.composite
def officers(draw: st.DrawFn) -> Officer:
    return Officer(
        person_id=draw(st.uuids(version=4)).hex,
        employee_group=draw(
            st.sampled_from(["civil_servant"] * 5 + ["permanent_employee", "government_employee", None])
        ),
        position_type=draw(st.sampled_from([None, None, None, "general", "academic", "director", "executive"])),
        level=draw(st.sampled_from(LEVELS)),
        birth_date=draw(maybe(st.dates(date(1960, 1, 1), date(2003, 12, 31)))),
        service_start=draw(maybe(dates)),
        level_start=draw(maybe(dates)),
        salary=draw(pay),
        salary_5y_ago=draw(pay),
        position_allowance=draw(st.sampled_from([None, 13000, 15600])),
        decorations=draw(maybe(st.lists(awards, max_size=4).map(tuple))),
        last_only=draw(st.sampled_from([False, False, False, True])),
        nationality=draw(st.sampled_from(["TH"] * 9 + ["LA"])),
        decoration_recalled=draw(st.sampled_from([False] * 9 + [True])),
        imprisonment=draw(st.sampled_from([False] * 9 + [True])),
        discipline=draw(st.sampled_from([()] * 9 + [("salary_cut",)])),
        on_leave=draw(st.sampled_from([None] * 9 + ["study"])),
        left_service=draw(st.none() | st.none() | dates),
        resigned=draw(st.none() | st.none() | dates),
        returned_to_service=draw(st.none() | st.none() | dates),
    )


def as_object(officer: Officer) -> dict[str, Any]:
    """The officer as JSON would hold it; what is not known is null."""
    texts = {
        name: value.isoformat() if isinstance(value, date) else value
        for name in Officer.__slots__
        if name not in {"decorations", "last_only", "discipline"}
        for value in [getattr(officer, name)]
    }
    past = None
    if officer.decorations is not None:
        past = [
            {"code": item.code, "received": item.received and item.received.isoformat()} for item in officer.decorations
        ]
    return texts | {"decorations": past, "discipline": [{"penalty": penalty} for penalty in officer.discipline]}


@quick
@given(officers())
def test_evaluate_is_deterministic(officer: Officer) -> None:
    assert evaluate(officer, HIGHEST) == evaluate(officer, HIGHEST) == evaluate(officer, rules(2569))


@quick
@given(officers())
def test_nominated_class_is_above_every_class_held_and_within_the_level(officer: Officer) -> None:
    for which in (HIGHEST, STRICT):
        decision = evaluate(officer, which).class_
        if decision.award is not None:
            ladder = match_ladder(officer, which).ladder
            assert ladder is not None
            assert all(RANKS[decision.award] > RANKS.get(item.code, 0) for item in officer.decorations or ())
            assert RANKS[decision.award] <= ladder.max_rank


@quick
@given(officers())
def test_strict_next_never_gives_a_higher_class_than_the_default(officer: Officer) -> None:
    strict, highest = evaluate(officer, STRICT).class_, evaluate(officer, HIGHEST).class_
    if strict.award is not None and highest.award is not None:
        assert RANKS[strict.award] <= RANKS[highest.award]
    if strict.award is not None:
        # More is asked for the higher classes, and it may be missing; then a person has to review it.
        assert highest.award is not None or highest.reason == "INCOMPLETE_DATA"


UNKNOWN = ("service_start", "level_start", "salary", "salary_5y_ago", "birth_date", "nationality", "decorations")


def completions(officer: Officer, missing: list[str]) -> Iterator[Officer]:
    """Every officer this one may be, as far as a rule can tell them apart."""
    cutoff, last = HIGHEST.cutoff, HIGHEST.ceremony.year
    days = [cutoff.replace(year=cutoff.year - years) + timedelta(days=shift) for years in range(11) for shift in (0, 1)]
    within = [day for day in days if day <= cutoff]
    pays = [1000.0, *(float(figure + shift) for figure in figures for shift in (-1, 0))]
    climbed = [code for code, _ in sorted(RANKS.items(), key=lambda item: item[1])]
    histories: list[tuple[Award, ...]] = [()]
    for count in range(1, len(climbed) + 1):
        for year in (2010, last - 3, last - 1):
            below = tuple(Award(code, date(2005, 12, 5)) for code in climbed[: count - 1])
            received = Award(climbed[count - 1], date(year, 7, 28) if year >= 2017 else date(year, 12, 5))
            histories += [(received,), (*below, received)]
    values: dict[str, list[Any]] = {
        "service_start": [*days, date(1980, 1, 1)],
        "level_start": [*within, date(1980, 1, 1)],
        "salary": pays,
        "salary_5y_ago": pays,
        "birth_date": [date(last - 60, 3, 3), date(1985, 3, 3)],
        "nationality": ["TH", "LA"],
        "decorations": histories,
    }
    for chosen in itertools.product(*(values[name] for name in missing)):
        yield replace(officer, **dict(zip(missing, chosen, strict=True)))


@st.composite
def known_officers(draw: st.DrawFn) -> Officer:
    """Officers of whom nothing is unknown, with classes that rise and lie in the past."""
    level = draw(st.sampled_from([one for one in LEVELS if one]))
    group = next((group.id for group in CRITERIA.groups for one in group.levels if one.level == level), "civil_servant")
    years = sorted(draw(st.lists(st.integers(2010, 2026), max_size=3, unique=True)))
    codes = sorted(draw(st.lists(st.sampled_from(list(RANKS)), max_size=3, unique=True)), key=RANKS.__getitem__)
    past = [
        Award(code, date(year, 7, 28) if year >= 2017 else date(year, 12, 5))
        for code, year in zip(codes, years, strict=False)
    ]
    return Officer(
        person_id="x",
        employee_group=group,
        level=level,
        birth_date=draw(st.sampled_from([date(1966, 3, 3), date(1985, 3, 3)])),
        service_start=draw(st.dates(date(2000, 1, 1), date(2024, 1, 1))),
        level_start=draw(st.dates(date(2010, 1, 1), date(2025, 12, 31))),
        salary=draw(pay.filter(bool)),
        salary_5y_ago=draw(pay.filter(bool)),
        position_allowance=draw(st.sampled_from([13000, 15600])),
        decorations=tuple(past),
        discipline=draw(st.sampled_from([()] * 5 + [("salary_cut",)])),
        on_leave=draw(st.sampled_from([None] * 5 + ["study"])),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(known_officers(), st.lists(st.sampled_from(UNKNOWN), min_size=1, max_size=2, unique=True))
def test_unknown_value_is_asked_exactly_where_it_can_change_the_decision(officer: Officer, missing: list[str]) -> None:
    for which in (HIGHEST, STRICT):
        unknown: dict[str, Any] = dict.fromkeys(missing)
        decided = evaluate(replace(officer, **unknown), which).class_
        possible = {(one.decision, one.award) for one in _decisions(officer, missing, which)}
        if decided.decision == "manual_review":
            assert len(possible) > 1 or {word for word, _ in possible} == {"manual_review"}, decided
        else:
            assert possible == {(decided.decision, decided.award)}


def _decisions(officer: Officer, missing: list[str], which: Rules) -> Iterator[Decision]:
    return (evaluate(one, which).class_ for one in completions(officer, missing))


@quick
@given(known_officers(), st.integers(1, 12), st.integers(1, 28))
def test_award_date_outside_a_ceremony_never_leads_to_another_decision(officer: Officer, month: int, day: int) -> None:
    *below, last = officer.decorations or (Award("CT5", date(2020, 7, 28)),)
    assert last.received is not None
    odd = date(last.received.year, month, day)
    if HIGHEST.is_ceremony_day(odd) or odd > HIGHEST.ceremony:
        return
    decided = evaluate(replace(officer, decorations=(*below, Award(last.code, odd))), HIGHEST).class_
    if decided.decision != "manual_review":
        for year in range(odd.year - 3, odd.year + 1):
            meant = date(year, 7, 28) if year >= 2017 else date(year, 12, 5)
            sure = evaluate(replace(officer, decorations=(*below, Award(last.code, meant))), HIGHEST).class_
            assert (sure.decision, sure.award) == (decided.decision, decided.award)


@quick
@given(officers())
def test_penalty_on_file_prevents_a_nomination(officer: Officer) -> None:
    verdict = evaluate(replace(officer, discipline=("reprimand",)), HIGHEST)
    assert verdict.class_.decision != "nominate"
    assert verdict.medal.decision != "nominate"


@quick
@given(officers())
def test_excluded_officer_is_never_nominated(officer: Officer) -> None:
    for change in ({"nationality": "LA"}, {"decoration_recalled": True}, {"left_service": date(2026, 7, 28)}):
        verdict = evaluate(replace(officer, returned_to_service=None, **change), HIGHEST)
        assert "nominate" not in {verdict.class_.decision, verdict.medal.decision}


@quick
@given(officers())
def test_decision_has_either_an_award_or_a_reason(officer: Officer) -> None:
    for decision in result_row(evaluate(officer, HIGHEST)).values():
        if isinstance(decision, dict):
            nominated = decision["decision"] == "nominate"
            assert nominated is ("award" in decision) is ("step" in decision) is ("reason" not in decision)
            assert decision["confidence"] in {"low", "medium", "high"}


_IN_OFFICE = date(1981, 10, 1)
"""A beginning of service from which an officer may still be in service."""


@quick
@given(officers(), st.integers(1, 30))
def test_longer_service_never_loses_the_medal(officer: Officer, years: int) -> None:
    if officer.service_start is None:
        return
    verdict = evaluate(officer, HIGHEST)
    start = officer.service_start.replace(day=1, year=officer.service_start.year - years)
    # Who began before that, at 15 or later, is past retirement, which is reviewed.
    if verdict.medal.decision == "nominate" and start >= _IN_OFFICE:
        assert evaluate(replace(officer, service_start=start), HIGHEST).medal == verdict.medal


def is_plausible(officer: Officer) -> bool:
    """Return whether the reader keeps every value: no impossible life, no pay far outside the level's band.

    M1 and M2 of a director are the former names of D1 and D2, and the reader gives the level its present name.
    """
    if officer.position_type == "director" and officer.level in {"M1", "M2"}:
        return False
    return plausibility(CRITERIA.salary_bands).check(officer) == (officer, [])


plausible = officers().filter(is_plausible)


@quick
@given(st.lists(plausible, min_size=1, max_size=4, unique_by=lambda officer: officer.person_id))
def test_roster_as_json_gives_the_decisions_of_its_officers(people: list[Officer]) -> None:
    people = [replace(officer, last_only=False) for officer in people]
    text = json.loads(json.dumps([as_object(officer) for officer in people]))
    read = evaluate_roster(text, 2569).verdicts
    assert [result_row(verdict) for verdict in read] == [result_row(evaluate(officer, HIGHEST)) for officer in people]


@quick
@given(
    st.lists(plausible, min_size=1, max_size=4, unique_by=lambda officer: officer.person_id),
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["birth_date", "level", "salary", "decorations", "person_id"]))
    ),
)
def test_bad_rows_never_change_the_decisions_of_good_rows(people: list[Officer], spoilt: list[tuple[int, str]]) -> None:
    good = [as_object(officer) for officer in people]
    mixed: list[dict[str, Any]] = list(good)
    for place, field in spoilt:
        bad = good[0] | {"person_id": f"bad {len(mixed)}", "employee_group": "civil_servant"}
        mixed.insert(place, bad | {field: "" if field == "person_id" else "31/31/?"})
    evaluation = evaluate_roster(mixed, 2569, bad_row_limit=100)
    assert rows(evaluation) == rows(evaluate_roster(good, 2569))
    assert evaluation.bad_rows == len(spoilt)
