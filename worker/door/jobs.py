"""Routes of jobs and notifications: HTTP in, the same operations as every other door behind."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import orjson
from aiohttp import web
from pydantic import Field, StringConstraints

from worker.control import (
    Control,
    JobRequest,
    Moment,
    accepted_view,
    answered,
    notification_view,
    parse_request,
    parse_requests,
)
from worker.door.access import CALLER
from worker.door.problems import json_response
from worker.door.routes import Limit, Number, Query, Route, Text, query_of
from worker.errors import InvalidPayload
from worker.job import JobState
from worker.queue import JobQuery

_PAGE = 50
_LONGEST_BATCH = 1_000
_LONGEST_WAIT = 60.0


class JobsQuery(Query):
    """Which jobs, and where to go on."""

    state: tuple[JobState, ...] | None = None
    task_type: Text | None = None
    user_id: Text | None = None
    organization: Text | None = None
    text: Text | None = None
    """Anywhere in id, user, payload, error or result."""
    created_from: Annotated[Moment | None, Field(alias="from")] = None
    """Created then or later."""
    created_to: Annotated[Moment | None, Field(alias="to")] = None
    """Created before."""
    cursor: Annotated[str, StringConstraints(max_length=500)] | None = None
    limit: Limit = _PAGE


class WaitQuery(Query):
    """How long the answer may wait for the job's end."""

    wait: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Seconds; more than 60 means 60."""


class NotificationsQuery(Query):
    """Which notifications, and where to go on."""

    state: Literal["pending", "delivered", "dead"] | None = None
    user_id: Text | None = None
    job_id: Text | None = None
    cursor: Number | None = None
    limit: Limit = _PAGE


class JobRoutes:
    """`/api/v1/jobs` and `/api/v1/notifications`."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def routes(self) -> Sequence[Route]:
        return (*self._intake(), *self._looking(), *self._orders())

    def _intake(self) -> Sequence[Route]:
        return (
            Route(
                "POST",
                "/api/v1/jobs",
                self.submit,
                "Submit a job; 202 once it is on disk",
                "enqueue",
                body=JobRequest,
                answers={202: None},
                surface="public",
                intake=True,
            ),
            Route(
                "POST",
                "/api/v1/jobs/batch",
                self.submit_all,
                "Submit up to 1000 jobs in one commit: all of them or none",
                "enqueue",
                answers={202: None},
                surface="public",
                intake=True,
            ),
        )

    def _looking(self) -> Sequence[Route]:
        job, news = "/api/v1/jobs", "/api/v1/notifications"
        return (
            Route("GET", job, self.find, "List jobs, newest first", "read", JobsQuery),
            Route("GET", f"{job}/{{id}}", self.show, "A job", "read", WaitQuery, surface="public"),
            Route("GET", news, self.notifications, "List notifications, newest first", "read", NotificationsQuery),
        )

    def _orders(self) -> Sequence[Route]:
        job, news = "/api/v1/jobs/{id}", "/api/v1/notifications/{id}"
        accepted: Mapping[int, None] = {202: None}
        return (
            Route("POST", f"{job}/cancel", self.cancel, "Cancel a job that waits or runs", "admin", answers=accepted),
            Route("POST", f"{job}/retry", self.retry, "Start the next run of an ended job", "admin", answers=accepted),
            Route("POST", f"{news}/resend", self.resend, "Send a notification once more", "admin", answers=accepted),
        )

    async def submit(self, request: web.Request) -> web.Response:
        """202 after the row is on disk; the same key and payload again answers with the first job."""
        job = parse_request(orjson.loads(await request.read()))
        accepted = await self._control.submit(
            job, scope=request[CALLER].name, key=request.headers.get("Idempotency-Key")
        )
        view = accepted_view(accepted)
        return json_response(view, 202, {"Location": view["links"]["self"]})

    async def submit_all(self, request: web.Request) -> web.Response:
        """`{"jobs": [...]}`: one commit for all; nothing is stored when one of them is invalid."""
        body = orjson.loads(await request.read())
        entries = body.get("jobs") if isinstance(body, Mapping) else None
        if not isinstance(entries, list) or not entries or len(entries) > _LONGEST_BATCH:
            raise InvalidPayload(f'a batch is {{"jobs": [...]}} with 1 to {_LONGEST_BATCH} jobs')
        answers = await self._control.submit_all(parse_requests(entries), scope=request[CALLER].name)
        return json_response({"jobs": [answered(answer) for answer in answers]}, 202)

    async def find(self, request: web.Request) -> web.Response:
        page = await self._control.find(_job_query(query_of(request, JobsQuery)))
        return json_response(
            {"jobs": [self._control.view(record, brief=True) for record in page.jobs], "cursor": page.cursor}
        )

    async def show(self, request: web.Request) -> web.Response:
        """`?wait=S` holds the answer until the job has ended, S seconds at most."""
        job_id, wait = request.match_info["id"], query_of(request, WaitQuery).wait
        seconds = None if wait is None else max(0.0, min(_LONGEST_WAIT, wait))
        record = await (self._control.show(job_id) if seconds is None else self._control.wait(job_id, seconds))
        return json_response(self._control.view(record))

    async def cancel(self, request: web.Request) -> web.Response:
        return json_response({"status": await self._control.cancel(request.match_info["id"])}, 202)

    async def retry(self, request: web.Request) -> web.Response:
        record = await self._control.retry(request.match_info["id"])
        return json_response(self._control.view(record), 202)

    async def notifications(self, request: web.Request) -> web.Response:
        query = query_of(request, NotificationsQuery)
        records = await self._control.notifications(
            state=query.state, user_id=query.user_id, job_id=query.job_id, before=query.cursor, limit=query.limit
        )
        cursor = str(records[-1].id) if len(records) == query.limit else None
        return json_response({"notifications": [notification_view(record) for record in records], "cursor": cursor})

    async def resend(self, request: web.Request) -> web.Response:
        return json_response({"id": await self._control.resend(request.match_info["id"])}, 202)


def _job_query(query: JobsQuery) -> JobQuery:
    return JobQuery(
        states=query.state,
        kind=query.task_type,
        user_ids=None if query.user_id is None else (query.user_id,),
        organizations=None if query.organization is None else (query.organization,),
        text=query.text,
        since=None if query.created_from is None else query.created_from.timestamp(),
        until=None if query.created_to is None else query.created_to.timestamp(),
        cursor=query.cursor,
        limit=query.limit,
        brief=True,
    )
