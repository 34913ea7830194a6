"""What happens, as it happens, for pages that watch: server-sent events (the HTML standard, 9.2).

Everything is worked out and encoded once for all who watch, and not at all while nobody does. A page that reads too
slowly is dropped; its browser comes back by itself and begins with the newest figures.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

from worker.clock import Clock, rfc3339
from worker.door.problems import problem
from worker.door.routes import Route
from worker.errors import StoreError
from worker.events import Emit, JobSettled, LoopFailed, WaitingJobCancelled
from worker.job import Job
from worker.tally import OUTCOMES

MOST_VIEWERS: Final = 100
_TICK: Final = 0.25
"""Seconds between two batches."""
_TICKS_PER_STATS: Final = 4
_MOST_ENDS: Final = 100
"""Ends of jobs in one batch; of more only their number is told."""
_MOST_STEPS: Final = 500
"""Running jobs whose progress is told in one batch."""
_BEHIND: Final = 16
"""Batches a viewer may be behind; the transport's buffer comes on top."""
_LONGEST: Final = 900.0
"""Seconds of one stream: whoever comes back shows again that he may."""
_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    # nginx would collect the stream until its buffer is full.
    "X-Accel-Buffering": "no",
}
_RETRY: Final = b"retry: 2000\n\n"
"""Milliseconds before a browser comes back."""

Remove = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the stream's events come from; each is listened to only while somebody watches."""

    stats: Callable[[], Awaitable[Any]]
    """The figures now, for JSON."""
    ends: Callable[[Callable[[Any], None]], Remove]
    """Tell it of JobSettled and WaitingJobCancelled."""
    progress: Callable[[Callable[[Job, float, str], None]], Remove]


@dataclass(slots=True, eq=False)
class Viewer:
    """One page. `chunks` holds what is to be written; None ends the stream."""

    cut: Callable[[], None] = lambda: None
    """Ends its connection, whatever is still to be written."""
    chunks: "asyncio.Queue[bytes | None]" = field(default_factory=lambda: asyncio.Queue(_BEHIND))


class Live:
    """All who watch, and what they are told."""

    def __init__(self, sources: Sources, clock: Clock, emit: Emit, tick: float = _TICK) -> None:
        self._sources = sources
        self._clock = clock
        self._emit = emit
        self._tick = tick
        self._viewers: dict[Viewer, None] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._ends: list[dict[str, Any]] = []
        self._more = 0
        self._steps: dict[str, tuple[Job, float, str]] = {}
        self._newest = b""
        """The last figures, for who comes in between."""
        self._closed = False

    def __len__(self) -> int:
        return len(self._viewers)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Viewer]:
        """Somebody watches; the first one sets everything going, the last one stops it."""
        viewer = Viewer()
        viewer.chunks.put_nowait(_RETRY + self._newest)
        self._viewers[viewer] = None
        if self._closed:
            self._drop(viewer)
        elif self._ticking is None:
            self._ticking = asyncio.get_running_loop().create_task(self._tick_for_ever(), name="live")
        try:
            yield viewer
        finally:
            self._viewers.pop(viewer, None)
            if not self._viewers:
                self._rest()

    def drop_all(self) -> None:
        """End every stream: who still may comes back and asks anew."""
        for viewer in tuple(self._viewers):
            self._drop(viewer)

    def close(self) -> None:
        """The service stops: no stream holds it up."""
        self._closed = True
        self.drop_all()
        self._rest()

    # -- what is told ------------------------------------------------------------------------------------------

    async def _tick_for_ever(self) -> None:
        """Listens from the first tick to the last."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._sources.ends(self._ended))
            stack.callback(self._sources.progress(self._stepped))
            tick = 0
            while True:
                chunk = self._batch()
                if tick % _TICKS_PER_STATS == 0:
                    self._newest = await self._figures()
                    chunk += self._newest or b": no figures\n\n"
                if chunk:
                    self._tell(chunk)
                tick += 1
                await asyncio.sleep(self._tick)

    def _rest(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        self._ends.clear()
        self._steps.clear()
        self._more, self._newest = 0, b""

    def _ended(self, event: JobSettled | WaitingJobCancelled) -> None:
        if len(self._ends) < _MOST_ENDS:
            self._ends.append(self._end(event))
        else:
            self._more += 1

    def _end(self, event: JobSettled | WaitingJobCancelled) -> dict[str, Any]:
        if isinstance(event, WaitingJobCancelled):
            ids = {"jobId": event.job_id, "taskType": event.kind, "userId": event.user_id}
            at = rfc3339(self._clock.now())
            return {**ids, "status": "cancelled", "attempt": 0, "duration": 0.0, "completedAt": at}
        attempt, job = event.attempt, event.attempt.job
        return {
            "jobId": job.id,
            "taskType": job.kind,
            "userId": job.user_id,
            "status": OUTCOMES[type(event.outcome)],
            "attempt": job.attempt,
            "duration": attempt.duration_ms,
            "completedAt": rfc3339(attempt.finished_at),
        }

    def _stepped(self, job: Job, percent: float, note: str) -> None:
        if len(self._steps) < _MOST_STEPS or job.id in self._steps:
            self._steps[job.id] = (job, percent, note)

    def _batch(self) -> bytes:
        chunk = b""
        if self._steps:
            steps = [_step(*step) for step in self._steps.values()]
            self._steps.clear()
            chunk += _event(b"progress", {"jobs": steps})
        if self._ends:
            chunk += _event(b"settled", {"jobs": self._ends, "more": self._more})
            self._ends, self._more = [], 0
        return chunk

    async def _figures(self) -> bytes:
        try:
            return _event(b"stats", await self._sources.stats())
        except StoreError:
            return b""  # /health says more
        except Exception as exc:  # noqa: BLE001 -- the pages that watch go on watching
            self._emit(LoopFailed("working out figures for pages", exc, 0.0))
            return b""

    def _tell(self, chunk: bytes) -> None:
        for viewer in tuple(self._viewers):
            try:
                viewer.chunks.put_nowait(chunk)
            except asyncio.QueueFull:
                self._drop(viewer)
                viewer.cut()  # it would wait for its reader for ever

    def _drop(self, viewer: Viewer) -> None:
        self._viewers.pop(viewer, None)
        while not viewer.chunks.empty():
            viewer.chunks.get_nowait()
        viewer.chunks.put_nowait(None)


def _step(job: Job, percent: float, note: str) -> dict[str, Any]:
    return {"jobId": job.id, "taskType": job.kind, "userId": job.user_id, "percent": percent, "note": note}


def _event(name: bytes, data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, orjson.dumps(data))


class LiveRoutes:
    """`/api/v1/live`."""

    def __init__(self, live: Live, longest: float = _LONGEST) -> None:
        self._live = live
        self._longest = longest

    def routes(self) -> Sequence[Route]:
        summary = "What happens, as it happens: stats, progress, settled (server-sent events)"
        return (Route("GET", "/api/v1/live", self.watch, summary, "read", content="text/event-stream"),)

    async def watch(self, request: web.Request) -> web.StreamResponse:
        if len(self._live) >= MOST_VIEWERS:
            return problem(503, f"{MOST_VIEWERS} pages watch already", {"Retry-After": "30"})
        response = web.StreamResponse(headers=_HEADERS)
        with self._live.watched() as viewer:
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            if request.transport is not None:
                viewer.cut = request.transport.abort
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(self._longest):
                    while (chunk := await viewer.chunks.get()) is not None:
                        await response.write(chunk)
        return response
