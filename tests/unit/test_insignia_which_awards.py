"""Which decorations a column has: all, only the last one, or those that are proposed in this round."""

from pathlib import Path

import pytest

from tests.support.insignia import held
from tests.unit.test_insignia_award_columns import FACTS, HEADER, PERSON
from tests.unit.test_insignia_roster import read, refusal, write
from worker.insignia.roster.officer import Officer

PLAIN = HEADER.split(",")


def roster(tmp_path: Path, *rows: list[str]) -> Path:
    lines = [",".join(f'"{cell}"' for cell in row) for row in rows]
    return write(tmp_path, "\n".join(lines) + "\n")


def officer(tmp_path: Path, heads: list[str], cells: list[str]) -> Officer:
    [one] = read(roster(tmp_path, [*PLAIN, *heads], [PERSON, *FACTS.split(","), *cells])).officers
    return one


@pytest.mark.parametrize(
    "remark",
    [
        "ครั้งนี้", "ปีนี้", "ประจำปีนี้", "รอบนี้", "คราวนี้", "ที่ได้รับครั้งนี้", "คาดว่าจะได้รับ", "ใหม่", "ชั้นต่อไป", "มีสิทธิ",
        "มีสิทธิได้รับ", "แผน", "รอประกาศ", "สมควรได้รับ", "ที่ยื่น", "this year", "expected", "due", "nominated", "ที่จะได้รับ",
    ],
)  # fmt: skip
def test_decorations_of_this_round_are_not_held(remark: str, tmp_path: Path) -> None:
    heads = ["ต.ม.", f"เครื่องราชฯ ที่มี [{remark}]"]
    assert officer(tmp_path, heads, ["2564", "ต.ช."]).decorations == held("CT3 2021")
    assert "decorations" in refusal(
        roster(tmp_path, [*PLAIN, f"เครื่องราชฯ ({remark})"], [PERSON, *FACTS.split(","), "ต.ช. 2564"])
    )


@pytest.mark.parametrize("remark", ["ไม่รวมครั้งนี้", "จนถึงปีนี้", "ชั้น/ปี", "เรียงจากต่ำสุดไปสูงสุด", "ข้อมูล ณ 1 ม.ค. 2569"])
def test_remark_that_only_says_how_or_until_when_means_all(remark: str, tmp_path: Path) -> None:
    one = officer(tmp_path, [f"เครื่องราชฯ ({remark})"], ["ต.ม. 28/7/2564"])
    assert (one.decorations, one.last_only) == (held("CT3 2021"), False)


@pytest.mark.parametrize("remark", ["ปี 2569", "พ.ศ. 2568", "2026", "ครั้งแรก", "ช้างเผือก"])
def test_decorations_of_one_year_or_order_reject_the_roster(remark: str, tmp_path: Path) -> None:
    heading = f"เครื่องราชฯ ({remark})"
    path = roster(tmp_path, [*PLAIN, heading], [PERSON, *FACTS.split(","), "ต.ม. 28/7/2564"])
    assert f'the column "{heading}" may have only some decorations' in refusal(path)
    assert read(path, mapping={heading: "decorations"}).officers[0].decorations == held("CT3 2021")


