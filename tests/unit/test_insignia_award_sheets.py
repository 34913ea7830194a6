"""Sheets of decorations beside the officers, remarks in a history, several decorations in a line or a cell."""

from pathlib import Path

import pytest
import xlsxwriter

from tests.support.insignia import PERSON as PERSON_IN_JSON
from tests.support.insignia import ROUND, evaluate_objects, held, rows
from tests.unit.test_insignia_award_columns import FACTS, HEADER, OTHER, PERSON
from tests.unit.test_insignia_roster import read, refusal, write
from worker.insignia import evaluation
from worker.insignia.evaluation import evaluate_roster

Grid = list[list[str]]
OFFICERS: Grid = [HEADER.split(","), [PERSON, *FACTS.split(",")], [OTHER, *FACTS.split(",")]]
AWARDS: Grid = [
    ["เลขประจำตัวประชาชน", "ชื่อ-สกุล", "ชั้นตรา", "วันที่ได้รับ"],
    [PERSON, "ก ข", "ต.ม.", "28/7/2564"],
    [PERSON, "ก ข", "ต.ช.", "28/7/2567"],
]
THIRD = "3100600000021"
WIDE: Grid = [["ชื่อ-สกุล", "ต.ม.", "ต.ช."], ["ก ข", "2564", "2567"]]


def book(path: Path, **sheets: Grid) -> Path:
    with xlsxwriter.Workbook(path) as workbook:
        for name, grid in sheets.items():
            sheet = workbook.add_worksheet(name)
            for number, cells in enumerate(grid):
                for place, cell in enumerate(cells):
                    sheet.write_string(number, place, cell)
    return path


def with_column(grid: Grid, head: str) -> Grid:
    return [[*cells, head if number == 0 else ""] for number, cells in enumerate(grid)]


@pytest.mark.parametrize("officers", [OFFICERS, with_column(OFFICERS, "decorations")])
def test_sheet_of_decorations_by_id_is_the_history(officers: Grid, tmp_path: Path) -> None:
    roster = read(book(tmp_path / "r.xlsx", รายชื่อ=officers, ประวัติ=AWARDS))
    assert [one.decorations for one in roster.officers] == [held("CT3 2021", "WE3 2024"), ()]
    assert roster.remarks == ["r.xlsx: the sheet ประวัติ was read as the history of decorations"]


@pytest.mark.parametrize(
    "total",
    [
        ["รวมทั้งสิ้น", "", "2", ""],
        ["รวม", "", "2 รายการ", ""],
        ["", "", "รวม 2 ดวง", ""],
        ["", "รวม", "2", "ดวง"],
        ["", "", "", "ลงชื่อ ผู้รับรอง"],
        ["ผู้จัดทำ", "นายก ข", "", "1 ม.ค. 2568"],
        ["Total", "", "2", ""],
    ],
)
def test_total_or_signature_below_a_history_is_not_a_line(total: list[str], tmp_path: Path) -> None:
    roster = read(book(tmp_path / "r.xlsx", รายชื่อ=OFFICERS, ประวัติ=[*AWARDS, total]))
    assert [one.decorations for one in roster.officers] == [held("CT3 2021", "WE3 2024"), ()]


@pytest.mark.parametrize(
    "line",
    [["", "รวม", "ต.ม.", "2560"], ["รวมทั้งสิ้น", "", "จ.ม", "2560"], ["", "รวมพร ใจดี", "", "2560"], ["", "", "2", "2560"]],
)
def test_line_of_a_history_that_may_be_of_an_officer_is_not_a_total(line: list[str], tmp_path: Path) -> None:
    path = book(tmp_path / "r.xlsx", รายชื่อ=OFFICERS, ประวัติ=[*AWARDS[:1], line, *AWARDS[1:]])
    assert "a decoration may be missing from any officer" in refusal(path)


@pytest.mark.parametrize(
    "awards",
    [
        pytest.param([cells[1:] for cells in AWARDS], id="by name"),
        pytest.param(WIDE, id="classes by name"),
        pytest.param([["เลขประจำตัวประชาชน", *WIDE[0][1:]], [PERSON, "2564", "2567"]], id="classes by id"),
        pytest.param([["ลำดับ", "ชื่อ-สกุล", "เครื่องราช", "พ.ศ."], ["1", "ก ข", "ต.ม.", "2564"]], id="by number"),
    ],
)
def test_sheet_of_decorations_that_cannot_be_joined_rejects_the_roster(awards: Grid, tmp_path: Path) -> None:
    path = book(tmp_path / "r.xlsx", รายชื่อ=with_column(OFFICERS, "decorations"), ประวัติ=awards)
    assert "the sheet ประวัติ lists decorations of officers but cannot be joined" in refusal(path)


