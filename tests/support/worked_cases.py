"""The worked cases of the criteria as rosters of several formats, and the comparison with what they state."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xlsxwriter

DATA = Path(__file__).parents[1] / "data"
CASES: list[dict[str, Any]] = [
    case for name in ("cases.json", "cases-2.json") for case in json.loads((DATA / name).read_text("utf-8"))["cases"]
]
FIELDS = tuple(dict.fromkeys(name for case in CASES for name in case["officer"]))
ROUNDS = sorted({case["round_year_be"] for case in CASES})
REQUIRED = (
    "person_id",
    "employee_group",
    "level",
    "birth_date",
    "service_start",
    "level_start",
    "salary",
    "decorations",
)
COLUMNS = tuple(dict.fromkeys(("person_id", *REQUIRED, *FIELDS)))


def cell(case: dict[str, Any], name: str) -> str:
    """Return what stands in a cell; what a case does not give is unknown."""
    if name == "person_id":
        return str(case["id"])
    value = case["officer"].get(name)
    if name == "decorations":
        if value is None:
            return "?"
        return "; ".join(f"{award['abbr_th']} {award['received'] or ''}".strip() for award in value)
    if isinstance(value, bool):
        return "ใช่" if value else "ไม่ใช่"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return "" if value is None else str(value)


def as_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)


def as_thai_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="cp874", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)


def as_workbook(path: Path, rows: list[list[str]]) -> None:
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row, book.add_format({"num_format": "@"}))


def as_json_lines(path: Path, rows: list[list[str]]) -> None:
    heads, *rest = rows
    path.write_text("\n".join(json.dumps(dict(zip(heads, row, strict=True))) for row in rest), "utf-8")


def table(cases: list[dict[str, Any]]) -> list[list[str]]:
    """Return the header and a row for each case."""
    return [list(COLUMNS), *([cell(case, name) for name in COLUMNS] for case in cases)]


def of_round(round_be: int) -> list[dict[str, Any]]:
    return [case for case in CASES if case["round_year_be"] == round_be]


def assert_as_expected(cases: list[dict[str, Any]], rows: Iterable[dict[str, Any]]) -> None:
    """Compare rows of a result with what the cases state; the confidence is not part of it."""
    found = {row["person_id"]: row for row in rows}
    for case in cases:
        for kind in ("class", "medal"):
            decided = {name: value for name, value in found[case["id"]][kind].items() if name != "confidence"}
            assert decided == case["expected"][kind], (case["id"], kind)
