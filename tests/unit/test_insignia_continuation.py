"""Decorations on lines of their own below their officer, and rows that cannot be read beside rows that can."""

from pathlib import Path

import pytest

from tests.support.insignia import held
from tests.unit.test_insignia_roster import EXPECTED, GOOD, HEADER, read, write

FIRST = "3100600000005,นาย,civil_servant,K2,1990-03-03,2015-04-01,2022-05-02,18900"
NAMED = "person_id,title,employee_group,level,birth_date,service_start,level_start,salary"
PERSON = "3100600000005"


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(",,,,,,,,WE3 2024-07-28", id="nothing else"),
        pytest.param(f"{PERSON},,,,,,,,WE3 2024-07-28", id="with the id"),
        pytest.param(",นาย,,,,,,,WE3 2024-07-28", id="with the title"),
        pytest.param(f"{FIRST},WE3 2024-07-28", id="whole"),
    ],
)
def test_decoration_on_a_line_of_its_own_belongs_to_the_officer_above(more: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{NAMED},decorations\n{FIRST},CT3 2021-07-28\n{more}\n"))
    assert [officer.decorations for officer in roster.officers] == [held("CT3 2021", "WE3 2024")]
    assert [notice.code for notice in roster.notices] == ["merged_rows"]


def test_class_on_a_line_of_its_own_belongs_to_the_officer_above(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{NAMED},ต.ม.,ต.ช.\n{FIRST},2564,\n,,,,,,,,,2567\n"))
    assert [officer.decorations for officer in roster.officers] == [held("CT3 2021", "WE3 2024")]


def test_pair_on_a_line_of_its_own_belongs_to_the_officer_above(tmp_path: Path) -> None:
    heads = "ชั้นตรา 1,ปีที่ได้รับ 1,ชั้นตรา 2,ปีที่ได้รับ 2"
    roster = read(write(tmp_path, f"{NAMED},{heads}\n{FIRST},ต.ม.,2564,,\n,,,,,,,,ต.ช.,2567,,\n"))
    assert [officer.decorations for officer in roster.officers] == [held("CT3 2021", "WE3 2024")]


def test_last_decorations_on_lines_of_their_own_are_put_together(tmp_path: Path) -> None:
    content = f"{NAMED},ชั้นตรา,วันที่ได้รับ\n{FIRST},ต.ม.,28/7/2564\n,,,,,,,,ต.ช.,28/7/2567\n"
    roster = read(write(tmp_path, content))
    assert [officer.decorations for officer in roster.officers] == [held("CT3 2021", "WE3 2024")]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(",,,,,,,,WE3 31/02/2567", id="unreadable date"),
        pytest.param(f"{FIRST},WE3 31/02/2567", id="unreadable date in a whole row"),
        pytest.param(f"{FIRST},WE3 2024-07-28,surplus", id="surplus cell"),
    ],
)
def test_officer_is_bad_if_another_row_of_decorations_cannot_be_read(more: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{NAMED},decorations\n{FIRST},CT3 2021-07-28\n{more}\n"))
    assert not roster.officers
    assert roster.bad_rows == 2
    assert {(cell.row, cell.person_id) for cell in roster.bad_cells} == {(2, PERSON), (3, PERSON)}


@pytest.mark.parametrize(
    ("rows", "bad"),
    [
        pytest.param([",,,,,,,,WE3 2024-07-28", f"{FIRST},"], 2, id="no officer above"),
        pytest.param([f"{FIRST},", ",นางสาว,,,,,,,WE3 2024-07-28"], 3, id="of another officer"),
    ],
)
def test_decoration_of_an_unknown_officer_is_a_bad_row(rows: list[str], bad: int, tmp_path: Path) -> None:
    roster = read(write(tmp_path, "\n".join([f"{NAMED},decorations", *rows])))
    assert [cell.row for cell in roster.bad_cells] == [bad]
    assert len(roster.officers) == 1


@pytest.mark.parametrize("total", [",,,,,,,,12", ",,,,,,,,(นายสมชาย ใจดี)", ",รวม,,,,,,,2"])
def test_total_below_the_officers_is_skipped(total: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{NAMED},decorations\n{FIRST},CT3 2021-07-28\n{total}\n"))
    assert [officer.decorations for officer in roster.officers] == [held("CT3 2021")]
    assert not roster.bad_rows


def test_corrected_row_after_a_bad_one_counts(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER}\n{GOOD.replace('K2', 'K9')}\n{GOOD}\n"))
    assert roster.officers == [EXPECTED]
