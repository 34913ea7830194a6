"""Routes of jobs and notifications: HTTP in, the same operations as every other door behind."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from worker.control import (
    Control,
    JobRequest,
    accepted_view,
    answered,
    notification_view,
    parse_request,
    parse_requests,
)
from worker.door.access import CALLER, Caller
from worker.door.answers import (
    AcceptedJob,
    AcceptedJobs,
    CancelAnswer,
    JobAnswer,
    JobList,
    NotificationList,
    ResendAnswer,
)
from worker.door.bounds import admitted, narrowed, seen_by
from worker.door.filters import Chosen
from worker.door.problems import json_response
from worker.door.routes import Handle, Limit, Number, Query, Route, Text, query_of
from worker.errors import InvalidPayload
from worker.job import JobRecord, JobState
from worker.queue import JobQuery, NotificationRecord

_PAGE = 50
_LONGEST_BATCH = 1_000
_LONGEST_WAIT = 60.0


class JobRequests(BaseModel):
    """Many jobs at once; nothing is stored when one of them is invalid."""

    model_config = ConfigDict(extra="forbid")

    jobs: Annotated[list[JobRequest], Field(min_length=1, max_length=_LONGEST_BATCH)]


class JobsQuery(Chosen):
    """Which jobs, and where to go on."""

    state: tuple[JobState, ...] | None = None
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


_EXAMPLE = {
    "taskType": "insignia_background_processing",
    "userId": "u-1",
    "payload": {"round": 2569, "roster": "r.csv"},
}


class JobRoutes:
    """`/api/v1/jobs` and `/api/v1/notifications`."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def routes(self) -> Sequence[Route]:
        return (*self._intake(), *self._looking(), *self._orders())

    def _intake(self) -> Sequence[Route]:
        job = "/api/v1/jobs"
        return (
            _taking(job, self.submit, "Submit a job; 202 once it is on disk", JobRequest, AcceptedJob, _EXAMPLE),
            _taking(
                f"{job}/batch",
                self.submit_all,
                "Submit up to 1000 jobs in one commit: all of them or none",
                JobRequests,
                AcceptedJobs,
                {"jobs": [_EXAMPLE]},
            ),
        )

    def _looking(self) -> Sequence[Route]:
        job, news = "/api/v1/jobs", "/api/v1/notifications"
        return (
            Route(
                "GET", job, self.find, "List jobs, newest first", "read", JobsQuery, None, {200: JobList}, bound=True
            ),
            Route(
                "GET",
                f"{job}/{{id}}",
                self.show,
                "A job, what came before its present attempt, and what became of its news",
                "read",
                WaitQuery,
                answers={200: JobAnswer},
                surface="public",
                bound=True,
            ),
            Route(
                "GET",
                news,
                self.notifications,
                "List notifications, newest first",
                "read",
                NotificationsQuery,
                answers={200: NotificationList},
                bound=True,
            ),
        )

    def _orders(self) -> Sequence[Route]:
        job, news = "/api/v1/jobs/{id}", "/api/v1/notifications/{id}"
        return (
            _order(f"{job}/cancel", self.cancel, "Cancel a job that waits or runs", CancelAnswer, bound=True),
            _order(f"{job}/retry", self.retry, "Start the next run of a job that has ended", JobAnswer, bound=True),
            _order(f"{news}/resend", self.resend, "Send a notification once more", ResendAnswer, bound=False),
        )

    async def submit(self, request: web.Request) -> web.Response:
        """202 after the row is on disk; the same key and payload again answers with the first job."""
        caller = request[CALLER]
        job = admitted(caller, parse_request(orjson.loads(await request.read())))
        accepted = await self._control.submit(job, scope=caller.name, key=request.headers.get("Idempotency-Key"))
        view = accepted_view(accepted)
        return json_response(view, 202, {"Location": view["links"]["self"]})

    async def submit_all(self, request: web.Request) -> web.Response:
        """`{"jobs": [...]}`: one commit for all; nothing is stored when one of them is invalid."""
        body, caller = orjson.loads(await request.read()), request[CALLER]
        entries = body.get("jobs") if isinstance(body, Mapping) else None
        if not isinstance(entries, list) or not entries or len(entries) > _LONGEST_BATCH or len(body) > 1:
            raise InvalidPayload(f'a batch is {{"jobs": [...]}} with 1 to {_LONGEST_BATCH} jobs')
        jobs = parse_requests(entries)
        if caller.is_bound:
            jobs = [admitted(caller, job) for job in jobs]
        answers = await self._control.submit_all(jobs, scope=caller.name)
        return json_response({"jobs": [answered(answer) for answer in answers]}, 202)

    async def find(self, request: web.Request) -> web.Response:
        page = await self._control.find(narrowed(request[CALLER], found_by(query_of(request, JobsQuery))))
        return json_response(
            {"jobs": [self._control.view(record, brief=True) for record in page.jobs], "cursor": page.cursor}
        )

    async def show(self, request: web.Request) -> web.Response:
        """`?wait=S` holds the answer until the job has ended, S seconds at most."""
        return json_response(await self._control.story(await shown_by(self._control, request)))

    async def cancel(self, request: web.Request) -> web.Response:
        job_id = await self._own(request)
        return json_response({"status": await self._control.cancel(job_id)}, 202)

    async def retry(self, request: web.Request) -> web.Response:
        record = await self._control.retry(await self._own(request))
        return json_response(await self._control.story(record), 202)

    async def _own(self, request: web.Request) -> str:
        """The id in the path; NotFound when it is another's."""
        job_id, caller = request.match_info["id"], request[CALLER]
        if caller.is_bound:
            seen_by(caller, await self._control.show(job_id))
        return job_id

    async def notifications(self, request: web.Request) -> web.Response:
        query = query_of(request, NotificationsQuery)
        page, cursor = await news_for(request[CALLER], self._control, query)
        return json_response({"notifications": [notification_view(record) for record in page], "cursor": cursor})

    async def resend(self, request: web.Request) -> web.Response:
        return json_response({"id": await self._control.resend(request.match_info["id"])}, 202)


