"""Routes of jobs: submit, list, show, cancel and retry."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, model_validator

from worker.api.auth.admission import Admission
from worker.api.auth.authenticator import CALLER
from worker.api.auth.ownership import narrowed, own_job
from worker.api.errors import json_response
from worker.api.request_body import read_json
from worker.api.request_values import (
    Cursor,
    InvalidQuery,
    Limit,
    Query,
    Seconds,
    idempotency_key,
    old_name,
    only_key,
    query_of,
    reject_both,
    reject_key_of_batch,
)
from worker.api.routes.job_filter import JobFilterQuery
from worker.api.routing import RequestHandler, Route
from worker.api.schemas import AcceptedJob, AcceptedJobs, CancelAnswer, JobAnswer, JobCounts, JobList
from worker.api.views import accepted_in_batch, accepted_job, job_details, job_list
from worker.core.job import JobRecord, JobState
from worker.core.store import JobPage, JobQuery
from worker.errors import InvalidPayload
from worker.net.path_base import link_to
from worker.runtime.job_request import JobRequest, parse_request, parse_requests
from worker.runtime.operations import JobService

JOBS = "/api/v1/jobs"
_PAGE = 50
_LONGEST_BATCH = 1_000
_MOST_COUNTED = 1_000
"""Jobs of one status."""
_LONGEST_WAIT = 60.0
"""Seconds."""
_States = tuple[JobState, ...]


class JobRequests(BaseModel):
    """A batch of jobs; none is stored when one of them is not valid."""

    model_config = ConfigDict(extra="forbid")

    jobs: Annotated[list[JobRequest], Field(min_length=1, max_length=_LONGEST_BATCH)]


class JobsQuery(JobFilterQuery):
    """Which jobs, and from where to continue."""

    status: _States | None = None
    state: Annotated[_States | None, old_name("status")] = None
    cursor: Cursor | None = None
    limit: Limit = _PAGE

    @model_validator(mode="after")
    def _one_name(self) -> "JobsQuery":
        reject_both(self.status, self.state, "status", "state")
        return self

    def page_query(self) -> JobQuery:
        """Return the parameters as the store's query."""
        states = self.state if self.status is None else self.status
        return replace(self.job_query(), states=states, cursor=self.cursor, limit=self.limit, brief=True)


class WaitQuery(Query):
    """How long the response may wait for the job's end, in seconds; more than 60 means 60."""

    wait_seconds: Seconds | None = None
    wait: Annotated[Seconds | None, old_name("waitSeconds")] = None

    @model_validator(mode="after")
    def _one_name(self) -> "WaitQuery":
        reject_both(self.wait_seconds, self.wait, "waitSeconds", "wait")
        return self

    def seconds(self) -> float | None:
        """Return the time to wait, within its limits; None: answer at once."""
        wait = self.wait if self.wait_seconds is None else self.wait_seconds
        return None if wait is None else max(0.0, min(_LONGEST_WAIT, wait))


_EXAMPLE = {
    "taskType": "insignia_background_processing",
    "userId": "u-1",
    "payload": {"round": 2569, "roster": "r.csv"},
}


