"""The kinds of jobs (`taskType` in the API): their schemas, how many wait, and whether they are paused."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiohttp import web
from typing_extensions import TypedDict

from worker.api.auth.authenticator import CALLER
from worker.api.errors import json_response
from worker.api.request_values import Limit, Query, query_of
from worker.api.routing import Route
from worker.api.schemas import response
from worker.core.claim_rules import HeldBy, WaitingLine
from worker.errors import NotFound
from worker.handler import Execution, Handler
from worker.runtime.executor import Executor
from worker.runtime.operations import JobService

_PATH = "/api/v1/task-types"
_OLD_PATH = "/api/v1/kinds"
"""Deprecated until 1.0."""


@response
class TaskTypeAnswer(TypedDict):
    taskType: str
    execution: Execution
    timeoutSeconds: float
    """For one attempt."""
    paused: bool
    queued: int | None
    """How many wait; null for a key that is bound to users or organisations."""
    files: list[str]
    """Fields of the payload that take the path of an uploaded file."""
    payloadSchema: dict[str, Any]
    """JSON Schema of the payload."""


@response
class TaskTypesAnswer(TypedDict):
    taskTypes: list[TaskTypeAnswer]
    unserved: dict[str, int] | None
    """Queued jobs by task type for which this service has no handler; null for a key that is bound."""


@response
class WaitingLineAnswer(TypedDict):
    """Queued jobs that have all this in common."""

    priority: int
    organization: str | None
    userId: str | None
    """null: so many users wait that several share a line."""
    taskType: str
    apiKey: str | None
    """The key that they were submitted with."""
    queued: int
    running: int
    position: int | None
    """How many lines have their turn before this one; null: none of its jobs may start now."""
    heldBy: HeldBy | None
    """unserved: no handler; paused; running, per minute: a limit of Worker:Limits."""


@response
class WaitingLinesAnswer(TypedDict):
    lines: list[WaitingLineAnswer]


class LinesQuery(Query):
    """How many lines."""

    limit: Limit = 50


@response
class KindsAnswer(TypedDict):
    """Deprecated until 1.0: use /api/v1/task-types."""

    kinds: list[TaskTypeAnswer]


@response
class PauseAnswer(TypedDict):
    taskType: str
    paused: bool


@dataclass(frozen=True, slots=True)
class KindRoutes:
    """`/api/v1/task-types`, and `/api/v1/kinds`, its address before 1.0."""

    jobs: JobService
    executor: Executor

    def routes(self) -> Sequence[Route]:
        new, old = self.show, self.show_kinds
        listed = "The task types that there are"
        return (
            Route("GET", _PATH, new, listed, "read", answers={200: TaskTypesAnswer}, bound=True),
            Route("GET", _OLD_PATH, old, listed, "read", answers={200: KindsAnswer}, bound=True, deprecated=True),
            Route(
                "GET",
                "/api/v1/waiting-lines",
                self.show_lines,
                "Which jobs wait behind which: the next to start first",
                "read",
                LinesQuery,
                answers={200: WaitingLinesAnswer},
            ),
            *self._changes(f"{_PATH}/{{taskType}}", deprecated=False),
            *self._changes(f"{_OLD_PATH}/{{kind}}", deprecated=True),
        )

    def _changes(self, path: str, *, deprecated: bool) -> Sequence[Route]:
        def change(word: str, handle: Callable[[web.Request], Awaitable[web.Response]], summary: str) -> Route:
            answers: Mapping[int, type[Any]] = {200: PauseAnswer}
            return Route(
                "POST",
                f"{path}/{word}",
                handle,
                summary,
                "admin",
                answers=answers,
                deprecated=deprecated,
                audited_as=f"kinds.{word}",
            )

        return (
            change("pause", self.pause, "Start no job of this type, not even after a restart"),
            change("resume", self.resume, "Start jobs of this type again"),
        )

    async def show(self, request: web.Request) -> web.Response:
        found: TaskTypesAnswer = {"taskTypes": await self._list(request), "unserved": None}
        if not request[CALLER].is_bound:
            waiting = await self.jobs.store.counts_by_kind()
            found["unserved"] = {kind: n for kind, n in waiting.items() if n and kind not in self.jobs.registry}
        return json_response(found)

    async def show_kinds(self, request: web.Request) -> web.Response:
        found: KindsAnswer = {"kinds": await self._list(request)}
        return json_response(found)

    async def show_lines(self, request: web.Request) -> web.Response:
        lines = await self.jobs.store.waiting_lines(query_of(request, LinesQuery).limit)
        found: WaitingLinesAnswer = {"lines": [_line(line) for line in lines]}
        return json_response(found)

    async def pause(self, request: web.Request) -> web.Response:
        kind = self._kind(request)
        await self.jobs.store.pause(kind)
        answer: PauseAnswer = {"taskType": kind, "paused": True}
        return json_response(answer)

    async def resume(self, request: web.Request) -> web.Response:
        kind = self._kind(request)
        await self.jobs.store.resume(kind)
        answer: PauseAnswer = {"taskType": kind, "paused": False}
        return json_response(answer)

    def _kind(self, request: web.Request) -> str:
        [kind] = request.match_info.values()
        if kind not in self.jobs.registry:
            raise NotFound(f"there is no task type {kind!r}; known are: {', '.join(sorted(self.jobs.registry))}")
        return kind

    async def _list(self, request: web.Request) -> list[TaskTypeAnswer]:
        store = self.jobs.store
        paused = await store.paused()
        waiting = None if request[CALLER].is_bound else await store.counts_by_kind()
        return [
            self._view(handler, paused=kind in paused, queued=None if waiting is None else waiting.get(kind, 0))
            for kind, handler in sorted(self.jobs.registry.items())
        ]

    def _view(self, handler: Handler, *, paused: bool, queued: int | None) -> TaskTypeAnswer:
        executor = self.executor
        return {
            "taskType": handler.kind,
            "execution": executor.overrides.get(handler.kind, handler.execution),
            "timeoutSeconds": handler.timeout or executor.timeout,
            "paused": paused,
            "queued": queued,
            "files": list(handler.files),
            "payloadSchema": _schema(handler),
        }


def _line(line: WaitingLine) -> WaitingLineAnswer:
    return {
        "priority": line.priority,
        "organization": line.organization,
        "userId": line.user_id,
        "taskType": line.kind,
        "apiKey": line.submitter,
        "queued": line.queued,
        "running": line.running,
        "position": line.position,
        "heldBy": line.held_by,
    }


@lru_cache(maxsize=256)
def _schema(handler: Handler) -> dict[str, Any]:
    """Return the payload's JSON Schema; cached, since it takes a millisecond and pages request it every two seconds."""
    return handler.payload.model_json_schema()
