"""Writes what came of a roster: JSON, CSV, the bad rows, the notices, the summary. All or nothing.

Files are complete on disk before they get their name; a folder of results is renamed into place as a whole.
"""

import contextlib
import csv
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from worker.insignia.batch import Evaluation, below_high
from worker.insignia.decision import Decision, Verdict
from worker.insignia.faults import BadCell, Notice, ResultsUnwritable
from worker.insignia.register import REGISTER, register_of
from worker.insignia.roster import Watch

RESULTS_JSON, RESULTS_CSV, BAD_ROWS, NOTICES, SUMMARY = (
    "results.json",
    "results.csv",
    "bad_rows.csv",
    "notices.csv",
    "summary.json",
)
_KEYS = ("decision", "award", "abbr_th", "step", "reason", "next_award", "confidence")
_HEADER = ("person_id", *(f"class.{name}" for name in _KEYS), *(f"medal.{name}" for name in _KEYS), "check")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_CHUNK = 5000
"""Rows that are put together before they are written."""
_WRITING = 80.0
"""Percent of the way that is done before the first row is written."""

Fill = Callable[[BinaryIO], None]


def row_of(verdict: Verdict) -> dict[str, Any]:
    """A row of the JSON output; keys that do not apply are absent."""
    return {
        "person_id": verdict.person_id,
        "class": decision_row(verdict.class_),
        "medal": decision_row(verdict.medal),
    }


def decision_row(decision: Decision) -> dict[str, str]:
    return {name: value for name in _KEYS if (value := getattr(decision, name)) is not None}


def write_results(
    evaluation: Evaluation, folder: Path, *, watch: Watch | None = None, register: bool = False
) -> dict[str, Any]:
    """Write all files into `folder` and return the summary with `output` (the folder) and `files` (their names).

    With `register`, also the hidden file that read_rows looks through.

    A folder that is not there yet appears complete or not at all; in one that is, file after file is replaced, the
    summary last. Raises ResultsUnwritable, EvaluationCancelled.
    """
    summary = evaluation.summary() | {"output": str(folder)}
    files = _files(evaluation, watch or Watch())
    if register:
        files[REGISTER] = lambda file: _write(file, register_of(evaluation.verdicts, decision_row))
    summary["files"] = {"json": RESULTS_JSON, "csv": RESULTS_CSV, "badRows": BAD_ROWS, "notices": NOTICES}
    files[SUMMARY] = lambda file: _write(file, orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    with _told_plainly(folder):
        if folder.is_dir():
            for name, fill in files.items():
                _replace(folder / name, fill)
        else:
            _appear(folder, files)
    return summary


def write_json(evaluation: Evaluation, path: Path) -> None:
    """The rows alone, as one JSON file. Raises ResultsUnwritable."""
    with _told_plainly(path):
        _replace(path, lambda file: _json_rows(file, evaluation.verdicts, Watch()))


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """The rows alone, as one CSV file. Raises ResultsUnwritable."""
    with _told_plainly(path):
        _replace(path, lambda file: _csv_rows(file, evaluation.verdicts, Watch()))


def write_bad_rows(cells: Iterable[BadCell], path: Path) -> None:
    """What could not be read, for whoever mends the roster. Raises ResultsUnwritable."""
    with _told_plainly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, lambda file: _bad_cells(file, cells))


def _files(evaluation: Evaluation, watch: Watch) -> dict[str, Fill]:
    return {
        RESULTS_JSON: lambda file: _json_rows(file, evaluation.verdicts, watch),
        RESULTS_CSV: lambda file: _csv_rows(file, evaluation.verdicts, watch),
        BAD_ROWS: lambda file: _bad_cells(file, evaluation.bad_cells),
        NOTICES: lambda file: _notices(file, evaluation.notices),
    }


def _json_rows(file: BinaryIO, verdicts: Sequence[Verdict], watch: Watch) -> None:
    """A list with a row on each line, so that it can be read by eye and by line."""
    decisions: dict[int, bytes] = {}

    def encoded(decision: Decision) -> bytes:
        if id(decision) not in decisions:  # by identity: the verdicts keep each of them alive
            decisions[id(decision)] = orjson.dumps(decision_row(decision))
        return decisions[id(decision)]

    separator = b"[\n"
    for start in range(0, len(verdicts), _CHUNK):
        watch.tell(_WRITING + 10.0 * start / len(verdicts), "writing")
        rows = [
            b'{"person_id":%b,"class":%b,"medal":%b}'
            % (orjson.dumps(verdict.person_id), encoded(verdict.class_), encoded(verdict.medal))
            for verdict in verdicts[start : start + _CHUNK]
        ]
        _write(file, separator + b",\n".join(rows))
        separator = b",\n"
    _write(file, b"\n]\n" if verdicts else b"[]\n")


def _csv_rows(file: BinaryIO, verdicts: Sequence[Verdict], watch: Watch) -> None:
    cells: dict[int, tuple[str, ...]] = {}

    def columns(decision: Decision) -> tuple[str, ...]:
        if id(decision) not in cells:
            cells[id(decision)] = tuple(getattr(decision, name) or "" for name in _KEYS)
        return cells[id(decision)]

    def rows() -> Iterator[Sequence[str]]:
        for count, verdict in enumerate(verdicts):
            if count % _CHUNK == 0:
                watch.tell(_WRITING + 10.0 + 9.0 * count / len(verdicts), "writing")
            check = "yes" if below_high(verdict) else ""
            yield (safe(verdict.person_id), *columns(verdict.class_), *columns(verdict.medal), check)

    _csv(file, _HEADER, rows())


def _bad_cells(file: BinaryIO, cells: Iterable[BadCell]) -> None:
    rows = ((str(cell.row), cell.person_id, cell.column, cell.value[:200], cell.reason) for cell in cells)
    _csv(file, ("row", "person_id", "column", "value", "reason"), (tuple(map(safe, row)) for row in rows))


def _notices(file: BinaryIO, notices: Iterable[Notice]) -> None:
    rows = ((str(notice.row), notice.person_id, notice.column, notice.code, notice.text) for notice in notices)
    _csv(file, ("row", "person_id", "column", "code", "text"), (tuple(map(safe, row)) for row in rows))


def safe(cell: str) -> str:
    """A cell that a spreadsheet takes for text: what looks like a formula gets an apostrophe in front."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _csv(file: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # The byte order mark tells Excel that this is UTF-8; without it Thai comes out as rubbish.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    text.flush()
    text.detach()


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


@contextlib.contextmanager
def _told_plainly(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ResultsUnwritable(f"{path.name} cannot be written: {exc.strerror or type(exc).__name__}") from exc


def _replace(path: Path, fill: Fill) -> None:
    """Write beside it, then take its place."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _complete(beside, fill)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _appear(folder: Path, files: dict[str, Fill]) -> None:
    """Fill a hidden folder beside it, then rename that."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        beside.mkdir()
        for name, fill in files.items():
            _complete(beside / name, fill)
        _sync_folder(beside)
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _sync_folder(folder.parent)


def _complete(path: Path, fill: Fill) -> None:
    with path.open("xb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
