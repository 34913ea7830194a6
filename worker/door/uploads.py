"""POST /api/v1/jobs/upload: a job with its files, as a browser's form sends them. The job first, then its files."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage
from pydantic import BaseModel, Field

from worker.control import Control, JobRequest, accepted_view, parse_request
from worker.door.access import CALLER
from worker.door.answers import AcceptedJob
from worker.door.bounds import admitted
from worker.door.problems import json_response, problem
from worker.door.routes import Route
from worker.errors import InvalidPayload, KeyConflict, StoreFull, UnknownKind, WrongContent
from worker.job import new_job_id
from worker.queue import Accepted
from worker.uploads import Draft, Uploads, to_its_end

_LONGEST_JOB = 1 << 20
"""Bytes of the part `job`."""
_PIECE = 1 << 16
_IDLE = 60.0
"""Seconds without a byte after which nobody is believed to be sending."""
_HOW = "send multipart/form-data: first a part `job` (JSON), then a file for each field of the payload that takes one"


File = Annotated[str, Field(json_schema_extra={"contentMediaType": "application/octet-stream"})]


class UploadForm(BaseModel):
    """The parts, the job first. Which fields take files is the kind's; these are those of the insignia job."""

    job: JobRequest
    roster: File
    history: File | None = None


class UploadRoutes:
    """Jobs that bring their files along."""

    def __init__(self, control: Control, uploads: Uploads) -> None:
        self._control, self._uploads = control, uploads

    def routes(self) -> Sequence[Route]:
        return (
            Route(
                "POST",
                "/api/v1/jobs/upload",
                self.upload,
                "Submit a job with its files; 202 once all of it is on disk",
                "enqueue",
                body=UploadForm,
                answers={202: AcceptedJob},
                surface="public",
                takes="multipart/form-data",
                intake=True,
                bound=True,
            ),
        )

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """202 after files and row are on disk; whatever goes wrong leaves nothing behind."""
        if (await self._control.figures()).full:
            raise StoreFull("the store is full; room has to be made before jobs are taken in again")
        try:
            async with self._uploads.draft() as draft:
                job = await self._received(request, draft)
                # To its end even if the caller goes: the job may be stored by then, and must not lose its files.
                accepted = await to_its_end(self._submit(request, job, draft))
        except TimeoutError:
            return problem(408, f"nothing came for {_IDLE:g} s; send it again")
        view = accepted_view(accepted)
        return json_response(view, 202, {"Location": view["links"]["self"]})

    async def _received(self, request: web.Request, draft: Draft) -> JobRequest:
        """The job, with its files in the draft."""
        parts = _parts(request)
        first = await anext(parts, None)
        if first is None or first.name != "job":
            raise InvalidPayload(_HOW)
        job = admitted(request[CALLER], parse_request(await _text(first)))
        wanted = self._fields(job)
        async for part in parts:
            if part.name not in wanted:
                raise InvalidPayload(
                    f"{part.name or 'a part'}: {job.task_type} takes files for {', '.join(wanted)} only"
                )
            if part.name in job.payload:
                raise InvalidPayload(f"{part.name}: stands in the payload and is sent as a file; choose one")
            await draft.receive(part.name, part.filename or part.name, _pieces(part))
        if not draft.files:
            raise InvalidPayload(f"there is no file in it; {_HOW}")
        return job

    def _fields(self, job: JobRequest) -> tuple[str, ...]:
        handler = self._control.registry.get(job.task_type)
        if handler is None:
            known = ", ".join(sorted(self._control.registry))
            raise UnknownKind(f"unknown task type {job.task_type!r}; there are: {known}")
        if not handler.files:
            raise InvalidPayload(f"jobs of kind {job.task_type} take no files; use POST /api/v1/jobs")
        return handler.files

    async def _submit(self, request: web.Request, job: JobRequest, draft: Draft) -> Accepted:
        """Store it under the id its files got. The same key, payload and files again: the first job."""
        job_id = new_job_id(self._control.clock.now())
        fingerprint = draft.fingerprint(job.payload)
        scope, key = request[CALLER].name, request.headers.get("Idempotency-Key")
        payload: Mapping[str, Any] = job.payload | dict(draft.paths(job_id))
        with self._uploads.in_work(job_id):
            await draft.keep(job_id, fingerprint)
            try:
                accepted = await self._control.submit_as(
                    job_id, job.model_copy(update={"payload": payload}), scope=scope, key=key
                )
            except BaseException:
                await draft.withdraw()
                raise
            if accepted.state != "created":
                await draft.withdraw()
                if await self._uploads.fingerprint(accepted.job_id) != fingerprint:
                    raise KeyConflict(
                        f"the key {key or job.id!r} is taken by job {accepted.job_id}, whose payload or files differ"
                    )
                return replace(accepted, state="existing")
        return accepted


# -- the parts of the body -----------------------------------------------------------------------------------------


async def _parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    """One after the other. InvalidPayload: it is no such body, or it ends before its end."""
    if request.content_type != "multipart/form-data":
        raise WrongContent(_HOW)
    with _Told():
        reader = MultipartReader(request.headers, request.content)
    while True:
        with _Told():
            async with asyncio.timeout(_IDLE):
                part = await reader.next()
        if part is None:
            return
        if not isinstance(part, BodyPartReader):
            raise InvalidPayload("a multipart body inside another is not taken")
        if part.headers.get("Content-Transfer-Encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
            raise InvalidPayload(f"{part.name}: send the file as it is, without Content-Transfer-Encoding")
        yield part


async def _pieces(part: BodyPartReader) -> AsyncIterator[bytes]:
    while not part.at_eof():
        with _Told():
            async with asyncio.timeout(_IDLE):
                piece = await part.read_chunk(_PIECE)
        if piece:
            yield piece


async def _text(part: BodyPartReader) -> bytes:
    data = bytearray()
    async for piece in _pieces(part):
        data += piece
        if len(data) > _LONGEST_JOB:
            raise InvalidPayload(f"job: is larger than {_LONGEST_JOB:,} bytes; what is large comes as a file")
    return bytes(data)


class _Told:
    """What the parser finds wrong, as an answer; that the caller has gone stays what it is."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, exc: BaseException | None, _trace: object) -> None:
        if isinstance(exc, ConnectionError | TimeoutError | web.HTTPException):
            return
        if isinstance(exc, ValueError | AssertionError | BadHttpMessage | RuntimeError | LookupError):
            raise InvalidPayload(f"the body is broken or ends too early; {_HOW}") from None
