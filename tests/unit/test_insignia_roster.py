"""Rosters as offices write them: read, refused, or read with a remark."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support.insignia import held, rows
from worker.insignia import RosterRejected, RosterUnreadable, evaluate_roster, load_criteria
from worker.insignia.officer import Award, Officer
from worker.insignia.roster import read_roster
from worker.insignia.rows import Roster

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
            "ID_CARD,PERSONAL_TYPE,ประเภทตำแหน่ง,POS_LEV,BIRTH_DATE,BEG_DATE,BEG_POS_DATE,SALARY,decorations,FNAME\n"
            f"{GOOD},x\n",
            id="names of the SOC export",
        ),
    ],
)
def test_the_same_officer_in_many_clothes(tmp_path: Path, content: str | bytes) -> None:
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
def test_decorations_in_one_cell(tmp_path: Path, cell: str, expected: tuple[Award, ...] | None) -> None:
    row = GOOD.removesuffix("CT3 2021-07-28") + cell
    assert one(tmp_path, f"{HEADER}\n{row}\n").decorations == expected


def test_the_last_decoration_alone_is_known_to_be_alone(tmp_path: Path) -> None:
    header = HEADER.replace("decorations", "last_decoration,last_decoration_date")
    row = GOOD.replace("CT3 2021-07-28", "ต.ม.,28/7/2564")
    officer = one(tmp_path, f"{header}\n{row}\n")
    assert (officer.decorations, officer.last_only) == (held("CT3 2021"), True)
    nobody = one(tmp_path, f"{header}\n{GOOD.replace('CT3 2021-07-28', ',')}\n")
    assert (nobody.decorations, nobody.last_only) == ((), False)


def test_a_history_file_completes_the_roster(tmp_path: Path) -> None:
    history = write(
        tmp_path, "person_id,decoration,received\na1,บ.ม.,28/7/2562\na1,CT3,2021-07-28\nz9,CT5,2020-07-28\n", "h"
    )
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD}\n"), history=history)
    assert roster.officers[0].decorations == held("CT3 2021", "CT5 2019")
    assert any("1 people" in remark for remark in roster.remarks)
    without = HEADER.removesuffix(",decorations") + "\n" + GOOD.removesuffix(",CT3 2021-07-28") + "\n"
    assert one(tmp_path, without, history=history).decorations == held("CT5 2019", "CT3 2021")
    assert one(tmp_path, without.replace("a1", "b2"), history=history).decorations == ()


def test_a_history_may_be_json_or_a_list(tmp_path: Path) -> None:
    lines = [{"person_id": "a1", "decoration": "CT3", "received": "2021-07-28"}]
    path = write(tmp_path, json.dumps({"history": lines}), "h.json")
    roster = write(tmp_path, f"{HEADER}\n{GOOD}\n")
    assert read(roster, history=path).officers == read(roster, history=lines).officers == [EXPECTED]


def test_ids_meet_whatever_stands_between_their_digits(tmp_path: Path) -> None:
    history = [{"person_id": "๐๐๐๐๐๐๐๐๒๕๖๙๑", "decoration": "CT5", "received": "2019-07-28"}]
    officer = one(tmp_path, f"{HEADER}\n{GOOD.replace('a1', '0-0000-00025-69-1')}\n", history=history)
    assert officer.person_id == "0000000025691"
    assert held("CT5 2019")[0] in (officer.decorations or ())


def test_somebody_with_an_unreadable_history_is_a_bad_row(tmp_path: Path) -> None:
    history = write(tmp_path, "person_id,decoration,received\na1,XYZ,2021-07-28\na1,CT5,2019-07-28\n", "h.csv")
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD}\n{GOOD.replace('a1', 'b2')}\n"), history=history)
    assert [officer.person_id for officer in roster.officers] == ["b2"]
    [cell] = roster.bad_cells
    assert (cell.row, cell.column) == (2, "history")
    assert cell.reason.startswith("history line 2: no known decoration")


def test_history_lines_that_belong_to_nobody_are_noticed_or_refused(tmp_path: Path) -> None:
    roster = write(tmp_path, f"{HEADER}\n{GOOD}\n")
    lines = [{"person_id": "", "decoration": "CT5", "received": "2019-07-28"}]
    assert read(roster, history=lines).notices[0].code == "history_line"
    assert "1 of 1 lines belong to nobody" in refusal(roster, history=lines, bad_row_limit=5.0)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("birth_date", "31/02/2530", "no such day"),
        ("level", "K9", "no known level"),
        ("salary", "สองหมื่น", "no amount"),
        ("employee_group", "ลูกจ้างชั่วคราว", "none of the three groups"),
        ("position_type", "พิเศษ", "no position type"),
        ("decorations", "ต.จ.ว. 2560-07-28", "no known decoration"),
        ("decorations", "CT3 28/07/64", "two digits"),
        ("decorations", "34 2021-07-28", "differs between systems"),
        ("decorations", '"[{""code"": ""CT5"", ""abbr_th"": ""ต.ม.""}]"', "two different decorations"),
        ("decorations", "[1", "write JSON"),
        ("person_id", "", "no id"),
        ("person_id", "1.23457E+12", "rounded"),
    ],
)
def test_a_cell_nobody_can_read_makes_a_bad_row_and_stops_nobody_else(
    tmp_path: Path, column: str, value: str, reason: str
) -> None:
    cells = dict(zip(HEADER.split(","), GOOD.split(","), strict=True)) | {column: value}
    content = f"{HEADER}\n{GOOD}\n{','.join(cells.values()).replace('a1', 'b2')}\n{GOOD.replace('a1', 'c3')}\n"
    roster = read(write(tmp_path, content))
    assert [officer.person_id for officer in roster.officers] == ["a1", "c3"]
    [cell] = roster.bad_cells
    assert (cell.row, cell.column, roster.bad_rows) == (3, column, 1)
    assert reason in cell.reason


def test_every_bad_cell_of_a_row_is_told_and_the_row_counted_once(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD.replace('18900', 'x').replace('K2', 'y')}\n{GOOD}\n"))
    assert {cell.column for cell in roster.bad_cells} == {"salary", "level"}
    assert (roster.bad_rows, roster.rows) == (1, 2)


def test_a_row_of_another_width_is_bad(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD},extra\n{GOOD.rsplit(',', 1)[0]}\n{GOOD}\n"))
    assert [cell.reason for cell in roster.bad_cells] == [
        "has 10 cells where the header has 9",
        "has 8 cells where the header has 9",
    ]
    assert len(roster.officers) == 1


def test_the_second_of_two_rows_with_one_id_is_bad(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD}\n{GOOD.replace('18900', '50000')}\n"))
    assert [officer.salary for officer in roster.officers] == [18900]
    assert roster.bad_cells[0].reason == "the same id stands in row 2"


def test_a_bad_row_does_not_make_the_next_of_its_id_a_duplicate(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD.replace('K2', 'K9')}\n{GOOD}\n"))
    assert roster.officers == [EXPECTED]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    content = f'{HEADER},remark\n{GOOD},"a\nb"\n\n{GOOD.replace("a1", "b2").replace("K2", "K9")},\n'
    assert read(write(tmp_path, content)).bad_cells[0].row == 5


def test_missing_values_are_no_fault_of_the_row(tmp_path: Path) -> None:
    officer = one(tmp_path, f"{HEADER}\na1,civil_servant,,K2,,,,,\n")
    assert officer == Officer("a1", "civil_servant", "K2", decorations=())


def test_what_deserves_a_look_is_noticed_and_read(tmp_path: Path) -> None:
    strange = GOOD.replace("a1", "0123456789017").replace("2021-07-28", "12/05/2557; WE3 2016-01-31")
    roster = read(write(tmp_path, f"{HEADER},shoe size\n{strange},44\n"))
    assert [notice.code for notice in roster.notices] == ["check_digit", "received_month_first", "received_odd_day"]
    assert roster.officers[0].decorations == (Award("CT3", date(2014, 12, 5)), Award("WE3", date(2016, 1, 31)))
    assert roster.remarks == ["columns that are not known and were not used: shoe size"]


def test_a_permanent_employees_level_of_another_system_gives_way_to_the_wage(tmp_path: Path) -> None:
    officer_row = "a1,ลูกจ้างประจำ,,บ 2/หัวหน้า,1980-01-01,2000-01-01,,16000,"
    roster = read(write(tmp_path, f"{HEADER}\n{officer_row}\n"))
    assert roster.officers[0].level is None
    assert roster.notices[0].code == "level_by_wage"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \n \n", "is empty"),
        (b"PK\x03\x04rest", "workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old workbook"),
        (b"%PDF-1.7", "PDF"),
        (b"\x1f\x8b\x08", "gzip"),
        (f"{HEADER}\n{GOOD}\n".encode("utf-16"), "UTF-16"),
        (f"{HEADER}\n{GOOD}\n".encode("utf-16-le"), "binary or UTF-16"),
        (bytes(range(256)), "binary"),
        (b"\x80\x81\x82\xff\xfe\xfd", "neither UTF-8 nor Thai"),
        (f"{HEADER}\n{GOOD}\nข้า".encode() + b"\xff", "line 3 is damaged"),
        (b"<html><table><tr><td>person_id</td></tr></table></html>", "web page"),
        (HEADER.encode(), "has a header, but no officers"),
        (b"a,b,c\n1,2,3\n", "names no known column"),
        (b"[]", "holds nobody"),
        (b"[1, 2]", "no known column"),
        (b'{"people": []}', "must be a list"),
        (b'[{"person_id": ', "no JSON"),
        (b'[{"level": "K1", "decorations": []}]', "missing column: person_id"),
        (b'[{"person_id": "a", "level": "K1"}]', "says nothing of decorations"),
        (f"{HEADER}\n{GOOD}".replace("decorations", "remark").encode(), "says nothing of decorations"),
        (HEADER.replace("salary", "pay").replace("level_start", "x").encode(), "missing columns: level_start, salary"),
        (HEADER.replace("decorations", "last_decoration").encode(), "missing column: last_decoration_date"),
        (f"{HEADER},wage\n{GOOD},1\n".encode(), "two columns mean salary"),
        (f'{HEADER}\n{GOOD}\n"a2,{GOOD}\n{GOOD}\n{GOOD}\n'.encode(), "quote opened on line 3 is not closed"),
        (f'{HEADER}\n{GOOD[:-1]}8"\n{GOOD[:-14]}"x\n{GOOD}\n{GOOD}\n'.encode(), "quote opened on line 3"),
    ],
)
def test_what_is_no_roster_is_refused_in_one_line_that_says_what_to_do(
    tmp_path: Path, content: bytes, told: str
) -> None:
    text = refusal(write(tmp_path, content))
    assert told in text
    assert text.startswith("roster.csv")
    assert str(tmp_path) not in text


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.csv") == "none.csv does not exist"
    assert "is a folder" in refusal(tmp_path)


def test_too_many_bad_rows_reject_the_roster_without_telling_values(tmp_path: Path) -> None:
    bad = GOOD.replace("a1", "b2").replace("K2", "สมชาย")
    path = write(tmp_path, "\n".join([HEADER, *(GOOD.replace("a1", f"a{n}") for n in range(19)), bad]))
    assert read(path, bad_row_limit=5.0).bad_rows == 1
    with pytest.raises(RosterRejected) as caught:
        read(path, bad_row_limit=4.9)
    text = str(caught.value)
    assert "1 of 20 rows (5.0 %)" in text
    assert "row 21, level" in text
    assert "สมชาย" not in text
    assert "b2" not in text
    assert caught.value.bad_cells[0].value == "สมชาย"


def test_json_and_csv_of_the_same_people_are_decided_alike(tmp_path: Path) -> None:
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


def test_in_json_null_decorations_are_unknown_and_an_empty_list_is_none() -> None:
    people = [{"person_id": "a", "decorations": None}, {"person_id": "b"}, {"person_id": "c", "decorations": []}]
    assert [officer.decorations for officer in read(people).officers] == [None, None, ()]


def test_json_values_of_the_wrong_kind_are_bad_rows() -> None:
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


def test_a_very_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(300 * 1024 * 1024)  # a hole: no space is taken
    assert "larger than 256 MB" in refusal(path)
