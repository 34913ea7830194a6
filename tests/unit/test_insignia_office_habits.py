"""Habits of offices: sheets of several years, ticks, second headers, remarks below a row, lists in one JSON file."""

import json
from datetime import date
from pathlib import Path
from time import process_time

import pytest
import xlsxwriter

from tests.support.insignia import PERSON as PERSON_IN_JSON
from tests.support.insignia import held
from tests.unit.test_insignia_award_columns import FACTS, HEADER, OTHER, PERSON
from tests.unit.test_insignia_roster import read, refusal, write
from worker.insignia.roster.heading_keys import heading_keys
from worker.insignia.roster.officer import Award

HEADS = [*HEADER.split(","), "decorations"]
THIRD = "3100600000021"


def book(path: Path, sheets: dict[str, list[list[str]]]) -> Path:
    return bare_book(path, {name: [HEADS, *rows] for name, rows in sheets.items()})


def bare_book(path: Path, sheets: dict[str, list[list[str]]]) -> Path:
    with xlsxwriter.Workbook(path) as workbook:
        for name, rows in sheets.items():
            sheet = workbook.add_worksheet(name)
            for number, cells in enumerate(rows):
                sheet.write_row(number, 0, cells)
    return path


def row(person: str, decorations: str = "") -> list[str]:
    return [person, *FACTS.split(","), decorations]


@pytest.mark.parametrize("names", [("2569", "2568"), ("ปี 2568", "ปี 2569"), ("รายชื่อปี 2569", "ข้อมูล พ.ศ. 2568")])
def test_sheet_of_an_earlier_year_does_not_contradict_a_later_one(names: tuple[str, str], tmp_path: Path) -> None:
    later = [row(PERSON, "CT3 2021-07-28"), row(OTHER)]
    earlier = [row(PERSON).copy(), row(THIRD)]
    earlier[0][HEADS.index("salary")] = "15000"
    sheets = {name: later if "2569" in name else earlier for name in names}
    roster = read(book(tmp_path / "r.xlsx", sheets))
    found = {one.person_id: (one.salary, one.decorations, bool(one.on_leave)) for one in roster.officers}
    assert found == {
        PERSON: (18900, held("CT3 2021"), False),
        OTHER: (18900, (), False),
        THIRD: (18900, (), True),
    }
    assert [notice.person_id for notice in roster.notices if notice.code == "old_row"] == [PERSON]


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ("WE3 2024-07-28", "", ("WE3 2024",)),
        ("CT3 2021-07-28", "WE3 2024-07-28", ("WE3 2024", "CT3 2021")),
        ("CT3", "CT3 2021-07-28", ("CT3 2021",)),
        ("?", "CT3 2021-07-28", None),
        ("CT3 2021-07-28", "?", None),
    ],
)
def test_decorations_of_an_earlier_year_are_still_held(
    earlier: str, later: str, expected: tuple[str, ...] | None, tmp_path: Path
) -> None:
    sheets = {"2567": [row(PERSON, earlier)], "2568": [row(PERSON, later), row(OTHER)]}
    one, other = read(book(tmp_path / "r.xlsx", sheets)).officers
    assert one.decorations == (None if expected is None else held(*expected))
    assert (one.on_leave, other.decorations) == (None, ())


@pytest.mark.parametrize(
    ("head", "text"),
    [
        ("discipline", "ไล่ออก"),
        ("โทษทางวินัย", "ภาคทัณฑ์"),
        ("left_service", "2024-05-01"),
        ("resigned", "2023-05-01"),
        ("recalled", "1"),
        ("หมายเหตุ", "ถูกไล่ออกจากราชการ"),
        ("nationality", "ลาว"),
    ],
)
def test_ground_of_an_earlier_year_that_the_later_one_lacks_is_reviewed(head: str, text: str, tmp_path: Path) -> None:
    grids = [[[*HEADS, head], [*row(PERSON), said], [*row(OTHER), ""]] for said in (text, "")]
    with xlsxwriter.Workbook(tmp_path / "r.xlsx") as workbook:
        for name, grid in zip(("ปี 2567", "ปี 2568"), grids, strict=True):
            sheet = workbook.add_worksheet(name)
            for number, cells in enumerate(grid):
                sheet.write_row(number, 0, cells)
    roster = read(tmp_path / "r.xlsx")
    assert [(one.person_id, bool(one.on_leave)) for one in roster.officers] == [(PERSON, True), (OTHER, False)]
    assert [(notice.row, notice.person_id) for notice in roster.notices if notice.code == "old_row_more"] == [
        (2, PERSON)
    ]


