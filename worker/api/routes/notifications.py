"""Routes of notifications: list them, send one again, and set one aside."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import model_validator

from worker.api.auth.authenticator import CALLER, Caller
from worker.api.errors import json_response
from worker.api.request_values import Limit, Number, Query, Text, old_name, query_of, reject_both
from worker.api.routing import Route
from worker.api.schemas import NotificationList, ResendAnswer
from worker.api.views import notification_view
from worker.core.store import NotificationRecord
from worker.runtime.operations import JobService

DeliveryStatus = Literal["pending", "delivered", "dead"]


class NotificationsQuery(Query):
    """Which notifications, and from where to continue."""

    status: DeliveryStatus | None = None
    state: Annotated[DeliveryStatus | None, old_name("status")] = None
    user_id: Text | None = None
    job_id: Text | None = None
    cursor: Number | None = None
    limit: Limit = 50

    @model_validator(mode="after")
    def _one_name(self) -> "NotificationsQuery":
        reject_both(self.status, self.state, "status", "state")
        return self


class NotificationRoutes:
    """`/api/v1/notifications`."""

    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs

    def routes(self) -> Sequence[Route]:
        aside = "Set a waiting notification aside: it is not sent, and counts as dead"
        path, find, resend = "/api/v1/notifications", "List notifications, newest first", "Send a notification again"
        found: Mapping[int, type[Any]] = {200: NotificationList}
        queued: Mapping[int, type[Any]] = {202: ResendAnswer}
        return (
            Route("GET", path, self.find, find, "read", NotificationsQuery, answers=found, bound=True),
            Route("POST", f"{path}/{{id}}/resend", self.resend, resend, "admin", answers=queued),
            Route("POST", f"{path}/{{id}}/set-aside", self.set_aside, aside, "admin", answers=queued),
        )

    async def find(self, request: web.Request) -> web.Response:
        page, cursor = await self._page(request[CALLER], query_of(request, NotificationsQuery))
        found: NotificationList = {"notifications": [notification_view(record) for record in page], "cursor": cursor}
        return json_response(found)

    async def resend(self, request: web.Request) -> web.Response:
        queued: ResendAnswer = {"id": await self._jobs.resend(request.match_info["id"])}
        return json_response(queued, 202)

    async def set_aside(self, request: web.Request) -> web.Response:
        done: ResendAnswer = {"id": await self._jobs.set_aside(request.match_info["id"])}
        return json_response(done, 202)

    async def _page(self, caller: Caller, query: NotificationsQuery) -> tuple[list[NotificationRecord], str | None]:
        """Return a page of the caller's own notifications; a bound caller's page may be short and still have a
        cursor."""
        users = [query.user_id] if query.user_id is not None or caller.users is None else sorted(caller.users)
        records = await self._jobs.notifications(
            state=query.state if query.status is None else query.status,
            user_id=users[0] if len(users) == 1 else None,
            job_id=query.job_id,
            before=query.cursor,
            limit=query.limit,
        )
        cursor = str(records[-1].id) if len(records) == query.limit else None
        return (await self._own(caller, records) if caller.is_bound else records), cursor

    async def _own(self, caller: Caller, records: list[NotificationRecord]) -> list[NotificationRecord]:
        """Return those whose job is the caller's; the organisation is known to the job only."""
        found = await self._jobs.store.get_many(list({record.job_id for record in records}))
        own = {job.id for job in found if caller.owns(job.user_id, job.organization)}
        return [record for record in records if record.job_id in own]
