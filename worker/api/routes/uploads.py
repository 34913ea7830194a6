"""POST /api/v1/jobs/upload: a job with its files, as a multipart form: the job first, then its files."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage
from pydantic import BaseModel, Field

from worker.api.auth.admission import Admission
from worker.api.auth.authenticator import CALLER
from worker.api.errors import problem
from worker.api.request_body import BODY_LIMITS, Pace, SlowestPace, decode_json
from worker.api.request_values import idempotency_key, only_key
from worker.api.routes.jobs import JOBS, accepted_response
from worker.api.routing import Route
from worker.api.schemas import AcceptedJob
from worker.api.views import accepted_job
from worker.core.job import new_job_id
from worker.core.store import EnqueueResult
from worker.core.uncancellable import uncancellable
from worker.errors import InvalidPayload, KeyConflict, StoreFull, TooLarge, UnknownKind, WrongContent
from worker.handler import StartFileCheck
from worker.net.path_base import link_to
from worker.runtime.job_request import JobRequest, organization_of, parse_request
from worker.runtime.operations import JobService
from worker.runtime.uploads import PendingUpload, Uploads

_LONGEST_JOB = 1 << 20
"""Bytes of the part `job`."""
_PIECE = 1 << 16
_PREAMBLE_LINES = 16
"""Lines before the first part, which no client sends."""
_IDLE = 60.0
"""Seconds without a byte after which the request ends with 408; and those before the average rate counts."""
_HOW = "send multipart/form-data: first a part `job` (JSON), then a file for each field of the payload that takes one"


File = Annotated[str, Field(min_length=1, json_schema_extra={"contentMediaType": "application/octet-stream"})]


class UploadForm(BaseModel):
    """The parts, the job first. The kind decides which fields take files; these are the fields of the insignia job."""

    job: JobRequest
    roster: File
    history: File | None = None


class UploadRoutes:
    """Jobs that are submitted with their files."""

    def __init__(self, jobs: JobService, uploads: Uploads, min_bytes_per_second: float = 0.0) -> None:
        """`min_bytes_per_second`: of the whole upload, after the first minute; 0: no limit."""
        self._jobs, self._uploads = jobs, uploads
        self._slowest = SlowestPace(_IDLE, _IDLE, min_bytes_per_second)
        self._admission = Admission(jobs)

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
        """Answer 202 once files and row are on disk; after an error nothing of them is kept."""
        if (await self._jobs.stats()).full:
            raise StoreFull(
                "the store or its disk is full: make room (Queue:MaxBytes, Queue:Retention, the disk) before you submit"
            )
        key = idempotency_key(request)
        try:
            async with self._uploads.draft() as draft:
                job = await self._received(request, key, draft)
                # Not cancelled when the caller disconnects: the job may be stored by then, and must keep its files.
                result = await uncancellable(self._submit(request[CALLER].name, job, draft))
        except TimeoutError:
            rate = f", or less than {self._slowest.bytes_per_second:g} bytes a second" * bool(
                self._slowest.bytes_per_second
            )
            return problem(408, f"nothing was received for {_IDLE:g} s{rate}: send the request again")
        return accepted_response(accepted_job(result, link_to(request, JOBS)))

    async def _received(self, request: web.Request, key: str | None, draft: PendingUpload) -> JobRequest:
        """Return the job, with the key in the header as its id; its files are in the draft."""
        pace = Pace(self._slowest)
        parts = _parts(request, pace)
        first = await anext(parts, None)
        if first is None or first.name != "job":
            raise InvalidPayload(_HOW)
        large = request[BODY_LIMITS].large
        sent = parse_request(await decode_json(await _text(first, pace), large, "the part `job`"))
        sent = sent.model_copy(update={"id": only_key(key, sent.id)})
        job = await self._admission.admit(request[CALLER], sent)
        wanted = self._fields(job)
        await self._uploads.require_room((self._jobs.user_of(job), organization_of(job.payload)))
        async for part in parts:
            if part.name is None or part.name not in wanted:
                raise InvalidPayload(
                    f"{part.name or 'a part'}: {job.task_type} takes files for {', '.join(wanted)} only"
                )
            if part.name in job.payload:
                raise InvalidPayload(f"{part.name}: is both in the payload and sent as a file: keep one of them")
            await draft.receive(part.name, part.filename or part.name, _pieces(part, pace), wanted[part.name])
        if not draft.files:
            raise InvalidPayload(f"the request has no file: {_HOW}")
        return job

    def _fields(self, job: JobRequest) -> Mapping[str, StartFileCheck | None]:
        handler = self._jobs.registry.get(job.task_type)
        if handler is None:
            known = ", ".join(sorted(self._jobs.registry))
            raise UnknownKind(f"unknown task type {job.task_type!r}; known are: {known}")
        if not handler.files:
            raise InvalidPayload(f"jobs of type {job.task_type} take no files: use POST /api/v1/jobs")
        return handler.files

    async def _submit(self, scope: str, job: JobRequest, draft: PendingUpload) -> EnqueueResult:
        """Store the job under the id of its files. The same key, payload and files again return the first job."""
        job_id = new_job_id(self._jobs.clock.now())
        fingerprint = draft.fingerprint(job.payload)
        owner = (self._jobs.user_of(job), organization_of(job.payload))
        payload: Mapping[str, Any] = job.payload | dict(draft.paths(job_id, owner))
        with self._uploads.protect(job_id):
            await draft.keep(job_id, owner, fingerprint)
            try:
                accepted = await self._jobs.submit_as(
                    job_id, job.model_copy(update={"payload": payload, "user_id": owner[0]}), scope=scope
                )
            except BaseException:
                await draft.withdraw()
                raise
            if accepted.state != "created":
                await draft.withdraw()
                if await self._uploads.fingerprint(accepted.job_id, owner) != fingerprint:
                    raise KeyConflict(
                        f"the key {job.id!r} belongs to job {accepted.job_id}, whose payload or files differ"
                    )
                return replace(accepted, state="existing")
        return accepted


# -- the parts of the body -----------------------------------------------------------------------------------------


async def _parts(request: web.Request, pace: Pace) -> AsyncIterator[BodyPartReader]:
    """Yield the parts in order. Raises WrongContent, and InvalidPayload when the body is broken or incomplete."""
    if request.content_type != "multipart/form-data":
        raise WrongContent(_HOW)
    with _parse_errors():
        reader = _FormReader(request.headers, request.content)
    while True:
        with _parse_errors():
            async with pace.next_piece():
                part = await reader.next()
        if part is None:
            return
        if not isinstance(part, BodyPartReader):
            raise InvalidPayload("a multipart body inside another one is not supported")
        if part.headers.get("Content-Transfer-Encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
            raise InvalidPayload(f"{part.name}: send the file without Content-Transfer-Encoding")
        if part.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise WrongContent(f"{part.name}: send it without Content-Encoding; it is not decompressed")
        yield part


class _FormReader(MultipartReader):
    """Reads a form whose first part begins within a few lines; aiohttp reads any number of lines before it."""

    async def _read_until_first_boundary(self) -> None:
        for _ in range(_PREAMBLE_LINES):
            line = await self._readline()
            if line.rstrip() == self._boundary:
                return
            if not line or line.rstrip() == self._boundary + b"--":
                break
        raise ValueError("the form has no part at its beginning")


async def _pieces(part: BodyPartReader, pace: Pace) -> AsyncIterator[bytes]:
    while not part.at_eof():
        with _parse_errors():
            async with pace.next_piece():
                piece = await part.read_chunk(_PIECE)
        pace.received += len(piece)
        if piece:
            yield piece


async def _text(part: BodyPartReader, pace: Pace) -> bytes:
    data = bytearray()
    async for piece in _pieces(part, pace):
        data += piece
        if len(data) > _LONGEST_JOB:
            raise TooLarge(f"the part `job` is larger than {_LONGEST_JOB:,} bytes: send large data as a file")
    return bytes(data)


@contextlib.contextmanager
def _parse_errors() -> Iterator[None]:
    """Turn the parser's errors into InvalidPayload; a lost connection stays as it is."""
    try:
        yield
    except (ConnectionError, TimeoutError, web.HTTPException):
        raise
    except (ValueError, AssertionError, BadHttpMessage, RuntimeError, LookupError):
        raise InvalidPayload(f"the body is broken or incomplete: {_HOW}") from None
