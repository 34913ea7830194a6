"""Columns of dates of one file are judged together."""

from datetime import date
from pathlib import Path

import pytest

from tests.unit.test_insignia_roster import read, write
from worker.insignia.roster.officer import Award

HEADER = "person_id,employee_group,level,birth_date,service_start,level_start,salary,decorations"


def roster(*dates: str) -> str:
    rows = (f"a{number},civil_servant,K2,{cells},18900," for number, cells in enumerate(dates))
    return "\n".join([HEADER, *rows, ""])


def test_column_of_first_days_has_the_order_that_another_column_shows(tmp_path: Path) -> None:
    births = ("3/25/1990", "4/13/1991", "12/30/1989", "7/28/1985")
    read_ = read(write(tmp_path, roster(*(f"{birth},10/1/2014,4/1/2019" for birth in births))))
    assert {officer.service_start for officer in read_.officers} == {date(2014, 10, 1)}
    assert {officer.level_start for officer in read_.officers} == {date(2019, 4, 1)}
    assert {repair.code for repair in read_.repairs} == {"date_month_first"}


def test_column_with_one_date_month_first_follows_the_others(tmp_path: Path) -> None:
    rows = ("3/25/1990,10/1/2014", "4/13/1991,10/2/2014", "12/30/1989,10/3/2014", "7/28/1985,10/16/2014")
    read_ = read(write(tmp_path, roster(*(f"{row},4/1/2019" for row in rows))))
    assert [officer.service_start for officer in read_.officers] == [date(2014, 10, day) for day in (1, 2, 3, 16)]


def test_few_dates_of_several_columns_show_the_order_together(tmp_path: Path) -> None:
    rows = ("3/25/1990,10/1/2014,4/1/2019", "4/3/1991,10/16/2013,4/1/2018", "5/6/1992,10/1/2012,4/15/2017")
    read_ = read(write(tmp_path, roster(*rows)))
    assert [officer.birth_date for officer in read_.officers] == [date(1990, 3, 25), date(1991, 4, 3), date(1992, 5, 6)]
    assert [officer.level_start for officer in read_.officers] == [
        date(2019, 4, 1),
        date(2018, 4, 1),
        date(2017, 4, 15),
    ]


def test_too_few_dates_month_first_make_the_other_columns_doubtful(tmp_path: Path) -> None:
    births = ("3/25/1990", "4/3/1991", "5/6/1992", "6/7/1993")
    read_ = read(write(tmp_path, roster(*(f"{birth},10/1/2014,4/1/2019" for birth in births))))
    assert [cell.column for cell in read_.bad_cells] == ["birth_date"]
    assert {(one.birth_date, one.service_start, one.level_start) for one in read_.officers} == {(None, None, None)}


def test_one_mistake_month_first_leaves_the_other_columns_as_they_are(tmp_path: Path) -> None:
    births = ("25/3/1990", "13/4/1991", "30/12/1989", "28/7/1985", "3/25/1990")
    read_ = read(write(tmp_path, roster(*(f"{birth},10/1/2014,4/1/2019" for birth in births))))
    assert {one.level_start for one in read_.officers} == {date(2019, 1, 4)}


def test_column_that_does_not_show_its_order_is_doubtful_if_the_others_disagree(tmp_path: Path) -> None:
    rows = ("3/25/1990,25/3/2014", "4/13/1991,13/4/2014", "12/30/1989,30/12/2013", "7/28/1985,28/7/2010")
    read_ = read(write(tmp_path, roster(*(f"{row},4/1/2019" for row in rows))))
    assert {officer.level_start for officer in read_.officers} == {None}
    assert {officer.service_start.day for officer in read_.officers if officer.service_start} == {25, 13, 30, 28}
    assert {notice.code for notice in read_.notices} == {"date_order_unclear"}


def test_column_is_doubtful_if_a_spreadsheet_has_swapped_another(tmp_path: Path) -> None:
    births = ("1990-05-03", "1991-06-04", "1989-07-12", "1985-01-02", "25/3/1990", "13/4/1991")
    read_ = read(write(tmp_path, roster(*(f"{birth},2014-01-10,2019-02-04" for birth in births))))
    assert {officer.service_start for officer in read_.officers} == {None}
    assert {officer.level_start for officer in read_.officers} == {None}


