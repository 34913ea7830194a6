"""Writes the results of a roster: JSON, CSV, bad rows, notices and summary, all of them or none.

Files are complete on disk before they get their name; a new folder of results is renamed into place as a whole.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from worker.insignia.collector import rare_collections
from worker.insignia.errors import BadCell, Notice, Repair
from worker.insignia.evaluation import Evaluation
from worker.insignia.progress import CSV_FILE, JSON_FILE, WORKBOOK_FILE, ProgressReporter
from worker.insignia.results.csv_cells import CsvCells, encoded_lines, write_lines
from worker.insignia.results.details import ResultDetails
from worker.insignia.results.drafts import Fill, create_folder, replace_file, translate_write_errors
from worker.insignia.results.row_index import ROW_INDEX, write_row_index
from worker.insignia.results.table import CSV_HEADER, ResultTable, decision_row, missing_fields
from worker.insignia.results.workbook import write_workbook
from worker.insignia.roster.officer import known_about
from worker.insignia.rules.decision import Decision, Verdict
from worker.insignia.rules.decision_id import decision_id
from worker.insignia.rules.outlook import next_round
from worker.insignia.rules.ruleset import Rules

RESULTS_JSON, RESULTS_CSV, RESULTS_XLSX, BAD_ROWS, NOTICES, REPAIRS, SUMMARY, CRITERIA = (
    "results.json",
    "results.csv",
    "results.xlsx",
    "bad_rows.csv",
    "notices.csv",
    "repairs.csv",
    "summary.json",
    "criteria.json",
)
_CHUNK = 1000
"""Rows that are collected before each write."""
_MOST_IN_WORKBOOK = 20_000
"""Officers up to which a folder of results has a workbook, which takes much longer to write than CSV."""


def result_row(verdict: Verdict, rules: Rules | None = None) -> dict[str, Any]:
    """Return a row of the JSON output; keys that do not apply are absent. `rules` adds what identifies the decision."""
    row = {
        "person_id": verdict.person_id,
        "class": decision_row(verdict.class_),
        "medal": decision_row(verdict.medal),
    }
    if rules is None:
        return row | _who(verdict)
    return row | _about(verdict, rules.criteria.short, decision_id(verdict.officer, rules), next_round(verdict, rules))


def _about(verdict: Verdict, criteria: str, identity: str, when: int | None) -> dict[str, Any]:
    """Return who the officer is, what is missing, and by which criteria it was decided."""
    about = _who(verdict)
    if when is not None:
        about["next_round"] = when
    about["decision_id"] = identity
    about["criteria"] = criteria
    return about


def _who(verdict: Verdict) -> dict[str, Any]:
    """Return who the officer is, and which fields are missing."""
    about: dict[str, Any] = known_about(verdict.officer)
    if verdict.class_.missing or verdict.medal.missing:
        about["missing"] = list(missing_fields(verdict.class_, verdict.medal))
    return about


@rare_collections()
def write_results(
    evaluation: Evaluation,
    folder: Path,
    *,
    reporter: ProgressReporter | None = None,
    row_index: bool = False,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write all files into `folder` and return the summary with `output` (the folder) and `files` (their names).

    With `row_index`, the hidden file that read_rows reads is written too; `about` is added to the summary. A new
    folder appears complete or not at all; in an existing one the files are replaced one by one, the summary last.
    Raises ResultsUnwritable or EvaluationCancelled.
    """
    details = ResultDetails(evaluation, reporter or ProgressReporter(), keeps_forms=row_index)
    summary = details.summary | {"output": str(folder)} | dict(about or {})
    table = ResultTable(details)
    files = _files(details, table)
    if row_index:
        files[ROW_INDEX] = lambda file: write_row_index(Path(file.name), details, decision_row)
    summary["files"] = {
        "json": RESULTS_JSON,
        "csv": RESULTS_CSV,
        "badRows": BAD_ROWS,
        "notices": NOTICES,
        "repairs": REPAIRS,
        "criteria": CRITERIA,
    }
    if len(evaluation.verdicts) <= _MOST_IN_WORKBOOK:
        files[RESULTS_XLSX] = lambda file: _workbook(file, details, table)
        summary["files"]["xlsx"] = RESULTS_XLSX
    files[SUMMARY] = lambda file: _put(file, orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    with translate_write_errors(folder):
        if folder.is_dir():
            for name, fill in files.items():
                replace_file(folder / name, fill)
        else:
            create_folder(folder, files)
    return summary


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Write only the rows, as one JSON file. Raises ResultsUnwritable."""
    with translate_write_errors(path):
        replace_file(path, lambda file: _json_rows(file, ResultDetails(evaluation)))


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write only the rows, as one CSV file. Raises ResultsUnwritable."""
    details = ResultDetails(evaluation)
    with translate_write_errors(path):
        replace_file(path, lambda file: _csv_rows(file, details, ResultTable(details)))


def write_xlsx(evaluation: Evaluation, path: Path) -> None:
    """Write only the rows, as a workbook with Thai headings. Raises ResultsUnwritable."""
    details = ResultDetails(evaluation)
    with translate_write_errors(path):
        replace_file(path, lambda file: _workbook(file, details, ResultTable(details)))


def write_bad_rows(cells: Iterable[BadCell], path: Path) -> None:
    """Write the cells that could not be read, for correcting the roster. Raises ResultsUnwritable."""
    with translate_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: _bad_cells(file, cells))


