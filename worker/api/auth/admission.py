"""Decide whether a caller may submit a job: for whom, and with which files.

A job belongs to its user and its organization. What a payload names as a file must be readable by the caller, because
the job's results show what the file contains.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from aiohttp import web

from worker.api.auth.authenticator import Caller
from worker.runtime.job_request import JobRequest, organization_of
from worker.runtime.operations import JobService
from worker.runtime.uploads import FOLDER, is_job_id

_NO_PRIORITY = "this key may not give a job a priority above {highest}: lower it, or set MaxPriority of the key"
_NO_FILE = (
    "this key may not read the file that payload.{field} names: upload the file with the job "
    "(POST /api/v1/jobs/upload), or open its folder in the key's Folders (Http:ApiKeys)"
)
"""The same whether the file exists or not."""


def _bound(caller: Caller, job: JobRequest) -> JobRequest:
    """Return the job as this bound caller may submit it: for the key's only user where it names none.

    Raises HTTPForbidden when it would belong to another owner.
    """
    if job.user_id is None and caller.users is not None and len(caller.users) == 1:
        job = job.model_copy(update={"user_id": next(iter(caller.users))})
    if caller.users is not None and job.user_id not in caller.users:
        raise web.HTTPForbidden(text="this key is bound to users: set userId to one of them")
    if caller.organizations is not None:
        if organization_of(job.payload) not in caller.organizations:
            raise web.HTTPForbidden(text="this key is bound to organisations: set payload.organization to one of them")
    elif job.payload.get("organization") is not None:
        raise web.HTTPForbidden(
            text="this key is bound to users and to no organisation: leave out payload.organization"
        )
    return job


class Admission:
    """Checks jobs before they are stored."""

    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs

    async def admit(self, caller: Caller, job: JobRequest) -> JobRequest:
        """Return the job as this caller may submit it. Raises HTTPForbidden for another owner's job or file."""
        [admitted] = await self.admit_all(caller, [job])
        return admitted

    async def admit_all(self, caller: Caller, jobs: Sequence[JobRequest]) -> list[JobRequest]:
        """Return the jobs as this caller may submit them. Raises HTTPForbidden if one of them is not allowed."""
        admitted = [_bound(caller, job) for job in jobs] if caller.is_bound else list(jobs)
        highest = caller.max_priority
        if any(job.priority > highest for job in admitted):
            raise web.HTTPForbidden(text=_NO_PRIORITY.format(highest=highest))
        if not caller.may_name_any_file:
            for job in admitted:
                await self._check_files(caller, job)
        return admitted

    async def _check_files(self, caller: Caller, job: JobRequest) -> None:
        """Raise HTTPForbidden if the job names a file that the caller may not read."""
        for field, path in self._paths(job):
            if not await self._may_read(caller, path):
                raise web.HTTPForbidden(text=_NO_FILE.format(field=field))

    def _paths(self, job: JobRequest) -> list[tuple[str, str]]:
        """Return the fields that take a file and hold a path."""
        handler = self._jobs.registry.get(job.task_type)
        named = {} if handler is None else {field: job.payload.get(field) for field in handler.files}
        return [(field, path) for field, path in named.items() if isinstance(path, str)]

    async def _may_read(self, caller: Caller, path: str) -> bool:
        data = self._data_directory()
        if data is None or "\0" in path or len(path) > 1000:
            return False
        found = await asyncio.to_thread(_resolved, data, path, sorted(caller.folders))
        if found is None:
            return False
        relative, is_in_folder = found
        if relative.parts[:1] == (FOLDER,):
            return await self._owns_upload(caller, relative)
        return is_in_folder

    async def _owns_upload(self, caller: Caller, relative: PurePosixPath) -> bool:
        """Return whether the file was uploaded with a job that the caller may read."""
        job_id = relative.parent.name
        if not caller.may("read") or not is_job_id(job_id):
            return False
        record = await self._jobs.store.get(job_id)
        return record is not None and caller.owns(record.user_id, record.organization)

    def _data_directory(self) -> Path | None:
        directory = getattr(self._jobs.sections.get("Insignia"), "data_directory", None)
        return Path(directory) if isinstance(directory, str) else None


def _resolved(data: Path, path: str, folders: Sequence[str]) -> tuple[PurePosixPath, bool] | None:
    """Return the path below the data directory with all links followed, and whether one of the folders contains it.

    None when the path leaves the data directory or cannot be followed. The file need not exist.
    """
    try:
        base = data.resolve()
        real = (base / path).resolve()
        opened = [(base / folder).resolve() for folder in folders]
    except (OSError, RuntimeError, ValueError):  # too long, a cycle of links, or not a path at all
        return None
    if Path(path).is_absolute() or not real.is_relative_to(base):
        return None
    relative = PurePosixPath(real.relative_to(base).as_posix())
    return relative, any(real.is_relative_to(folder) for folder in opened if folder.is_relative_to(base))
