"""The files of a job: those it was submitted with and those it has written. Reads only; knows no HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.core.job import JobRecord
from worker.errors import NotFound
from worker.runtime.upload_files import Upload
from worker.runtime.uploads import Owner, Uploads


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file that can be downloaded."""

    name: str
    """In the address; unique for the job."""
    size: int
    shown: str
    """The name it is saved under."""
    field: str | None = None
    """The payload field it was uploaded for; None for a file the job has written."""


class WrittenFile(Protocol):
    """A file that a job has written."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...


class WrittenFiles(Protocol):
    """Finds the files that jobs have written."""

    async def list(self, record: JobRecord) -> Sequence[WrittenFile]:
        """Return the files of one job; none if the job is of a kind that writes none."""
        ...

    async def open(self, record: JobRecord, name: str) -> int | None:
        """Return a descriptor of one of them, which the caller closes; None if there is no such file."""
        ...

    def download_name(self, record: JobRecord, name: str) -> str:
        """Return the name under which a browser saves the file."""
        ...


class JobFiles:
    """The uploaded and the written files of jobs."""

    def __init__(self, written: WrittenFiles, uploads: Uploads) -> None:
        self._written, self._uploads = written, uploads

    async def files(self, record: JobRecord) -> list[JobFile]:
        """Return the files that the job has written, then those it was submitted with."""
        written = await self._written.list(record)
        found = [JobFile(file.name, file.size, self._written.download_name(record, file.name)) for file in written]
        return found + [_uploaded(upload) for upload in await self._uploads.files(record.id, _owner(record))]

    async def open(self, record: JobRecord, name: str) -> tuple[int, JobFile]:
        """Return the file and a descriptor, which the caller closes. Raises NotFound if the job has no such file."""
        files = {file.name: file for file in await self.files(record)}
        if (file := files.get(name)) is None:
            raise NotFound(f"job {record.id} has no such file; there are: {', '.join(files) or 'none'}")
        if file.field is not None:
            descriptor = await self._uploads.open(record.id, _owner(record), name)
        else:
            descriptor = await self._written.open(record, name)
        if descriptor is None:
            raise NotFound(f"job {record.id}: this file has just been replaced; list the files again")
        return descriptor, file


def _owner(record: JobRecord) -> Owner:
    return record.user_id, record.organization


def _uploaded(upload: Upload) -> JobFile:
    return JobFile(upload.stored, upload.size, upload.name, upload.field)
