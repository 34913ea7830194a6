"""The results of a roster that is handled in columns are, byte for byte, those of the readable path."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.worked_cases import ROUNDS, as_thai_csv, of_round, table
from worker.insignia import InsigniaError, RosterRejected, evaluate_roster, evaluation, write_results, write_sample
from worker.insignia.columnar.forms import list_forms, normal_forms
from worker.insignia.columnar.frame import columns_of
from worker.insignia.roster.officer import Officer
from worker.insignia.rules.decision_id import normal_form

FOLDER = Path(__file__).parent.parent / "data/rosters"
EXPECT: dict[str, Any] = json.loads((FOLDER / "expect.json").read_text("utf-8"))


def written(folder: Path, roster: Path, round_be: int, **options: Any) -> dict[str, bytes]:
    """Return all results files of a roster, or what is said about a roster that is rejected."""
    folder = folder / "results"
    try:
        write_results(evaluate_roster(roster, round_be, **options), folder, row_index=True)
    except InsigniaError as exc:
        cells = exc.bad_cells if isinstance(exc, RosterRejected) else ()
        return {"error": f"{exc} {exc.message} {list(cells)}".encode()}
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".xlsx"}
    shutil.rmtree(folder)
    return found


def assert_same_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch, roster: Path, round_be: int = 2569, **options: Any
) -> None:
    monkeypatch.setattr(evaluation, "_LARGE", 1)
    in_columns = written(folder, roster, round_be, **options)
    monkeypatch.setattr(evaluation, "_LARGE", 1 << 40)
    readable = written(folder, roster, round_be, **options)
    assert in_columns.keys() == readable.keys()
    for name, data in readable.items():
        assert in_columns[name] == data, name


@pytest.mark.parametrize("roster", [pytest.param(one, id=one["file"]) for one in EXPECT["rosters"]])
def test_roster_of_an_office_has_the_same_files(
    roster: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = None if roster["history"] is None else FOLDER / roster["history"]
    assert_same_files(tmp_path, monkeypatch, FOLDER / roster["file"], EXPECT["round"], history=history)


@pytest.mark.parametrize("round_be", ROUNDS)
def test_worked_cases_have_the_same_files(round_be: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roster = tmp_path / "roster.csv"
    as_thai_csv(roster, table(of_round(round_be)))
    assert_same_files(tmp_path, monkeypatch, roster, round_be, bad_row_limit=100.0)


@pytest.mark.parametrize("with_history", [True, False])
def test_sample_roster_has_the_same_files(with_history: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roster, history = tmp_path / "roster.csv", tmp_path / "history.csv" if with_history else None
    write_sample(roster, 3000, 7, history=history)
    assert_same_files(tmp_path, monkeypatch, roster, history=history)


@pytest.mark.parametrize(
    "pay", [None, 0.0, -0.0, 0.5, 1.0, 15050.0, 15050.25, -5.0, 1e14, 1e15, 123456789012345.0, 1e16, 1e22, 5e-7]
)
def test_amounts_have_the_normal_form_of_one_officer(pay: float | None) -> None:
    for others in ((), (15050.0,), (0.1,)):
        officers = [Officer(f"{number:013}", salary=one) for number, one in enumerate((pay, *others))]
        columns = columns_of(officers)
        forms = normal_forms(columns.frame, list_forms(columns.lists))
        assert [form.encode() for form in forms] == [normal_form(officer) for officer in officers]
