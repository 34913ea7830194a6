"""Finds the results of a job and opens them for reading: the files of the settled attempt, and nothing else.

Folders below the output directory are opened without following links, so that no link can lead out of it. The caller
says where the job's result points.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.insignia.results.explained import ExplainedRow, explain_row
from worker.insignia.results.folders import OWNER_KINDS, is_attempt, owner_folder, safe_folder_name
from worker.insignia.results.replaced import REPLACED, Replacement
from worker.insignia.results.row_index import ROW_INDEX, RowPage, RowQuery, read_officer, read_rows
from worker.insignia.results.writer import BAD_ROWS, CRITERIA

_DEPTH = 5
"""kind of owner / owner / round / job / attempt."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file of results."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """The folder of one attempt, by its parts below the output directory."""

    root: Path
    parts: Sequence[str]

    @classmethod
    def of_result(cls, root: Path, output: str, job_id: str) -> "ResultFolder | None":
        """Return the folder that a job's result names, or None if it is not an attempt of this job.

        The output directory may have moved since.
        """
        parts = Path(output).parts[-_DEPTH:]
        if (
            not parts or parts[0] not in OWNER_KINDS
        ):  # results of before the folders of users and organizations were separated
            parts = parts[-_DEPTH + 1 :]
        fits = len(parts) >= _DEPTH - 1 and parts[-2] == safe_folder_name(job_id) and is_attempt(parts[-1])
        return cls(root, parts) if fits and not {".", ".."} & set(parts) else None

    @classmethod
    def of_rejected(
        cls, root: Path, owner: tuple[str, str | None], round_be: int, job_id: str, since: float
    ) -> "ResultFolder | None":
        """Return the folder with the bad rows of a rejected roster; None if the attempt wrote none since it began.

        `owner` is the user and the organization of the job.
        """
        user, organization = owner
        below = (str(round_be), safe_folder_name(job_id))
        job = (*owner_folder(user, organization).parts, *below)
        earlier = (safe_folder_name(organization or user), *below)
        return cls._with_bad_rows(root, job, since) or cls._with_bad_rows(root, earlier, since)

    @classmethod
    def _with_bad_rows(cls, root: Path, job: tuple[str, ...], since: float) -> "ResultFolder | None":
        with contextlib.suppress(OSError), _folder(root, job) as descriptor:
            names = [name for name in os.listdir(descriptor) if is_attempt(name)]  # noqa: PTH208 -- of a descriptor
            found = [(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mtime, name) for name in names]
            for changed, name in sorted(found, reverse=True)[:1]:
                folder = cls(root, (*job, name))
                if changed >= since and [result.name for result in folder.results()] == [BAD_ROWS]:
                    return folder
        return None

    def results(self) -> list[ResultFile]:
        """Return its files, sorted by name; none if a newer run of the round has replaced it."""
        try:
            with _folder(self.root, self.parts) as descriptor:
                names = sorted(os.listdir(descriptor))  # noqa: PTH208 -- of a descriptor
                return [result for name in names if (result := _result(name, descriptor))]
        except OSError:
            return []

    def open(self, name: str) -> int | None:
        """Return a descriptor of one of them, which the caller closes; None if there is no such file."""
        if not name or "/" in name or "\0" in name or name.startswith("."):
            return None
        try:
            with _folder(self.root, self.parts) as folder:
                return open_file(name, folder)
        except OSError:
            return None

    def rows(self, query: RowQuery) -> RowPage:
        """Return a page of rows. Raises OSError if there is no row index, or no folder any more."""
        with _folder(self.root, self.parts) as descriptor:
            os.close(open_file(ROW_INDEX, descriptor))
            return read_rows(self.root.joinpath(*self.parts, ROW_INDEX), query)

    def replacement(self) -> Replacement | None:
        """Return what has replaced these results; None if nothing has."""
        try:
            with _folder(self.root, self.parts[:-1]) as descriptor, open(open_file(REPLACED, descriptor), "rb") as file:
                return Replacement.parse(file.read())
        except OSError:
            return None

    def explain(self, n: int) -> ExplainedRow | None:
        """Return a row with the reasons for it; None if there is no such row, or it was written without explanations.

        Raises OSError if there is no row index, or no folder any more, and CriteriaInvalid.
        """
        with _folder(self.root, self.parts) as descriptor:
            for name in (ROW_INDEX, CRITERIA):
                os.close(open_file(name, descriptor))
            folder = self.root.joinpath(*self.parts)
            stored = read_officer(folder / ROW_INDEX, n)
            return None if stored is None else explain_row(stored, folder / CRITERIA)


def open_file(name: str, folder: int) -> int:
    """Return a descriptor of a regular file. Raises FileNotFoundError for links and anything else."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(name)
    return descriptor


@contextlib.contextmanager
def _folder(root: Path, parts: Sequence[str]) -> Iterator[int]:
    """Open a folder below the root without following links."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            below = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _result(name: str, folder: int) -> ResultFile | None:
    if name.startswith("."):
        return None
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return ResultFile(name, found.st_size) if stat.S_ISREG(found.st_mode) else None
