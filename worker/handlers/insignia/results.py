"""The results of insignia jobs: files to download, rows to filter, labels for the codes. Reads only; knows no HTTP."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from worker.core.job import JobRecord, JobState, new_job_id
from worker.errors import NotFound
from worker.insignia import CriteriaInvalid, JobFolder, RowPage, RowQuery, labels_of, load_criteria
from worker.insignia.results.explained import ExplainedRow
from worker.insignia.results.reader import ResultFile, ResultFolder
from worker.insignia.results.replaced import Replacement, remove_expired
from worker.insignia.roster.headings import field_labels


@dataclass(frozen=True, slots=True)
class ExistingResults:
    """What a new job of a round finds."""

    jobs: list[str]
    """The jobs whose results it would replace, oldest first."""
    is_confirmed: bool
    """Whether the round is closed, so that a new job fails."""


class InsigniaResults:
    """The folders below Insignia:OutputDirectory, found by their jobs."""

    def __init__(self, output: Path, criteria: Path | None = None, keep_replaced: float = 0.0) -> None:
        """`criteria` is the office's own criteria file; `keep_replaced` are seconds for which old results are kept."""
        self._root = output
        self._criteria = criteria
        self.keep_replaced = keep_replaced

    async def list(self, record: JobRecord) -> list[ResultFile]:
        """Return the files that the settled attempt wrote; none for jobs of another kind."""
        folder = await asyncio.to_thread(self._folder, record)
        return [] if folder is None else await asyncio.to_thread(folder.results)

    async def open(self, record: JobRecord, name: str) -> int | None:
        """Return a descriptor of one of these files, which the caller closes; None if there is no such file."""
        folder = await asyncio.to_thread(self._folder, record)
        return None if folder is None else await asyncio.to_thread(folder.open, name)

    def download_name(self, record: JobRecord, name: str) -> str:
        """Return a name with organization and round: `results.csv` alone says nothing in a folder of downloads."""
        payload = orjson.loads(record.payload)
        parts = [payload.get("organization") or "insignia", payload.get("round")]
        return "-".join([*(str(part) for part in parts if part), name])

    async def rows(self, record: JobRecord, query: RowQuery) -> RowPage:
        """Return a page of the officers' rows. Raises NotFound for a job without rows."""
        try:
            return await asyncio.to_thread(self._rows, record, query)
        except OSError:
            raise _no_rows(record) from None

    async def explain(self, record: JobRecord, n: int) -> ExplainedRow:
        """Return one officer's row with the reasons for it. Raises NotFound."""
        try:
            found = await asyncio.to_thread(self._explain, record, n)
        except OSError:
            raise _no_rows(record) from None
        except CriteriaInvalid as exc:
            raise NotFound(f"job {record.id}: row {n} cannot be explained: {exc}") from None
        if found is None:
            raise NotFound(f"job {record.id} has no row {n}, or was written by a version without explanations")
        return found

    async def replacement(self, record: JobRecord) -> Replacement | None:
        """Return what has replaced a job's results; None if nothing has."""
        return await asyncio.to_thread(self._replacement, record)

    async def existing(self, user: str, organization: str | None, round_be: int) -> ExistingResults:
        """Return the results that a new job of this owner and round would replace."""
        return await asyncio.to_thread(self._existing, user, organization, round_be)

    async def remove_expired(self) -> int:
        """Delete replaced results that have been kept long enough; return how many jobs' results that were."""
        return await asyncio.to_thread(remove_expired, self._root, self.keep_replaced, time.time())

    async def words(self) -> dict[str, Any]:
        """Return the labels of the codes in the rows, in Thai and English."""
        return await asyncio.to_thread(lambda: labels_of(load_criteria(self._criteria)) | {"fields": field_labels()})

    def _rows(self, record: JobRecord, query: RowQuery) -> RowPage:
        folder = self._folder(record)
        if folder is None:
            raise FileNotFoundError
        return folder.rows(query)

    def _replacement(self, record: JobRecord) -> Replacement | None:
        folder = self._folder(record)
        return None if folder is None else folder.replacement()

    def _existing(self, user: str, organization: str | None, round_be: int) -> ExistingResults:
        # The id of a job that is submitted now: newer than all others.
        folder = JobFolder.of(
            self._root,
            user=user,
            organization=organization,
            round_be=round_be,
            job_id=new_job_id(time.time()),
            attempt=1,
        )
        return ExistingResults(folder.older_jobs(), is_confirmed=folder.confirmed_by is not None)

    def _explain(self, record: JobRecord, n: int) -> ExplainedRow | None:
        folder = self._folder(record)
        if folder is None:
            raise FileNotFoundError
        return folder.explain(n)

    def _folder(self, record: JobRecord) -> ResultFolder | None:
        """Return the folder that the settled attempt wrote, or the one with the bad rows of a rejected roster."""
        if record.state is JobState.SUCCEEDED and record.result is not None:
            result = orjson.loads(record.result)
            output = result.get("output") if isinstance(result, dict) else None
            return ResultFolder.of_result(self._root, output, record.id) if isinstance(output, str) else None
        if record.state is JobState.FAILED and record.started_at is not None:
            payload = orjson.loads(record.payload)
            round_be = payload.get("round")
            if isinstance(round_be, int):
                owner = (record.user_id, record.organization)
                return ResultFolder.of_rejected(self._root, owner, round_be, record.id, record.started_at)
        return None


def _no_rows(record: JobRecord) -> NotFound:
    return NotFound(
        f"job {record.id} has no rows: it has not succeeded, is of another kind, "
        "or a newer run of the round has replaced it"
    )