def test_sheet_of_counts_by_class_is_not_read_as_a_history(tmp_path: Path) -> None:
    counts = [["หน่วยงาน", "ท.ม.", "ท.ช."], ["กองคลัง", "3", "2"]]
    path = book(tmp_path / "r.xlsx", รายชื่อ=with_column(OFFICERS, "decorations"), สรุป=counts)
    assert [one.decorations for one in read(path).officers] == [(), ()]


def test_sheet_of_decorations_of_one_year_is_not_the_whole_history(tmp_path: Path) -> None:
    assert "no column of decorations" in refusal(book(tmp_path / "r.xlsx", รายชื่อ=OFFICERS, ปี2564=AWARDS[:2]))


@pytest.mark.parametrize("day", ["?", "", "ไม่ทราบ"])
def test_unknown_day_does_not_count_as_a_second_year_of_awards(day: str, tmp_path: Path) -> None:
    awards = [*AWARDS[:2], [OTHER, "ค ง", "ต.ม.", day]]
    path = book(tmp_path / "r.xlsx", รายชื่อ=[*OFFICERS, [THIRD, *FACTS.split(",")]], รอบ2564=awards)
    assert "no column of decorations" in refusal(path)


@pytest.mark.parametrize("name", ["รอบ2564", "Sheet2"])
def test_list_of_one_round_says_nothing_of_others(name: str, tmp_path: Path) -> None:
    officers = with_column([*OFFICERS, [THIRD, *FACTS.split(",")]], "decorations")
    officers[1][-1] = officers[2][-1] = "?"
    roster = read(book(tmp_path / "r.xlsx", **{"รายชื่อ": officers, name: AWARDS[:2]}))
    assert [one.decorations for one in roster.officers] == [None, None, ()]
    assert not roster.notices


def test_list_of_one_round_adds_to_what_the_officers_have(tmp_path: Path) -> None:
    officers = with_column(OFFICERS, "decorations")
    officers[1][-1] = "ต.ช. 28/7/2567"
    roster = read(book(tmp_path / "r.xlsx", รายชื่อ=officers, รอบ2564=AWARDS[:2]))
    assert [one.decorations for one in roster.officers] == [held("WE3 2024", "CT3 2021"), ()]


def test_last_decoration_of_the_list_of_one_round_may_not_be_the_only_one(tmp_path: Path) -> None:
    officers = with_column(with_column(OFFICERS, "last_decoration"), "last_decoration_date")
    officers[1][-2:] = "ต.ม.", "28/7/2564"
    officers[2][-2:] = "ต.ช.", "28/7/2567"
    roster = read(book(tmp_path / "r.xlsx", รายชื่อ=officers, รอบ2564=AWARDS[:2]))
    assert [(one.decorations, one.last_only) for one in roster.officers] == [
        (held("CT3 2021"), True),
        (held("WE3 2024"), True),
    ]


def test_sheet_of_decorations_to_be_proposed_is_not_read_as_a_history(tmp_path: Path) -> None:
    path = book(tmp_path / "r.xlsx", รายชื่อ=with_column(OFFICERS, "decorations"), เสนอขอปีนี้=AWARDS)
    assert "cannot be joined" in refusal(path)


