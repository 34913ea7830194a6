"""Finds a job's results again and opens them for reading: the settled attempt's files, and nothing else.

Every step down from the output directory is taken without following a link, so nothing that somebody puts there leads
out of it. Knows no queue: the caller says where the job's result points.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.insignia.folders import is_attempt, segment
from worker.insignia.register import REGISTER, RowPage, RowQuery, read_rows
from worker.insignia.report import BAD_ROWS

_DEPTH = 4
"""owner / round / job / attempt."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Result:
    """A file of results."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """The folder of one attempt, by its parts below the output directory."""

    root: Path
    parts: Sequence[str]

    @classmethod
    def of_result(cls, root: Path, output: str, job_id: str) -> "Shelf | None":
        """Where a job's result says its files are; None: that is no attempt of this job. The directory may have
        moved since."""
        parts = Path(output).parts[-_DEPTH:]
        fits = len(parts) == _DEPTH and parts[2] == segment(job_id) and is_attempt(parts[3])
        return cls(root, parts) if fits and not {".", ".."} & set(parts) else None

    @classmethod
    def of_rejected(cls, root: Path, owner: str, round_be: int, job_id: str, since: float) -> "Shelf | None":
        """Where a refused roster's bad rows lie: the attempt's folder, if it wrote them since it began."""
        job = (segment(owner), str(round_be), segment(job_id))
        with contextlib.suppress(OSError), _folder(root, job) as descriptor:
            names = [name for name in os.listdir(descriptor) if is_attempt(name)]  # noqa: PTH208 -- of a descriptor
            found = [(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mtime, name) for name in names]
            for changed, name in sorted(found, reverse=True)[:1]:
                shelf = cls(root, (*job, name))
                if changed >= since and [result.name for result in shelf.results()] == [BAD_ROWS]:
                    return shelf
        return None

    def results(self) -> list[Result]:
        """Its files in the order of their names; none where it has been replaced by a newer round."""
        try:
            with _folder(self.root, self.parts) as descriptor:
                names = sorted(os.listdir(descriptor))  # noqa: PTH208 -- of a descriptor
                return [result for name in names if (result := _result(name, descriptor))]
        except OSError:
            return []

    def open(self, name: str) -> int | None:
        """A descriptor for one of them, the caller's to close; None: there is no such file."""
        if not name or "/" in name or "\0" in name or name.startswith("."):
            return None
        try:
            with _folder(self.root, self.parts) as folder:
                return open_file(name, folder)
        except OSError:
            return None

    def rows(self, query: RowQuery) -> RowPage:
        """OSError: there is no register, or no folder any more."""
        with _folder(self.root, self.parts) as descriptor:
            os.close(open_file(REGISTER, descriptor))
            return read_rows(self.root.joinpath(*self.parts, REGISTER), query)


def open_file(name: str, folder: int) -> int:
    """Of a regular file that is no link. FileNotFoundError: there is none."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(name)
    return descriptor


@contextlib.contextmanager
def _folder(root: Path, parts: Sequence[str]) -> Iterator[int]:
    """A descriptor of a folder below the root, with no link on the way."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            below = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _result(name: str, folder: int) -> Result | None:
    if name.startswith("."):
        return None
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return Result(name, found.st_size) if stat.S_ISREG(found.st_mode) else None
