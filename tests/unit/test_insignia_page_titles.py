"""Titles of web pages outside of the cells of a table: headings, paragraphs, captions and tables of their own."""

from pathlib import Path
from time import process_time

import pytest

from tests.unit.test_insignia_award_columns import FACTS, HEADER, OTHER, PERSON
from tests.unit.test_insignia_roster import read
from worker.insignia.roster.markup import markup_sheets
from worker.insignia.roster.roster_data import Roster

HEADS = f"{HEADER},decorations".split(",")


def rows(*persons: str, heads: bool = True) -> str:
    grid = [*([HEADS] if heads else []), *([person, *FACTS.split(","), ""] for person in persons)]
    return "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for cells in grid)


def page(tmp_path: Path, body: str) -> Roster:
    (tmp_path / "r.xls").write_text(f"<html><body>{body}</body></html>", "utf-8")
    return read(tmp_path / "r.xls")


TABLE = f"<table>{rows(PERSON)}</table>"


@pytest.mark.parametrize(
    "body",
    [
        f"<h3>รายชื่อผู้ลาออก</h3>{TABLE}",
        f"<p>รายชื่อ<b>ผู้ลา</b>ออก</p>{TABLE}",
        f"รายชื่อผู้ลาออก<br>สำนักการคลัง{TABLE}",
        f"<center>รายชื่อผู้ลาออก\n{TABLE}",
        f"<table><caption>รายชื่อผู้ลาออก</caption>{rows(PERSON)}</table>",
        f"<table><caption><b>รายชื่อผู้ลาออก{rows(PERSON)}</table>",
        f"<table>รายชื่อผู้ลาออก{rows(PERSON)}",
        f"<table><tr><td>รายชื่อผู้ลาออก</td></tr></table>{TABLE}",
        f"<table><tr><td>รายชื่อผู้ลาออก</td></tr><tr><td>{TABLE}</td></tr></table>",
        f"<table><tr><td>รายชื่อผู้ลาออก{TABLE}</td></tr></table>",
        f"<a name='top'>รายชื่อผู้ลาออก</a>{TABLE}",
        f"<nav>เมนู<h3>รายชื่อผู้ลาออก</h3>{TABLE}",
        f"<select><option>ก<option>ข</select><p>ข้าราชการล่วงลับ</p>{TABLE}",
        f"<a href='/x'>กลับ<p>รายชื่อผู้ลาออก</p>{TABLE}",
        f"<h1>รายชื่อผู้ลาออก</h1><table><tr><td>ก</td><td>ข</td><td>ค</td></tr></table><h3>สำนักการคลัง</h3>{TABLE}",
    ],
)
def test_title_above_a_table_of_a_page_excludes_the_officers_in_it(body: str, tmp_path: Path) -> None:
    roster = page(tmp_path, body)
    assert [bool(one.on_leave) for one in roster.officers] == [True]
    [notice] = [one for one in roster.notices if one.person_id]
    assert notice.code == "page_exclusion"
    assert "above the table" in notice.text
    assert "เหนือตาราง" in notice.text_th


@pytest.mark.parametrize(
    "body",
    [
        f"<title>ระบบทะเบียนประวัติ</title><h3>บัญชีรายชื่อข้าราชการ สำนักการคลัง</h3>{TABLE}",
        f"<p>ออกจากระบบ</p><a href='/leave'>ผู้ลาออก</a><nav>ผู้ลาออก</nav><button>ยกเลิก</button>{TABLE}",
        f"<script>'ผู้ลาออก'</script><style>.ผู้ลาออก{{}}</style><!-- ผู้ลาออก -->{TABLE}",
        f"<p>ปรับปรุงครั้งล่าสุด</p>{TABLE}",
        f"{TABLE}<p>รายชื่อผู้ลาออก</p>",
        f"<h3>ผู้ลาออก</h3><table></table><h3>ผู้มีสิทธิ</h3>{TABLE}",
        f"<table><caption>เงินเดือน</caption>{rows(PERSON)}</table>",
    ],
)
def test_other_text_of_a_page_changes_nothing(body: str, tmp_path: Path) -> None:
    assert [one.on_leave for one in page(tmp_path, body).officers] == [None]


def test_title_between_two_tables_is_about_the_second_one(tmp_path: Path) -> None:
    roster = page(tmp_path, f"{TABLE}<h3>ผู้ลาออก</h3><table>{rows(OTHER, heads=False)}</table>")
    assert [bool(one.on_leave) for one in roster.officers] == [False, True]
    roster = page(tmp_path, f"{TABLE}<h3>ผู้ลาออก</h3><table>{rows(OTHER)}</table>")
    assert [bool(one.on_leave) for one in roster.officers] == [False, True]


@pytest.mark.parametrize(
    "body",
    ["<table>" * 20_000, "<p>ผู้ลาออก</p><table></table>" * 10_000, "<table><tr>" + "<td>ก<table></table>" * 10_000],
)
def test_page_of_many_tables_is_read_at_once(body: str) -> None:
    began = process_time()
    markup_sheets("r.xls", f"<html>{body}{TABLE}".encode())
    assert process_time() - began < 5
