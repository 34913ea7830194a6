"""A mapping of headings that has no effect is an error, not a surprise."""

from pathlib import Path

import pytest

from worker.insignia import RosterUnreadable, evaluate_roster

HEADER = "person_id,employee_group,level,birth_date,service_start,level_start,ฐานเงิน"
GOOD = "1101700203451,civil_servant,K2,1990-03-03,2015-04-01,2019-05-02,21990"
HISTORY = "person_id,ชื่อตรา,received\n1101700203451,CT5,2020-07-28\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    roster, history = tmp_path / "r.csv", tmp_path / "h.csv"
    roster.write_text(f"{HEADER}\n{GOOD}\n", "utf-8")
    history.write_text(HISTORY, "utf-8")
    return roster, history


def test_mapping_of_a_heading_that_no_file_has_names_the_headings(files: tuple[Path, Path]) -> None:
    roster, history = files
    with pytest.raises(RosterUnreadable, match=r"in no file: ฐานเงินเดือน\. The headings are: .*, ฐานเงิน") as caught:
        evaluate_roster(roster, 2569, history=history, mapping={"ฐานเงินเดือน": "salary", "ชื่อตรา": "decoration"})
    assert caught.value.message.code == "mapping_unused"
    assert "ฐานเงินเดือน" in caught.value.message.th
    assert "ฐานเงิน" in caught.value.headings


def test_mapping_may_explain_a_heading_of_the_roster_or_of_the_history(files: tuple[Path, Path]) -> None:
    roster, history = files
    mapping = {" ฐาน-เงิน ": "salary", "ชื่อตรา": "decoration"}
    [verdict] = evaluate_roster(roster, 2569, history=history, mapping=mapping).verdicts
    assert (verdict.officer.salary, len(verdict.officer.decorations or ())) == (21990, 1)