@pytest.mark.parametrize("has_others", [True, False])
def test_row_of_an_earlier_year_that_cannot_be_read_is_reviewed(has_others: bool, tmp_path: Path) -> None:
    heads = [*HEADS, "imprisonment"]
    earlier = [heads, [*row(PERSON), "รอลงอาญา"], *([[*row(THIRD), ""]] if has_others else [])]
    later = [heads, [*row(PERSON), ""], [*row(OTHER), ""]]
    roster = read(bare_book(tmp_path / "r.xlsx", {"ปี 2567": earlier, "ปี 2568": later}), bad_row_limit=100.0)
    found = {one.person_id: bool(one.on_leave) for one in roster.officers}
    assert (found[PERSON], found[OTHER]) == (True, False)
    assert [notice.person_id for notice in roster.notices if notice.code == "other_sheet_unread"] == [PERSON]


@pytest.mark.parametrize("title", ["เพิ่มเติมจากหนังสือ", "ตามหนังสือด่วนที่สุด", "ผู้ลาออก"])
def test_title_holds_on_a_sheet_that_continues_its_own(title: str, tmp_path: Path) -> None:
    grids = [[HEADS, row(PERSON), [title], row(OTHER)], [row(THIRD, "CT3 2021-07-28")]]
    with xlsxwriter.Workbook(tmp_path / "r.xlsx") as workbook:
        for grid in grids:
            sheet = workbook.add_worksheet()
            for number, cells in enumerate(grid):
                sheet.write_row(number, 0, cells)
    officers = read(tmp_path / "r.xlsx").officers
    assert [bool(one.on_leave) for one in officers] == [False, True, True]


@pytest.mark.parametrize("name", ["บรรจุ 2560", "รุ่น 2555", "กลุ่ม 2500"])
def test_year_in_the_name_of_another_kind_of_sheet_means_nothing(name: str, tmp_path: Path) -> None:
    roster = read(book(tmp_path / "r.xlsx", {name: [row(PERSON)], "ปี 2569": [row(OTHER)]}))
    assert [one.on_leave for one in roster.officers] == [None, None]


@pytest.mark.parametrize("name", ["สำรอง", "ไม่มีสิทธิ์", "งดเสนอ", "คุณสมบัติไม่ครบ"])
def test_sheet_of_officers_who_are_not_proposed_is_reviewed(name: str, tmp_path: Path) -> None:
    roster = read(book(tmp_path / "r.xlsx", {"รายชื่อ": [row(PERSON)], name: [row(OTHER)]}))
    assert [bool(one.on_leave) for one in roster.officers] == [False, True]


@pytest.mark.parametrize("tick", ["✓", "✔", "/", "√"])
def test_tick_in_the_column_of_a_class_is_a_decoration_without_a_day(tick: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER},ต.ม.,ต.ช.\n{PERSON},{FACTS},{tick},2567\n"))
    assert [one.decorations for one in roster.officers] == [(Award("CT3", None), *held("WE3 2024"))]
    assert [notice.code for notice in roster.notices] == ["received_unknown", "received_year_only"]


@pytest.mark.parametrize("mark", ["x", "ขอ", "62", "*"])
def test_mark_with_several_meanings_in_the_column_of_a_class_is_a_bad_row(mark: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER},ต.ม.,ต.ช.\n{PERSON},{FACTS},{mark},2567\n"))
    assert [cell.column for cell in roster.bad_cells] == ["CT3"]


@pytest.mark.parametrize("text", ["ขอครั้งแรก", "เสนอขอพระราชทานครั้งแรก", "ยังไม่เคยขอ", "-ไม่มี-", "(ไม่เคยได้รับ)"])
def test_first_proposal_says_that_there_are_no_decorations(text: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER},decorations\n{PERSON},{FACTS},{text}\n"))
    assert [one.decorations for one in roster.officers] == [()]


