"""Random valid criteria, and random officers whose values lie close to the limits of a round's rules."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any

from worker.insignia.criteria.identity import canonical_form
from worker.insignia.criteria.loader import load_criteria
from worker.insignia.criteria.model import CONFIDENCES, Criteria
from worker.insignia.criteria.validation import DECIDING, find_faults
from worker.insignia.roster.officer import Award, Officer
from worker.insignia.rules.conditions import Condition, HeldYears, MinimumYears, PayCondition, RequiresClass
from worker.insignia.rules.ruleset import Rules


def random_criteria(rng: Random) -> Criteria:
    """Return criteria that differ from the packaged ones in figures, steps, conditions, effects and confidences."""
    while True:
        data = json.loads(canonical_form(load_criteria()))
        _change_rules(rng, data)
        for group in data["groups"]:
            for level in group["levels"]:
                if rng.random() < 0.5:
                    _change_level(rng, level, data)
        criteria = Criteria.model_validate_json(json.dumps(data))
        if not list(find_faults(criteria)):
            return criteria


def _change_rules(rng: Random, data: dict[str, Any]) -> None:
    params, days = data["params"], rng.choice((60, 0, 365))
    params["salary_comparison"]["value"] = rng.choice((">=", ">"))
    params["k3_min"]["value"] = rng.choice((19860, 22140))
    params["permanent_employee_service_years"]["value"] = rng.choice((8, 6, 0))
    data["calendar"]["qualification_cutoff_days_before_ceremony"] = days
    for rule in data["general_rules"]:
        rule["confidence"] = rng.choice(CONFIDENCES)
        if rule["id"] in DECIDING:
            rule["effect"] = rng.choice(("not_eligible", "manual_review"))
        if rule["id"] in ("GR-HELD-AS-OF", "GR-SERVICE-5"):
            rule["params"]["as_of"] = rng.choice(("qualification_cutoff", "ceremony", "fiscal_year"))
        if rule["id"] == "GR-CUTOFF-60":
            rule["params"]["days"] = days
    [medal] = data["medal_rules"]
    medal["applies_to"] = rng.sample([group["id"] for group in data["groups"]], rng.randint(0, 3))


def _change_level(rng: Random, level: dict[str, Any], data: dict[str, Any]) -> None:
    ranks = {item["code"]: item["rank"] for item in data["decorations"]}
    level["steps"] = level["steps"][rng.randrange(len(level["steps"])) :]
    for step in level["steps"]:
        below = [code for code, rank in ranks.items() if rank < ranks[step["award"]]]
        step["confidence"] = rng.choice(CONFIDENCES)
        step["conditions"] += [_condition(rng, below, data) for _ in range(rng.choice((0, 0, 1, 2)))]
        if below and rng.random() < 0.3:
            step["requires_held"] = rng.choice(below)
        has_below = step.get("requires_held") or any(one["type"] == "held_years" for one in step["conditions"])
        step["entry"] = rng.random() < 0.5 or not has_below
    level["start_class"] = level["steps"][0]["award"] if level["steps"][0]["entry"] else None
    if rng.random() < 0.3:
        level.pop("retirement_clause", None)


def _condition(rng: Random, below: list[str], data: dict[str, Any]) -> dict[str, Any]:
    figures = [f"params.{name}" for name in ("o2_min", "k3_min", "k3_ceiling", "d1_ceiling")]
    kinds: list[dict[str, Any]] = [
        {
            "type": "service_years",
            "min": rng.choice((5, 10)),
            "as_of": rng.choice(("ceremony", "qualification_cutoff")),
        },
        {"type": "level_years", "min": rng.choice((1, 5))},
        {"type": rng.choice(("salary_ge", "salary_lt", "salary_5y_ago_ge")), "ref": rng.choice(figures)},
    ]
    if below and rng.random() < 0.5:
        return {"type": "held_years", "award": rng.choice(below), "min": rng.choice((1, 3, 5))}
    return rng.choice(kinds)


class RandomOfficers:
    """Officers of a round: every value may be unknown, and most days and amounts are a limit or next to one."""

    def __init__(self, rng: Random, rules: Rules) -> None:
        self._rng, self._rules = rng, rules
        found = list(_conditions(rules))
        limits = {one.latest for one in found if isinstance(one, MinimumYears | HeldYears)}
        limits |= {rules.ceremony, rules.cutoff, date(2010, 2, 28)}
        self._days = sorted(day + timedelta(days=by) for day in limits for by in (-1, 0, 1, 2))
        amounts = {one.amount for one in found if isinstance(one, PayCondition)} | {15050.0}
        self._amounts = sorted(amount + by for amount in amounts for by in (-1, 0, 1))
        levels = [(group.id, level) for group in rules.groups.values() for level in group.ladders]
        self._levels = rng.sample([*levels, ("civil_servant", "M1")], 6)
        """Few, so that many officers differ in one answer only."""
        self._untidy = 0.0
        self._codes = [*rules.ranks, rules.medal.code, "OTHER"]

    def make(self, number: int) -> Officer:
        """Return an officer: most are tidy except for one or two values, so that every rule is reached."""
        rng = self._rng
        self._untidy = rng.choice((0.0, 0.02, 0.05, 0.2))
        group, level = rng.choice(self._levels)
        due = date(self._rules.ceremony.year - 60, rng.choice((9, 10)), 1)
        return Officer(
            person_id=str(number),
            employee_group=self._often(group, None, "teacher", ""),
            level=self._often(level, None, "K2"),
            position_type=self._often(None, "", "general", "academic", "director"),
            service_start=self._often(rng.choice((self._day(), date(1998, 4, 1))), None),
            level_start=self._often(self._day(), None),
            birth_date=self._often(rng.choice((due, date(1985, 3, 3))), None),
            salary=self._often(rng.choice(self._amounts), None),
            salary_5y_ago=self._often(rng.choice(self._amounts), None),
            position_allowance=self._often(rng.choice((13000, 15600, 10000.0)), None),
            decorations=self._often(self._awards(group, level), None),
            last_only=self._often(False, True),
            nationality=self._often("TH", None, "LA", ""),
            decoration_recalled=self._often(False, True),
            imprisonment=self._often(False, True),
            discipline=self._often((), ("reprimand",)),
            on_leave=self._often(None, "study", ""),
            left_service=self._often(None, self._day()),
            resigned=self._often(None, self._day()),
            returned_to_service=self._often(None, self._day()),
        )

    def _often(self, usual: Any, *others: Any) -> Any:
        return self._rng.choice(others) if self._rng.random() < self._untidy else usual

    def _day(self) -> date:
        if self._rng.random() < 0.2:
            return date(self._rng.randint(1985, 2027), self._rng.randint(1, 12), self._rng.randint(1, 28))
        return self._rng.choice(self._days)

    def _awards(self, group: str, level: str) -> tuple[Award, ...]:
        """Return mostly decorations of the officer's own ladder, or that its steps ask for."""
        rng = self._rng
        ladders = self._rules.groups[group].ladders.get(level, ())
        steps = [step for ladder in ladders for step in ladder.steps]
        own = [step.award for step in steps]
        own += [one.award for step in steps for one in step.conditions if isinstance(one, HeldYears | RequiresClass)]
        codes = own if own and rng.random() < 0.8 else self._codes
        return tuple(Award(rng.choice(codes), self._received()) for _ in range(rng.choice((0, 0, 1, 1, 2, 3))))

    def _received(self) -> date | None:
        rng, last = self._rng, self._rules.ceremony
        if rng.random() < self._untidy:
            return rng.choice((None, last + timedelta(days=1), date(last.year - 4, 3, 3), date(last.year - 1, 12, 31)))
        if rng.random() < 0.1:
            return min(self._day(), last)
        year = last.year - rng.choice((1, 2, 3, 3, 4, 5, 5, 6, 8, 12))
        return date(year, 7, 28) if year >= 2017 else date(year, 12, 5)


def _conditions(rules: Rules) -> Iterator[Condition]:
    for group in rules.groups.values():
        yield group.minimum
        for ladder in (ladder for rows in group.ladders.values() for ladder in rows):
            yield from (condition for step in ladder.steps for condition in step.conditions)
    yield from rules.medal.service