@pytest.mark.parametrize(
    ("head", "remark", "code"),
    [
        ("หมายเหตุ", "ยกเลิกประกาศ", "history_doubted"),
        ("หมายเหตุ", "เรียกคืนตามประกาศ", "history_doubted"),
        ("สถานะ", "เสนอขอ", "history_doubted"),
        ("สถานะ", "รอประกาศราชกิจจานุเบกษา", "history_doubted"),
        ("สถานะการได้รับ", "ยังไม่ได้รับ", "history_doubted"),
        ("remark", "revoked 2565", "history_doubted"),
        ("เรียกคืน", "1/2/2566", "history_doubted"),
        ("decoration_recalled", "1", "history_doubted"),
        ("is_recalled", "true", "history_doubted"),
        ("Revoked", "1", "history_doubted"),
        ("ยกเลิก", "x", "history_doubted"),
        ("cancelled", "0", ""),
        ("เล่ม", "เพิกถอน", "history_doubted"),
        ("หมายเหตุ", "ส่งคืนแล้ว", "history_given_back"),
        ("การส่งคืน", "ส่งคืนแล้ว", "history_given_back"),
        ("การส่งคืน", "ยังไม่ได้ส่งคืน", ""),
        ("หมายเหตุ", "ยังไม่ส่งคืน", ""),
        ("หมายเหตุ", "ไม่ต้องส่งคืนเครื่องราชฯ", ""),
        ("หมายเหตุ", "ไม่มีการคืน", ""),
        ("หมายเหตุ", "รอส่งคืน", ""),
        ("หมายเหตุ", "ไม่มีหมายเหตุ", ""),
        ("หมายเหตุ", "รอประกาศ ยังไม่ส่งคืน", "history_doubted"),
        ("หมายเหตุ", "ไม่มีการส่งคืน เรียกคืนแล้ว", "history_doubted"),
        ("หมายเหตุ", "ไม่ส่งคืนเครื่องราชที่ถูกถอดถอน", "history_doubted"),
        ("หมายเหตุ", "ยังไม่ส่งคืนเครื่องราชอิสริยาภรณ์ที่ถูกเรียกคืน", "history_doubted"),
        ("หมายเหตุ", "ยังไม่ส่งคืนเครื่องราชอิสริยาภรณ์ชั้นรอง", ""),
        ("หมายเหตุ", "ไม่มี", ""),
        ("หมายเหตุ", "ปีปกติ รอบ 2", ""),
        ("สถานะ", "ได้รับแล้ว", ""),
        ("เรียกคืน", "ไม่", ""),
        ("หน่วยงาน", "ขอนแก่น บริบูรณ์", ""),
    ],
)
def test_remark_on_a_line_of_the_history_is_looked_at(head: str, remark: str, code: str, tmp_path: Path) -> None:
    lines = f"person_id,decoration,received,{head}\n{PERSON},CT3,2021-07-28,\n{PERSON},WE3,2024-07-28,{remark}\n"
    history = write(tmp_path, f"{lines}{OTHER},CT3,2021-07-28,\n", "history.csv")
    path = write(tmp_path, f"{HEADER}\n{PERSON},{FACTS}\n{OTHER},{FACTS}\n")
    roster = read(path, history=history)
    known = None if code == "history_doubted" else held("CT3 2021", "WE3 2024")
    assert [one.decorations for one in roster.officers] == [known, held("CT3 2021")]
    assert [(notice.row, notice.column, notice.code) for notice in roster.notices] == (
        [(3, head, code)] if code else []
    )


def test_remarks_of_a_history_are_looked_at_in_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = f"person_id,decoration,received,หมายเหตุ\n{PERSON},CT3,2021-07-28,\n{PERSON},WE3,2024-07-28,เรียกคืน\n"
    history = write(tmp_path, f"{lines}{OTHER},CT3,2021-07-28,ส่งคืน\n", "history.csv")
    path = write(tmp_path, f"{HEADER}\n{PERSON},{FACTS}\n{OTHER},{FACTS}\n")
    by_row = evaluate_roster(path, ROUND, history=history)
    monkeypatch.setattr(evaluation, "_LARGE", 1)
    in_columns = evaluate_roster(path, ROUND, history=history)
    assert rows(in_columns) == rows(by_row)
    assert in_columns.notices == by_row.notices
    assert len(by_row.notices) == 2


@pytest.mark.parametrize(
    "heads", ["ชั้นตรา,ปีที่ได้รับ,ชั้นตรา,ปีที่ได้รับ", "ชั้นตรา 1,ปีที่ได้รับ 1,ชั้นตรา 2,ปีที่ได้รับ 2", "ชั้นตราครั้งที่ 1,ปี1,ชั้นตราครั้งที่ 2,ปี2"]
)
def test_line_of_a_history_may_have_several_decorations(heads: str, tmp_path: Path) -> None:
    lines = f"{PERSON},ต.ม.,2564,ต.ช.,2567\n{OTHER},ต.ม.,2564,,\n"
    history = write(tmp_path, f"เลขประจำตัวประชาชน,{heads}\n{lines}", "history.csv")
    roster = read(write(tmp_path, f"{HEADER}\n{PERSON},{FACTS}\n{OTHER},{FACTS}\n"), history=history)
    assert [one.decorations for one in roster.officers] == [held("CT3 2021", "WE3 2024"), held("CT3 2021")]