def test_further_headings_are_known(tmp_path: Path) -> None:
    heads = "เลขบัตร,กลุ่ม,ระดับ,เกิดเมื่อ,เริ่มรับราชการเมื่อ,วัน เดือน ปี ที่ดำรงตำแหน่งในระดับปัจจุบัน,เงินเดือน,เครื่องราชฯ ที่มี"
    [officer] = read(write(tmp_path, f"{heads}\n{PERSON},{FACTS},\n")).officers
    assert (officer.birth_date, officer.level_start) == (date(1990, 3, 3), date(2022, 5, 2))


def test_pay_of_a_certain_day_is_named_where_the_pay_is_missing(tmp_path: Path) -> None:
    heads = HEADER.replace("salary", "เงินเดือน ณ 29 พ.ค. 69")
    text = refusal(write(tmp_path, f"{heads},decorations\n{PERSON},{FACTS},\n"))
    assert '"เงินเดือน ณ 29 พ.ค. 69" resembles salary' in text


@pytest.mark.parametrize("order", [(1, 0, 2, 3, 4, 5, 6), (0, 1, 2, 3, 5, 4, 6), (0, 1, 2, 3, 4, 6, 5)])
def test_second_header_in_another_order_rejects_the_roster(order: tuple[int, ...], tmp_path: Path) -> None:
    def ordered(cells: list[str]) -> str:
        return ",".join([*(cells[place] for place in order), *cells[len(order) :]])

    lines = [",".join(HEADS), ",".join(row(PERSON)), ordered(HEADS), ordered(row(OTHER))]
    text = refusal(write(tmp_path, "\n".join(lines)))
    assert "row 3 is a second header with other columns" in text


