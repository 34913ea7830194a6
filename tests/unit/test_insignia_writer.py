"""The written results: rows, columns, counts; complete or not at all."""

import csv
import hashlib
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from python_calamine import CalamineWorkbook

from tests.support.insignia import PERSON, evaluate_objects, rows
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
from worker.insignia.progress import ProgressReporter
from worker.insignia.results import writer
from worker.insignia.results.csv_cells import escape_formula
from worker.insignia.results.table import id_cell
from worker.insignia.results.writer import write_xlsx
from worker.insignia.rules.decision_id import decision_id

BASE = PERSON | {"decorations": [{"code": "CT3", "received": "2021-07-28"}]}


def people() -> list[dict[str, Any]]:
    return [
        BASE | {"person_id": "a"},
        BASE | {"person_id": "b", "level": "K1"},
        BASE | {"person_id": "c", "level": "M1"},
        BASE | {"person_id": "d", "level": "K9"},
        BASE | {"person_id": "=1+1", "birth_date": "1970-03-03", "service_start": "1995-01-01", "salary": 30000},
    ]


@pytest.fixture
def evaluation() -> Evaluation:
    return evaluate_objects(people())


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_json_is_a_list_of_rows_in_roster_order(evaluation: Evaluation, tmp_path: Path) -> None:
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
        "decision_id": decision_id(evaluation.verdicts[0].officer, evaluation.rules),
        "criteria": evaluation.rules.criteria.short,
    }
    assert written == rows(evaluation)


def test_csv_has_dotted_columns_with_the_same_values(evaluation: Evaluation, tmp_path: Path) -> None:
    write_results(evaluation, tmp_path / "out")
    start = "\ufeffลำดับ,เลขประจำตัวประชาชน,คำนำหน้า,ชื่อ,นามสกุล,"
    assert (tmp_path / "out/results.csv").read_text("utf-8").startswith(start)
    table = read_csv(tmp_path / "out/results.csv")
    for line, row in zip(table, rows(evaluation), strict=True):
        for part in ("class", "medal"):
            reported = {
                name.removeprefix(f"{part}."): value for name, value in line.items() if name.startswith(f"{part}.")
            }
            assert {name: value for name, value in reported.items() if value} == row[part]
    assert [line["ต้องทวนสอบ"] for line in table] == ["ใช่", "", "", "ใช่"]
    assert [line["เหตุผล"] for line in table][1:3] == [
        "ได้รับชั้นสูงสุดของระดับแล้ว (ALREADY_AT_MAX)",
        "ไม่พบเกณฑ์ของระดับนี้ (RULE_NOT_FOUND)",
    ]


def test_formula_like_text_is_escaped_in_csv_only(evaluation: Evaluation, tmp_path: Path) -> None:
    write_results(evaluation, tmp_path / "out")
    row = read_csv(tmp_path / "out/results.csv")[3]
    assert (row["เลขประจำตัวประชาชน"], row["person_id"]) == ("'=1+1", "'=1+1")
    assert json.loads((tmp_path / "out/results.json").read_text("utf-8"))[3]["person_id"] == "=1+1"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"])