def test_decorations_of_a_history_that_are_not_in_pairs_reject_the_roster(tmp_path: Path) -> None:
    history = write(tmp_path, f"person_id,ชั้นตรา,ชั้นตรา,ปีที่ได้รับ\n{PERSON},ต.ม.,ต.ช.,2564\n", "history.csv")
    assert "two columns mean decoration" in refusal(write(tmp_path, f"{HEADER}\n{PERSON},{FACTS}\n"), history=history)


@pytest.mark.parametrize(
    "heads",
    ["ชั้นตรา,ปีที่ได้รับ,ชั้นตรา,ปีที่ได้รับ", "ชั้นตรา 1,ปีที่ได้รับ 1,ชั้นตรา 2,ปีที่ได้รับ 2", "เครื่องราชฯ ครั้งที่ 1,พ.ศ.,เครื่องราชฯ ครั้งที่ 2,พ.ศ."],
)
def test_roster_may_have_decorations_and_days_in_pairs_of_columns(heads: str, tmp_path: Path) -> None:
    lines = [
        f"{PERSON},{FACTS},ต.ม.,2564,ต.ช.,2567",
        f"{OTHER},{FACTS},,,,",
        f"{THIRD},{FACTS},ต.ม.,2564,,2567",
        f"3100600000030,{FACTS},ต.ม.,2564,?,",
        f"3100600000048,{FACTS},ต.ม.,2564,ไม่มี,-",
        f"3100600000056,{FACTS},ต.ม.,2564,XX,2567",
    ]
    roster = read(write(tmp_path, "\n".join([f"{HEADER},{heads}", *lines])))
    known = [held("CT3 2021", "WE3 2024"), (), None, None, held("CT3 2021")]
    assert [one.decorations for one in roster.officers] == known
    assert [notice.row for notice in roster.notices if notice.code == "decoration_missing"] == [4]
    assert [cell.row for cell in roster.bad_cells] == [7]


def test_pairs_of_last_decorations_are_not_the_whole_history(tmp_path: Path) -> None:
    heads = "ชั้นตราล่าสุด,วันที่ได้รับล่าสุด,ชั้นตราล่าสุด,วันที่ได้รับล่าสุด"
    assert "two columns" in refusal(write(tmp_path, f"{HEADER},{heads}\n{PERSON},{FACTS},ต.ม.,2564,ต.ช.,2567\n"))


@pytest.mark.parametrize("count", [20, 2])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((",ต.ม.,2564", ",ต.ม.,2564,ต.ช.,2567"), (("CT3 2021",), ("CT3 2021", "WE3 2024"))),
        ((",ต.ม.,2564,", ",,,,"), (("CT3 2021",), ())),
        (("", ",ต.ม.,2564,ต.ช.,2567"), ((), ("CT3 2021", "WE3 2024"))),
        ((",?,", ",ต.ม.,2564,,"), (None, ("CT3 2021",))),
    ],
)
def test_pairs_that_a_program_leaves_out_are_empty(
    lines: tuple[str, str], expected: tuple[tuple[str, ...] | None, ...], count: int, tmp_path: Path
) -> None:
    persons = [f"31006000{number:05}" for number in range(2 * count)]
    rows_ = [f"{person},{FACTS}{lines[number % 2]}" for number, person in enumerate(persons)]
    heads = f"{HEADER},ชั้นตรา 1,ปีที่ได้รับ 1,ชั้นตรา 2,ปีที่ได้รับ 2"
    roster = read(write(tmp_path, "\n".join([heads, *rows_])), bad_row_limit=100.0)
    known = [None if one is None else held(*one) for one in expected]
    if count == 2:  # too few to be a habit of a program: these may lack decorations, or be cut in the middle
        known[0] = None
    found = {one.person_id: one.decorations for one in roster.officers}
    assert all(found.get(person) == known[number % 2] for number, person in enumerate(persons))


@pytest.mark.parametrize(
    ("heads", "cells", "is_known"),
    [
        ("ปีที่ได้รับ 1,ชั้นตรา 1,ปีที่ได้รับ 2,ชั้นตรา 2", "2560,จ.ม.,2567", False),
        ("ปีที่ได้รับ 1,ชั้นตรา 1,ปีที่ได้รับ 2,ชั้นตรา 2", "2560,จ.ม.,", True),
        ("ปีที่ได้รับ 1,ชั้นตรา 1,ปีที่ได้รับ 2,ชั้นตรา 2", "2567", False),
        ("วันที่ได้รับล่าสุด,ชั้นตราล่าสุด", "2567", False),
        ("วันที่ได้รับล่าสุด,ชั้นตราล่าสุด", "", True),
    ],
)
def test_day_at_the_end_of_a_short_row_lacks_its_decoration(
    heads: str, cells: str, is_known: bool, tmp_path: Path
) -> None:
    lines = [f"31006000{number:05},{FACTS},{cells}" for number in range(4)]
    roster = read(write(tmp_path, "\n".join([f"{HEADER},{heads}", *lines])), bad_row_limit=100.0)
    assert [one.decorations is not None for one in roster.officers] == [is_known] * 4
    assert any(notice.code == "decoration_missing" for notice in roster.notices) is not is_known