@pytest.mark.parametrize(
    ("heads", "again"),
    [
        ("ต.ม.,ต.ช.", "ต.ช.,ต.ม."),
        ("ต.ม.,ต.ช.", "ต.ม.,ท.ม."),
        ("ชั้นตรา 1,ปีที่ได้รับ 1,ชั้นตรา 2,ปีที่ได้รับ 2", "ปีที่ได้รับ 1,ชั้นตรา 1,ปีที่ได้รับ 2,ชั้นตรา 2"),
        ("decorations,หมายเหตุ", "decorations,โทษทางวินัย"),
        ("decorations,หมายเหตุ", "วันที่ทราบคำสั่ง,หมายเหตุ"),
    ],
)
def test_second_header_with_another_column_beside_the_fields_rejects_the_roster(
    heads: str, again: str, tmp_path: Path
) -> None:
    empty = "," * heads.count(",")
    lines = [f"{HEADER},{heads}", f"{PERSON},{FACTS},{empty}", f"{HEADER},{again}", f"{OTHER},{FACTS},{empty}"]
    assert "row 3 is a second header with other columns" in refusal(write(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize("head", ["วันที่ทดลองงาน", "ลำดับขั้น", "เงินเดือน (1 เม.ย. 64)"])
def test_second_header_with_an_unknown_heading_for_a_field_rejects_the_roster(head: str, tmp_path: Path) -> None:
    replaced = "salary" if head.startswith("เงินเดือน") else "level_start"
    again = HEADER.replace(replaced, head)
    lines = [f"{HEADER},decorations", ",".join(row(PERSON)), f"{again},decorations", ",".join(row(OTHER))]
    assert "row 3 is a second header with other columns" in refusal(write(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("heads", "again"),
    [
        ("ต.ม. (ปี),ต.ช. (ปี),ชื่อ,หมายเหตุ", "ต.ม.,ต.ช.,นามสมมติ,หมายเหตุ 2"),
        ("decorations,post,ก,ข", "เครื่องราชอิสริยาภรณ์,ตำแหน่ง (ปัจจุบัน),ค,ง"),
        ("decorations,post,ก,ข", "decorations"),
    ],
)
def test_second_header_with_other_words_for_the_same_is_the_header_again(
    heads: str, again: str, tmp_path: Path
) -> None:
    lines = [f"{HEADER},{heads}", f"{PERSON},{FACTS},,,,", f"{HEADER},{again}", f"{OTHER},{FACTS},,,,"]
    assert len(read(write(tmp_path, "\n".join(lines))).officers) == 2


@pytest.mark.parametrize("again", ["salary (baht)", "เงินเดือน (บาท)"])
def test_second_header_may_name_the_unit_of_the_pay(again: str, tmp_path: Path) -> None:
    second = HEADER.replace("salary", again)
    lines = [f"{HEADER},decorations", ",".join(row(PERSON)), f"{second},decorations", ",".join(row(OTHER))]
    assert len(read(write(tmp_path, "\n".join(lines))).officers) == 2


@pytest.mark.parametrize("heads", ["ชั้นตรา,ปี พ.ศ.", "ชั้นตรา,วัน เดือน ปี", "เครื่องราชฯ,วันที่", "ชั้นตรา,ปีที่ได้รับ"])
def test_decorations_and_days_may_stand_below_one_heading(heads: str, tmp_path: Path) -> None:
    upper, lower = f"{HEADER},เครื่องราชอิสริยาภรณ์ที่ได้รับ,,,", f"{',' * HEADER.count(',')},{heads},{heads}"
    lines = [upper, lower, f"{PERSON},{FACTS},ต.ม.,2564,ต.ช.,2567", f"{OTHER},{FACTS},,,,"]
    officers = read(write(tmp_path, "\n".join(lines))).officers
    assert [one.decorations for one in officers] == [held("CT3 2021", "WE3 2024"), ()]


@pytest.mark.parametrize(
    ("group", "heads"),
    [
        ("ขอพระราชทานครั้งนี้", "ชั้นตรา,ปีที่ได้รับ"),
        ("เครื่องราชอิสริยาภรณ์ที่ขอพระราชทาน", "ชั้นตรา,ปี พ.ศ."),
        ("เสนอขอ", "เครื่องราชฯ,วันที่"),
    ],
)
@pytest.mark.parametrize("are_below", [True, False])
def test_decorations_below_a_heading_that_asks_for_them_are_not_held(
    group: str, heads: str, are_below: bool, tmp_path: Path
) -> None:
    blank = "," * HEADER.count(",")
    over, names = (blank, HEADER) if are_below else (HEADER, blank)
    held_heads = "ชั้นตรา,ปีที่ได้รับ"
    upper = f"{over},เครื่องราชอิสริยาภรณ์ที่ได้รับ,,,,{group},"
    lower = f"{names},{held_heads},{held_heads},{heads}"
    lines = [upper, lower, f"{PERSON},{FACTS},ต.ม.,2564,,,ต.ช.,2568", f"{OTHER},{FACTS},,,,,ต.ม.,2568"]
    officers = read(write(tmp_path, "\n".join(lines))).officers
    assert [one.decorations for one in officers] == [held("CT3 2021"), ()]


@pytest.mark.parametrize("group", ["คู่สมรส", "ข้อมูลบิดา", "spouse"])
def test_values_below_a_heading_of_another_person_are_not_of_the_officer(group: str, tmp_path: Path) -> None:
    upper, lower = f"{HEADER},decorations,{group},", f"{',' * HEADER.count(',')},,ชื่อ,สัญชาติ"
    lines = [upper, lower, f"{PERSON},{FACTS},,นาง ก,จีน", f"{OTHER},{FACTS},,นาง ข,ลาว"]
    roster = read(write(tmp_path, "\n".join(lines)))
    assert (roster.officers, {cell.code for cell in roster.bad_cells}) == ([], {"row_width"})


@pytest.mark.parametrize("group", ["ตำแหน่งเดิม", "ระดับก่อนเลื่อน", "แรกบรรจุ"])
def test_level_below_a_heading_of_an_earlier_time_is_not_the_present_one(group: str, tmp_path: Path) -> None:
    heads = HEADER.split(",")
    upper = ",".join([group if name == "level" else name for name in heads])
    lower = ",".join(["ระดับ" if name == "level" else "" for name in heads])
    lines = [f"{upper},decorations", f"{lower},", f"{PERSON},{FACTS},"]
    assert "missing column: level" in refusal(write(tmp_path, "\n".join(lines)))


def test_title_about_a_proposal_above_the_header_says_nothing_of_its_columns(tmp_path: Path) -> None:
    title = f"{',' * (HEADER.count(',') + 1)}บัญชีรายชื่อผู้ขอพระราชทาน,"
    lines = [title, f"{HEADER},ชั้นตราล่าสุด,วันที่ได้รับล่าสุด", f"{PERSON},{FACTS},ต.ม.,28/7/2564"]
    [officer] = read(write(tmp_path, "\n".join(lines))).officers
    assert officer.decorations == held("CT3 2021")


def test_classes_below_a_heading_that_asks_for_them_are_not_held(tmp_path: Path) -> None:
    upper = f"{',' * HEADER.count(',')},เครื่องราชอิสริยาภรณ์ที่ได้รับ,,ขอพระราชทานครั้งนี้,"
    lines = [upper, f"{HEADER},ต.ม.,ต.ช.,ต.ม.,ต.ช.", f"{PERSON},{FACTS},2564,,,2568"]
    assert [one.decorations for one in read(write(tmp_path, "\n".join(lines))).officers] == [held("CT3 2021")]


def test_title_that_is_repeated_above_each_heading_asks_for_nothing(tmp_path: Path) -> None:
    heads = f"{HEADER},ชั้นตราล่าสุด,วันที่ได้รับล่าสุด"
    title = ",".join(["การเสนอขอพระราชทาน ปี 2568"] * len(heads.split(",")))
    [officer] = read(write(tmp_path, f"{title}\n{heads}\n{PERSON},{FACTS},ต.ม.,28/7/2564\n")).officers
    assert officer.decorations == held("CT3 2021")


@pytest.mark.parametrize(
    "remark",
    ["ที่ขอ", "เสนอขอปี 2568", "คู่สมรส", "ขอพระราชทานครั้งนี้", "proposed", "ควรได้รับ", "ที่คู่สมรสได้รับ", "ภรรยา"],
)
def test_decorations_that_are_asked_for_in_brackets_are_not_held(remark: str, tmp_path: Path) -> None:
    content = f"{HEADER},ต.ม.,เครื่องราชฯ ({remark}),ต.ช. [{remark}]\n{PERSON},{FACTS},2564,ต.ช.,2568\n"
    [officer] = read(write(tmp_path, content)).officers
    assert officer.decorations == held("CT3 2021")
    assert "no column of decorations" in refusal(
        write(tmp_path, f"{HEADER},เครื่องราชฯ ({remark})\n{PERSON},{FACTS},ต.ช.\n")
    )


@pytest.mark.parametrize("remark", ["ขอปีปัจจุบัน"])
def test_decorations_to_come_whose_heading_resembles_a_known_one_are_asked_about(remark: str, tmp_path: Path) -> None:
    content = f"{HEADER},ต.ม.,เครื่องราชฯ ({remark})\n{PERSON},{FACTS},2564,ต.ช.\n"
    assert f'"เครื่องราชฯ ({remark})" resembles' in refusal(write(tmp_path, content))


@pytest.mark.parametrize(
    ("heading", "field"),
    [
        ("เงินเดือน (เดิม)", "salary"),
        ("เงินเดือน (ต่อปี)", "salary"),
        ("เงินเดือน (ย้อนหลัง 5 ปี)", "salary"),
        ("ระดับ (แรกบรรจุ)", "level"),
        ("วันเกิด (คู่สมรส)", "birth_date"),
        ("วันบรรจุ (กลับ)", "service_start"),
        ("เลขประจำตัวประชาชน (บิดา)", "person_id"),
        ("Level (former)", "level"),
        ("วันเกิด (สามี)", "birth_date"),
    ],
)
def test_heading_whose_remark_is_about_other_values_is_another_column(heading: str, field: str, tmp_path: Path) -> None:
    heads = HEADER.replace(field, heading, 1)
    assert f"missing column: {field}" in refusal(write(tmp_path, f"{heads},decorations\n{PERSON},{FACTS},\n"))


@pytest.mark.parametrize(
    ("heading", "field"),
    [
        ("เลขประจำตัวประชาชน (ผู้ขอพระราชทาน)", "person_id"),
        ("เลขบัตรประชาชน (ของผู้เสนอขอ)", "person_id"),
        ("ประเภทบุคลากร (ข้าราชการ/ลูกจ้างประจำ/ลูกจ้างชั่วคราว)", "employee_group"),
        ("วันเริ่มรับราชการ (วันที่บรรจุ)", "service_start"),
        ("วันบรรจุ (แรกบรรจุ)", "service_start"),
        ("เงินเดือน (ณ วันที่เสนอขอ)", "salary"),
        ("เงินเดือน (ก่อนหักภาษี)", "salary"),
        ("วันเกิด (ขอเป็น พ.ศ.)", "birth_date"),
    ],
)
def test_heading_may_say_in_brackets_of_whom_or_how_it_is(heading: str, field: str, tmp_path: Path) -> None:
    heads = HEADER.replace(field, heading, 1)
    assert len(read(write(tmp_path, f"{heads},decorations\n{PERSON},{FACTS},\n")).officers) == 1


def test_heading_with_many_remarks_in_brackets_costs_time_that_grows_with_its_length() -> None:
    heading = "".join(f"({number})" for number in range(15_000))
    began = process_time()
    assert heading_keys(heading)
    assert process_time() - began < 10  # half a second; minutes, if each remark were compared with the whole heading


@pytest.mark.parametrize("remark", ["เดิม", "ก่อนปี 2568", "ให้เรียงจากเก่าไปใหม่"])
def test_decorations_received_before_are_held(remark: str, tmp_path: Path) -> None:
    content = f"{HEADER},เครื่องราชอิสริยาภรณ์ที่ได้รับ ({remark})\n{PERSON},{FACTS},CT3 2021-07-28\n"
    assert [one.decorations for one in read(write(tmp_path, content)).officers] == [held("CT3 2021")]


@pytest.mark.parametrize(
    "heading",
    ["หมายเหตุ (เดิม)", "หมายเหตุ (การเสนอขอ)", "สถานะ (ก่อนหน้า)", "การลา (การศึกษา)", "ลา (เดิม)"],
)
def test_remark_status_or_leave_of_another_time_is_left_to_a_reviewer(heading: str, tmp_path: Path) -> None:
    content = f"{HEADER},decorations,{heading}\n{PERSON},{FACTS},,ลาศึกษาต่อ\n{OTHER},{FACTS},,ไม่ลา\n"
    assert [one.on_leave for one in read(write(tmp_path, content)).officers] == ["ลาศึกษาต่อ", None]


def test_penalties_of_an_earlier_time_count(tmp_path: Path) -> None:
    content = f"{HEADER},decorations,โทษทางวินัย (ย้อนหลัง 5 ปี)\n{PERSON},{FACTS},,ภาคทัณฑ์\n"
    assert [bool(one.discipline) for one in read(write(tmp_path, content)).officers] == [True]


@pytest.mark.parametrize("remark", ["บาท", "ข้อมูลบุคลากร", "ณ ขอนแก่น", "ที่ได้รับก่อนขอครั้งนี้"])
def test_heading_may_have_a_remark_in_brackets_that_changes_nothing(remark: str, tmp_path: Path) -> None:
    heads = HEADER.replace("salary", f"เงินเดือน ({remark})")
    content = f"{heads},เครื่องราชฯ ({remark})\n{PERSON},{FACTS},CT3 2021-07-28\n"
    [officer] = read(write(tmp_path, content)).officers
    assert (officer.salary, officer.decorations) == (18900, held("CT3 2021"))


def test_remark_in_brackets_may_say_that_only_the_last_decoration_is_known(tmp_path: Path) -> None:
    content = f"{HEADER},เครื่องราชฯ (ปัจจุบัน),วันที่ได้รับ\n{PERSON},{FACTS},ต.ม.,28/7/2564\n"
    [officer] = read(write(tmp_path, content)).officers
    assert (officer.decorations, officer.last_only) == (held("CT3 2021"), True)


def test_second_header_of_two_rows_is_the_header_again(tmp_path: Path) -> None:
    upper, lower = "เลขบัตรประชาชน,กลุ่ม,ระดับ,วัน เดือน ปี,,,เงินเดือน,decorations", ",,,เกิด,บรรจุ,ที่เข้าสู่ระดับ,,"
    lines = [upper, lower, ",".join(row(PERSON)), upper, lower, ",".join(row(OTHER))]
    assert len(read(write(tmp_path, "\n".join(lines))).officers) == 2


@pytest.mark.parametrize(
    ("below", "doubtful"),
    [
        (",,,,,,,,ลาออก 1 มิ.ย. 69", [True, False]),
        ("(ลาออก 1 มิ.ย. 69),,,,,,,,", [True, True]),
        (",,,,,,,,ตรวจแล้ว", [False] * 2),
    ],
)
def test_remark_in_the_row_below_is_about_the_officer_above(below: str, doubtful: list[bool], tmp_path: Path) -> None:
    text = f"{HEADER},decorations,หมายเหตุ\n{PERSON},{FACTS},,\n{below}\n{OTHER},{FACTS},,\n"
    roster = read(write(tmp_path, text))
    assert [bool(one.on_leave) for one in roster.officers] == doubtful
    codes = [notice.code for notice in roster.notices if notice.person_id == PERSON]
    assert codes == ["row_below_exclusion"] * doubtful[0]


@pytest.mark.parametrize("own", [{}, {"decorations": []}])
def test_history_beside_the_officers_in_one_json_file_is_read(own: dict[str, object], tmp_path: Path) -> None:
    officers = [PERSON_IN_JSON | {"person_id": person} | own for person in (PERSON, OTHER)]
    for officer in officers if not own else ():
        del officer["decorations"]
    history = [{"person_id": PERSON, "decoration": "CT3", "received": "2021-07-28"}]
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"officers": officers, "history": history}), "utf-8")
    assert [one.decorations for one in read(path).officers] == [held("CT3 2021"), ()]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("ผู้ลาออก", [["ลำดับ", "ชื่อ-สกุล", "วันที่ลาออก"], ["1", "ก ข", "1/6/2569"]]),
        ("วินัย", [["ชื่อ-สกุล", "โทษ"], ["ก ข", "ภาคทัณฑ์"]]),
        ("ข้อมูล", [["เลขประจำตัวประชาชน", "ชื่อ-สกุล", "โทษ"], [PERSON, "ก ข", "ภาคทัณฑ์"]]),
        ("ลาออก", [[PERSON, "ก ข", "1/6/2569"]]),
        ("สรุปเกษียณ", [["ปี", "จำนวน"], ["2569", "1"], ["1. นายสมชาย ใจดี"]]),
        ("เกษียณ", [["ผู้เกษียณ"], ["1) สมชาย ใจดี"], ["2) สมหญิง ใจงาม"]]),
        ("โอน", [["x"], ["3-1006-00000-01-3"]]),
    ],
)
def test_sheet_that_only_lists_who_is_excluded_rejects_the_roster(
    name: str, cells: list[list[str]], tmp_path: Path
) -> None:
    path = bare_book(tmp_path / "r.xlsx", {"รายชื่อ": [HEADS, row(PERSON)], name: cells})
    assert "seems to list officers who are excluded" in refusal(path)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("กองวินัย", [["ชื่อ-สกุล", "โทรศัพท์"], ["ก ข", "1"]]),
        ("งานบรรจุแต่งตั้งและโยกย้าย", [["ชื่อ-สกุล", "โทรศัพท์"], ["ก ข", "1"]]),
        ("สรุปเกษียณ", [["ปี", "จำนวน"], ["2569", "12"], ["2570", "9"]]),
        ("สถิติการโอนย้าย", [["กรม", "เข้า", "ออก"], ["กรมที่ดิน", "1", "2"]]),
        ("เกณฑ์ที่ยกเลิก", [["หลักเกณฑ์เดิม ยกเลิก"], ["1. ระดับชำนาญการ ไม่น้อยกว่า 5 ปี"], ["2. เงินเดือนถึงขั้นต่ำ"]]),
        ("Retirement", [["year", "count"], ["2026", "12"], ["(นายสมชาย ใจดี)"]]),
    ],
)
def test_sheet_without_a_table_of_officers_is_left_out(name: str, cells: list[list[str]], tmp_path: Path) -> None:
    roster = read(bare_book(tmp_path / "r.xlsx", {"รายชื่อ": [HEADS, row(PERSON)], name: cells}))
    assert [one.on_leave for one in roster.officers] == [None]
    assert any(name in remark for remark in roster.remarks)
