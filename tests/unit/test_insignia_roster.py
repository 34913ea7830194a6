"""Rosters as offices write them: read, rejected, or read with a remark."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support.insignia import held, rows
from worker.insignia import RosterRejected, RosterUnreadable, evaluate_roster, load_criteria
from worker.insignia.roster.officer import Award, Officer
from worker.insignia.roster.reader import read_roster
from worker.insignia.roster.roster_data import Roster

HEADER = "person_id,employee_group,position_type,level,birth_date,service_start,level_start,salary,decorations"
GOOD = "a1,civil_servant,academic,K2,1990-03-03,2015-04-01,2022-05-02,18900,CT3 2021-07-28"


def write(tmp_path: Path, content: str | bytes, name: str = "roster.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def read(path: Any, **options: Any) -> Roster:
    return read_roster(path, load_criteria(), **{"bad_row_limit": 100.0} | options)


def one(tmp_path: Path, content: str | bytes, **options: Any) -> Officer:
    [officer] = read(write(tmp_path, content), **options).officers
    return officer


def refusal(path: Any, **options: Any) -> str:
    with pytest.raises(RosterUnreadable) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


EXPECTED = Officer(
    person_id="a1",
    employee_group="civil_servant",
    position_type="academic",
    level="K2",
    birth_date=date(1990, 3, 3),
    service_start=date(2015, 4, 1),
    level_start=date(2022, 5, 2),
    salary=18900,
    decorations=held("CT3 2021"),
)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"{HEADER}\n{GOOD}\n", id="plain"),
        pytest.param(f"\ufeff{HEADER}\r\n{GOOD}\r\n", id="byte order mark and Windows lines"),
        pytest.param(f"{HEADER}\n{GOOD}".replace(",", ";"), id="semicolons, no last newline"),
        pytest.param(f"sep=;\n{HEADER}\n{GOOD}".replace(",", ";"), id="semicolons told by the first line"),
        pytest.param(f"{HEADER}\n{GOOD}\n".replace(",", "\t"), id="tabs"),
        pytest.param(f"\n\n{HEADER}\n\n{GOOD}\n\n ,,,,,,,,\n", id="empty lines"),
        pytest.param(f" {HEADER.upper().replace(',', ' , ')}\n{GOOD}\n", id="header in capitals and blanks"),
        pytest.param(f"{HEADER.replace('_', ' ')}\n{GOOD}\n", id="blanks for underscores"),
        pytest.param(f"{HEADER},,\n{GOOD},,\n", id="columns without a name"),
        pytest.param(
            f"{HEADER}\n{GOOD}\n".replace("academic", "วิชาการ").replace("K2", "ชำนาญการ").encode("cp874"),
            id="Thai code page",
        ),
        pytest.param(
            f'{HEADER}\n"a1","ข้าราชการพลเรือนสามัญ","ประเภทวิชาการ","ระดับชำนาญการ",3/3/2533,1/4/2558,๒/๕/๒๕๖๕,'
            '"๑๘,๙๐๐","ต.ม. ๒๘/๗/๒๕๖๔"\n',
            id="Thai words, digits and years",
        ),
        pytest.param(
            f'{HEADER},remark\n{GOOD},"two\nlines, one cell"\n',
            id="a newline in quotes",
        ),
        pytest.param(
            "ID_CARD,PERSONAL_TYPE,ประเภทตำแหน่ง,POS_LEV,BIRTH_DATE,BEG_DATE,BEG_POS_DATE,SALARY,decorations,RANK_NAME\n"
            f"{GOOD},x\n",
            id="names of the SOC export",
        ),
    ],
)
def test_roster_in_any_encoding_and_dialect_gives_the_same_officer(tmp_path: Path, content: str | bytes) -> None:
    assert one(tmp_path, content) == EXPECTED


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("", ()),
        ("-", ()),
        ("ไม่มี", ()),
        ("[]", ()),
        ("?", None),
        ("CT3 2021-07-28", held("CT3 2021")),
        ("CT3:2021-07-28;WE3:2023-07-28", held("CT3 2021", "WE3 2023")),
        ("ต.ม. (28/7/2564) | ต.ช. (28/7/2566)", held("CT3 2021", "WE3 2023")),
        ("ตริตาภรณ์มงกุฏไทย 28 ก.ค. 2564", held("CT3 2021")),
        ('"ตม 2564-07-28\nตช 2566-07-28"', held("CT3 2021", "WE3 2023")),
        ('"CT3 2021-07-28, CT3 28/07/2564"', held("CT3 2021")),
        ("CT3", (Award("CT3", None),)),
        ('"[{""code"": ""CT3"", ""abbr_th"": ""ต.ม."", ""received"": ""2021-07-28""}]"', held("CT3 2021")),
        ("\"[{'code': 'CT3', 'abbr_th': 'ต.ม.', 'received': '2021-07-28'}]\"", held("CT3 2021")),
        ('"[{""abbr_th"": ""ต.ม."", ""received"": ""2021-07-28""}]"', held("CT3 2021")),
        ('"[""CT3 2021-07-28""]"', held("CT3 2021")),
    ],
)
def test_decorations_in_one_cell_are_read(tmp_path: Path, cell: str, expected: tuple[Award, ...] | None) -> None:
    row = GOOD.removesuffix("CT3 2021-07-28") + cell
    assert one(tmp_path, f"{HEADER}\n{row}\n").decorations == expected


def test_last_decoration_column_marks_the_history_as_incomplete(tmp_path: Path) -> None:
    header = HEADER.replace("decorations", "last_decoration,last_decoration_date")
    row = GOOD.replace("CT3 2021-07-28", "ต.ม.,28/7/2564")
    officer = one(tmp_path, f"{header}\n{row}\n")
    assert (officer.decorations, officer.last_only) == (held("CT3 2021"), True)
    nobody = one(tmp_path, f"{header}\n{GOOD.replace('CT3 2021-07-28', ',')}\n")
    assert (nobody.decorations, nobody.last_only) == ((), False)


def test_history_file_adds_decorations_to_the_roster(tmp_path: Path) -> None:
    history = write(
        tmp_path, "person_id,decoration,received\na1,บ.ม.,28/7/2562\na1,CT3,2021-07-28\nz9,CT5,2020-07-28\n", "h"
    )
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD}\n"), history=history)
    assert roster.officers[0].decorations == held("CT3 2021", "CT5 2019")
    assert any("1 people" in remark for remark in roster.remarks)
    without = HEADER.removesuffix(",decorations") + "\n" + GOOD.removesuffix(",CT3 2021-07-28") + "\n"
    assert one(tmp_path, without, history=history).decorations == held("CT5 2019", "CT3 2021")
    both = without + GOOD.removesuffix(",CT3 2021-07-28").replace("a1", "b2") + "\n"
    assert read(write(tmp_path, both), history=history).officers[1].decorations == ()


def test_history_may_be_json_or_a_list(tmp_path: Path) -> None:
    lines = [{"person_id": "a1", "decoration": "CT3", "received": "2021-07-28"}]
    path = write(tmp_path, json.dumps({"history": lines}), "h.json")
    roster = write(tmp_path, f"{HEADER}\n{GOOD}\n")
    assert read(roster, history=path).officers == read(roster, history=lines).officers == [EXPECTED]


def test_ids_match_with_different_separators(tmp_path: Path) -> None:
    history = [{"person_id": "๐๐๐๐๐๐๐๐๒๕๖๙๑", "decoration": "CT5", "received": "2019-07-28"}]
    officer = one(tmp_path, f"{HEADER}\n{GOOD.replace('a1', '0-0000-00025-69-1')}\n", history=history)
    assert officer.person_id == "0000000025691"
    assert held("CT5 2019")[0] in (officer.decorations or ())


def test_officer_with_an_unreadable_history_is_a_bad_row(tmp_path: Path) -> None:
    history = write(tmp_path, "person_id,decoration,received\na1,XYZ,2021-07-28\na1,CT5,2019-07-28\n", "h.csv")
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD}\n{GOOD.replace('a1', 'b2')}\n"), history=history)
    assert [officer.person_id for officer in roster.officers] == ["b2"]
    [cell] = roster.bad_cells
    assert (cell.row, cell.column) == (2, "history")
    assert cell.reason.startswith("history line 2: unknown decoration")


def test_history_line_without_an_id_rejects_the_history(tmp_path: Path) -> None:
    roster = write(tmp_path, f"{HEADER}\n{GOOD}\n")
    lines = [{"person_id": "", "decoration": "CT5", "received": "2019-07-28"}]
    assert "1 of 1 lines have no usable id (lines 1)" in refusal(roster, history=lines)


def test_history_of_other_people_is_rejected(tmp_path: Path) -> None:
    history = [{"person_id": "z9", "decoration": "CT5", "received": "2019-07-28"}]
    assert "only 0 of the 1 officers are among them" in refusal(write(tmp_path, f"{HEADER}\n{GOOD}\n"), history=history)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("birth_date", "31/02/2530", "does not exist"),
        ("level", "K9", "unknown level"),
        ("salary", "สองหมื่น", "not an amount"),
        ("employee_group", "ลูกจ้างชั่วคราว", "unknown group"),
        ("position_type", "พิเศษ", "unknown position type"),
        ("decorations", "ต.จ.x. 2560-07-28", "unknown decoration"),
        ("decorations", "CT3 28/07/64", "two digits"),
        ("decorations", "34 2021-07-28", "differs between systems"),
        ("decorations", '"[{""code"": ""CT5"", ""abbr_th"": ""ต.ม.""}]"', "two different decorations"),
        ("decorations", "[1", "write JSON"),
        ("person_id", "", "id is missing"),
        ("person_id", "1.23457E+12", "rounded"),
    ],
)
def test_unreadable_cell_makes_only_its_row_bad(tmp_path: Path, column: str, value: str, reason: str) -> None:
    cells = dict(zip(HEADER.split(","), GOOD.split(","), strict=True)) | {column: value}
    content = f"{HEADER}\n{GOOD}\n{','.join(cells.values()).replace('a1', 'b2')}\n{GOOD.replace('a1', 'c3')}\n"
    roster = read(write(tmp_path, content))
    assert [officer.person_id for officer in roster.officers] == ["a1", "c3"]
    [cell] = roster.bad_cells
    assert (cell.row, cell.column, roster.bad_rows) == (3, column, 1)
    assert reason in cell.reason


def test_bad_cells_of_a_row_are_all_reported_and_the_row_counted_once(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD.replace('18900', 'x').replace('K2', 'y')}\n{GOOD}\n"))
    assert {cell.column for cell in roster.bad_cells} == {"salary", "level"}
    assert (roster.bad_rows, roster.rows) == (1, 2)


def test_row_with_more_cells_than_the_header_is_bad(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD},extra\n{GOOD.replace('a1', 'b2')}\n"))
    assert [cell.reason for cell in roster.bad_cells] == ["has 10 cells where the header has 9"]
    assert [officer.person_id for officer in roster.officers] == ["b2"]


def test_rows_of_one_id_with_other_values_are_all_bad(tmp_path: Path) -> None:
    rows = [GOOD, GOOD.replace("18900", "50000"), GOOD.replace("a1", "b2")]
    roster = read(write(tmp_path, "\n".join([HEADER, *rows])))
    assert [officer.person_id for officer in roster.officers] == ["b2"]
    assert [(cell.row, cell.code) for cell in roster.bad_cells] == [
        (2, "contradicting_rows"),
        (3, "contradicting_rows"),
    ]


def test_rows_of_one_id_that_differ_only_in_decorations_are_merged(tmp_path: Path) -> None:
    rows = [GOOD, GOOD.replace("CT3 2021-07-28", "CT5 2017-07-28")]
    roster = read(write(tmp_path, "\n".join([HEADER, *rows])))
    assert [officer.decorations for officer in roster.officers] == [held("CT3 2021", "CT5 2017")]
    assert [(notice.row, notice.code) for notice in roster.notices] == [(3, "merged_rows")]


def test_row_after_a_bad_row_with_the_same_id_is_not_a_duplicate(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD.replace('K2', 'K9')}\n{GOOD}\n"))
    assert roster.officers == [EXPECTED]


def test_row_numbers_are_line_numbers_of_the_file(tmp_path: Path) -> None:
    content = f'{HEADER},remark\n{GOOD},"a\nb"\n\n{GOOD.replace("a1", "b2").replace("K2", "K9")},\n'
    assert read(write(tmp_path, content)).bad_cells[0].row == 5


def test_missing_values_do_not_make_a_row_bad(tmp_path: Path) -> None:
    officer = one(tmp_path, f"{HEADER}\na1,civil_servant,,K2,,,,,\n")
    assert officer == Officer("a1", "civil_servant", "K2", decorations=())


def test_doubtful_values_are_read_and_reported(tmp_path: Path) -> None:
    strange = GOOD.replace("a1", "0123456789017").replace("2021-07-28", "12/05/2557; WE3 2016-01-31")
    roster = read(write(tmp_path, f"{HEADER},shoe size\n{strange},44\n"))
    assert [notice.code for notice in roster.notices] == [
        "check_digit",
        "received_month_first",
        "received_odd_day",
        "award_before_service",
    ]
    assert roster.officers[0].decorations == (Award("CT3", date(2014, 12, 5)), Award("WE3", date(2016, 1, 31)))
    assert roster.remarks == ["unknown columns, which were not used: shoe size"]


def test_unknown_level_of_a_permanent_employee_is_replaced_by_the_wage(tmp_path: Path) -> None:
    officer_row = "a1,ลูกจ้างประจำ,,บ 2/หัวหน้า,1980-01-01,2000-01-01,,16000,"
    roster = read(write(tmp_path, f"{HEADER}\n{officer_row}\n"))
    assert roster.officers[0].level is None
    assert roster.notices[0].code == "level_by_wage"


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \n \n", "is empty"),
        (b"PK\x03\x04rest", "damaged workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "damaged workbook"),
        (b"%PDF-1.7", "PDF"),
        (b"\x1f\x8b\x08", "gzip"),
        (bytes(range(256)), "binary"),
        (b"\x80\x81\x82\xff\xfe\xfd", "neither UTF-8 nor Thai"),
        (f"{HEADER}\n{GOOD}\nข้า".encode() + b"\xff", "line 3 is damaged"),
        (b"<html><table><tr><td>person_id</td></tr></table></html>", "missing columns"),
        (HEADER.encode(), "has a header but no officers"),
        (b"a,b,c\n1,2,3\n", "name no known column"),
        (b"[]", "has no officers"),
        (b"[1, 2]", "no known column"),
        (b'{"people": []}', "must be a list"),
        (b'[{"person_id": ', "invalid JSON"),
        (b'[{"level": "K1", "decorations": []}]', "missing column: person_id"),
        (b'[{"person_id": "a", "level": "K1"}]', "has no column of decorations"),
        (f"{HEADER}\n{GOOD}".replace("decorations", "remark").encode(), "has no column of decorations"),
        (HEADER.replace("salary", "x").replace("level_start", "y").encode(), "missing columns: level_start, salary"),
        (HEADER.replace("decorations", "last_decoration").encode(), "missing column: last_decoration_date"),
        (f"{HEADER},wage\n{GOOD},1\n".encode(), "two columns mean salary"),
        (f'{HEADER}\n{GOOD}\n"a2,{GOOD}\n{GOOD}\n{GOOD}\n'.encode(), "quote opened on line 3 is not closed"),
        (f'{HEADER}\n{GOOD[:-1]}8"\n{GOOD[:-14]}"x\n{GOOD}\n{GOOD}\n'.encode(), "quote opened on line 3"),
    ],
)
def test_file_that_is_not_a_roster_is_rejected_with_advice(tmp_path: Path, content: bytes, reported: str) -> None:
    text = refusal(write(tmp_path, content))
    assert reported in text
    assert text.startswith("roster.csv")
    assert str(tmp_path) not in text


def test_missing_file_and_folder_are_rejected(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.csv") == "none.csv does not exist"
    assert "is a folder" in refusal(tmp_path)


def test_too_many_bad_rows_reject_the_roster_without_quoting_values(tmp_path: Path) -> None:
    bad = [GOOD.replace("a1", f"b{number}").replace("K2", "สมชาย") for number in range(4)]
    good = [GOOD.replace("a1", f"a{number}") for number in range(76)]
    path = write(tmp_path, "\n".join([HEADER, *good, *bad]))
    assert read(path, bad_row_limit=5.0).bad_rows == 4
    with pytest.raises(RosterRejected) as caught:
        read(path, bad_row_limit=4.9)
    text = str(caught.value)
    assert "4 of 80 rows (5.0 %)" in text
    assert "level, 4 cells: unknown level" in text
    assert "สมชาย" not in text
    assert "b2" not in text
    assert caught.value.bad_cells[0].value == "สมชาย"
    assert caught.value.message.th.startswith("roster.csv: อ่านไม่ได้ 4 จาก 80 แถว")
    assert "ระดับ 4 ช่อง: ไม่รู้จักระดับ" in caught.value.message.th


def test_single_bad_cell_of_a_rejected_roster_is_named_in_both_languages(tmp_path: Path) -> None:
    with pytest.raises(RosterRejected) as caught:
        read(write(tmp_path, "\n".join([HEADER, GOOD.replace("K2", "K9")])), bad_row_limit=5.0)
    assert "row 2, level: unknown level" in caught.value.message.en
    assert "แถวที่ 2 ระดับ: ไม่รู้จักระดับ" in caught.value.message.th


@pytest.mark.parametrize(("good", "bad", "is_read"), [(3, 3, True), (7, 3, True), (2, 3, False), (0, 1, False)])
def test_small_roster_may_have_three_bad_rows(tmp_path: Path, good: int, bad: int, is_read: bool) -> None:
    rows = [GOOD.replace("a1", f"a{number}") for number in range(good)]
    rows += [GOOD.replace("a1", f"b{number}").replace("K2", "K9") for number in range(bad)]
    path = write(tmp_path, "\n".join([HEADER, *rows]))
    if is_read:
        assert read(path, bad_row_limit=5.0).bad_rows == bad
    else:
        refusal(path, bad_row_limit=5.0)


def test_json_and_csv_of_the_same_officers_give_the_same_decisions(tmp_path: Path) -> None:
    objects = [
        {
            "person_id": "a1",
            "employee_group": "civil_servant",
            "position_type": "academic",
            "level": "K2",
            "birth_date": "1990-03-03",
            "service_start": "2015-04-01",
            "level_start": "2022-05-02",
            "salary": 18900,
            "decorations": [{"code": "CT3", "abbr_th": "ต.ม.", "received": "2021-07-28"}],
        }
    ]
    lists = [
        evaluate_roster(source, 2568)
        for source in (
            write(tmp_path, f"{HEADER}\n{GOOD}\n"),
            write(tmp_path, json.dumps(objects), "a.json"),
            write(tmp_path, json.dumps({"officers": objects}), "b.json"),
            objects,
        )
    ]
    assert rows(lists[0]) == rows(lists[1]) == rows(lists[2]) == rows(lists[3])
    assert rows(lists[0])[0]["class"]["award"] == "WE3"


def test_json_null_decorations_are_unknown_and_an_empty_list_is_none() -> None:
    people = [{"person_id": "a", "decorations": None}, {"person_id": "b"}, {"person_id": "c", "decorations": []}]
    assert [officer.decorations for officer in read(people).officers] == [None, None, ()]


def test_json_values_of_the_wrong_type_make_bad_rows() -> None:
    people = [
        {"person_id": "a", "decorations": [], "salary": {"baht": 1}},
        {"person_id": "b", "decorations": "CT3 2021-07-28", "salary": True},
        {"person_id": "c", "decorations": [5]},
        {"person_id": "d", "decorations": [{"received": "2021-07-28"}]},
        "e",
        {"person_id": 123, "decorations": [], "discipline": [{"penalty": "salary_cut", "date": "2024-01-01"}]},
    ]
    roster = read(people)
    assert [cell.row for cell in roster.bad_cells] == [1, 2, 3, 4, 5]
    assert [(officer.person_id, officer.discipline) for officer in roster.officers] == [("123", ("salary_cut",))]


def test_file_over_the_limit_is_rejected_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(1025 * 1024 * 1024)  # a hole: no space is taken
    assert "larger than 1024 MB" in refusal(path)


def test_heading_that_is_not_known_can_be_mapped(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEADER.replace('salary', 'ฐานเงิน')},เลื่อน\n{GOOD},x\n")
    assert "missing column: salary" in refusal(path)
    assert one(tmp_path, path.read_bytes(), mapping={"ฐานเงิน": "salary", "เลื่อน": "-"}) == EXPECTED
    assert "unknown field: pay" in refusal(path, mapping={"ฐานเงิน": "pay"})


def test_heading_that_resembles_a_missing_field_rejects_the_roster(tmp_path: Path) -> None:
    content = f"{HEADER},natonality\n{GOOD},LA\n"
    assert '"natonality" resembles nationality' in refusal(write(tmp_path, content))


def test_several_files_are_one_roster(tmp_path: Path) -> None:
    files = [
        write(tmp_path, f"{HEADER}\n{GOOD}\n", "one.csv"),
        write(
            tmp_path,
            f"{HEADER}\n{GOOD.replace('a1', 'b2')}\n{GOOD.replace('a1', 'c3').replace('K2', 'K9')}\n",
            "two.csv",
        ),
    ]
    roster = read(files)
    assert [officer.person_id for officer in roster.officers] == ["a1", "b2"]
    assert [(cell.file, cell.row) for cell in roster.bad_cells] == [("two.csv", 3)]


def test_repairs_name_their_place_and_both_values(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD.replace('a1', '123456789016.0')}\n"))
    [repair] = roster.repairs
    assert (repair.file, repair.row, repair.column, repair.code) == ("roster.csv", 2, "person_id", "id_zero_restored")
    assert (repair.before, repair.after) == ("123456789016.0", "0123456789016")
    assert repair.text_th