@pytest.mark.parametrize("day", ["ยังไม่เคยได้รับ", "ไม่เคยได้รับพระราชทาน", "ไม่มี", "-"])
@pytest.mark.parametrize("heads", ["ชั้นตราล่าสุด,วันที่ได้รับล่าสุด", "เครื่องราชอิสริยาภรณ์,วันที่ได้รับ"])
def test_words_for_none_in_the_place_of_the_day_mean_none(heads: str, day: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER},{heads}\n{PERSON},{FACTS},,{day}\n"))
    assert [one.decorations for one in roster.officers] == [()]
    assert not [notice for notice in roster.notices if notice.code == "decoration_missing"]


@pytest.mark.parametrize("heads", ["ชั้นตราล่าสุด,วันที่ได้รับล่าสุด", "เครื่องราชอิสริยาภรณ์,วันที่ได้รับ"])
def test_day_without_its_decoration_makes_the_decorations_unknown(heads: str, tmp_path: Path) -> None:
    lines = f"{PERSON},{FACTS},,28/7/2564\n{OTHER},{FACTS},,\n{THIRD},{FACTS},,1/1/1900\n"
    roster = read(write(tmp_path, f"{HEADER},{heads}\n{lines}"))
    assert [one.decorations for one in roster.officers] == [None, (), ()]
    assert [(notice.row, notice.code) for notice in roster.notices if notice.person_id == PERSON] == [
        (2, "decoration_missing")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "ต.ม. ได้รับ 2564; ต.ช. ได้รับพระราชทานเมื่อวันที่ 28 ก.ค. 2567", "1) ต.ม. 2564 2) ต.ช. 2567", "ต.ม.(2564)/ต.ช.(2567)",
        "2564 ต.ม.; 2567 ต.ช.", "28/7/2564 ต.ม.\n28/7/2567 ต.ช.", "ปี 2564 ต.ม., ปี 2567 ต.ช.", "ต.ม. 2564 / ต.ช. 2567",
        "ต.ม. 2564 + ต.ช. 2567", "ตริตาภรณ์มงกุฎไทย 2564 ตริตาภรณ์ช้างเผือก 2567",
    ],
)  # fmt: skip
def test_decorations_of_a_cell_may_be_written_in_other_orders(text: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, f'{HEADER},decorations\n{PERSON},{FACTS},"{text}"\n'))
    assert [one.decorations for one in roster.officers] == [held("CT3 2021", "WE3 2024")]


@pytest.mark.parametrize("text", ["2564 ต.ม. 2567 ต.ช.", "ต.ม. + ต.ช.", "ต.ม. 2564 (ราชกิจจา 10 ธ.ค. 2564)"])
def test_decorations_in_an_order_with_two_meanings_are_a_bad_row(text: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER},decorations\n{PERSON},{FACTS},{text}\n"))
    assert [cell.column for cell in roster.bad_cells] == ["decorations"]


@pytest.mark.parametrize(
    ("extra", "is_held"),
    [
        ({"status": "เรียกคืน"}, False),
        ({"recalled": True}, False),
        ({"decoration_recalled": True}, False),
        ({"decoration_recalled": "1"}, False),
        ({"revoked": True}, False),
        ({"is_recalled": True, "status": "ได้รับแล้ว"}, False),
        ({"cancelled": False, "decoration_recalled": False}, True),
        ({"remark": "เสนอขอ"}, False),
        ({"recalled": False, "status": "ได้รับแล้ว", "name_th": "ตริตาภรณ์มงกุฎไทย"}, True),
        ({"recalled": None, "note": ""}, True),
    ],
)
def test_remark_at_a_decoration_of_an_object_is_looked_at(extra: dict[str, object], is_held: bool) -> None:
    officer = PERSON_IN_JSON | {"person_id": PERSON, "decorations": [{"code": "CT3", "received": "2021-07-28"} | extra]}
    found = evaluate_objects([officer]).bad_cells
    assert [cell.code for cell in found] == ([] if is_held else ["decoration_doubted"])