def test_escape_formula_covers_every_beginning(start: str) -> None:
    assert escape_formula(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"
    assert escape_formula(f"x{start}") == f"x{start}"


def test_bad_rows_are_written_escaped_with_value_and_reason(tmp_path: Path) -> None:
    evaluation = evaluate_objects([*people(), BASE | {"person_id": "@x", "salary": "=2+3"}])
    write_results(evaluation, tmp_path / "out")
    table = read_csv(tmp_path / "out/bad_rows.csv")
    assert [(line["row"], line["person_id"], line["column"], line["value"]) for line in table] == [
        ("4", "d", "level", "K9"),
        ("6", "'@x", "salary", "'=2+3"),
    ]
    assert "unknown level" in table[0]["reason"]


def test_summary_contains_the_counts_and_is_written(evaluation: Evaluation, tmp_path: Path) -> None:
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


def test_summary_lists_classes_in_order_of_rank() -> None:
    strange = [BASE | {"person_id": "x", "level": "K3"}, BASE | {"person_id": "y"}, BASE | {"person_id": "z"}]
    assert list(evaluate_objects(strange).summary()["byClass"]) == ["WE3", "WE2"]


def test_write_json_and_csv_write_single_files(evaluation: Evaluation, tmp_path: Path) -> None:
    write_json(evaluation, tmp_path / "a.json")
    write_csv(evaluation, tmp_path / "a.csv")
    write_bad_rows(evaluation.bad_cells, tmp_path / "new/bad.csv")
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == rows(evaluation)
    assert len(read_csv(tmp_path / "a.csv")) == 4
    assert len(read_csv(tmp_path / "new/bad.csv")) == 1
    assert files(tmp_path) == {"a.json", "a.csv", "new"}


def test_results_without_officers_are_an_empty_list(evaluation: Evaluation, tmp_path: Path) -> None:
    write_json(evaluate_objects([BASE | {"person_id": ""}]), tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == []


def cancelled_at(note: str) -> tuple[Callable[[float, str], None], Callable[[], bool]]:
    """A watcher that wants to stop as soon as it has heard of `note`."""
    received: list[str] = []
    return (lambda _percent, reported: received.append(reported)), (lambda: note in received)


def test_write_results_leaves_nothing_when_cancelled(evaluation: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(EvaluationCancelled):
        write_results(evaluation, tmp_path / "out", reporter=ProgressReporter(*cancelled_at("writing")))
    assert files(tmp_path) == set()


@pytest.mark.parametrize("note", ["reading", "deciding"])
def test_evaluate_roster_stops_when_cancelled(note: str) -> None:
    progress, cancelled = cancelled_at(note)
    many = [BASE | {"person_id": str(number)} for number in range(2500)]
    with pytest.raises(EvaluationCancelled):
        evaluate_roster(many, 2568, progress=progress, cancelled=cancelled)


def test_progress_never_decreases_and_names_each_phase(tmp_path: Path) -> None:
    received: list[tuple[float, str]] = []
    many = [BASE | {"person_id": str(number)} for number in range(6000)]
    evaluation = evaluate_roster(many, 2568, progress=lambda percent, note: received.append((percent, note)))
    write_results(
        evaluation, tmp_path / "out", reporter=ProgressReporter(lambda percent, note: received.append((percent, note)))
    )
    percents = [percent for percent, _ in received]
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert percents[-1] < 100
    assert list(dict.fromkeys(note for _, note in received)) == ["reading", "deciding", "writing"]


def test_progress_moves_in_every_part_of_a_roster_with_a_history(tmp_path: Path) -> None:
    received: list[float] = []
    reporter = ProgressReporter(lambda percent, _: received.append(percent))
    many = [BASE | {"person_id": str(number)} for number in range(9000)]
    past = [{"person_id": str(number), "decoration": "CT5", "received": "2020-07-28"} for number in range(9000)]
    evaluation = evaluate_roster(many, 2568, history=past, progress=reporter.callback)
    write_results(evaluation, tmp_path / "out", reporter=reporter, row_index=True)
    assert received == sorted(received)
    steps = [later - earlier for earlier, later in itertools.pairwise(received)]
    assert max(steps) < 15, sorted(set(received))


def test_write_results_to_an_unwritable_folder_reports_it_and_leaves_nothing(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultsUnwritable, match="out cannot be written") as caught:
        write_results(evaluation, tmp_path / "file/out")
    assert str(tmp_path) not in str(caught.value)
    assert files(tmp_path) == {"file"}


def test_write_results_on_a_full_disk_keeps_the_previous_results(
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


def test_write_results_replaces_its_files_and_keeps_others(evaluation: Evaluation, tmp_path: Path) -> None:
    write_results(evaluation, tmp_path)
    (tmp_path / "note.txt").write_text("mine")
    write_results(evaluate_objects(people()[:1]), tmp_path)
    assert len(json.loads((tmp_path / "results.json").read_text("utf-8"))) == 1
    assert "note.txt" in files(tmp_path)
    assert not [name for name in files(tmp_path) if name.startswith(".")]


def test_rows_carry_who_the_officer_is_and_which_fields_decide(tmp_path: Path) -> None:
    named = {
        "person_id": "p",
        "employee_group": "civil_servant",
        "level": "K2",
        "service_start": "2014-10-01",
        "decorations": [],
        "title": "นาง",
        "first_name": "=ใจดี",
        "office": "สำนักการคลัง",
    }
    found = evaluate_objects([named])
    write_results(found, tmp_path / "out")
    [row] = json.loads((tmp_path / "out/results.json").read_text("utf-8"))
    assert (row["title"], row["first_name"], row["office"], "sex" in row) == ("นาง", "=ใจดี", "สำนักการคลัง", False)
    assert row["missing"] == ["salary"]
    assert row == rows(found)[0]
    [line] = read_csv(tmp_path / "out/results.csv")
    assert list(line)[2:8] == ["คำนำหน้า", "ชื่อ", "นามสกุล", "เพศ", "ตำแหน่ง", "หน่วยงาน"]
    assert (line["คำนำหน้า"], line["ชื่อ"], line["missing"]) == ("นาง", "'=ใจดี", "salary")
    assert line["ข้อมูลที่ขาด"] == "เงินเดือน"


def test_workbook_has_thai_headings_and_ids_as_text(tmp_path: Path) -> None:
    officers: list[dict[str, Any]] = [
        {
            "person_id": "0000002797348",
            "employee_group": "civil_servant",
            "level": level,
            "service_start": "2014-10-01",
            "level_start": "2019-10-01",
            "decorations": [],
            "first_name": "=1+1",
        }
        for level in ("O2", "K2")
    ]
    officers[1]["person_id"] = "0000000184071"
    found = evaluate_objects(officers)
    assert write_results(found, tmp_path / "out")["files"]["xlsx"] == "results.xlsx"
    write_xlsx(found, tmp_path / "alone.xlsx")
    for path in (tmp_path / "out/results.xlsx", tmp_path / "alone.xlsx"):
        head, *body = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
        lines = [dict(zip(head, line, strict=True)) for line in body]
        assert [line["เลขประจำตัวประชาชน"] for line in lines] == ["0000002797348", "0000000184071"]
        assert [line["ชั้นที่เสนอ"] for line in lines] == ["ต.ม.", ""]
        assert lines[0]["ชื่อ"] == "=1+1"
        assert lines[0]["ผลการพิจารณาชั้นตรา"] == "เสนอขอพระราชทาน (nominate)"
        assert (lines[1]["เหตุผล"], lines[1]["ข้อมูลที่ขาด"]) == ("ข้อมูลไม่ครบ (INCOMPLETE_DATA)", "เงินเดือน")


def test_large_result_has_no_workbook_in_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(writer, "_MOST_IN_WORKBOOK", 0)
    found = evaluate_objects([{"person_id": "p", "decorations": []}])
    assert "xlsx" not in write_results(found, tmp_path / "out")["files"]
    assert not (tmp_path / "out/results.xlsx").exists()


@pytest.mark.parametrize(
    ("person_id", "expected"),
    [
        ("2568000000071", "2-5680-00000-07-1"),
        ("0000002797348", "0-0000-02797-34-8"),
        ("00123", '="00123"'),
        ("1E5", '="1E5"'),
        ("3-4", '="3-4"'),
        ("A-12", "A-12"),
        ("", ""),
    ],
)
def test_id_in_csv_is_never_a_number_or_a_date(person_id: str, expected: str) -> None:
    assert id_cell(person_id) == expected


def test_every_result_names_the_criteria(evaluation: Evaluation, tmp_path: Path) -> None:
    summary = write_results(evaluation, tmp_path / "out")
    criteria = evaluation.rules.criteria
    kept = (tmp_path / "out/criteria.json").read_bytes()
    assert criteria.sha256 == hashlib.sha256(kept).hexdigest() == summary["criteria"]["sha256"]
    assert summary["criteria"] == {"file": "criteria.json", "version": criteria.version, "sha256": criteria.sha256}
    assert {row["criteria"] for row in rows(evaluation)} == {criteria.short}
    assert {line["หลักเกณฑ์ที่ใช้"] for line in read_csv(tmp_path / "out/results.csv")} == {criteria.short}
    about = CalamineWorkbook.from_path(tmp_path / "out/results.xlsx").get_sheet_by_name("หลักเกณฑ์").to_python()
    assert criteria.sha256 in {line[1] for line in about}
    assert [line[1] for line in about[1:4]] == ["28/7/2568", "29/5/2568", "ชั้นสูงสุดที่เข้าเกณฑ์"]


def test_csv_explains_the_conditions_and_the_round_from_which_they_are_met(tmp_path: Path) -> None:
    early = BASE | {"person_id": "e", "level_start": "2022-01-01", "level": "O2"}
    write_results(evaluate_objects([early]), tmp_path / "out")
    [line] = read_csv(tmp_path / "out/results.csv")
    assert line["คาดว่าครบเกณฑ์ตั้งแต่รอบปี"] == "2570"
    assert "ดำรงระดับครบ 5 ปี ณ วันที่ 29/5/2568 นับแต่ 1/1/2565: ไม่ครบ จะครบในรอบปี 2570" in line["เงื่อนไขที่ใช้พิจารณา"]
