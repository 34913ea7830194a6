"""Decorations beside their dates, columns of classes, the last decoration beside a history, and ids of a history."""

from pathlib import Path

import pytest
import xlsxwriter

from tests.support.insignia import held
from tests.unit.test_insignia_roster import read, refusal, write
from worker.insignia import RosterUnreadable

HEADER = "person_id,employee_group,level,birth_date,service_start,level_start,salary"
PERSON = "3100600000005"
FACTS = "civil_servant,K2,1990-03-03,2015-04-01,2022-05-02,18900"


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        pytest.param("ต.ม.,28/7/2564", ("CT3 2021",), id="one"),
        pytest.param("ต.ม.; ต.ช.,28/7/2564; 28/7/2567", ("CT3 2021", "WE3 2024"), id="lists"),
        pytest.param("ต.ม.,2564", ("CT3 2021",), id="year"),
        pytest.param('"1. ต.ม.\n2. ต.ช.","2564\n2567"', ("CT3 2021", "WE3 2024"), id="numbered lines"),
        pytest.param("ต.ม. 28/7/2564,28/7/2567", ("CT3 2021",), id="date of its own"),
        pytest.param(",", (), id="none"),
    ],
)
def test_decorations_have_the_dates_of_the_column_beside(cells: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    content = f"{HEADER},เครื่องราชอิสริยาภรณ์,วันที่ได้รับ\n{PERSON},{FACTS},{cells}\n"
    [officer] = read(write(tmp_path, content)).officers
    assert officer.decorations == held(*expected)


def test_decorations_have_no_dates_if_the_column_beside_has_fewer(tmp_path: Path) -> None:
    content = f"{HEADER},เครื่องราชอิสริยาภรณ์,วันที่ได้รับ\n{PERSON},{FACTS},ต.ม.; ต.ช.,28/7/2567\n"
    [officer] = read(write(tmp_path, content)).officers
    assert [award.received for award in officer.decorations or ()] == [None, None]


@pytest.mark.parametrize(
    ("heading", "code"),
    [
        ("ตริตาภรณ์มงกุฎไทย (ต.ม.)", "CT3"),
        ("ต.ม. (ปี พ.ศ.)", "CT3"),
        ("ช้างเผือก ชั้นสูงสุด", "WES"),
        ("มงกุฎไทย\nชั้นที่ 3", "CT3"),
    ],
)
def test_column_of_a_class_is_known_by(heading: str, code: str, tmp_path: Path) -> None:
    content = f'{HEADER},"{heading}"\n{PERSON},{FACTS},2564\n'
    [officer] = read(write(tmp_path, content)).officers
    assert officer.decorations == held(f"{code} 2021")


@pytest.mark.parametrize("heading", ["ท.ฒ.", "ทวีติยาภรณ์มงกุฏไทยย", "ช้างเผือก ชั้น 9", "ต.ม. (ต.ช.)"])
def test_column_that_seems_to_be_a_class_rejects_the_roster(heading: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEADER},ต.ม.,{heading}\n{PERSON},{FACTS},2564,2567\n")
    assert heading in refusal(path)
    assert read(path, mapping={heading: "-"}).officers


@pytest.mark.parametrize("heading", ["หมายเหตุ", "เครื่องราชอิสริยาภรณ์ที่ขอพระราชทาน", "ท.จ.ว.", "เหรียญดุษฎีมาลา"])
def test_other_columns_beside_those_of_classes_do_not(heading: str, tmp_path: Path) -> None:
    assert read(write(tmp_path, f"{HEADER},ต.ม.,{heading}\n{PERSON},{FACTS},2564,\n")).officers


@pytest.mark.parametrize(("lines", "last_only"), [("", True), ("CT3,2021-07-28\n", True), ("WE3,2024-07-28\n", False)])
def test_history_without_the_last_decoration_may_lack_others(lines: str, last_only: bool, tmp_path: Path) -> None:
    roster = f"{HEADER},last_decoration,last_decoration_date\n{PERSON},{FACTS},WE3,2024-07-28\nx1,{FACTS},,\n"
    known = f"{PERSON},{lines}" if lines else ""
    history = write(tmp_path, f"person_id,decoration,received\n{known}x1,CT3,2021-07-28\n", "history.csv")
    officer, _ = read(write(tmp_path, roster), history=history).officers
    assert officer.last_only is last_only
    assert held("WE3 2024")[0] in (officer.decorations or ())


OTHER = "3100600000013"


def test_history_with_ids_of_another_kind_rejects_the_roster(tmp_path: Path) -> None:
    roster = write(tmp_path, f"{HEADER}\n{PERSON},{FACTS}\n{OTHER},{FACTS}\n")
    history = write(
        tmp_path, f"person_id,decoration,received\n{PERSON},CT3,2021-07-28\n007123,WE3,2024-07-28\n", "h.csv"
    )
    assert "1 people of the history have ids that are not citizen ids" in refusal(roster, history=history)


@pytest.mark.parametrize("name", ["ค", "นายค", "ว่าที่ร้อยตรี ค"])
def test_history_with_ids_of_another_kind_and_names_makes_namesakes_unknown(name: str, tmp_path: Path) -> None:
    named = HEADER.replace("person_id", "person_id,first_name,last_name")
    roster = write(tmp_path, f"{named}\n{PERSON},ก,ข,{FACTS}\n{OTHER},ค,ง,{FACTS}\n")
    lines = f"{PERSON},ก,ข,CT3,2021-07-28\n007123,{name},ง,WE3,2024-07-28\n"
    history = write(tmp_path, f"person_id,first_name,last_name,decoration,received\n{lines}", "h.csv")
    one, other = read(roster, history=history).officers
    assert (one.decorations, other.decorations) == (held("CT3 2021"), None)


def workbook(path: Path, *sheets: list[list[str]]) -> Path:
    with xlsxwriter.Workbook(path) as book:
        for rows in sheets:
            sheet = book.add_worksheet()
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    return path


OFFICERS = [[*HEADER.split(","), "decorations"], [PERSON, *FACTS.split(","), "CT3 2021-07-28"]]


def test_sheet_of_addresses_is_not_read(tmp_path: Path) -> None:
    addresses = [["person_id", "ชื่อ", "นามสกุล", "หน่วยงาน", "ที่อยู่"], [PERSON, "ก", "ข", "กองคลัง", "1"]]
    roster = read(workbook(tmp_path / "roster.xlsx", addresses, OFFICERS))
    assert len(roster.officers) == 1
    assert any("has only ids and names" in remark for remark in roster.remarks)


@pytest.mark.parametrize("heading", ["โทษทางวินัย", "ชั้นตรา", "ต.ม.", "วันลาออก"])
def test_sheet_with_more_than_names_rejects_the_roster_by_its_name(heading: str, tmp_path: Path) -> None:
    more = [["person_id", "ชื่อ", "นามสกุล", heading], [PERSON, "ก", "ข", "x"]]
    with pytest.raises(RosterUnreadable, match="Sheet2"):
        read(workbook(tmp_path / "roster.xlsx", OFFICERS, more))


def test_only_sheet_of_names_says_what_is_missing(tmp_path: Path) -> None:
    names = [["person_id", "ชื่อ", "นามสกุล"], [PERSON, "ก", "ข"]]
    with pytest.raises(RosterUnreadable, match="missing columns"):
        read(workbook(tmp_path / "roster.xlsx", names, [["บันทึก"]]))


@pytest.mark.parametrize("heading", ["เงินเดือน (1 เม.ย. 64)", "เงินเดือน (๑ เม.ย. ๖๔)", "เงินเดือน (2564)"])
def test_pay_of_a_certain_year_is_not_the_present_pay(heading: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEADER.replace('salary', heading)},decorations\n{PERSON},{FACTS},\n")
    assert "salary" in refusal(path)


def test_pay_that_fell_in_five_years_makes_both_figures_unknown(tmp_path: Path) -> None:
    content = f"{HEADER},salary_5y_ago,decorations\n{PERSON},{FACTS},19500,\n"
    roster = read(write(tmp_path, content))
    assert [(one.salary, one.salary_5y_ago) for one in roster.officers] == [(None, None)]
    assert [notice.code for notice in roster.notices] == ["pay_fell"]


@pytest.mark.parametrize("group", ["ข้าราชการ กทม. สามัญ", "ข้าราชการพลเรือนสามัญ (กทม.)"])
def test_group_is_known_as(group: str, tmp_path: Path) -> None:
    content = f"{HEADER},decorations\n{PERSON},{FACTS.replace('civil_servant', group)},\n"
    assert [one.employee_group for one in read(write(tmp_path, content)).officers] == ["civil_servant"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("เครื่องราชอิสริยาภรณ์อันเป็นที่เชิดชูยิ่งช้างเผือก ชั้นที่ 3 ตริตาภรณ์ช้างเผือก", "WE3"),
        ("ชั้นที่ 3 ตริตาภรณ์มงกุฎไทย", "CT3"),
        ("เครื่องราชอิสริยาภรณ์อันเป็นที่เชิดชูยิ่งช้างเผือก ชั้นที่ 3 ตริตาภรณ์มงกุฎไทย", None),
        ("ชั้นที่ 2 ตริตาภรณ์ช้างเผือก", None),
    ],
)
def test_full_wording_agrees_with_the_name(text: str, code: str | None, tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER},decorations\n{PERSON},{FACTS},{text} 28/7/2564\n"))
    assert [one.decorations for one in roster.officers] == ([] if code is None else [held(f"{code} 2021")])


def test_row_of_units_below_the_header_is_not_an_officer(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER},decorations\n,,,(ว/ด/ป),(ว/ด/ป),,(บาท),\n{PERSON},{FACTS},\n"))
    assert [one.person_id for one in roster.officers] == [PERSON]
    assert not roster.bad_rows


def test_columns_of_classes_without_one_between_them_reject_the_roster(tmp_path: Path) -> None:
    row = f"{PERSON},{FACTS}"
    assert "no column for WE3" in refusal(write(tmp_path, f"{HEADER},ต.ม.,ท.ม.\n{row},2564,\n"))
    assert read(write(tmp_path, f"{HEADER},ต.ม.,ต.ช.,ท.ม.,ร.จ.พ.\n{row},2564,,,\n")).officers
    assert read(write(tmp_path, f"{HEADER},ต.ม.,ท.ม.,decorations\n{row},2564,,\n")).officers