class JobRoutes:
    """`/api/v1/jobs`."""

    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs
        self._admission = Admission(jobs)

    def routes(self) -> Sequence[Route]:
        return (*self._intake(), *self._reads(), *self._changes())

    def _intake(self) -> Sequence[Route]:
        one, many = "Submit a job; 202 once it is on disk", "Submit up to 1000 jobs in one commit: all or none"
        batch = {"jobs": [_EXAMPLE]}
        return (
            _intake_route(JOBS, self.submit, one, JobRequest, AcceptedJob, _EXAMPLE),
            _intake_route(f"{JOBS}/batch", self.submit_all, many, JobRequests, AcceptedJobs, batch),
        )

    def _reads(self) -> Sequence[Route]:
        found: Mapping[int, type[Any]] = {200: JobList}
        return (
            Route("GET", JOBS, self.find, "List jobs, newest first", "read", JobsQuery, answers=found, bound=True),
            Route(
                "GET",
                f"{JOBS}/counts",
                self.counts,
                "Own jobs by status",
                "read",
                answers={200: JobCounts},
                bound=True,
            ),
            Route(
                "GET",
                f"{JOBS}/{{id}}",
                self.show,
                "A job, its earlier attempts, and the deliveries of its notifications",
                "read",
                WaitQuery,
                answers={200: JobAnswer},
                surface="public",
                bound=True,
            ),
        )

    def _changes(self) -> Sequence[Route]:
        job = f"{JOBS}/{{id}}"
        cancel, retry = "Cancel a waiting or running job", "Start the next run of a job that has ended"
        requested: Mapping[int, type[Any]] = {202: CancelAnswer}
        return (
            Route("POST", f"{job}/cancel", self.cancel, cancel, "admin", answers=requested, bound=True),
            Route("POST", f"{job}/retry", self.retry, retry, "admin", answers={202: JobAnswer}, bound=True),
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Answer 202 once the row is on disk; the same key and payload again return the first job."""
        caller = request[CALLER]
        job = await self._admission.admit(caller, parse_request(await read_json(request)))
        key = only_key(idempotency_key(request), job.id)
        result = await self._jobs.submit(job, scope=caller.name, key=key)
        return accepted_response(accepted_job(result, link_to(request, JOBS)))

    async def submit_all(self, request: web.Request) -> web.Response:
        """Store `{"jobs": [...]}` in one commit, or nothing when one of them is not valid."""
        reject_key_of_batch(request)
        body, caller = await read_json(request), request[CALLER]
        entries = body.get("jobs") if isinstance(body, Mapping) else None
        if not isinstance(entries, list) or not entries or len(entries) > _LONGEST_BATCH or len(body) > 1:
            raise InvalidPayload(f'a batch is {{"jobs": [...]}} with 1 to {_LONGEST_BATCH} jobs')
        jobs = await self._admission.admit_all(caller, parse_requests(entries))
        results = await self._jobs.submit_all(jobs, scope=caller.name)
        accepted: AcceptedJobs = {"jobs": [accepted_in_batch(result) for result in results]}
        return json_response(accepted, 202)

    async def find(self, request: web.Request) -> web.Response:
        return json_response(job_list(await requested_page(self._jobs, request), self._jobs))

    async def counts(self, request: web.Request) -> web.Response:
        """Answer with what a page needs to know whether its list is up to date; the stream is not for bound keys."""
        caller = request[CALLER]
        counts: dict[str, int] = {}
        for state in JobState:
            ids, _ = await self._jobs.ids(narrowed(caller, JobQuery(states=(state,), limit=_MOST_COUNTED)))
            counts[state.value] = len(ids)
        newest = await self._jobs.find(narrowed(caller, JobQuery(limit=_PAGE, brief=True)))
        known = [(record.id, record.state.value, record.run, record.attempt) for record in newest.jobs]
        version = hashlib.sha256(orjson.dumps([known, counts])).hexdigest()[:16]
        return json_response({"jobs": counts, "version": version})

    async def show(self, request: web.Request) -> web.Response:
        """Answer with the job; `?waitSeconds=S` waits up to S seconds for its end."""
        return json_response(await job_details(await requested_job(self._jobs, request), self._jobs))

    async def cancel(self, request: web.Request) -> web.Response:
        answer: CancelAnswer = {"status": await self._jobs.cancel(await self._own_id(request))}
        return json_response(answer, 202)

    async def retry(self, request: web.Request) -> web.Response:
        record = await self._jobs.retry(await self._own_id(request))
        return json_response(await job_details(record, self._jobs), 202)

    async def _own_id(self, request: web.Request) -> str:
        """Return the id in the path. Raises NotFound when the job belongs to another owner."""
        job_id, caller = request.match_info["id"], request[CALLER]
        if caller.is_bound:
            own_job(caller, await self._jobs.show(job_id))
        return job_id


def _intake_route(
    path: str,
    handle: RequestHandler,
    summary: str,
    body: type[BaseModel],
    answer: type[Any],
    example: Mapping[str, Any],
) -> Route:
    return Route(
        "POST",
        path,
        handle,
        summary,
        "enqueue",
        body=body,
        answers={202: answer},
        surface="public",
        intake=True,
        bound=True,
        example=example,
    )


def accepted_response(accepted: AcceptedJob) -> web.Response:
    """Return the 202 response to one submitted job, with its address."""
    return json_response(accepted, 202, {"Location": accepted["links"]["self"]})


async def requested_page(jobs: JobService, request: web.Request) -> JobPage:
    """Return the page of the caller's own jobs that the query asks for. Raises InvalidQuery for an invalid cursor."""
    query = narrowed(request[CALLER], query_of(request, JobsQuery).page_query())
    try:
        return await jobs.find(query)
    except InvalidPayload as exc:
        raise InvalidQuery("cursor", str(exc)) from None


async def requested_job(jobs: JobService, request: web.Request) -> JobRecord:
    """Return the job of the path; with `?waitSeconds=` once it has ended. Raises NotFound when the caller has none."""
    job_id, seconds = request.match_info["id"], query_of(request, WaitQuery).seconds()
    record = own_job(request[CALLER], await jobs.show(job_id))
    return record if seconds is None else await jobs.wait(job_id, seconds)
