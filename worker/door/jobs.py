"""Routes of jobs and notifications: HTTP in, the same operations as every other door behind."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from worker.control import (
    Control,
    JobRequest,
    accepted_view,
    notification_view,
    parse_request,
)
from worker.door.access import CALLER, needs
from worker.door.problems import json_response, problem
from worker.errors import InvalidPayload
from worker.job import JobState
from worker.queue import JobQuery

_PAGE = 50
_LONGEST_PAGE = 500
_LONGEST_BATCH = 1_000
_LONGEST_WAIT = 60.0


class JobRoutes:
    """`/api/v1/jobs` and `/api/v1/notifications`."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def add_to(self, app: web.Application) -> None:
        app.router.add_post("/api/v1/jobs", self.submit)
        app.router.add_get("/api/v1/jobs", self.find)
        app.router.add_post("/api/v1/jobs/batch", self.submit_all)
        app.router.add_get("/api/v1/jobs/{id}", self.show)
        app.router.add_post("/api/v1/jobs/{id}/cancel", self.cancel)
        app.router.add_post("/api/v1/jobs/{id}/retry", self.retry)
        app.router.add_get("/api/v1/notifications", self.notifications)
        app.router.add_post("/api/v1/notifications/{id}/resend", self.resend)

    @needs("enqueue")
    async def submit(self, request: web.Request) -> web.Response:
        """202 after the row is on disk; the same key and payload again answers with the first job."""
        job = parse_request(orjson.loads(await request.read()))
        accepted = await self._control.submit(
            job, scope=request[CALLER].name, key=request.headers.get("Idempotency-Key")
        )
        view = accepted_view(accepted)
        return json_response(view, 202, {"Location": view["links"]["self"]})

    @needs("enqueue")
    async def submit_all(self, request: web.Request) -> web.Response:
        """`{"jobs": [...]}`: one commit for all; nothing is stored when one of them is invalid."""
        body = orjson.loads(await request.read())
        entries = body.get("jobs") if isinstance(body, Mapping) else None
        if not isinstance(entries, list) or not entries or len(entries) > _LONGEST_BATCH:
            raise InvalidPayload(f'a batch is {{"jobs": [...]}} with 1 to {_LONGEST_BATCH} jobs')
        jobs = [_entry(number, entry) for number, entry in enumerate(entries)]
        answers = await self._control.submit_all(jobs, scope=request[CALLER].name)
        return json_response({"jobs": [accepted_view(answer) for answer in answers]}, 202)

    @needs("read")
    async def find(self, request: web.Request) -> web.Response:
        query = request.query
        page = await self._control.find(
            JobQuery(
                state=_state(query.get("state")),
                kind=query.get("taskType"),
                user_id=query.get("userId"),
                text=query.get("text"),
                cursor=query.get("cursor"),
                limit=_limit(query.get("limit")),
            )
        )
        return json_response(
            {"jobs": [self._control.view(record, brief=True) for record in page.jobs], "cursor": page.cursor}
        )

    @needs("read")
    async def show(self, request: web.Request) -> web.Response:
        """`?wait=S` holds the answer until the job has ended, S seconds at most."""
        job_id, wait = request.match_info["id"], request.query.get("wait")
        record = await (self._control.show(job_id) if wait is None else self._control.wait(job_id, _seconds(wait)))
        return json_response(self._control.view(record))

    @needs("admin")
    async def cancel(self, request: web.Request) -> web.Response:
        return json_response({"status": await self._control.cancel(request.match_info["id"])}, 202)

    @needs("admin")
    async def retry(self, request: web.Request) -> web.Response:
        record = await self._control.retry(request.match_info["id"])
        return json_response(self._control.view(record), 202)

    @needs("read")
    async def notifications(self, request: web.Request) -> web.Response:
        query = request.query
        before = query.get("cursor")
        limit = _limit(query.get("limit"))
        records = await self._control.notifications(
            state=query.get("state"),
            user_id=query.get("userId"),
            before=None if before is None else _number("cursor", before),
            limit=limit,
        )
        cursor = str(records[-1].id) if len(records) == limit else None
        return json_response({"notifications": [notification_view(record) for record in records], "cursor": cursor})

    @needs("admin")
    async def resend(self, request: web.Request) -> web.Response:
        return json_response({"id": await self._control.resend(request.match_info["id"])}, 202)


def _entry(number: int, entry: Any) -> JobRequest:
    try:
        return parse_request(entry)
    except InvalidPayload as exc:
        raise InvalidPayload(f"jobs[{number}]: {exc}") from None


def _state(text: str | None) -> JobState | None:
    if text is None:
        return None
    try:
        return JobState(text)
    except ValueError:
        raise InvalidPayload(f"state {text!r} is none of: {', '.join(JobState)}") from None


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):  # no more than the store's 64 bits hold
        raise InvalidPayload(f"{name}={text[:40]!r} is no whole number")
    return int(text)


def _limit(text: str | None) -> int:
    return _PAGE if text is None else max(1, min(_LONGEST_PAGE, _number("limit", text)))


def _seconds(text: str) -> float:
    try:
        return max(0.0, min(_LONGEST_WAIT, float(text)))
    except ValueError:
        raise InvalidPayload(f"wait={text!r} is no number of seconds") from None


def draining() -> web.Response:
    """What intake answers while the service stops."""
    return problem(503, "the service is stopping", {"Retry-After": "5"})
