"""What is written: rows, columns, counts; complete or not at all."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.insignia import evaluate_objects, rows
from worker.insignia import (
    Evaluation,
    EvaluationCancelled,
    ResultsUnwritable,
    evaluate_roster,
    write_bad_rows,
    write_csv,
    write_json,
    write_results,
)
from worker.insignia.report import safe
from worker.insignia.roster import Watch

BASE: dict[str, Any] = {
    "employee_group": "civil_servant",
    "level": "K2",
    "birth_date": "1990-03-03",
    "service_start": "2015-04-01",
    "level_start": "2019-05-02",
    "salary": 18900,
    "decorations": [{"code": "CT3", "received": "2021-07-28"}],
}


def people() -> list[dict[str, Any]]:
    return [
        BASE | {"person_id": "a"},
        BASE | {"person_id": "b", "level": "K1"},
        BASE | {"person_id": "c", "level": "M1"},
        BASE | {"person_id": "d", "level": "K9"},
        BASE | {"person_id": "=1+1", "service_start": "1995-01-01", "salary": 30000},
    ]


@pytest.fixture
def evaluation() -> Evaluation:
    return evaluate_objects(people())


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_json_is_a_list_of_rows_in_roster_order(evaluation: Evaluation, tmp_path: Path) -> None:
    write_results(evaluation, tmp_path / "out")
    written = json.loads((tmp_path / "out/results.json").read_text("utf-8"))
    assert [row["person_id"] for row in written] == ["a", "b", "c", "=1+1"]
    assert written[0] == {
        "person_id": "a",
        "class": {
            "decision": "nominate",
            "award": "WE3",
            "abbr_th": "ต.ช.",
            "step": "CS-K2-1",
            "confidence": "medium",
        },
        "medal": {"decision": "not_eligible", "reason": "SERVICE_TOO_SHORT", "confidence": "high"},
    }
    assert written == rows(evaluation)


def test_the_csv_has_dotted_columns_and_says_the_same(evaluation: Evaluation, tmp_path: Path) -> None:
    write_results(evaluation, tmp_path / "out")
    assert (tmp_path / "out/results.csv").read_bytes().startswith(b"\xef\xbb\xbfperson_id,class.decision,class.award,")
    table = read_csv(tmp_path / "out/results.csv")
    for line, row in zip(table, rows(evaluation), strict=True):
        for part in ("class", "medal"):
            told = {name.removeprefix(f"{part}."): value for name, value in line.items() if name.startswith(f"{part}.")}
            assert {name: value for name, value in told.items() if value} == row[part]
    assert [line["check"] for line in table] == ["yes", "", "", "yes"]


def test_what_looks_like_a_formula_is_text_in_csv_and_itself_in_json(evaluation: Evaluation, tmp_path: Path) -> None:
    write_results(evaluation, tmp_path / "out")
    assert read_csv(tmp_path / "out/results.csv")[3]["person_id"] == "'=1+1"
    assert json.loads((tmp_path / "out/results.json").read_text("utf-8"))[3]["person_id"] == "=1+1"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"])
def test_every_beginning_of_a_formula_is_made_safe(start: str) -> None:
    assert safe(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"
    assert safe(f"x{start}") == f"x{start}"


def test_bad_rows_are_written_with_value_and_reason_and_made_safe(tmp_path: Path) -> None:
    evaluation = evaluate_objects([*people(), BASE | {"person_id": "@x", "salary": "=2+3"}])
    write_results(evaluation, tmp_path / "out")
    table = read_csv(tmp_path / "out/bad_rows.csv")
    assert [(line["row"], line["person_id"], line["column"], line["value"]) for line in table] == [
        ("4", "d", "level", "K9"),
        ("6", "'@x", "salary", "'=2+3"),
    ]
    assert "no known level" in table[0]["reason"]


def test_the_summary_counts_and_is_written_too(evaluation: Evaluation, tmp_path: Path) -> None:
    summary = write_results(evaluation, tmp_path / "out")
    assert summary == json.loads((tmp_path / "out/summary.json").read_text("utf-8"))
    wanted = {
        "round": 2568,
        "officers": 4,
        "nominate": 2,
        "notEligible": 1,
        "manualReview": 1,
        "byClass": {"WE3": 1, "CT2": 1},
        "byReason": {"ALREADY_AT_MAX": 1, "RULE_NOT_FOUND": 1},
        "badRows": 1,
        "output": str(tmp_path / "out"),
        "toCheck": 2,
        "byConfidence": {"medium": 1, "high": 2, "low": 1},
        "sequence": "highest_satisfied",
    }
    assert {name: summary[name] for name in wanted} == wanted
    assert summary["medal"] == {
        "nominate": 1,
        "notEligible": 3,
        "manualReview": 0,
        "byReason": {"SERVICE_TOO_SHORT": 3},
    }
    assert files(tmp_path / "out") == {*summary["files"].values(), "summary.json"}


def test_the_classes_of_the_summary_stand_in_their_order() -> None:
    strange = [BASE | {"person_id": "x", "level": "K3"}, BASE | {"person_id": "y"}, BASE | {"person_id": "z"}]
    assert list(evaluate_objects(strange).summary()["byClass"]) == ["WE3", "WE2"]


def test_single_files(evaluation: Evaluation, tmp_path: Path) -> None:
    write_json(evaluation, tmp_path / "a.json")
    write_csv(evaluation, tmp_path / "a.csv")
    write_bad_rows(evaluation.bad_cells, tmp_path / "new/bad.csv")
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == rows(evaluation)
    assert len(read_csv(tmp_path / "a.csv")) == 4
    assert len(read_csv(tmp_path / "new/bad.csv")) == 1
    assert files(tmp_path) == {"a.json", "a.csv", "new"}


def test_nobody_is_an_empty_list(evaluation: Evaluation, tmp_path: Path) -> None:
    write_json(evaluate_objects([BASE | {"person_id": ""}]), tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == []


def cancelled_at(note: str) -> tuple[Callable[[float, str], None], Callable[[], bool]]:
    """A watcher that wants to stop as soon as it has heard of `note`."""
    heard: list[str] = []
    return (lambda _percent, told: heard.append(told)), (lambda: note in heard)


def test_a_cancelled_writing_leaves_nothing(evaluation: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(EvaluationCancelled):
        write_results(evaluation, tmp_path / "out", watch=Watch(*cancelled_at("writing")))
    assert files(tmp_path) == set()


@pytest.mark.parametrize("note", ["reading", "deciding"])
def test_an_evaluation_stops_when_asked(note: str) -> None:
    progress, cancelled = cancelled_at(note)
    many = [BASE | {"person_id": str(number)} for number in range(2500)]
    with pytest.raises(EvaluationCancelled):
        evaluate_roster(many, 2568, progress=progress, cancelled=cancelled)


def test_progress_only_grows_and_names_what_is_done(tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []
    many = [BASE | {"person_id": str(number)} for number in range(6000)]
    evaluation = evaluate_roster(many, 2568, progress=lambda percent, note: heard.append((percent, note)))
    write_results(evaluation, tmp_path / "out", watch=Watch(lambda percent, note: heard.append((percent, note))))
    percents = [percent for percent, _ in heard]
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert percents[-1] < 100
    assert list(dict.fromkeys(note for _, note in heard)) == ["reading", "deciding", "writing"]


def test_a_folder_that_cannot_be_written_is_told_plainly_and_left_clean(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultsUnwritable, match="out cannot be written") as caught:
        write_results(evaluation, tmp_path / "file/out")
    assert str(tmp_path) not in str(caught.value)
    assert files(tmp_path) == {"file"}


def test_a_full_disk_leaves_the_former_results_as_they_were(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_results(evaluation, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsUnwritable, match="No space left"):
        write_results(evaluate_objects(people()[:1]), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(ResultsUnwritable, match="No space left"):
        write_results(evaluation, tmp_path / "other")
    assert files(tmp_path) == {"out"}


def test_existing_files_are_replaced_and_others_stay(evaluation: Evaluation, tmp_path: Path) -> None:
    write_results(evaluation, tmp_path)
    (tmp_path / "note.txt").write_text("mine")
    write_results(evaluate_objects(people()[:1]), tmp_path)
    assert len(json.loads((tmp_path / "results.json").read_text("utf-8"))) == 1
    assert "note.txt" in files(tmp_path)
    assert not [name for name in files(tmp_path) if name.startswith(".")]
