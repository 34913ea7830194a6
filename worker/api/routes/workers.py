"""`/api/v1/workers`: the worker of this process, its running jobs, and its concurrency."""

import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from worker import __version__
from worker.api.errors import json_response
from worker.api.request_body import read_body
from worker.api.request_values import Query, given
from worker.api.routing import SMALL_BODY, Route
from worker.api.schemas import Timestamp, response
from worker.core.clock import rfc3339
from worker.core.plain_numbers import json_integer
from worker.runtime.running_attempt import RunningAttempt
from worker.runtime.worker import Worker

_MAX_LISTED: Final = 500
"""Running jobs in one response."""


@response
class RunningJob(TypedDict):
    jobId: str
    taskType: str
    userId: str
    attempt: int
    startedAt: Timestamp
    percent: float
    note: str
    waiting: bool
    """It waits for a child process."""
    cancelling: bool
    """It has received the request to stop."""


@response
class WorkerAnswer(TypedDict):
    id: str
    host: str
    pid: int
    version: str
    startedAt: Timestamp
    concurrency: int
    processes: int
    quiet: bool
    runningCount: int
    running: list[RunningJob]
    """The first 500, oldest first."""


@response
class WorkersAnswer(TypedDict):
    workers: list[WorkerAnswer]


class WorkersChange(Query):
    """What to change, until the next start or until a reload changes the setting."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [given("concurrency"), given("quiet")]})

    concurrency: Annotated[int, Field(ge=1, le=10_000, strict=True), BeforeValidator(json_integer)] | None = None
    quiet: Annotated[bool, Field(strict=True)] | None = None

    @model_validator(mode="after")
    def _names_a_change(self) -> "WorkersChange":
        if self.concurrency is None and self.quiet is None:
            raise ValueError("name at least one of: concurrency, quiet")
        return self


@dataclass(frozen=True, slots=True)
class WorkerRoutes:
    """A list of one worker; several processes may share a store one day."""

    worker: Worker
    id: str
    started_at: float
    set_quiet: Callable[[bool], None]
    resize: Callable[[int], Awaitable[None]]

    def routes(self) -> Sequence[Route]:
        path = "/api/v1/workers"
        answers: Mapping[int, type[Any]] = {200: WorkersAnswer}
        change = "Change the concurrency, or make the worker quiet: it finishes what runs and starts nothing new"
        return (
            Route("GET", path, self.show, "Workers and their running jobs", "read", answers=answers),
            Route(
                "PATCH", path, self.change, change, "admin", body=WorkersChange, answers=answers, max_body=SMALL_BODY
            ),
        )

    async def show(self, _request: web.Request) -> web.Response:
        workers: WorkersAnswer = {"workers": [self._view()]}
        return json_response(workers)

    async def change(self, request: web.Request) -> web.Response:
        wanted = await read_body(request, WorkersChange)
        if wanted.concurrency is not None:
            await self.resize(wanted.concurrency)
        if wanted.quiet is not None:
            self.set_quiet(wanted.quiet)
        return await self.show(request)

    def _view(self) -> WorkerAnswer:
        running = self.worker.executor.running
        listed = list(running.values())[:_MAX_LISTED]
        return {
            "id": self.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "startedAt": rfc3339(self.started_at),
            "concurrency": self.worker.concurrency,
            "processes": self.worker.executor.pool.size,
            "quiet": self.worker.quiet,
            "runningCount": len(running),
            "running": [_running_job(one) for one in listed],
        }


def _running_job(running: RunningAttempt) -> RunningJob:
    return {
        "jobId": running.job.id,
        "taskType": running.job.kind,
        "userId": running.job.user_id,
        "attempt": running.job.attempt,
        "startedAt": rfc3339(running.started_at),
        "percent": running.percent,
        "note": running.note,
        "waiting": running.waits_for_child,
        "cancelling": running.cancelled,
    }
