"""Routes of a job's files: list them and download them."""

import os
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, NotRequired
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel
from typing_extensions import TypedDict

from worker.api.errors import json_response
from worker.api.routing import RequestHandler, Route, Scope, Surface
from worker.api.schemas import deprecated, response
from worker.core.job import JobRecord
from worker.net.path_base import link_to
from worker.runtime.job_files import JobFile, JobFiles

FindJob = Callable[[web.Request], Awaitable[JobRecord]]
"""Returns the job that a request names. Raises NotFound when the caller may not see it."""

_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_UNESCAPED = frozenset("!#$&+-.^_`|~")
"""What RFC 8187 leaves as it is, besides letters and digits."""


@response
class FileEntry(TypedDict):
    name: str
    sizeBytes: int
    size: Annotated[int, deprecated("sizeBytes")]
    type: str
    href: str
    shown: str
    """The name under which it is saved."""
    field: NotRequired[str]
    """Of the payload, when the file was uploaded with the job."""


@response
class FileList(TypedDict):
    files: list[FileEntry]


@dataclass(frozen=True, slots=True)
class JobPaths:
    """Where routes about one job's results live, and who may call them."""

    base: str = "/api/v1/jobs"
    scope: Scope = "read"
    surface: Surface = "admin"

    def route(
        self,
        path: str,
        handle: RequestHandler,
        summary: str,
        answer: type[Any] | None,
        query: type[BaseModel] | None = None,
        *,
        content: str = "application/json",
        more: Collection[int] = (),
    ) -> Route:
        """Return a GET route below a job's path. `more`: statuses besides 200 that a file may have."""
        full, answers = f"{self.base}/{{id}}/{path}", {200: answer, **dict.fromkeys(more)}
        return Route(
            "GET",
            full,
            handle,
            summary,
            self.scope,
            query,
            answers=answers,
            surface=self.surface,
            content=content,
            bound=True,
        )


OWN_JOBS = JobPaths("/api/v1/me/jobs", "user", "public")
"""The same for end users."""


class JobFileRoutes:
    """`files` below `/api/v1/jobs/{id}` and, for end users, below `/api/v1/me/jobs/{id}`."""

    def __init__(self, files: JobFiles, find_job: FindJob, paths: JobPaths | None = None) -> None:
        self._files, self._find_job, self._paths = files, find_job, paths or JobPaths()

    def routes(self) -> Sequence[Route]:
        listed, one = "The files that a job has produced, and those uploaded with it", "Download one of the files"
        binary = "application/octet-stream"
        return (
            self._paths.route("files", self.files, listed, FileList),
            self._paths.route("files/{name}", self.file, one, None, content=binary, more=(206, 304, 412, 416)),
        )

    async def files(self, request: web.Request) -> web.Response:
        record = await self._find_job(request)
        found: FileList = {"files": [self._entry(request, record, file) for file in await self._files.files(record)]}
        return json_response(found)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Answer with the file as an attachment; supports Range."""
        record = await self._find_job(request)
        descriptor, file = await self._files.open(record, request.match_info["name"])
        return OpenFileResponse(
            descriptor,
            {
                "Content-Type": _type_of(file.name),
                "Content-Disposition": attachment(file.shown),
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "default-src 'none'; sandbox",
                "Cache-Control": "private, no-cache",
            },
        )

    def _entry(self, request: web.Request, record: JobRecord, file: JobFile) -> FileEntry:
        entry: FileEntry = {
            "name": file.name,
            "sizeBytes": file.size,
            "size": file.size,
            "type": _type_of(file.name),
            "href": link_to(request, f"{self._paths.base}/{record.id}/files/{quote(file.name)}"),
            "shown": file.shown,
        }
        if file.field is not None:
            entry["field"] = file.field
        return entry


class OpenFileResponse(web.FileResponse):
    """A file that is already open, so that the file that was checked is the one that is sent."""

    def __init__(self, descriptor: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"/proc/self/fd/{descriptor}", headers=headers)
        self._file = os.fdopen(descriptor, "rb")

    async def prepare(self, request: web.BaseRequest) -> Any:
        try:
            return await super().prepare(request)
        finally:
            self._file.close()


def _type_of(name: str) -> str:
    return _TYPES.get(PurePath(name).suffix, "application/octet-stream")


def attachment(name: str) -> str:
    """Return a Content-Disposition (RFC 6266): the real name in UTF-8, and an ASCII name for old clients."""
    plain = re.sub(r"[^A-Za-z0-9_. ()-]+", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=''.join(_UNESCAPED))}"