def _files(details: ResultDetails, table: ResultTable) -> dict[str, Fill]:
    evaluation = details.evaluation
    return {
        RESULTS_JSON: lambda file: _json_rows(file, details),
        RESULTS_CSV: lambda file: _csv_rows(file, details, table),
        BAD_ROWS: lambda file: _bad_cells(file, evaluation.bad_cells),
        NOTICES: lambda file: _notices(file, evaluation.notices),
        REPAIRS: lambda file: _repairs(file, evaluation.repairs),
        CRITERIA: lambda file: _put(file, evaluation.criteria_form),
    }


def _json_rows(file: BinaryIO, details: ResultDetails) -> None:
    """Write a list with one row on each line, which people and line-based tools can read."""
    if details.rows is not None:
        for number, part in enumerate(details.rows.json_parts()):
            file.write(b",\n" if number else b"[\n")
            file.write(part)
        file.write(b"\n]\n")
        return
    verdicts = details.evaluation.verdicts
    criteria = details.evaluation.rules.criteria.short
    decisions: dict[int, bytes] = {}

    def encoded(decision: Decision) -> bytes:
        if id(decision) not in decisions:  # by identity: the verdicts keep each of them alive
            decisions[id(decision)] = orjson.dumps(decision_row(decision))
        return decisions[id(decision)]

    ids, next_rounds = details.ids, details.next_rounds
    separator = b"[\n"
    for start in range(0, len(verdicts), _CHUNK):
        JSON_FILE.report(details.reporter, start, len(verdicts))
        rows = [
            b'{"person_id":%b,"class":%b,"medal":%b,%b'
            % (
                orjson.dumps(verdict.person_id),
                encoded(verdict.class_),
                encoded(verdict.medal),
                orjson.dumps(_about(verdict, criteria, ids[place], next_rounds[place]))[1:],
            )
            for place, verdict in enumerate(verdicts[start : start + _CHUNK], start)
        ]
        file.write(separator + b",\n".join(rows))
        separator = b",\n"
    file.write(b"\n]\n" if verdicts else b"[]\n")


def _csv_rows(file: BinaryIO, details: ResultDetails, table: ResultTable) -> None:
    def parts() -> Iterator[bytes]:
        lines, written = table.csv_lines(), 0
        while part := list(islice(lines, _CHUNK)):
            CSV_FILE.report(details.reporter, written, len(details.evaluation.verdicts))
            yield encoded_lines(part)
            written += len(part)

    write_lines(file, CSV_HEADER, parts() if details.rows is None else details.rows.csv_parts())


def _workbook(file: BinaryIO, details: ResultDetails, table: ResultTable) -> None:
    def report(written: int) -> None:
        if written % _CHUNK == 0:
            WORKBOOK_FILE.report(details.reporter, written, len(details.evaluation.verdicts))

    write_workbook(file, details, table, report)


_PLACE = ("file", "sheet", "row", "person_id", "column")


def _bad_cells(file: BinaryIO, cells: Iterable[BadCell]) -> None:
    rows = ((*_place(cell), cell.value[:200], cell.code, cell.reason, cell.reason_th) for cell in cells)
    _table(file, ("value", "code", "reason", "reason_th"), rows)


def _notices(file: BinaryIO, notices: Iterable[Notice]) -> None:
    rows = ((*_place(notice), notice.code, notice.text, notice.text_th) for notice in notices)
    _table(file, ("code", "text", "text_th"), rows)


def _repairs(file: BinaryIO, repairs: Iterable[Repair]) -> None:
    rows = (
        (*_place(repair), repair.before[:200], repair.after[:200], repair.code, repair.text, repair.text_th)
        for repair in repairs
    )
    _table(file, ("before", "after", "code", "text", "text_th"), rows)


def _place(item: BadCell | Notice | Repair) -> tuple[str, ...]:
    return (item.file, item.sheet, str(item.row), item.person_id, item.column)


def _table(file: BinaryIO, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    cells = CsvCells()
    lines = (",".join(map(cells.__getitem__, row)) for row in rows)
    write_lines(file, (*_PLACE, *columns), map(encoded_lines, iter(lambda: list(islice(lines, _CHUNK)), [])))


def _put(file: BinaryIO, data: bytes) -> None:
    file.write(data)
