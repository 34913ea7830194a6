"""The row index of a round: filters, search, pages; and the labels of the codes."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.insignia import PERSON, evaluate_objects
from worker.insignia import (
    ROW_INDEX,
    Evaluation,
    ResultsUnwritable,
    RowQuery,
    labels_of,
    load_criteria,
    read_rows,
    write_results,
    write_sample,
)
from worker.insignia import evaluate_roster as evaluate
from worker.insignia.criteria.labels import reason_codes


@pytest.fixture(scope="module")
def round_(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
    """The register, the decisions in results.json, and the summary."""
    folder = tmp_path_factory.mktemp("round")
    write_sample(folder / "r.csv", count=1500)
    evaluation = evaluate(folder / "r.csv", 2569)
    summary = write_results(evaluation, folder / "out", row_index=True)
    return folder / "out" / ROW_INDEX, plain(json.loads((folder / "out/results.json").read_text("utf-8"))), summary


Round = tuple[Path, list[dict[str, Any]], dict[str, Any]]


def everything(path: Path, query: RowQuery) -> list[dict[str, Any]]:
    """All pages, with whether their count and cursors hold."""
    found: list[dict[str, Any]] = []
    while True:
        page = read_rows(path, RowQuery(query.show, query.of, query.award, query.reason, query.text, query.after, 37))
        found += page.rows
        assert page.matched >= len(found)
        if page.cursor is None:
            assert page.matched == len(found)
            return found
        query = RowQuery(query.show, query.of, query.award, query.reason, query.text, page.cursor)


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in ("person_id", "class", "medal")} for row in rows]


def test_read_rows_returns_all_results_in_order(round_: Round) -> None:
    path, rows, _ = round_
    found = everything(path, RowQuery())
    assert plain(found) == rows
    assert [row["n"] for row in found] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("show", "word", "count"),
    [
        ("review", "manual_review", "manualReview"),
        ("nominate", "nominate", "nominate"),
        ("notEligible", "not_eligible", "notEligible"),
    ],
)
@pytest.mark.parametrize("of", ["class", "medal"])
def test_read_rows_matches_the_counts_of_the_summary(round_: Round, show: Any, word: str, count: str, of: Any) -> None:
    path, rows, summary = round_
    found = everything(path, RowQuery(show=show, of=of))
    assert plain(found) == [row for row in rows if row[of]["decision"] == word]
    assert len(found) == (summary if of == "class" else summary["medal"])[count]


def test_read_rows_uncertain_returns_the_rows_to_check(round_: Round) -> None:
    path, _, summary = round_
    found = everything(path, RowQuery(show="uncertain"))
    assert len(found) == summary["toCheck"] > 0
    assert all(row["uncertain"] for row in found)


def test_read_rows_filters_by_award_and_reason(round_: Round) -> None:
    path, _, summary = round_
    for award, count in summary["byClass"].items():
        assert read_rows(path, RowQuery(award=award)).matched == count
    for reason, count in summary["byReason"].items():
        assert read_rows(path, RowQuery(reason=reason)).matched == count
    assert read_rows(path, RowQuery(show="nominate", reason="SALARY_TOO_LOW")).matched == 0
    assert read_rows(path, RowQuery(award="' OR 1 --")).matched == 0
    assert read_rows(path, RowQuery(award="CKM")).matched == summary["medal"]["nominate"] > 0
    assert read_rows(path, RowQuery(award="CKM", of="class")).matched == 0


def test_read_rows_finds_part_of_an_id_in_thai_digits_too(round_: Round) -> None:
    path, rows, _ = round_
    part = rows[70]["person_id"][-5:]
    expected = [row for row in rows if part in row["person_id"]]
    assert plain(everything(path, RowQuery(text=part))) == expected
    thai = part.translate(str.maketrans("0123456789", "๐๑๒๓๔๕๖๗๘๙"))
    assert plain(everything(path, RowQuery(text=f" {thai} "))) == expected


@pytest.mark.parametrize("text", ["%", "_", "\\", "'", '"', "ก%", "\0"])
def test_read_rows_takes_special_characters_literally(text: str, tmp_path: Path) -> None:
    people = [
        PERSON | {"salary": "18900", "person_id": name} for name in ("plain", "a%b", "a_b", "a\\b", "a'b", 'a"b', "ก%ข")
    ]
    write_results(evaluate_objects(people), tmp_path / "out", row_index=True)
    expected = [one["person_id"] for one in people if text in one["person_id"]]
    assert [row["person_id"] for row in read_rows(tmp_path / "out" / ROW_INDEX, RowQuery(text=text)).rows] == expected


@pytest.mark.parametrize("text", ["12-345", "2-34", "AB-12-9"])
def test_read_rows_finds_an_id_that_has_hyphens_of_its_own(text: str, tmp_path: Path) -> None:
    people = [PERSON | {"person_id": name} for name in ("12-345", "AB-12-9", "678")]
    write_results(evaluate_objects(people), tmp_path / "out", row_index=True)
    expected = [one["person_id"] for one in people if text in one["person_id"]]
    assert [row["person_id"] for row in read_rows(tmp_path / "out" / ROW_INDEX, RowQuery(text=text)).rows] == expected


def test_row_index_has_each_decision_once(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{"nationality": "LA"}, {"level": "M1"}, {"discipline": "ภาคทัณฑ์"}, {"salary": None}]
    people = [PERSON | change | {"person_id": f"{n}-{m}"} for n, change in enumerate(changes) for m in range(3)]
    evaluation = evaluate_objects(people)
    write_results(evaluation, tmp_path / "out", row_index=True)
    decided = {decision for verdict in evaluation.verdicts for decision in (verdict.class_, verdict.medal)}
    with closing(sqlite3.connect(tmp_path / "out" / ROW_INDEX)) as connection:
        assert connection.execute("SELECT count(*) FROM decisions").fetchone() == (len(decided),)


def test_row_index_on_a_full_disk_is_a_failure_that_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def small(path: Path, *, isolation_level: None) -> sqlite3.Connection:
        connection = connect(path, isolation_level=isolation_level)
        connection.execute("PRAGMA max_page_count = 3")  # what SQLite then reports is what it reports of a full disk
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    evaluation = evaluate_objects([PERSON | {"person_id": str(number)} for number in range(50)])
    with pytest.raises(ResultsUnwritable, match="full"):
        write_results(evaluation, tmp_path / "out", row_index=True)
    assert list(tmp_path.iterdir()) == []


def test_read_rows_of_an_empty_round_returns_none(tmp_path: Path) -> None:
    from worker.insignia.evaluation import evaluate_roster

    one = evaluate_roster([{"person_id": "a", "decorations": []}], 2569, bad_row_limit=100.0)
    none = Evaluation(one.rules, [], [], 0, [], [])
    write_results(none, tmp_path / "out", row_index=True)
    page = read_rows(tmp_path / "out" / ROW_INDEX, RowQuery())
    assert (page.rows, page.cursor, page.matched) == ([], None, 0)


def test_row_index_is_intact_and_written_only_on_request(round_: Round, tmp_path: Path) -> None:
    with closing(sqlite3.connect(round_[0])) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    write_results(evaluate_objects([{"person_id": "a", "decorations": []}]), tmp_path / "out")
    assert not (tmp_path / "out" / ROW_INDEX).exists()
    with pytest.raises(FileNotFoundError):
        read_rows(tmp_path / "out" / ROW_INDEX, RowQuery())


def test_labels_cover_every_code_in_both_languages(round_: Round) -> None:
    words = labels_of(load_criteria())
    reasons = reason_codes(load_criteria()) | set(round_[2]["byReason"]) | set(round_[2]["medal"]["byReason"])
    assert reasons <= set(words["reasons"])
    for code, label in {**words["reasons"], **words["decisions"], **words["classes"], **words["medals"]}.items():
        assert label["en"] not in ("", code), code
        assert any("\u0e00" <= char <= "\u0e7f" for char in label["th"]), code
    assert set(round_[2]["byClass"]) <= set(words["classes"])
    assert words["classes"]["CT5"] == {
        "abbr": "บ.ม.",
        "th": "เบญจมาภรณ์มงกุฎไทย",
        "en": "Member (Fifth Class) of the Most Noble Order of the Crown of Thailand",
    }


def test_labels_of_an_unknown_reason_are_its_code() -> None:
    criteria = load_criteria()
    policies = criteria.policies.model_copy(
        update={"unmet_reason_codes": {**criteria.policies.unmet_reason_codes, "x": "OUR_OWN"}}
    )
    words = labels_of(criteria.model_copy(update={"policies": policies}))
    assert words["reasons"]["OUR_OWN"] == {"th": "OUR_OWN", "en": "OUR_OWN"}
