"""Files that are complete on disk before they get their name, and the one error for a disk that takes no more."""

import contextlib
import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from worker.insignia.errors import ResultsUnwritable
from worker.insignia.messages import message

Fill = Callable[[BinaryIO], None]
_DRAFT = re.compile(r"\.(.+?)\.[0-9a-f]{8}(\.\w{8})?")
"""The name of a draft, or of a folder with temporary files beside it (see `open_workbook`)."""
_ABANDONED_SECONDS = 86400.0
"""A draft that nothing was written to for this long was left by a process that was killed."""


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
    remove_abandoned_drafts(path.parent, time.time(), of=path.name)
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


def remove_abandoned_drafts(folder: Path, now: float, *, of: str | None = None) -> None:
    """Delete the drafts in a folder, of one name or of all, that a killed process has left there."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        drafts = [(entry, _DRAFT.fullmatch(entry.name)) for entry in entries if entry.name.startswith(".")]
        for entry, draft in drafts:
            if draft is None or of not in (None, draft[1]) or _last_write(Path(entry.path)) > now - _ABANDONED_SECONDS:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)


def _last_write(path: Path) -> float:
    """Return when something was last written to a file, or to a folder and what is in it."""
    parts = path.rglob("*") if path.is_dir() and not path.is_symlink() else iter(())
    return max(part.lstat().st_mtime for part in (path, *parts))


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
