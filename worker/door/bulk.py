"""Orders for many at once: cancel, retry and resend, by filter or by ids, 10,000 in a call."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field, model_validator

from worker.control import Control
from worker.door.access import CALLER, Caller
from worker.door.answers import BulkAnswer
from worker.door.bounds import narrowed
from worker.door.entrance import AUDIT_DETAIL
from worker.door.filters import Chosen
from worker.door.problems import json_response
from worker.door.routes import Query, Route, Text, read_body
from worker.errors import InvalidPayload, NotFound, NotPossible
from worker.job import TERMINAL, JobState
from worker.queue import JobQuery

MOST = 10_000
_AT_ONCE = 200
"""Orders on their way to the store together: it commits them in groups."""
_PAGE = 500

Ids = Annotated[list[Text], Field(min_length=1, max_length=MOST)]


class Body(Query):
    """What a bulk order has in common."""

    dry_run: bool = False
    """Count, and change nothing."""
    cursor: Annotated[str, Field(max_length=500)] | None = None
    """From the answer before, to go on where it ended; with `filter` only."""


class JobFilter(Chosen):
    """Which jobs; as in the list."""

    state: list[JobState] | None = None
    """Without it, what the action can be done to: cancel those that wait or run, retry the failed and cancelled."""


class JobsOrder(Body):
    """Cancel or retry many jobs."""

    action: Literal["cancel", "retry"]
    filter: JobFilter | None = None
    ids: Ids | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "JobsOrder":
        _either(self.filter, self.ids, self.cursor)
        return self


class NewsFilter(Query):
    """Which notifications."""

    state: Literal["pending", "delivered", "dead"] = "dead"
    user_id: Text | None = None
    job_id: Text | None = None


class NewsOrder(Body):
    """Resend many notifications."""

    action: Literal["resend"]
    filter: NewsFilter | None = None
    ids: Ids | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "NewsOrder":
        _either(self.filter, self.ids, self.cursor)
        return self


def _either(chosen: object, ids: object, cursor: object) -> None:
    if (chosen is None) == (ids is None):
        raise ValueError("give either filter or ids")
    if cursor is not None and chosen is None:
        raise ValueError("cursor goes with filter")


class BulkRoutes:
    """`/api/v1/jobs/bulk` and `/api/v1/notifications/bulk`."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def routes(self) -> Sequence[Route]:
        return (
            Route(
                "POST",
                "/api/v1/jobs/bulk",
                self.jobs,
                "Cancel or retry many jobs",
                "admin",
                body=JobsOrder,
                answers={200: BulkAnswer},
                bound=True,
                example={"action": "retry", "filter": {"state": ["failed"], "taskType": "http"}, "dryRun": True},
            ),
            Route(
                "POST",
                "/api/v1/notifications/bulk",
                self.news,
                "Resend many notifications",
                "admin",
                body=NewsOrder,
                answers={200: BulkAnswer},
                example={"action": "resend", "filter": {"state": "dead"}},
            ),
        )

    async def jobs(self, request: web.Request) -> web.Response:
        order = await read_body(request, JobsOrder)
        ids, cursor = await self._jobs_of(request[CALLER], order)
        done = 0 if order.dry_run else await _each(ids, self._do(order.action))
        return _answered(request, order.action, order.dry_run, len(ids), done, cursor)

    async def news(self, request: web.Request) -> web.Response:
        order = await read_body(request, NewsOrder)
        ids, cursor = (order.ids or [], None) if order.filter is None else await self._news_of(order)
        done = 0 if order.dry_run else await _each(ids, self._resend)
        return _answered(request, order.action, order.dry_run, len(ids), done, cursor)

    async def _jobs_of(self, caller: Caller, order: JobsOrder) -> tuple[Sequence[str], str | None]:
        """The ids this caller may order about; of a filter also where to go on."""
        if order.filter is None:
            asked = list(dict.fromkeys(order.ids or ()))
            found: list[str] = []
            for start in range(0, len(asked), _PAGE):
                records = await self._control.store.get_many(asked[start : start + _PAGE])
                found += [record.id for record in records if caller.owns(record.user_id, record.organization)]
            return found, None
        return await self._control.ids(narrowed(caller, _query(order, order.filter)))

    async def _news_of(self, order: NewsOrder) -> tuple[list[str], str | None]:
        assert order.filter is not None
        before = None if order.cursor is None else _row(order.cursor)
        ids: list[str] = []
        while len(ids) < MOST:
            limit = min(_PAGE, MOST - len(ids))
            page = await self._control.notifications(
                state=order.filter.state,
                user_id=order.filter.user_id,
                job_id=order.filter.job_id,
                before=before,
                limit=limit,
            )
            ids += [record.notification_id for record in page]
            if len(page) < limit:
                return ids, None
            before = page[-1].id
        return ids, str(before)

    def _do(self, action: Literal["cancel", "retry"]) -> Callable[[str], Awaitable[object]]:
        return self._control.cancel if action == "cancel" else self._control.retry

    async def _resend(self, notification_id: str) -> object:
        return await self._control.resend(notification_id)


def _row(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise InvalidPayload("cursor is none of ours")
    return int(cursor)


def _query(order: JobsOrder, chosen: JobFilter) -> JobQuery:
    possible = {state for state in JobState if (state in TERMINAL) == (order.action == "retry")}
    usual = possible - {JobState.SUCCEEDED}
    states = usual if chosen.state is None else possible & set(chosen.state)
    return replace(chosen.wanted(), states=sorted(states), cursor=order.cursor, limit=MOST)


async def _each(ids: Sequence[str], order: Callable[[str], Awaitable[object]]) -> int:
    """How many were done; the rest had gone, or was meanwhile in another state."""
    done = 0
    for start in range(0, len(ids), _AT_ONCE):
        chunk = ids[start : start + _AT_ONCE]
        answers = await asyncio.gather(*(order(one) for one in chunk), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, NotFound | NotPossible):
                raise answer
            done += not isinstance(answer, BaseException)
    return done


def _answered(
    request: web.Request, action: str, dry_run: bool, matched: int, done: int, cursor: str | None
) -> web.Response:
    skipped = 0 if dry_run else matched - done
    request[AUDIT_DETAIL] = {"action": action, "dryRun": dry_run, "matched": matched, "done": done}
    return json_response({"matched": matched, "done": done, "skipped": skipped, "cursor": cursor})
