"""Bulk requests: cancel, retry and resend by filter or by ids, up to 10,000 in a call."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Annotated, Literal

from aiohttp import web
from pydantic import ConfigDict, Field, model_validator

from worker.api.auth.authenticator import CALLER, Caller
from worker.api.auth.ownership import narrowed
from worker.api.dispatch import AUDIT_DETAIL
from worker.api.errors import json_response
from worker.api.request_body import read_body
from worker.api.request_values import Cursor, Query, Text, given, old_name, reject_both
from worker.api.routes.job_filter import JobFilterQuery
from worker.api.routes.notifications import DeliveryStatus
from worker.api.routing import Route
from worker.api.schemas import BulkAnswer
from worker.core.job import TERMINAL, JobState
from worker.core.store import JobQuery
from worker.errors import InvalidPayload, NotFound, NotPossible
from worker.runtime.operations import JobService

LONGEST_BULK = 10_000
"""Jobs or notifications in one request."""
_AT_ONCE = 200
"""Changes sent to the store together: it commits them in groups."""
_PAGE = 500

_NULL = {"type": "null"}

Ids = Annotated[list[Text], Field(min_length=1, max_length=LONGEST_BULK)]


class BulkRequest(Query):
    """The fields of every bulk request."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [given("filter", ids=_NULL), given("ids", filter=_NULL, cursor=_NULL)]}
    )

    dry_run: Annotated[bool, Field(strict=True)] = False
    """Count, and change nothing."""
    cursor: Cursor | None = None
    """From the previous response, to continue where it ended; with `filter` only."""


class JobFilter(JobFilterQuery):
    """Which jobs, as in the list."""

    status: list[JobState] | None = None
    """Default: cancel the waiting and running jobs, retry the failed and cancelled ones."""
    state: Annotated[list[JobState] | None, old_name("status")] = None

    @model_validator(mode="after")
    def _one_name(self) -> "JobFilter":
        reject_both(self.status, self.state, "status", "state")
        return self


class BulkJobs(BulkRequest):
    """Cancel or retry many jobs."""

    action: Literal["cancel", "retry"]
    filter: JobFilter | None = None
    ids: Ids | None = None

    @model_validator(mode="after")
    def _one_selection(self) -> "BulkJobs":
        _check_selection(self.filter, self.ids, self.cursor)
        return self


class NotificationFilter(Query):
    """Which notifications."""

    status: DeliveryStatus | None = None
    """Default: `dead`."""
    state: Annotated[DeliveryStatus | None, old_name("status")] = None
    user_id: Text | None = None
    job_id: Text | None = None

    @model_validator(mode="after")
    def _one_name(self) -> "NotificationFilter":
        reject_both(self.status, self.state, "status", "state")
        return self


class BulkNotifications(BulkRequest):
    """Resend many notifications."""

    action: Literal["resend"]
    filter: NotificationFilter | None = None
    ids: Ids | None = None

    @model_validator(mode="after")
    def _one_selection(self) -> "BulkNotifications":
        _check_selection(self.filter, self.ids, self.cursor)
        return self


def _check_selection(selected: object, ids: object, cursor: object) -> None:
    if (selected is None) == (ids is None):
        raise ValueError("give either filter or ids")
    if cursor is not None and selected is None:
        raise ValueError("cursor needs filter")


