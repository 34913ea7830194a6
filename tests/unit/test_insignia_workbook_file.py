"""A workbook that finds no room on the disk fails as every other file of the results does, and leaves nothing."""

import contextlib
import errno
import gc
import json
import os
import re
import tempfile
import time
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
from worker.insignia.results.replaced import remove_expired
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


def left_behind(folder: Path, name: str, *, age: float) -> Path:
    """What a process that was killed while it wrote has left."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "sheet1.xml").write_text("<")
    for part in (path / "sheet1.xml", path):
        os.utime(part, (time.time() - age,) * 2)
    return path


def test_what_a_killed_process_left_beside_a_workbook_is_removed_a_day_later(tmp_path: Path) -> None:
    old = [left_behind(tmp_path, name, age=90_000) for name in (".a.xlsx.01234567", ".a.xlsx.01234567.ab_cdefg")]
    kept = [
        left_behind(tmp_path, ".a.xlsx.89abcdef.ab_cdefg", age=80_000),  # someone may be writing it
        left_behind(tmp_path, ".b.xlsx.01234567", age=90_000),
        left_behind(tmp_path, "a.xlsx.01234567", age=90_000),
    ]
    write_xlsx(evaluate_objects(PEOPLE), tmp_path / "a.xlsx")
    assert [path.exists() for path in old] == [False, False]
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "a.xlsx"])


def test_draft_of_results_that_a_killed_process_left_is_removed_a_day_later(tmp_path: Path) -> None:
    """Also of a job that never had results afterwards."""
    job = tmp_path / "organization" / "dept-7" / "2569" / "job-1"
    old, new = (left_behind(job, f".attempt-{n}.0123456{n}", age=90_000 - n * 20_000) for n in (0, 1))
    marker = job / "..owner.json.01234567"
    marker.touch()
    os.utime(marker, (0, 0))
    results = job / "attempt-2"
    results.mkdir()
    os.utime(results, (0, 0))
    assert remove_expired(tmp_path, 0.0, time.time()) == 0
    assert sorted(job.iterdir()) == [new, results]
    assert not old.exists()


def test_temporary_files_of_a_workbook_are_named_after_its_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that they are found after a kill."""
    seen: list[str] = []

    def look(*_arguments: object) -> None:
        seen.extend(entry.name for entry in tmp_path.iterdir())

    monkeypatch.setattr(Packager, "_write_styles_file", look)
    with contextlib.suppress(Exception):
        write_xlsx(evaluate_objects(PEOPLE), tmp_path / "a.xlsx")
    draft, parts = sorted(seen)
    assert re.fullmatch(r"\.a\.xlsx\.[0-9a-f]{8}", draft)
    assert re.fullmatch(re.escape(draft) + r"\.\w{8}", parts)
