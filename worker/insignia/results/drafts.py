"""Files that are complete on disk before they get their name, and the one error for a disk that takes no more."""

import contextlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from worker.insignia.errors import ResultsUnwritable
from worker.insignia.messages import message

Fill = Callable[[BinaryIO], None]


@contextlib.contextmanager
def translate_write_errors(path: Path) -> Iterator[None]:
    """Turn the errors of the system and of SQLite, such as those of a full disk, into ResultsUnwritable."""
    try:
        yield
    except OSError as exc:
        raise _unwritable(path, exc.strerror or type(exc).__name__) from exc
    except sqlite3.Error as exc:
        raise _unwritable(path, str(exc)) from exc


def _unwritable(path: Path, why: str) -> ResultsUnwritable:
    return ResultsUnwritable(message("results_unwritable", name=path.name, why=why))


def replace_file(path: Path, fill: Fill) -> None:
    """Write a draft next to the file, then rename it."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write_synced(draft, fill)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def create_folder(folder: Path, files: Mapping[str, Fill]) -> None:
    """Fill a hidden folder next to it, then rename that."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        draft.mkdir()
        for name, fill in files.items():
            _write_synced(draft / name, fill)
        _sync_folder(draft)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync_folder(folder.parent)


def _write_synced(path: Path, fill: Fill) -> None:
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
