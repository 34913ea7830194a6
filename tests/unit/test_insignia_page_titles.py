"""Titles of web pages outside of the cells of a table: headings, paragraphs, captions and tables of their own."""

from pathlib import Path
from time import process_time

import pytest
import xlsxwriter

from tests.unit.test_insignia_award_columns import FACTS, HEADER, OTHER, PERSON
from tests.unit.test_insignia_roster import read
from worker.insignia.errors import RosterUnreadable
from worker.insignia.roster.markup import markup_sheets
from worker.insignia.roster.roster_data import Roster
from worker.insignia.roster.titles import TitleKind, judge

HEADS = f"{HEADER},decorations".split(",")


def rows(*persons: str, heads: bool = True) -> str:
    grid = [*([HEADS] if heads else []), *([person, *FACTS.split(","), ""] for person in persons)]
    return "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for cells in grid)


def page(tmp_path: Path, body: str) -> Roster:
    (tmp_path / "r.xls").write_text(f"<html><body>{body}</body></html>", "utf-8")
    return read(tmp_path / "r.xls")


TABLE = f"<table>{rows(PERSON)}</table>"
LEFT = "<h3>รายชื่อผู้ลาออก</h3>"
REPORT = "<h1>บัญชีรายชื่อข้าราชการผู้ขอพระราชทานเครื่องราชอิสริยาภรณ์</h1>"
PROPOSED = "เสนอขอพระราชทาน"
NORMAL = "<table><tr><td>ปฏิบัติราชการปกติ</td></tr></table>"
MENU = "<table><tr><td><a href='/b'>ผู้มีสิทธิ</a></td></tr><tr><td><a href='/a'>ผู้ลาออก</a></td></tr></table>"


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


@pytest.mark.parametrize(
    "body",
    [
        f"{LEFT}{REPORT}{LEFT}{TABLE}",
        f'{LEFT}<a href="/x"><p>{PROPOSED}</p></a>{TABLE}',
        f'{LEFT}<a href="/x"><p>{PROPOSED}</p>{TABLE}',
        f"{LEFT}<nav><p>{PROPOSED}</p>{TABLE}",
        f'{LEFT}<div class="btn">{PROPOSED}</div>{TABLE}',
        f"{LEFT}<table><tr><td><a href='/x'>{PROPOSED}</a></td></tr></table>{TABLE}",
        f"{LEFT}<p>{'-' * 1200}{PROPOSED}</p>{TABLE}",
        '<h3><a href="#x">รายชื่อผู้ลาออก</a></h3>' + TABLE,
        '<a href="#x"><h3>รายชื่อผู้ลาออก</h3></a>' + TABLE,
        f"<pre>บัญชี 3\nนาย ก ข\nรายชื่อผู้ลาออก\nนาย ค ง\n</pre>{TABLE}",
        f"<p>{'กองคลัง ' * 130}รายชื่อผู้ลาออก</p>{TABLE}",
        f"<p>{'-' * 993}ผู้ลาออก</p>{TABLE}",
        f"<table><tr><td>1</td><td>รายชื่อผู้ลาออก</td></tr></table>{TABLE}",
        f"<table><tr><td>เรื่อง</td><td>รายชื่อผู้ลาออก</td></tr></table>{TABLE}",
        f"<table><tr><td>1</td><td>รายชื่อผู้ลาออก</td><td>3 ราย</td></tr></table>{TABLE}",
        f"<table><tr><td>1</td><td>รายชื่อผู้ลาออก</td><td><a href='/p'>พิมพ์</a></td></tr></table>{TABLE}",
        f"<table><tr><td><h3><a href='/x'>รายชื่อผู้ลาออก</a></h3></td></tr></table>{TABLE}",
        f"<table><tr><td><a href='/x'>รายชื่อผู้ลาออก</td></tr></table>{TABLE}",
        f"<nav><table><tr><td>รายชื่อผู้ลาออก</td></tr></table>{TABLE}",
        f"<a href='/x'>กลับ{LEFT}<a href='/y'>ต่อไป</a>{TABLE}",
        f"<ul><li>{TABLE}</ul>{LEFT}{TABLE.replace(PERSON, OTHER)}",
        f"<p hidden>{PROPOSED}<p>รายชื่อผู้ลาออก</p>{TABLE}",
        f"{LEFT}{'<p>กองคลัง</p>' * 3000}{TABLE}",
        f"<p><input type='radio' disabled>{PROPOSED}<p>รายชื่อผู้ลาออก{TABLE}",
        f"<h3>รายชื่อผู้ลาออก จำนวน = 3 ราย</h3>{TABLE}",
    ],
)
def test_title_excludes_whatever_stands_around_it(body: str, tmp_path: Path) -> None:
    assert [bool(one.on_leave) for one in page(tmp_path, body).officers][-1:] == [True]