@pytest.mark.parametrize(
    "heading",
    [
        "เครื่องราชฯ (ที่ได้รับล่าสุด)", "เครื่องราชอิสริยาภรณ์ที่ได้รับ (ครั้งสุดท้าย)", "ชั้นสูงสุดที่ได้รับ", "ชั้นตราสูงสุด",
        "เครื่องราชฯ (ชั้นสูงสุด)", "awards (latest)", "เครื่องราชฯ ที่ได้รับ (ปัจจุบัน)", "เครื่องราชฯ (ที่ได้รับครั้งก่อน)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("has_days", [True, False])
def test_last_or_highest_decoration_leaves_earlier_ones_open(heading: str, has_days: bool, tmp_path: Path) -> None:
    heads, cells = ([heading, "ปีที่ได้รับ"], ["ต.ม.", "2564"]) if has_days else ([heading], ["ต.ม. 2564"])
    one = officer(tmp_path, heads, cells)
    assert (one.decorations, one.last_only) == (held("CT3 2021"), True)


@pytest.mark.parametrize(("heading", "is_open"), [("ชั้นตราสูงสุด", True), ("ชั้นตราล่าสุด", False)])
def test_no_highest_class_leaves_the_medal_open(heading: str, is_open: bool, tmp_path: Path) -> None:
    one = officer(tmp_path, [heading, "ปีที่ได้รับ"], ["", ""])
    assert (one.decorations, one.last_only) == ((), is_open)


@pytest.mark.parametrize("cell", ["ต.ม. 2564; ต.ช. 2567", "1. ต.ม. 2564\n2. ต.ช. 2567"])
def test_cell_of_the_last_decoration_may_list_several(cell: str, tmp_path: Path) -> None:
    one = officer(tmp_path, ["เครื่องราชฯ (ล่าสุด)"], [cell])
    assert (one.decorations, one.last_only) == (held("CT3 2021", "WE3 2024"), True)


@pytest.mark.parametrize(
    ("heads", "cells"),
    [
        (["เครื่องราชฯ (เดิม)", "เครื่องราชฯ (ที่ขอ)"], ["ต.ม. 2564", "ต.ช."]),
        (["ชั้นตราที่ขอครั้งนี้", "ชั้นตรา (เดิม)", "ปีที่ได้รับ"], ["ต.ช.", "ต.ม.", "2564"]),
    ],
)
def test_former_decoration_beside_the_proposed_one_is_the_last(
    heads: list[str], cells: list[str], tmp_path: Path
) -> None:
    one = officer(tmp_path, heads, cells)
    assert (one.decorations, one.last_only) == (held("CT3 2021"), True)


def test_former_decoration_alone_is_not_read(tmp_path: Path) -> None:
    path = roster(tmp_path, [*PLAIN, "เครื่องราชฯ (เดิม)"], [PERSON, *FACTS.split(","), "ต.ม. 2564"])
    assert "no column of decorations" in refusal(path)


LAST, ALL = (("CT3 2021",), True), (("CT3 2021",), False)


@pytest.mark.parametrize("is_above", [True, False], ids=["other headings above", "other headings below"])
@pytest.mark.parametrize(
    ("upper", "lower", "cells", "expected"),
    [
        (["เครื่องราชอิสริยาภรณ์", ""], ["ที่ได้รับ", "ครั้งนี้"], ["ต.ม. 2564", "ต.ช."], ALL),
        (["เครื่องราชอิสริยาภรณ์", ""], ["ได้รับแล้ว", "ครั้งนี้ขอ"], ["ต.ม. 2564", "ต.ช."], ALL),
        (["เครื่องราชอิสริยาภรณ์", ""], ["เดิม", "ที่ขอ"], ["ต.ม. 2564", "ต.ช."], LAST),
        (["เครื่องราชอิสริยาภรณ์", "", ""], ["เดิม", "ปี", "ปีนี้"], ["ต.ม.", "2564", "ต.ช."], LAST),
        (["เครื่องราชอิสริยาภรณ์", ""], ["ชั้น", "ปี"], ["ต.ม.", "2564"], LAST),
        (["เครื่องราชอิสริยาภรณ์", ""], ["ชั้นตรา", "ปี พ.ศ."], ["ต.ม.", "2564"], LAST),
        (["เครื่องราชอิสริยาภรณ์ครั้งสุดท้าย", ""], ["ชั้น", "ปี"], ["ต.ม.", "2564"], LAST),
        (["เครื่องราชอิสริยาภรณ์"] * 4, ["ชั้น", "ปี", "ชั้น", "ปี"], ["ต.ม.", "2564", "", ""], ALL),
        (["ครั้งนี้", "", "ล่าสุด", ""], ["ชั้นตรา", "ปี", "ชั้นตรา", "ปีที่ได้รับ"], ["ต.ช.", "2569", "ต.ม.", "2564"], LAST),
        (["ล่าสุด", "", "ครั้งนี้"], ["ชั้นตรา", "ปีที่ได้รับ", "ชั้นตรา"], ["ต.ม.", "2564", "ต.ช."], LAST),
        (["สูงสุด", ""], ["เครื่องราชอิสริยาภรณ์ที่ได้รับ", "วันที่ได้รับ"], ["ต.ม.", "2564"], LAST),
        (["เครื่องราชฯ (ล่าสุด)", ""], ["เครื่องราชอิสริยาภรณ์", "วันที่ได้รับ"], ["ต.ม.", "2564"], LAST),
    ],
)
def test_two_rows_of_headings_say_which_decorations(
    upper: list[str],
    lower: list[str],
    cells: list[str],
    expected: tuple[tuple[str, ...], bool],
    is_above: bool,
    tmp_path: Path,
) -> None:
    empty = [""] * len(PLAIN)
    heads = [[*PLAIN, *upper], [*empty, *lower]] if is_above else [[*empty, *upper], [*PLAIN, *lower]]
    [one] = read(roster(tmp_path, *heads, [PERSON, *FACTS.split(","), *cells])).officers
    assert (one.decorations, one.last_only, one.on_leave) == (held(*expected[0]), expected[1], None)


@pytest.mark.parametrize("is_above", [True, False], ids=["other headings above", "other headings below"])
@pytest.mark.parametrize(
    ("upper", "lower"),
    [
        (["ปีนี้", ""], ["เครื่องราชอิสริยาภรณ์", ""]),
        (["ครั้งนี้", ""], ["ชั้นตรา", "ปีที่ได้รับ"]),
        (["คาดว่าจะได้รับ", ""], ["ชั้นตรา", "ปีที่ได้รับ"]),
        (["เครื่องราชอิสริยาภรณ์", ""], ["ครั้งนี้ขอ", "วันที่ได้รับ"]),
        (["สิทธิครั้งนี้", ""], ["ต.ม.", "ต.ช."]),
        (["ปี 2569", ""], ["เครื่องราชอิสริยาภรณ์", ""]),
    ],
)
def test_decorations_below_a_heading_of_this_round_are_not_held(
    upper: list[str], lower: list[str], is_above: bool, tmp_path: Path
) -> None:
    empty = [""] * len(PLAIN)
    heads = [[*PLAIN, *upper], [*empty, *lower]] if is_above else [[*empty, *upper], [*PLAIN, *lower]]
    assert "decorations" in refusal(roster(tmp_path, *heads, [PERSON, *FACTS.split(","), "ต.ม.", "2564"]))


def test_first_row_of_an_officer_is_not_a_heading(tmp_path: Path) -> None:
    path = roster(tmp_path, [*PLAIN, "เครื่องราชอิสริยาภรณ์"], ["a1", *FACTS.split(","), "ยังไม่เคยขอ"])
    assert [one.decorations for one in read(path).officers] == [()]