class BulkRoutes:
    """`/api/v1/jobs/bulk` and `/api/v1/notifications/bulk`."""

    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs

    def routes(self) -> Sequence[Route]:
        return (
            Route(
                "POST",
                "/api/v1/jobs/bulk",
                self.change_jobs,
                "Cancel or retry many jobs",
                "admin",
                body=BulkJobs,
                answers={200: BulkAnswer},
                bound=True,
                example={"action": "retry", "filter": {"status": ["failed"], "taskType": "http"}, "dryRun": True},
            ),
            Route(
                "POST",
                "/api/v1/notifications/bulk",
                self.resend_all,
                "Resend many notifications",
                "admin",
                body=BulkNotifications,
                answers={200: BulkAnswer},
                example={"action": "resend", "filter": {"status": "dead"}},
            ),
        )

    async def change_jobs(self, request: web.Request) -> web.Response:
        body = await read_body(request, BulkJobs)
        ids, cursor = await self._jobs_of(request[CALLER], body)
        done = 0 if body.dry_run else await _each(ids, self._change(body.action))
        return _bulk_response(request, body, body.action, len(ids), done, cursor)

    async def resend_all(self, request: web.Request) -> web.Response:
        body = await read_body(request, BulkNotifications)
        ids, cursor = (_once(body.ids), None) if body.filter is None else await self._notifications_of(body)
        done = 0 if body.dry_run else await _each(ids, self._resend)
        return _bulk_response(request, body, body.action, len(ids), done, cursor)

    async def _jobs_of(self, caller: Caller, body: BulkJobs) -> tuple[Sequence[str], str | None]:
        """Return the ids of the caller's own jobs, and the cursor that continues a filter."""
        if body.filter is None:
            ids = _once(body.ids)
            found: list[str] = []
            for start in range(0, len(ids), _PAGE):
                records = await self._jobs.store.get_many(ids[start : start + _PAGE])
                found += [record.id for record in records if caller.owns(record.user_id, record.organization)]
            return found, None
        return await self._jobs.ids(narrowed(caller, _query(body, body.filter)))

    async def _notifications_of(self, body: BulkNotifications) -> tuple[list[str], str | None]:
        assert body.filter is not None
        before = None if body.cursor is None else _position(body.cursor)
        ids: list[str] = []
        while len(ids) < LONGEST_BULK:
            limit = min(_PAGE, LONGEST_BULK - len(ids))
            page = await self._jobs.notifications(
                state=body.filter.status or body.filter.state or "dead",
                user_id=body.filter.user_id,
                job_id=body.filter.job_id,
                before=before,
                limit=limit,
            )
            ids += [record.notification_id for record in page]
            if len(page) < limit:
                return ids, None
            before = page[-1].id
        return ids, str(before)

    def _change(self, action: Literal["cancel", "retry"]) -> Callable[[str], Awaitable[object]]:
        return self._jobs.cancel if action == "cancel" else self._jobs.retry

    async def _resend(self, notification_id: str) -> object:
        return await self._jobs.resend(notification_id)


def _once(ids: Sequence[str] | None) -> list[str]:
    """Return each of the ids once, in their order."""
    return list(dict.fromkeys(ids or ()))


def _position(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise InvalidPayload("cursor is not valid for this request: start again without it")
    return int(cursor)


def _query(body: BulkJobs, selected: JobFilter) -> JobQuery:
    possible = {state for state in JobState if (state in TERMINAL) == (body.action == "retry")}
    wanted = selected.state if selected.status is None else selected.status
    states = possible - {JobState.SUCCEEDED} if wanted is None else possible & set(wanted)
    return replace(selected.job_query(), states=sorted(states), cursor=body.cursor, limit=LONGEST_BULK)


async def _each(ids: Sequence[str], change: Callable[[str], Awaitable[object]]) -> int:
    """Return how many were changed; the others are gone or had changed their state in the meantime."""
    done = 0
    for start in range(0, len(ids), _AT_ONCE):
        chunk = ids[start : start + _AT_ONCE]
        results = await asyncio.gather(*(change(one) for one in chunk), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, NotFound | NotPossible):
                raise result
            done += not isinstance(result, BaseException)
    return done


def _bulk_response(
    request: web.Request, body: BulkRequest, action: str, matched: int, done: int, cursor: str | None
) -> web.Response:
    request[AUDIT_DETAIL] = {"action": action, "dryRun": body.dry_run, "matched": matched, "done": done}
    skipped = 0 if body.dry_run else matched - done
    answer: BulkAnswer = {"matched": matched, "done": done, "skipped": skipped, "cursor": cursor}
    return json_response(answer)
