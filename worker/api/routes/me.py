"""`/api/v1/me`: an end user's own jobs, with their token of the hub. Responses never hold a stack trace."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from worker.api.auth.authenticator import CALLER
from worker.api.auth.ownership import own_job
from worker.api.errors import json_response
from worker.api.routes.jobs import JobsQuery, WaitQuery, requested_job, requested_page
from worker.api.routing import RequestHandler, Route
from worker.api.schemas import CancelAnswer, JobAnswer, JobList, MeAnswer
from worker.api.views import job_details, job_list
from worker.runtime.operations import JobService

ME = "/api/v1/me"


class MeRoutes:
    """The operations that API keys have, limited to one user's jobs."""

    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs

    def routes(self) -> Sequence[Route]:
        job = f"{ME}/jobs/{{id}}"
        return (
            _route("GET", ME, self.me, "The user of the token", {200: MeAnswer}),
            _route("GET", f"{ME}/jobs", self.find, "Your jobs, newest first", {200: JobList}, JobsQuery),
            _route("GET", job, self.show, "One of your jobs", {200: JobAnswer}, WaitQuery),
            _route("POST", f"{job}/cancel", self.cancel, "Cancel one of your jobs", {202: CancelAnswer}),
        )

    async def me(self, request: web.Request) -> web.Response:
        return json_response({"userId": request[CALLER].user})

    async def find(self, request: web.Request) -> web.Response:
        return json_response(job_list(await requested_page(self._jobs, request), self._jobs))

    async def show(self, request: web.Request) -> web.Response:
        record = await requested_job(self._jobs, request)
        return json_response(_without_traces(await job_details(record, self._jobs)))

    async def cancel(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        own_job(request[CALLER], await self._jobs.show(job_id))
        answer: CancelAnswer = {"status": await self._jobs.cancel(job_id)}
        return json_response(answer, 202)


def _route(
    method: str,
    path: str,
    handle: RequestHandler,
    summary: str,
    answers: Mapping[int, type[Any]],
    query: type[BaseModel] | None = None,
) -> Route:
    return Route(method, path, handle, summary, "user", query, answers=answers, surface="public", bound=True)


def _without_traces(job: JobAnswer) -> JobAnswer:
    job.pop("stackTrace", None)
    for attempt in job["attempts"]:
        attempt.pop("stackTrace", None)
    return job
