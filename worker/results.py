"""What a job has left to look at: its files, its rows, and what it came with. Reads only; knows no HTTP."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from worker.errors import NotFound
from worker.insignia import RowPage, RowQuery, load_criteria, words_of
from worker.insignia.shelf import Shelf
from worker.job import JobRecord, JobState
from worker.uploads import Upload, Uploads


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file that can be fetched."""

    name: str
    """In the address; unique for the job."""
    size: int
    shown: str
    """What it is called where it is saved."""
    field: str | None = None
    """Of the payload, where the job came with it."""


class Results:
    """Over the output directory and the uploads."""

    def __init__(self, output: Path, uploads: Uploads, criteria: Path | None = None) -> None:
        self._root = output
        self._uploads = uploads
        self._criteria = criteria

    async def files(self, record: JobRecord) -> list[JobFile]:
        """What it has written, then what it came with."""
        shelf = await asyncio.to_thread(self._shelf, record)
        written = [] if shelf is None else await asyncio.to_thread(shelf.results)
        found = [JobFile(file.name, file.size, _shown(record, file.name)) for file in written]
        return found + [_came_with(upload) for upload in await self._uploads.files(record.id)]

    async def open(self, record: JobRecord, name: str) -> tuple[int, JobFile]:
        """A descriptor, the caller's to close. NotFound: the job has no such file."""
        files = {file.name: file for file in await self.files(record)}
        if (file := files.get(name)) is None:
            raise NotFound(f"job {record.id} has no such file; there are: {', '.join(files) or 'none'}")
        if file.field is not None:
            descriptor = await self._uploads.open(record.id, name)
        else:
            shelf = await asyncio.to_thread(self._shelf, record)
            descriptor = None if shelf is None else await asyncio.to_thread(shelf.open, name)
        if descriptor is None:
            raise NotFound(f"job {record.id}: this file has just been replaced; look again")
        return descriptor, file

    async def rows(self, record: JobRecord, query: RowQuery) -> RowPage:
        """NotFound: the job has no rows to look through."""
        try:
            return await asyncio.to_thread(self._rows, record, query)
        except OSError:
            raise NotFound(
                f"job {record.id} has no rows to look through: it has not succeeded, is of another kind, "
                "or a newer run of the round has replaced it"
            ) from None

    async def words(self) -> dict[str, Any]:
        """Labels of the codes in the rows."""
        return await asyncio.to_thread(lambda: words_of(load_criteria(self._criteria)))

    def _rows(self, record: JobRecord, query: RowQuery) -> RowPage:
        shelf = self._shelf(record)
        if shelf is None:
            raise FileNotFoundError
        return shelf.rows(query)

    def _shelf(self, record: JobRecord) -> Shelf | None:
        """Where its settled attempt wrote."""
        if record.state is JobState.SUCCEEDED and record.result is not None:
            result = orjson.loads(record.result)
            output = result.get("output") if isinstance(result, dict) else None
            return Shelf.of_result(self._root, output, record.id) if isinstance(output, str) else None
        if record.state is JobState.FAILED and record.started_at is not None:
            payload = orjson.loads(record.payload)
            owner, round_be = payload.get("organization") or record.user_id, payload.get("round")
            if isinstance(owner, str) and isinstance(round_be, int):
                return Shelf.of_rejected(self._root, owner, round_be, record.id, record.started_at)
        return None


def _shown(record: JobRecord, name: str) -> str:
    """Whose and which round's it is: in a folder of downloads `results.csv` alone tells nothing."""
    payload = orjson.loads(record.payload)
    parts = [payload.get("organization") or "insignia", payload.get("round")]
    return "-".join([*(str(part) for part in parts if part), name])


def _came_with(upload: Upload) -> JobFile:
    return JobFile(upload.stored, upload.size, upload.name, upload.field)
