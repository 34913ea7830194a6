"""A thousand damaged rosters: no officer gets another definite decision than from the tidy roster without a message."""

import csv
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.roster_damage import Grid, damage
from worker.insignia import Evaluation, RosterUnreadable, evaluate_roster, result_row

FOLDER = Path(__file__).parent.parent / "data/rosters"
EXPECT: dict[str, Any] = json.loads((FOLDER / "expect.json").read_text("utf-8"))
ABSENT = {"0256800001544", "0256800001617", "0256800001820", "0256800001897"}
"""Officers without a line in the history of the rosters that have their decorations in a file of their own."""
PARTS, SIZE = 10, 100
Rows = Mapping[str, Mapping[str, Any]]


def tidy(*, has_history: bool) -> Grid:
    with (FOLDER / "12-quote-in-name.csv").open(encoding="utf-8-sig", newline="") as file:
        grid = list(csv.reader(file))
    return [row[:-1] for row in grid if row[0] not in ABSENT] if has_history else grid


def wrong(rows: Rows, base: Rows) -> list[str]:
    """Return the ids with a definite decision that the tidy roster does not give, in rows without a review.

    Where a value is unknown, another reason may be the first that is certain.
    """
    missing = [base[person]["class"] for person in base if person not in rows]
    found = []
    for person, row in rows.items():
        is_reviewed = "manual_review" in {row["class"]["decision"], row["medal"]["decision"]}
        if person not in base:
            # An id with a wrong digit: the decision must be that of the person whose id it was.
            if not is_reviewed and not any(_same(row["class"], other) for other in missing):
                found.append(person)
            continue
        for kind in ("class", "medal"):
            decided, expected = row[kind], base[person][kind]
            if not _same(decided, expected) and decided["decision"] != "manual_review":
                found.append(person)
    return found


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(key) == other.get(key) for key in ("decision", "award"))


def outcome(evaluation: Evaluation, base: Rows) -> str:
    rows = {row["person_id"]: row for row in map(result_row, evaluation.verdicts)}
    if wrong(rows, base):
        return "wrong"
    if evaluation.bad_rows or rows.keys() != base.keys():
        return "bad rows"
    reviews = sum(row["class"]["decision"] == "manual_review" for row in rows.values())
    return "review" if reviews > sum(row["class"]["decision"] == "manual_review" for row in base.values()) else "same"


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_roster_never_gives_another_decision_without_a_message(part: int, tmp_path: Path) -> None:
    has_history = part % 2 == 1
    grid = tidy(has_history=has_history)
    base = {person: row for person, row in EXPECT["base"].items() if not (has_history and person in ABSENT)}
    history = FOLDER / "history-0.csv" if has_history else None
    outcomes: dict[str, list[str]] = {}
    for seed in range(part * SIZE, (part + 1) * SIZE):
        damaged = damage(grid, seed, tmp_path)
        try:
            kind = outcome(evaluate_roster(damaged.path, EXPECT["round"], history=history), base)
        except RosterUnreadable:
            kind = "rejected"
        outcomes.setdefault(kind, []).append(damaged.what)
    print(Counter({kind: len(found) for kind, found in outcomes.items()}))
    assert "wrong" not in outcomes, outcomes["wrong"]
    assert len(outcomes["same"]) > SIZE / 4, "damages that are understood must not be rejected"
