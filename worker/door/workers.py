"""Who does the work: the worker of this process, what runs in it, and how much at once."""

import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import ConfigDict, Field, model_validator

from worker import __version__
from worker.clock import rfc3339
from worker.door.answers import Answer, Timestamp
from worker.door.bodies import body_of
from worker.door.problems import json_response
from worker.door.routes import Route
from worker.executor import Running
from worker.worker import Worker

_MOST: Final = 500
"""Running jobs that are listed."""


class RunningJob(Answer):
    job_id: str
    task_type: str
    user_id: str
    attempt: int
    started_at: Timestamp
    percent: float
    note: str
    waiting: bool
    """It waits for a child process of its own."""
    cancelling: bool
    """It was told to stop."""


class WorkerAnswer(Answer):
    id: str
    host: str
    pid: int
    version: str
    started_at: Timestamp
    concurrency: int
    processes: int
    quiet: bool
    running_count: int
    running: list[RunningJob]
    """The first 500, those that began first."""


class WorkersAnswer(Answer):
    workers: list[WorkerAnswer]


class WorkersChange(Answer):
    """What is to change; until the next start, or until a reload changes the setting."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    concurrency: Annotated[int, Field(ge=1, le=10_000, strict=True)] | None = None
    quiet: Annotated[bool, Field(strict=True)] | None = None

    @model_validator(mode="after")
    def _names_something(self) -> "WorkersChange":
        if self.concurrency is None and self.quiet is None:
            raise ValueError("name at least one of: concurrency, quiet")
        return self


@dataclass(frozen=True, slots=True)
class WorkerRoutes:
    """`/api/v1/workers`: a list, for there may be several processes one day."""

    worker: Worker
    id: str
    started_at: float
    set_quiet: Callable[[bool], None]
    resize: Callable[[int], Awaitable[None]]

    def routes(self) -> Sequence[Route]:
        path, answers = "/api/v1/workers", {200: WorkersAnswer}
        change = "Change how many jobs run at once, or be quiet: finish what runs, start nothing new"
        return (
            Route("GET", path, self.show, "Workers and what runs in them", "read", answers=answers),
            Route("PATCH", path, self.change, change, "admin", body=WorkersChange, answers=answers),
        )

    async def show(self, _request: web.Request) -> web.Response:
        return json_response({"workers": [self._view()]})

    async def change(self, request: web.Request) -> web.Response:
        wanted = await body_of(request, WorkersChange)
        if wanted.concurrency is not None:
            await self.resize(wanted.concurrency)
        if wanted.quiet is not None:
            self.set_quiet(wanted.quiet)
        return await self.show(request)

    def _view(self) -> Mapping[str, Any]:
        running = self.worker.executor.running
        listed = list(running.values())[:_MOST]
        return {
            "id": self.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "startedAt": rfc3339(self.started_at),
            "concurrency": self.worker.concurrency,
            "processes": self.worker.executor.children.size,
            "quiet": self.worker.quiet,
            "runningCount": len(running),
            "running": [_job(one) for one in listed],
        }


def _job(running: Running) -> Mapping[str, Any]:
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
