"""The kinds of jobs there are: what each takes, how many wait, and whether it is paused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiohttp import web

from worker.control import Control
from worker.door.access import CALLER
from worker.door.answers import Answer
from worker.door.problems import json_response
from worker.door.routes import Route
from worker.errors import NotFound
from worker.executor import Executor
from worker.handler import Execution, Handler


class KindAnswer(Answer):
    task_type: str
    execution: Execution
    timeout_seconds: float
    """For one attempt."""
    paused: bool
    queued: int | None
    """How many wait; null for a key that is bound to users or organisations."""
    files: list[str]
    """Fields of the payload that take the path of an uploaded file."""
    payload_schema: dict[str, Any]
    """JSON Schema of the payload."""


class KindsAnswer(Answer):
    kinds: list[KindAnswer]


class PauseAnswer(Answer):
    task_type: str
    paused: bool


@dataclass(frozen=True, slots=True)
class KindRoutes:
    """`/api/v1/kinds`."""

    control: Control
    executor: Executor

    def routes(self) -> Sequence[Route]:
        path = "/api/v1/kinds"
        done: Mapping[int, type[Answer]] = {200: PauseAnswer}
        pause, resume = "Start no job of this kind, also after a restart", "Start jobs of this kind again"
        return (
            Route(
                "GET", path, self.show, "The kinds of jobs there are", "read", answers={200: KindsAnswer}, bound=True
            ),
            Route("POST", f"{path}/{{kind}}/pause", self.pause, pause, "admin", answers=done),
            Route("POST", f"{path}/{{kind}}/resume", self.resume, resume, "admin", answers=done),
        )

    async def show(self, request: web.Request) -> web.Response:
        store = self.control.store
        paused = await store.paused()
        waiting = None if request[CALLER].is_bound else await store.counts_by_kind()
        kinds = [
            self._view(handler, paused=kind in paused, queued=None if waiting is None else waiting.get(kind, 0))
            for kind, handler in sorted(self.control.registry.items())
        ]
        return json_response({"kinds": kinds})

    async def pause(self, request: web.Request) -> web.Response:
        kind = self._kind(request)
        await self.control.store.pause(kind)
        return json_response({"taskType": kind, "paused": True})

    async def resume(self, request: web.Request) -> web.Response:
        kind = self._kind(request)
        await self.control.store.resume(kind)
        return json_response({"taskType": kind, "paused": False})

    def _kind(self, request: web.Request) -> str:
        kind = request.match_info["kind"]
        if kind not in self.control.registry:
            raise NotFound(f"there is no kind {kind!r}; there are: {', '.join(sorted(self.control.registry))}")
        return kind

    def _view(self, handler: Handler, *, paused: bool, queued: int | None) -> Mapping[str, Any]:
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


@lru_cache(maxsize=256)
def _schema(handler: Handler) -> dict[str, Any]:
    """Made once: it costs a millisecond, and pages ask every other second."""
    return handler.payload.model_json_schema()
