"""A workbook that finds no room on the disk fails as every other file of the results does, and leaves nothing."""

import errno
import gc
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xlsxwriter.packager import Packager
from xlsxwriter.worksheet import Worksheet

from tests.support.insignia import PERSON, evaluate_objects
from worker.cli import app
from worker.insignia import EvaluationCancelled, ResultsUnwritable, evaluate_roster, write_results
from worker.insignia.progress import ProgressReporter
from worker.insignia.results import writer
from worker.insignia.results.writer import write_xlsx

PEOPLE = [PERSON | {"person_id": str(number), "decorations": []} for number in range(3)]


def full(*_arguments: object, **_options: object) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_temporary_file(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tempfile, "mkstemp", full)


def no_temporary_folder(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tempfile, "mkdtemp", full)


def no_room_for_a_row(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Worksheet, "write_string", full)


def no_room_for_a_part(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Packager, "_write_styles_file", full)


def no_room_in_the_workbook(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(zipfile.ZipFile, "write", full)


def no_room_in_the_middle_of_the_workbook(patch: pytest.MonkeyPatch) -> None:
    write = zipfile.ZipFile.write

    def later(book: zipfile.ZipFile, path: str, name: str) -> None:
        (full if name == "xl/styles.xml" else write)(book, path, name)

    patch.setattr(zipfile.ZipFile, "write", later)


FULL = [
    no_temporary_file,
    no_temporary_folder,
    no_room_for_a_row,
    no_room_for_a_part,
    no_room_in_the_workbook,
    no_room_in_the_middle_of_the_workbook,
]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, which may be on another disk."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("disk", FULL)
def test_full_disk_is_named_and_nothing_is_left(
    disk: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_results(evaluate_objects(PEOPLE), out)
    before = {path.name for path in out.iterdir()}
    evaluation = evaluate_objects(PEOPLE[:1])
    with monkeypatch.context() as patch:
        disk(patch)
        for write, path in ((write_xlsx, tmp_path / "a.xlsx"), (write_results, tmp_path / "b"), (write_results, out)):
            with pytest.raises(ResultsUnwritable, match=f"{path.name} cannot be written: No space left") as caught:
                write(evaluation, path)
            assert isinstance(caught.value.__cause__, OSError)
            assert caught.value.__cause__.errno == errno.ENOSPC
    assert {path.name for path in tmp_path.iterdir()} == {"out", "tmp"}
    assert {path.name for path in out.iterdir()} == before
    assert not list(elsewhere.iterdir())
    del caught
    gc.collect()  # what is freed only now must not complain on stderr about a file that is closed


def test_workbook_too_large_for_its_format_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def large(*_arguments: object) -> None:
        raise zipfile.LargeZipFile

    monkeypatch.setattr(zipfile.ZipFile, "write", large)
    with pytest.raises(ResultsUnwritable, match=r"a\.xlsx cannot be written"):
        write_xlsx(evaluate_objects(PEOPLE), tmp_path / "a.xlsx")
    assert not list(tmp_path.iterdir())


def test_workbook_leaves_the_temporary_folder_of_the_system_alone(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.rmdir()
    write_xlsx(evaluate_objects(PEOPLE), tmp_path / "a.xlsx")
    assert [path.name for path in tmp_path.iterdir()] == ["a.xlsx"]
    assert zipfile.is_zipfile(tmp_path / "a.xlsx")


def test_cancelled_workbook_is_not_completed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancel(percent: float, _note: str) -> None:
        if percent > 97:
            raise EvaluationCancelled("cancelled")

    monkeypatch.setattr(writer, "_CHUNK", 1)
    monkeypatch.setattr(zipfile.ZipFile, "write", full)
    evaluation = evaluate_roster(PEOPLE, 2568)
    with pytest.raises(EvaluationCancelled):
        write_results(evaluation, tmp_path / "out", reporter=ProgressReporter(cancel))
    assert not list(tmp_path.iterdir())


def test_evaluate_reports_a_full_disk_for_a_workbook_as_for_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    roster = tmp_path / "roster.json"
    roster.write_text(json.dumps(PEOPLE), "utf-8")
    no_room_in_the_workbook(monkeypatch)
    target = tmp_path / "out.xlsx"
    line = ["evaluate", str(roster), "--round", "2569", "-o", str(target), "--contentRoot", str(tmp_path)]
    assert app.run(line) == 73
    assert "out.xlsx cannot be written: No space left on device" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["roster.json"]
