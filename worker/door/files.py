"""Routes of what jobs have left: files to fetch, rows to look through, the words for the codes in them."""

import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel, Field

from worker.door.problems import json_response
from worker.door.routes import Limit, Number, Query, Route, Scope, Surface, Text, query_of
from worker.insignia import RowQuery
from worker.job import JobRecord
from worker.results import JobFile, Results

JobOf = Callable[[web.Request], Awaitable[JobRecord]]
"""The job a request names, if its caller may see it. NotFound otherwise."""

_PAGE = 50
_TYPES = {".csv": "text/csv; charset=utf-8", ".json": "application/json"}
_PLAIN = frozenset("!#$&+-.^_`|~")
"""What RFC 8187 leaves as it is beside letters and digits."""


class RowsQuery(Query):
    """Which rows of an insignia job, and where to go on."""

    show: Literal["review", "nominate", "notEligible", "uncertain", "all"] = "all"
    """By the decision; `uncertain`: a rule below high confidence was asked."""
    of: Literal["class", "medal"] | None = None
    """Which of the two decisions the filters look at; else that of the class, or of the medal whose code is given."""
    award: Annotated[Text | None, Field(alias="class")] = None
    """The code of the class or medal, as CT5."""
    reason: Text | None = None
    text: Text | None = None
    """Anywhere in the person's id."""
    cursor: Number | None = None
    limit: Limit = _PAGE


class FileEntry(BaseModel):
    name: str
    size: int
    type: str
    href: str
    shown: str
    """What it is called where it is saved."""
    field: str | None = None
    """Of the payload, where the job came with it."""


class FileList(BaseModel):
    files: list[FileEntry]


class Row(BaseModel):
    """One officer's, with both decisions; keys that do not apply are absent."""

    n: int
    person_id: str
    class_: Annotated[dict[str, str], Field(alias="class")]
    medal: dict[str, str]
    uncertain: bool = False


class RowList(BaseModel):
    rows: list[Row]
    cursor: str | None
    matched: int
    """On all pages."""


class Words(BaseModel):
    """What each code is called, in Thai (`th`) and English (`en`)."""

    decisions: dict[str, dict[str, str]]
    confidence: dict[str, dict[str, str]]
    reasons: dict[str, dict[str, str]]
    classes: dict[str, dict[str, str]]
    medals: dict[str, dict[str, str]]


class FileRoutes:
    """The same below `/api/v1/jobs` and, for end users, below `/api/v1/me/jobs`."""

    def __init__(
        self,
        results: Results,
        job_of: JobOf,
        *,
        base: str = "/api/v1/jobs",
        scope: Scope = "read",
        surface: Surface = "admin",
    ) -> None:
        self._results, self._job_of = results, job_of
        self._base, self._scope, self._surface = base, scope, surface

    def routes(self) -> Sequence[Route]:
        job = f"{self._base}/{{id}}"
        return (
            self._route(f"{job}/files", self.files, "The files a job has left, and those it came with", FileList),
            self._route(f"{job}/files/{{name}}", self.file, "One of them", None, content="application/octet-stream"),
            self._route(f"{job}/rows", self.rows, "Rows of an insignia job", RowList, query=RowsQuery),
        )

    def _route(self, path: str, handle: Any, summary: str, answer: type[BaseModel] | None, **more: Any) -> Route:
        answers: Mapping[int, type[BaseModel] | None] = {200: answer}
        return Route(
            "GET", path, handle, summary, self._scope, answers=answers, surface=self._surface, bound=True, **more
        )

    async def files(self, request: web.Request) -> web.Response:
        record = await self._job_of(request)
        found = await self._results.files(record)
        return json_response({"files": [self._entry(record, file) for file in found]})

    async def file(self, request: web.Request) -> web.StreamResponse:
        """As an attachment; parts of it by Range."""
        record = await self._job_of(request)
        descriptor, file = await self._results.open(record, request.match_info["name"])
        return _Opened(
            descriptor,
            {
                "Content-Type": _type_of(file.name),
                "Content-Disposition": _attachment(file.shown),
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "default-src 'none'; sandbox",
                "Cache-Control": "private, no-cache",
            },
        )

    async def rows(self, request: web.Request) -> web.Response:
        record = await self._job_of(request)
        asked = query_of(request, RowsQuery)
        query = RowQuery(
            asked.show, asked.of, asked.award, asked.reason, asked.text, after=asked.cursor or 0, limit=asked.limit
        )
        page = await self._results.rows(record, query)
        cursor = None if page.cursor is None else str(page.cursor)
        return json_response({"rows": page.rows, "cursor": cursor, "matched": page.matched})

    def _entry(self, record: JobRecord, file: JobFile) -> dict[str, Any]:
        href = f"{self._base}/{record.id}/files/{quote(file.name)}"
        entry = {"name": file.name, "size": file.size, "type": _type_of(file.name), "href": href, "shown": file.shown}
        return entry | ({} if file.field is None else {"field": file.field})


class WordRoutes:
    """What the codes are called."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def routes(self) -> Sequence[Route]:
        summary = "What the codes in insignia results are called, in Thai and English"
        return (
            Route(
                "GET",
                "/api/v1/insignia/words",
                self.words,
                summary,
                "any",
                answers={200: Words},
                surface="public",
                bound=True,
            ),
        )

    async def words(self, _request: web.Request) -> web.Response:
        return json_response(await self._results.words(), headers={"Cache-Control": "private, max-age=300"})


class _Opened(web.FileResponse):
    """A file that is open already, so that what was looked at is what is sent."""

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


def _attachment(name: str) -> str:
    """RFC 6266: the real name as UTF-8, and a plain one for who does not read that."""
    plain = re.sub(r"[^A-Za-z0-9_. ()-]+", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=''.join(_PLAIN))}"
