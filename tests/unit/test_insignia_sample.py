"""The made-up roster: reproducible, untidy on purpose, without real persons."""

import csv
from importlib import resources
from pathlib import Path

from worker.insignia import copy_sample, evaluate_roster, write_sample
from worker.insignia.roster.person_id import has_valid_check_digit, parse_person_id


def test_packaged_sample_equals_the_generated_one(tmp_path: Path) -> None:
    write_sample(tmp_path / "roster.csv", history=tmp_path / "history.csv")
    packaged = resources.files("worker.insignia.sample").joinpath("sample_data")
    for name in ("roster.csv", "history.csv"):
        assert (tmp_path / name).read_bytes() == packaged.joinpath(name).read_bytes()


def test_another_seed_gives_other_officers(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.csv", count=20, seed=1)
    write_sample(tmp_path / "b.csv", count=20, seed=2)
    ids = [{row["person_id"] for row in table(tmp_path / name)} for name in ("a.csv", "b.csv")]
    assert not ids[0] & ids[1]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_sample_ids_cannot_belong_to_real_persons(tmp_path: Path) -> None:
    roster, history = copy_sample(tmp_path)
    ids = [parse_person_id(row["person_id"]) for row in (*table(roster), *table(history))]
    assert all(person_id.startswith("0") and len(person_id) == 13 for person_id in ids)
    assert all(has_valid_check_digit(person_id) for person_id in ids)


def test_sample_contains_every_kind_of_decision(tmp_path: Path) -> None:
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


def test_sample_with_decorations_in_the_roster_gives_the_same_decisions(tmp_path: Path) -> None:
    write_sample(tmp_path / "one.csv", count=300)
    write_sample(tmp_path / "two.csv", count=300, history=tmp_path / "history.csv")
    one = evaluate_roster(tmp_path / "one.csv", 2569)
    two = evaluate_roster(tmp_path / "two.csv", 2569, history=tmp_path / "history.csv")
    assert one.verdicts == two.verdicts