def _taking(
    path: str, handle: Handle, summary: str, body: type[BaseModel], answer: type[BaseModel], example: Mapping[str, Any]
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


def _order(path: str, handle: Handle, summary: str, answer: type[BaseModel], *, bound: bool) -> Route:
    return Route("POST", path, handle, summary, "admin", answers={202: answer}, bound=bound)


async def shown_by(control: Control, request: web.Request) -> JobRecord:
    """The job of the path, for this caller; with `?wait=` when it has ended. NotFound: there is none, or another's."""
    job_id, wait = request.match_info["id"], query_of(request, WaitQuery).wait
    record = seen_by(request[CALLER], await control.show(job_id))
    if wait is None:
        return record
    return await control.wait(job_id, max(0.0, min(_LONGEST_WAIT, wait)))


async def news_for(
    caller: Caller, control: Control, query: NotificationsQuery
) -> tuple[list[NotificationRecord], str | None]:
    """A page of the caller's own notifications. A bound caller's may be short and still have a cursor."""
    users = [query.user_id] if query.user_id is not None or caller.users is None else sorted(caller.users)
    user = users[0] if len(users) == 1 else None
    records = await control.notifications(
        state=query.state, user_id=user, job_id=query.job_id, before=query.cursor, limit=query.limit
    )
    cursor = str(records[-1].id) if len(records) == query.limit else None
    return (await _own_news(caller, control, records) if caller.is_bound else records), cursor


async def _own_news(caller: Caller, control: Control, records: list[NotificationRecord]) -> list[NotificationRecord]:
    """Those whose job is the caller's; of which organisation it is, only the job knows."""
    jobs = await control.store.get_many(list({record.job_id for record in records}))
    own = {job.id for job in jobs if caller.owns(job.user_id, job.organization)}
    return [record for record in records if record.job_id in own]


def found_by(query: JobsQuery) -> JobQuery:
    """The list's parameters as the store's query."""
    return replace(query.wanted(), states=query.state, cursor=query.cursor, limit=query.limit, brief=True)
