"""`/api/v1/me`: an end user's own jobs, by his token of the hub. Never a stack trace."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from worker.control import Control
from worker.door.access import CALLER
from worker.door.answers import CancelAnswer, JobAnswer, JobList, MeAnswer
from worker.door.bounds import narrowed, seen_by
from worker.door.jobs import JobsQuery, WaitQuery, found_by, shown_by
from worker.door.problems import json_response
from worker.door.routes import Route, query_of

ME = "/api/v1/me"


class MeRoutes:
    """The same operations as for keys, over one user's jobs."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def routes(self) -> Sequence[Route]:
        job = f"{ME}/jobs/{{id}}"
        return (
            _route("GET", ME, self.me, "Whom the token speaks for", {200: MeAnswer}),
            _route("GET", f"{ME}/jobs", self.find, "Your jobs, newest first", {200: JobList}, JobsQuery),
            _route("GET", job, self.show, "A job of yours", {200: JobAnswer}, WaitQuery),
            _route("POST", f"{job}/cancel", self.cancel, "Cancel a job of yours", {202: CancelAnswer}),
        )

    async def me(self, request: web.Request) -> web.Response:
        return json_response({"userId": request[CALLER].user})

    async def find(self, request: web.Request) -> web.Response:
        query = narrowed(request[CALLER], found_by(query_of(request, JobsQuery)))
        page = await self._control.find(query)
        return json_response(
            {"jobs": [self._control.view(record, brief=True) for record in page.jobs], "cursor": page.cursor}
        )

    async def show(self, request: web.Request) -> web.Response:
        record = await shown_by(self._control, request)
        return json_response(_without_traces(await self._control.story(record)))

    async def cancel(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        seen_by(request[CALLER], await self._control.show(job_id))
        return json_response({"status": await self._control.cancel(job_id)}, 202)


def _route(method: str, path: str, handle: Any, summary: str, answers: Any, query: Any = None) -> Route:
    return Route(method, path, handle, summary, "user", query, answers=answers, surface="public", bound=True)


def _without_traces(view: dict[str, Any]) -> dict[str, Any]:
    for part in (view, *view["attempts"]):
        part.pop("stackTrace", None)
    return view