@pytest.mark.parametrize(
    "body",
    [
        f'<nav>เมนู<a href="/r" class="nav-link"><i></i><p>ทะเบียนผู้เกษียณอายุ</p></a></nav>{TABLE}',
        f'<a href="#"><div>ผู้ลาออก</div></a>{TABLE}',
        f'<a onclick="go()">ผู้ลาออก</a>{TABLE}',
        f"<nav><h5>ผู้ลาออก</h5></nav>{TABLE}",
        MENU + TABLE,
        f"<ul><li>ผู้ลาออก</li><li>ผู้มีสิทธิ</ul>{TABLE}",
        f"<ul><li>ผู้ลาออก<li>ผู้มีสิทธิ</ul>{TABLE}",
        f"<ol class='breadcrumb'><li><p>ผู้ลาออก</p></li></ol>{TABLE}",
        f"<p><input type=radio>ลาออก <input type=radio>ปกติ</p>{TABLE}",
        f"<table><tr><td>สถานะ</td><td><input type=checkbox>ลาออก</td></tr></table>{TABLE}",
        f"<label>ลาออก</label><textarea>ลาออก</textarea><datalist><option>ลาออก</datalist>{TABLE}",
        f"<span class='btn btn-danger'>ลาออก</span><button><span>ลาออก</span></button>{TABLE}",
        f"<select><option>ลาออก<option>ปกติ</select>{TABLE}",
        f"<noscript>ห้ามเสนอ ผู้ลาออก</noscript>{TABLE}",
        f'<div style="display: none"><div>ก</div><p>ผู้ลาออก</p></div><p hidden>ผู้ลาออก<p>กองคลัง</p>{TABLE}',
        f"{TABLE}<p>ส = ลาศึกษาต่อ</p><table>{rows(OTHER)}</table>",
        f"{TABLE}<p>* ผู้ที่ลาออกให้ขีดฆ่า</p><table>{rows(OTHER)}</table>",
        f"{LEFT}<ul><li>ก<li>ข</ul><p>{PROPOSED}</p>{TABLE}",
    ],
)
def test_menus_and_controls_and_legends_do_not_count_as_titles(body: str, tmp_path: Path) -> None:
    officers = page(tmp_path, body).officers
    assert officers
    assert not any(one.on_leave for one in officers)


@pytest.mark.parametrize("between", [f"{REPORT}{LEFT}", REPORT, REPORT.replace("</h1>", " หน้า 2</h1>"), ""])
def test_title_of_the_report_on_every_page_ends_no_exclusion(between: str, tmp_path: Path) -> None:
    body = f"{REPORT}{LEFT}{TABLE}{between}<table>{rows(OTHER)}</table>"
    assert [bool(one.on_leave) for one in page(tmp_path, body).officers] == [True, True]


@pytest.mark.parametrize("inside", [NORMAL, f"{NORMAL}ปฏิบัติราชการปกติ"])
def test_table_in_the_row_of_an_officer_ends_no_exclusion(inside: str, tmp_path: Path) -> None:
    first = f"<table>{rows(PERSON).removesuffix('</td></tr>')}{inside}</td></tr></table>"
    assert [bool(one.on_leave) for one in page(tmp_path, LEFT + first).officers] == [True]
    roster = page(tmp_path, f"{LEFT}{first}<table>{rows(OTHER)}</table>")
    assert [bool(one.on_leave) for one in roster.officers] == [True, True]


def test_title_between_two_tables_is_about_the_second_one(tmp_path: Path) -> None:
    roster = page(tmp_path, f"{TABLE}<h3>ผู้ลาออก</h3><table>{rows(OTHER, heads=False)}</table>")
    assert [bool(one.on_leave) for one in roster.officers] == [False, True]
    roster = page(tmp_path, f"{TABLE}<h3>ผู้ลาออก</h3><table>{rows(OTHER)}</table>")
    assert [bool(one.on_leave) for one in roster.officers] == [False, True]


