"""The made-up roster: same bytes, untidy on purpose, nobody real."""

import csv
from importlib import resources
from pathlib import Path

from worker.insignia import copy_sample, evaluate_roster, write_sample
from worker.insignia.cells import a_person_id, check_digit_fits


def test_the_packaged_sample_is_what_the_generator_writes(tmp_path: Path) -> None:
    write_sample(tmp_path / "roster.csv", history=tmp_path / "history.csv")
    packaged = resources.files("worker.insignia").joinpath("sample_data")
    for name in ("roster.csv", "history.csv"):
        assert (tmp_path / name).read_bytes() == packaged.joinpath(name).read_bytes()


def test_another_seed_is_another_roster_of_other_people(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.csv", count=20, seed=1)
    write_sample(tmp_path / "b.csv", count=20, seed=2)
    ids = [{row["person_id"] for row in table(tmp_path / name)} for name in ("a.csv", "b.csv")]
    assert not ids[0] & ids[1]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_no_id_of_the_sample_can_be_a_real_persons(tmp_path: Path) -> None:
    roster, history = copy_sample(tmp_path)
    ids = [a_person_id(row["person_id"]) for row in (*table(roster), *table(history))]
    assert all(person_id.startswith("0") and len(person_id) == 13 for person_id in ids)
    assert all(check_digit_fits(person_id) for person_id in ids)


def test_the_sample_shows_every_kind_of_outcome(tmp_path: Path) -> None:
    roster, history = copy_sample(tmp_path)
    summary = evaluate_roster(roster, 2569, history=history).summary()
    assert summary["officers"] + summary["badRows"] == 2000
    assert 0 < summary["badRows"] < 100
    assert min(summary["nominate"], summary["notEligible"], summary["manualReview"], summary["medal"]["nominate"]) > 20
    assert len(summary["byClass"]) >= 10
    assert {
        "ALREADY_AT_MAX",
        "CONSECUTIVE_YEAR",
        "DISCIPLINE_REVIEW",
        "INCOMPLETE_DATA",
        "LEAVE_REVIEW",
        "NOT_IN_SERVICE_ON_CEREMONY",
        "RULE_NOT_FOUND",
        "SERVICE_TOO_SHORT",
    } <= set(summary["byReason"])
    assert summary["notices"]["received_month_first"] > 5


def test_decorations_in_the_roster_itself_decide_as_the_history_file_does(tmp_path: Path) -> None:
    write_sample(tmp_path / "one.csv", count=300)
    write_sample(tmp_path / "two.csv", count=300, history=tmp_path / "history.csv")
    one = evaluate_roster(tmp_path / "one.csv", 2569)
    two = evaluate_roster(tmp_path / "two.csv", 2569, history=tmp_path / "history.csv")
    assert one.verdicts == two.verdicts
