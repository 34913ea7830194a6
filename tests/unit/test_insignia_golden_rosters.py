"""Rosters as offices write them: each gives what expect.json says, as it is and as a workbook."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from worker.insignia import Evaluation, RosterUnreadable, evaluate_roster, result_row
from worker.insignia.roster.text_encoding import decode

FOLDER = Path(__file__).parent.parent / "data/rosters"
EXPECT: dict[str, Any] = json.loads((FOLDER / "expect.json").read_text("utf-8"))
ROSTERS: list[dict[str, Any]] = EXPECT["rosters"]
KEYS = ("decision", "award", "reason", "next_award")
UNKNOWABLE = {"52-dpis-24-columns.csv": {"0256800001684"}}
"""Officers whose decision needs what the file does not contain: this layout has no column for a return to service."""
CONVERTED = [roster for roster in ROSTERS if roster["kind"] != "encoding" and roster["file"].endswith(".csv")]


def named(rosters: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(roster, id=roster["file"]) for roster in rosters]


def short(decision: dict[str, Any]) -> dict[str, Any]:
    return {key: decision[key] for key in KEYS if key in decision}


def evaluate(roster: dict[str, Any], path: Path) -> Evaluation:
    history = roster["history"]
    return evaluate_roster(path, EXPECT["round"], history=None if history is None else FOLDER / history)


def check(roster: dict[str, Any], path: Path) -> None:
    """Compare the decisions with what is expected of the roster."""
    if roster["ideal"] == "refuse_clearly":
        with pytest.raises(RosterUnreadable) as caught:
            evaluate(roster, path)
        assert "\n" not in str(caught.value)
        assert caught.value.message.th
        return
    evaluation = evaluate(roster, path)
    rows = {row["person_id"]: row for row in map(result_row, evaluation.verdicts)}
    rows = {EXPECT["same_person"].get(person, person): row for person, row in rows.items()}
    doubtful = {*roster["bad"], *UNKNOWABLE.get(roster["file"], ())}
    assert rows.keys() - doubtful == EXPECT["base"].keys() - set(roster["absent"]) - doubtful
    for person, row in rows.items():
        for kind in ("class", "medal"):
            wanted, decided = short(EXPECT["base"][person][kind]), short(row[kind])
            # Where a value is unknown, another reason may be the first that is certain.
            is_allowed = person in roster["bad"] and decided["decision"] in ("manual_review", wanted["decision"])
            is_allowed = is_allowed and decided.get("award") in (None, wanted.get("award"))
            assert decided == wanted or is_allowed or person in UNKNOWABLE.get(roster["file"], ()), (person, kind)


@pytest.mark.parametrize("roster", named(ROSTERS))
def test_roster_of_an_office_gives_the_expected_decisions(roster: dict[str, Any]) -> None:
    check(roster, FOLDER / roster["file"])


@pytest.mark.parametrize("roster", named(CONVERTED))
def test_roster_of_an_office_as_a_workbook_gives_the_expected_decisions(roster: dict[str, Any], tmp_path: Path) -> None:
    text = decode("r", (FOLDER / roster["file"]).read_bytes())
    path = tmp_path / "converted.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("รายชื่อ")
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""))):
            for place, cell in enumerate(cells):
                sheet.write_string(number, place, cell)
    check(roster, path)


def test_rosters_of_offices_are_all_there() -> None:
    assert len(ROSTERS) == 64
    assert all((FOLDER / roster["file"]).is_file() for roster in ROSTERS)
