"""What holds for every officer that can be thought of."""

import json
from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.insignia import rows, rules
from worker.insignia import evaluate_roster, load_criteria, row_of
from worker.insignia.evaluate import evaluate
from worker.insignia.officer import Award, Officer
from worker.insignia.standing import place_of

CRITERIA = load_criteria()
RANKS = CRITERIA.ranks
LEVELS = [level.level for group in CRITERIA.groups for level in group.levels] + ["M1", "M2", "C8", None]
HIGHEST, STRICT = rules(2569), rules(2569, sequence="strict_next")

quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
dates = st.dates(date(1985, 1, 1), date(2027, 12, 31))
maybe = lambda strategy: st.none() | strategy  # noqa: E731 -- a word, not a function
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
def test_an_evaluation_is_deterministic(officer: Officer) -> None:
    assert evaluate(officer, HIGHEST) == evaluate(officer, HIGHEST) == evaluate(officer, rules(2569))


@quick
@given(officers())
def test_a_proposed_class_is_above_every_class_held_and_within_the_level(officer: Officer) -> None:
    for which in (HIGHEST, STRICT):
        decision = evaluate(officer, which).class_
        if decision.award is not None:
            ladder = place_of(officer, which).ladder
            assert ladder is not None
            assert all(RANKS[decision.award] > RANKS.get(item.code, 0) for item in officer.decorations or ())
            assert RANKS[decision.award] <= ladder.max_rank


@quick
@given(officers())
def test_strict_next_never_gives_a_higher_class(officer: Officer) -> None:
    strict, highest = evaluate(officer, STRICT).class_, evaluate(officer, HIGHEST).class_
    if strict.award is not None and highest.award is not None:
        assert RANKS[strict.award] <= RANKS[highest.award]
    if strict.award is not None:
        # More is asked for the higher classes, and it may be missing; then somebody has to look.
        assert highest.award is not None or highest.reason == "INCOMPLETE_DATA"


@quick
@given(officers())
def test_a_penalty_on_file_never_leaves_a_nomination(officer: Officer) -> None:
    verdict = evaluate(replace(officer, discipline=("reprimand",)), HIGHEST)
    assert verdict.class_.decision != "nominate"
    assert verdict.medal.decision != "nominate"


@quick
@given(officers())
def test_nobody_is_nominated_whom_a_rule_excludes(officer: Officer) -> None:
    for change in ({"nationality": "LA"}, {"decoration_recalled": True}, {"left_service": date(2026, 7, 28)}):
        verdict = evaluate(replace(officer, returned_to_service=None, **change), HIGHEST)  # type: ignore[arg-type] # each fits
        assert "nominate" not in {verdict.class_.decision, verdict.medal.decision}


@quick
@given(officers())
def test_a_decision_has_either_an_award_or_a_reason(officer: Officer) -> None:
    for decision in row_of(evaluate(officer, HIGHEST)).values():
        if isinstance(decision, dict):
            nominated = decision["decision"] == "nominate"
            assert nominated is ("award" in decision) is ("step" in decision) is ("reason" not in decision)
            assert decision["confidence"] in {"low", "medium", "high"}


@quick
@given(officers(), st.integers(1, 30))
def test_longer_service_never_takes_the_medal_away(officer: Officer, years: int) -> None:
    if officer.service_start is None:
        return
    verdict = evaluate(officer, HIGHEST)
    earlier = replace(
        officer, service_start=officer.service_start.replace(day=1, year=officer.service_start.year - years)
    )
    if verdict.medal.decision == "nominate":
        assert evaluate(earlier, HIGHEST).medal == verdict.medal


@quick
@given(st.lists(officers(), min_size=1, max_size=4, unique_by=lambda officer: officer.person_id))
def test_a_roster_as_json_decides_as_the_officers_do(people: list[Officer]) -> None:
    people = [replace(officer, last_only=False) for officer in people]
    text = json.loads(json.dumps([as_object(officer) for officer in people]))
    assert rows(evaluate_roster(text, 2569)) == [row_of(evaluate(officer, HIGHEST)) for officer in people]


@quick
@given(
    st.lists(officers(), min_size=1, max_size=4, unique_by=lambda officer: officer.person_id),
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["birth_date", "level", "salary", "decorations", "person_id"]))
    ),
)
def test_bad_rows_never_change_the_decisions_about_good_ones(
    people: list[Officer], spoilt: list[tuple[int, str]]
) -> None:
    good = [as_object(officer) for officer in people]
    mixed: list[dict[str, Any]] = list(good)
    for place, field in spoilt:
        bad = good[0] | {"person_id": f"bad {len(mixed)}", "employee_group": "civil_servant"}
        mixed.insert(place, bad | {field: "" if field == "person_id" else "31/31/?"})
    evaluation = evaluate_roster(mixed, 2569, bad_row_limit=100)
    assert rows(evaluation) == rows(evaluate_roster(good, 2569))
    assert evaluation.bad_rows == len(spoilt)