@pytest.mark.parametrize(
    "text",
    [
        "5/12/2557 0:00:00", "5/12/2014 12:00:00 AM", "05/12/2557 00:00 น.", "2014-12-05 00:00:00", "5 ธันวา 2557",
        "วันที่ 5 เดือนธันวาคม พุทธศักราช 2557", "วันศุกร์ที่ 5 ธันวาคม พ.ศ. 2557", "Friday, December 5, 2014",
    ],
)  # fmt: skip
def test_dates_as_programs_print_them(text: str, tmp_path: Path) -> None:
    decoration = "ต.ม." if "," in text else f"ต.ม. {text}"
    content = f'{HEADER}\na1,civil_servant,K2,1990-03-03,"{text}",,18900,{decoration}\n'
    [officer] = read(write(tmp_path, content)).officers
    assert officer.service_start == date(2014, 12, 5)
    assert officer.decorations == (Award("CT3", None if "," in text else date(2014, 12, 5)),)


@pytest.mark.parametrize(
    "text",
    [
        "1900-01-01", "1/1/1900", "01/01/2443", "0", "00/00/0000", "30/12/1899", "9999-12-31", "31/12/9999 00:00:00",
        "0001-01-01T00:00:00", "1/0/1900", "1753-01-01", "00:00:00",
    ],
)  # fmt: skip
def test_date_that_programs_write_for_none_is_none(text: str, tmp_path: Path) -> None:
    rows = "".join(f"a{number},civil_servant,K2,1990-03-03,{text},2014-12-05,18900,,{text}\n" for number in range(5))
    roster_ = read(write(tmp_path, f"{HEADER},resigned\n{rows}"))
    assert {(one.service_start, one.resigned) for one in roster_.officers} == {(None, None)}
    assert {notice.code for notice in roster_.notices} == {"placeholder_date"}


@pytest.mark.parametrize("text", ["1901-01-01", "2/1/1900", "1970-01-01"])
def test_other_early_dates_are_dates(text: str, tmp_path: Path) -> None:
    content = f"{HEADER}\na1,civil_servant,K2,{text},,,18900,\n"
    [officer] = read(write(tmp_path, content)).officers
    assert officer.birth_date is not None


@pytest.mark.parametrize("field", ["resigned", "left_service"])
@pytest.mark.parametrize(("returned", "is_bad"), [("", True), ("2014-12-05", False), ("1960-01-01", True)])
def test_leaving_before_the_service_is_a_bad_row_unless_the_officer_has_returned(
    field: str, returned: str, is_bad: bool, tmp_path: Path
) -> None:
    row = f"a1,civil_servant,K2,1990-03-03,2014-12-05,,18900,,1970-01-01,{returned}"
    content = f"{HEADER},{field},returned_to_service\n{row}\n"
    roster_ = read(write(tmp_path, content))
    assert [cell.column for cell in roster_.bad_cells] == ([field] if is_bad else [])


@pytest.mark.parametrize(
    ("dates", "column"),
    [
        pytest.param("1966-03-03,2026-04-01,", "service_start", id="service read as 20xx"),
        pytest.param("1990-03-03,,1962-04-01", "birth_date", id="level read as 19xx"),
        pytest.param("2028-03-03,,2014-04-01", "birth_date", id="birth read as 20xx"),
        pytest.param(",2014-04-01,,CT3 1964-07-28", "decorations", id="decoration read as 19xx"),
        pytest.param("1968-03-03,2026-03-02,", None, id="entered at 57"),
    ],
)
def test_buddhist_year_of_two_digits_read_in_another_century_is_a_bad_row(
    dates: str, column: str | None, tmp_path: Path
) -> None:
    days, _, held = dates.partition(",CT3")
    content = f"{HEADER}\na1,civil_servant,K2,{days},18900,{held and 'CT3' + held}\n"
    assert [cell.column for cell in read(write(tmp_path, content)).bad_cells] == ([column] if column else [])