@pytest.mark.parametrize(
    "body",
    [
        "<table>" * 20_000,
        "<p>ผู้ลาออก</p><table></table>" * 10_000,
        "<table><tr>" + "<td>ก<table></table>" * 10_000,
        "<p>ผู้ลาออก" * 20_000,
        "<nav><p>ผู้ลาออก<table></table>" * 10_000,
        "<div hidden>" * 20_000 + "</div>" * 20_000,
        "<a href=x><h3>ก</h3>" * 20_000,
        "<p>" + "=1 " * 200_000,
        "<pre>" + "ก\n" * 20_000,
    ],
)
def test_page_of_many_tables_is_read_at_once(body: str) -> None:
    began = process_time()
    markup_sheets("r.xls", f"<html>{body}{TABLE}".encode())
    assert process_time() - began < 5


def test_page_is_refused_if_its_cells_reach_too_far_together() -> None:
    growing = "<tr><td rowspan=99999>" * 2500
    with pytest.raises(RosterUnreadable) as refused:
        markup_sheets("r.xls", f"<html><table>{growing}</table><table>{growing}</table>".encode())
    assert refused.value.message.code == "too_many_cells"


THIRD = "3100600000021"


def two_sheets(path: Path, names: tuple[str, str], title: str, second: list[list[str]]) -> list[bool]:
    def row(person: str) -> list[str]:
        return [person, *FACTS.split(","), ""]

    grids = [[HEADS, row(PERSON), [title], row(OTHER)], [*second, HEADS, row(THIRD)]]
    with xlsxwriter.Workbook(path) as book:
        for name, grid in zip(names, grids, strict=True):
            sheet = book.add_worksheet(name)
            for number, cells in enumerate(grid):
                sheet.write_row(number, 0, cells)
    return [bool(one.on_leave) for one in read(path).officers]


@pytest.mark.parametrize("title", ["รายชื่อผู้ไม่มีสิทธิ", "ผู้ถูกลงโทษ", "ผู้ลาออก"])
@pytest.mark.parametrize(
    "names", [("Sheet1", "Sheet2"), ("กองคลัง", "กองคลัง (2)"), ("แผ่นที่ 1", "แผ่นที่ 2"), ("1", "2"), ("กองคลัง", "กองคลัง ต่อ")]
)
def test_exclusion_runs_on_to_a_sheet_with_its_own_header(title: str, names: tuple[str, str], tmp_path: Path) -> None:
    assert two_sheets(tmp_path / "r.xlsx", names, title, []) == [False, True, True]


@pytest.mark.parametrize("names", [("กองคลัง", "กองช่าง"), ("ข้าราชการ", "ลูกจ้างประจำ"), ("Sheet1", "สำนักงานเขตบางรัก")])
def test_exclusion_does_not_run_on_to_the_list_of_another_office(names: tuple[str, str], tmp_path: Path) -> None:
    assert two_sheets(tmp_path / "r.xlsx", names, "ผู้ลาออก", []) == [False, True, False]


def test_exclusion_ends_at_a_title_of_the_next_sheet_that_includes(tmp_path: Path) -> None:
    second = [["รายชื่อผู้มีสิทธิขอพระราชทาน"]]
    assert two_sheets(tmp_path / "r.xlsx", ("Sheet1", "Sheet2"), "ผู้ไม่มีสิทธิ", second) == [False, True, False]


@pytest.mark.parametrize(
    "title",
    [
        "นายแพทย์โรงพยาบาลกลาง ลาศึกษาต่อ", "นายช่างสำนักการโยธา ลาออก", "นายทะเบียนเขตบางรัก ถูกลงโทษทางวินัย",
        "นายอำเภอเมือง เกษียณ", "นางพยาบาลโรงพยาบาลตากสิน ลาออก", "นายสัตวแพทย์สำนักอนามัย โอนไป", "นายด่านศุลกากร ลาออก",
        "นายช่างโยธา กองช่าง พักราชการ",
    ],
)  # fmt: skip
def test_post_that_begins_like_a_name_is_a_title(title: str) -> None:
    assert judge(title) is TitleKind.EXCLUDED


@pytest.mark.parametrize(
    "title", ["นายแพทย์สมชาย ใจดี", "นายช่างโยธา กองช่าง", "นายทะเบียนเขตบางรัก", "นางพยาบาลโรงพยาบาลกลาง", "นายสมชาย ลาออก"]
)
def test_post_or_name_without_more_says_nothing(title: str) -> None:
    assert judge(title) is TitleKind.NEUTRAL
