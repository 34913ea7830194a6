"""Older results of a round that a newer job has replaced: whose they are, what replaced them, until when they are kept.

Two hidden files in a job's folder say it. A folder without the first one is of an unknown owner, and is not replaced.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from worker.insignia.results.drafts import remove_abandoned_drafts, replace_file, translate_write_errors

OWNER, REPLACED = ".owner.json", ".replaced.json"
MARKERS = frozenset((OWNER, REPLACED))
_LONGEST = 4096
"""Bytes of a marker."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What has replaced a job's results."""

    by: str
    """The newer job's id."""
    at: float
    """Seconds since 1970."""

    @classmethod
    def parse(cls, data: bytes) -> "Replacement | None":
        """Return the contents of a marker; None if it is damaged."""
        found = _object(data)
        by, at = found.get("by"), found.get("at")
        return cls(by, float(at)) if isinstance(by, str) and isinstance(at, int | float) else None


def record_owner(job: Path, user: str, organization: str | None) -> None:
    """Note whose results a job's folder holds; they are new, so nothing has replaced them.

    Raises ResultsUnwritable.
    """
    with translate_write_errors(job):
        _write(job / OWNER, {"user": user, "organization": organization})
        (job / REPLACED).unlink(missing_ok=True)


def owner_of(job: Path) -> tuple[str, str | None] | None:
    """Return user and organization of a job's folder; None if they are unknown."""
    found = _object(_read(job / OWNER))
    user, organization = found.get("user"), found.get("organization")
    return (user, organization) if isinstance(user, str) and isinstance(organization, str | None) else None


def mark_replaced(job: Path, by: str, now: float) -> None:
    """Note that a newer job has replaced these results."""
    _write(job / REPLACED, {"by": by, "at": now})


def replacement_of(job: Path) -> Replacement | None:
    """Return what has replaced the results of a job's folder; None if nothing has."""
    return Replacement.parse(_read(job / REPLACED))


def remove_expired(root: Path, keep: float, now: float) -> int:
    """Delete results that were replaced more than `keep` seconds ago; return how many jobs' results that were.

    Drafts that a killed process has left are deleted as well.
    """
    removed = 0
    for job in _job_folders(root):
        found = replacement_of(job)
        if found is not None and found.at + keep <= now:
            shutil.rmtree(job, ignore_errors=True)
            removed += 1
        else:
            remove_abandoned_drafts(job, now)
    return removed


def _job_folders(root: Path) -> Iterator[Path]:
    """Yield the folders of jobs by owner and round; links are not followed."""
    level = [root]
    for _ in range(4):  # kind of owner, owner, round, job
        level = [below for folder in level for below in _folders(folder)]
    yield from level


def _folders(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST)
    except OSError:
        return b""


def _object(data: bytes) -> dict[str, Any]:
    with contextlib.suppress(orjson.JSONDecodeError):
        found = orjson.loads(data)
        return found if isinstance(found, dict) else {}
    return {}


def _write(path: Path, contents: dict[str, Any]) -> None:
    data = orjson.dumps(contents)

    def fill(file: BinaryIO) -> None:
        file.write(data)

    replace_file(path, fill)
