"""Looking through the rows of a round: filters, search, pages; and what the codes are called."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.insignia import evaluate_objects
from worker.insignia import (
    REGISTER,
    Evaluation,
    RowQuery,
    load_criteria,
    read_rows,
    words_of,
    write_results,
    write_sample,
)
from worker.insignia import evaluate_roster as evaluate
from worker.insignia.words import reasons_of


@pytest.fixture(scope="module")
def round_(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
    """The register, the rows as they stand in results.json, and the summary."""
    folder = tmp_path_factory.mktemp("round")
    write_sample(folder / "r.csv", count=1500)
    evaluation = evaluate(folder / "r.csv", 2569)
    summary = write_results(evaluation, folder / "out", register=True)
    return folder / "out" / REGISTER, json.loads((folder / "out/results.json").read_text("utf-8")), summary


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


def test_all_rows_are_the_results_in_their_order(round_: Round) -> None:
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
def test_the_rows_shown_are_those_that_the_summary_counts(
    round_: Round, show: Any, word: str, count: str, of: Any
) -> None:
    path, rows, summary = round_
    found = everything(path, RowQuery(show=show, of=of))
    assert plain(found) == [row for row in rows if row[of]["decision"] == word]
    assert len(found) == (summary if of == "class" else summary["medal"])[count]


def test_uncertain_rows_are_those_to_check(round_: Round) -> None:
    path, _, summary = round_
    found = everything(path, RowQuery(show="uncertain"))
    assert len(found) == summary["toCheck"] > 0
    assert all(row["uncertain"] for row in found)


def test_rows_can_be_filtered_by_award_and_by_reason(round_: Round) -> None:
    path, _, summary = round_
    for award, count in summary["byClass"].items():
        assert read_rows(path, RowQuery(award=award)).matched == count
    for reason, count in summary["byReason"].items():
        assert read_rows(path, RowQuery(reason=reason)).matched == count
    assert read_rows(path, RowQuery(show="nominate", reason="SALARY_TOO_LOW")).matched == 0
    assert read_rows(path, RowQuery(award="' OR 1 --")).matched == 0
    assert read_rows(path, RowQuery(award="CKM")).matched == summary["medal"]["nominate"] > 0
    assert read_rows(path, RowQuery(award="CKM", of="class")).matched == 0


def test_a_part_of_an_id_is_found_also_in_thai_digits(round_: Round) -> None:
    path, rows, _ = round_
    part = rows[70]["person_id"][-5:]
    expected = [row for row in rows if part in row["person_id"]]
    assert plain(everything(path, RowQuery(text=part))) == expected
    thai = part.translate(str.maketrans("0123456789", "๐๑๒๓๔๕๖๗๘๙"))
    assert plain(everything(path, RowQuery(text=f" {thai} "))) == expected


@pytest.mark.parametrize("text", ["%", "_", "\\", "'", '"', "ก%", "\0"])
def test_signs_of_the_search_language_are_signs(text: str, tmp_path: Path) -> None:
    known = {
        "employee_group": "civil_servant",
        "level": "K2",
        "birth_date": "1990-03-03",
        "service_start": "2015-04-01",
    }
    base: dict[str, Any] = known | {"level_start": "2019-05-02", "salary": "18900", "decorations": []}
    people = [base | {"person_id": name} for name in ("plain", "a%b", "a_b", "a\\b", "a'b", 'a"b', "ก%ข")]
    write_results(evaluate_objects(people), tmp_path / "out", register=True)
    expected = [one["person_id"] for one in people if text in one["person_id"]]
    assert [row["person_id"] for row in read_rows(tmp_path / "out" / REGISTER, RowQuery(text=text)).rows] == expected


def test_a_round_of_nobody_has_no_rows(tmp_path: Path) -> None:
    from worker.insignia.batch import evaluate_roster

    one = evaluate_roster([{"person_id": "a", "decorations": []}], 2569, bad_row_limit=100.0)
    none = Evaluation(one.rules, [], [], 0, [], [])
    write_results(none, tmp_path / "out", register=True)
    page = read_rows(tmp_path / "out" / REGISTER, RowQuery())
    assert (page.rows, page.cursor, page.matched) == ([], None, 0)


def test_the_register_is_sound_and_is_not_written_for_who_does_not_ask(round_: Round, tmp_path: Path) -> None:
    with closing(sqlite3.connect(round_[0])) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    write_results(evaluate_objects([{"person_id": "a", "decorations": []}]), tmp_path / "out")
    assert not (tmp_path / "out" / REGISTER).exists()
    with pytest.raises(FileNotFoundError):
        read_rows(tmp_path / "out" / REGISTER, RowQuery())


def test_every_code_has_a_name_in_both_languages(round_: Round) -> None:
    words = words_of(load_criteria())
    reasons = reasons_of(load_criteria()) | set(round_[2]["byReason"]) | set(round_[2]["medal"]["byReason"])
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


def test_a_reason_of_an_own_criteria_file_is_its_own_label() -> None:
    criteria = load_criteria()
    policies = criteria.policies.model_copy(
        update={"unmet_reason_codes": {**criteria.policies.unmet_reason_codes, "x": "OUR_OWN"}}
    )
    words = words_of(criteria.model_copy(update={"policies": policies}))
    assert words["reasons"]["OUR_OWN"] == {"th": "OUR_OWN", "en": "OUR_OWN"}
