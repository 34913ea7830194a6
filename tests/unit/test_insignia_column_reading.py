"""Whatever is in a roster and its history, reading them in columns gives the files of the readable path."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.roster_damage import damage
from tests.unit.test_insignia_column_results import EXPECT, FOLDER, assert_same_files
from tests.unit.test_insignia_damaged_rosters import tidy
from worker.insignia import EvaluationCancelled, evaluate_roster, write_sample
from worker.insignia.columnar import tidy_roster
from worker.insignia.progress import HISTORY, ROWS

_PARTS, _SIZE = 2, 20
_ODD_TEXTS = (
    "", " ", "?", "-", "0", "0.0", "true", "ไม่มี", "ปกติ", "ลาศึกษาต่อ", "LA", "ไม่ระบุ", "ไทย", "M1", "M2",
    "C8", "K2", "ชำนาญกาน", "ข้าราชการ", "director", "15,050.00", "๑๕,๐๕๐", "15050.5", "150", "999999", "-5",
    "=1+1", "#REF!", "12/05/2557", "5/12/2557", "2014-12-05", "2014-12-06", "2027-01-01", "2569-02-31",
    "๑/๑/๒๕๔๐", "1 ม.ค. 2541", "31/02/2530", "1/10/49", "43831", "20100105", "2000-01-01",
    "2018-07-27T17:00:00Z", "CT5", "ต.ม.", "ต.ม. 2560", "CT5 2017-07-28; WE5 2014-12-05", "[]",
    "เหรียญรัตนาภรณ์", 'a "b" c', '"', "'", "\u200b", "\u00a0", "x\ny", "a,b", "วันเกิด", "person_id",
    "ชื่อ", "1-2345-67890-12-3", "1234567890123", "123456789012", "1234567890123.0", "1.23E+12", "รวม",
    "ภาคทัณฑ์", "ๆ\u0e4d\u0e32", "\\", "\t", "＝1",
)  # fmt: skip
_FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("columns")


@pytest.mark.parametrize("part", range(_PARTS))
def test_damaged_roster_has_the_same_files(part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_history = part % 2 == 1
    grid = tidy(has_history=has_history)
    history = FOLDER / "history-0.csv" if has_history else None
    for seed in range(part * _SIZE, (part + 1) * _SIZE):
        damaged = damage(grid, seed, tmp_path)
        assert_same_files(tmp_path, monkeypatch, damaged.path, EXPECT["round"], history=history)


@st.composite
def untidy(draw: st.DrawFn, grid: list[list[str]]) -> str:
    """Return the CSV text of a grid with some cells and lines changed."""
    rows = [list(row) for row in grid]
    place = st.integers(1, len(rows) - 1)
    for at, column, text in draw(
        st.lists(st.tuples(place, st.integers(0, len(rows[0]) - 1), st.sampled_from(_ODD_TEXTS)), max_size=12)
    ):
        rows[at][column] = text
    for at, other, kind in draw(st.lists(st.tuples(place, place, st.integers(0, 8)), max_size=5)):
        person = rows[other][0]
        match kind:
            case 0:
                rows.insert(at, list(rows[other]))
            case 1:
                rows.insert(at, list(rows[0]))
            case 2:
                rows.insert(at, [""] * len(rows[0]))
            case 3:
                rows[at] = rows[at][:-2]
            case 4:
                rows[at] = [*rows[at], draw(st.sampled_from(("", "x")))]
            case 5:
                rows[at][0] = person[:5] + draw(st.sampled_from("0123456789")) + person[6:]
            case 6:
                rows[at][0] = person
            case 7:
                rows[at][0] = f"'{person}"
            case _:
                rows.insert(at, [" "])
    file = io.StringIO(newline="")
    end, separator = draw(st.sampled_from(("\n", "\r\n"))), draw(st.sampled_from(",,;\t"))
    if draw(st.booleans()):
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=end, delimiter=separator).writerows(rows)
    else:
        csv.writer(file, lineterminator=end, delimiter=separator).writerows(rows)
    return file.getvalue()


def grid_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


@_FEW
@given(data=st.data(), seed=st.integers(0, 5), has_history=st.booleans())
def test_untidy_roster_has_the_same_files(data: st.DataObject, seed: int, has_history: bool, folder: Path) -> None:
    roster, history = folder / "roster.csv", folder / "history.csv" if has_history else None
    write_sample(roster, 40, seed, history=history)
    for path in (roster, history):
        if path is not None:
            path.write_text(data.draw(untidy(grid_of(path))), "utf-8", newline="")
    options: dict[str, Any] = {"history": history, "bad_row_limit": data.draw(st.sampled_from((5.0, 100.0)))}
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert_same_files(folder, monkeypatch, roster, **options)


def test_sample_roster_is_read_in_columns_but_for_its_bad_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roster, history = tmp_path / "roster.csv", tmp_path / "history.csv"
    write_sample(roster, 1500, 7, history=history)
    found: list[tidy_roster.CleanOfficers] = []
    read = tidy_roster.read_clean

    def kept(*arguments: Any, **options: Any) -> tidy_roster.CleanOfficers:
        found.append(read(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(tidy_roster, "read_clean", kept)
    monkeypatch.setattr("worker.insignia.evaluation._LARGE", 1500)
    evaluation = evaluate_roster(roster, 2569, history=history)
    assert evaluation.bad_rows > 10
    assert found[-1].file.clean.count > 0.95 * len(evaluation.verdicts)


def test_progress_moves_while_columns_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roster, history = tmp_path / "roster.csv", tmp_path / "history.csv"
    write_sample(roster, 1500, 7, history=history)
    monkeypatch.setattr("worker.insignia.evaluation._LARGE", 1500)
    received: list[float] = []
    evaluate_roster(roster, 2569, history=history, progress=lambda percent, _: received.append(percent))
    assert received == sorted(received)
    for phase, fewest in ((HISTORY, 2), (ROWS, 15)):
        inside = {percent for percent in received if phase.start < percent < phase.end}
        assert len(inside) >= fewest, phase


def test_reading_columns_stops_when_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roster = tmp_path / "roster.csv"
    write_sample(roster, 1500, 7)
    monkeypatch.setattr("worker.insignia.evaluation._LARGE", 1500)
    received: list[float] = []
    with pytest.raises(EvaluationCancelled):
        evaluate_roster(
            roster,
            2569,
            progress=lambda percent, _: received.append(percent),
            cancelled=lambda: len(received) > 5,
        )
    assert received[-1] < ROWS.end


def test_decorations_on_lines_of_their_own_have_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, *rows = tidy(has_history=False)
    place, person = header.index("decorations"), header.index("person_id")
    for with_id in (False, True):
        lines = [header]
        for row in rows:
            first, *others = row[place].split("; ")
            lines.append([*row[:place], first, *row[place + 1 :]])
            for award in others:
                kept = {place: award} | ({person: row[person]} if with_id else {})
                lines.append([kept.get(column, "") for column in range(len(row))])
        roster = tmp_path / "roster.csv"
        with roster.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(lines)
        assert_same_files(tmp_path, monkeypatch, roster, EXPECT["round"])
        whole = tmp_path / "whole.csv"
        with whole.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        decided, expected = (evaluate_roster(path, EXPECT["round"]).verdicts for path in (roster, whole))
        assert [one.class_ for one in decided] == [one.class_ for one in expected]


def test_remarks_and_retirement_have_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, *rows = tidy(has_history=False)
    texts = ("", "ลาออก", "-", "ตรวจแล้ว", "เกษียณปี 2566", "เกษียณแล้ว", "2593")
    for heading in ("หมายเหตุ", "ปีเกษียณ", "ประวัติโทษ", "ข้อมูลใหม่"):
        lines = [[*header, heading], *([*row, texts[place % len(texts)]] for place, row in enumerate(rows))]
        roster = tmp_path / "roster.csv"
        with roster.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(lines)
        assert_same_files(tmp_path, monkeypatch, roster, EXPECT["round"])
