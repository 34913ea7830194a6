"""Events as they happen, for open pages: server-sent events (the HTML standard, 9.2).

Each event is built and encoded once for all subscribers, and not at all while there are none. A page that reads too
slowly is disconnected; its browser reconnects by itself and starts with the newest figures.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from typing_extensions import TypedDict

from worker.api.auth.authenticator import CALLER
from worker.api.errors import problem
from worker.api.routing import Route
from worker.api.schemas import Timestamp, deprecated
from worker.core.clock import Clock, rfc3339
from worker.core.events import Emit, JobSettled, LoopFailed, WaitingJobCancelled
from worker.core.job import Job
from worker.errors import StoreError
from worker.observability.stats import OUTCOMES

MAX_SUBSCRIBERS: Final = 100
_TICK: Final = 0.25
"""Seconds between two batches."""
_TICKS_PER_STATS: Final = 4
_MAX_SETTLED: Final = 100
"""Settled jobs in one batch; further ones are only counted."""
_MAX_PROGRESS: Final = 500
"""Running jobs with progress in one batch."""
_MAX_BEHIND: Final = 16
"""Batches that a subscriber may be behind, in addition to the transport's buffer."""
_LONGEST: Final = 900.0
"""Seconds of one stream: a page that reconnects is authenticated again."""
_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    # Otherwise nginx would hold the stream back until its buffer is full.
    "X-Accel-Buffering": "no",
}
_RETRY: Final = b"retry: 2000\n\n"
"""Milliseconds before a browser reconnects."""

Remove = Callable[[], None]


class SettledJob(TypedDict):
    jobId: str
    taskType: str
    userId: str
    status: str
    attempt: int
    durationMs: float
    duration: Annotated[float, deprecated("durationMs")]
    completedAt: Timestamp


class JobProgress(TypedDict):
    jobId: str
    taskType: str
    userId: str
    percent: float
    note: str


@dataclass(frozen=True, slots=True)
class StreamSources:
    """The sources of the stream's events; listeners are added only while there are subscribers."""

    stats: Callable[[], Awaitable[Any]]
    """Returns the present figures, for JSON."""
    settled: Callable[[Callable[[Any], None]], Remove]
    """Adds a listener for JobSettled and WaitingJobCancelled."""
    progress: Callable[[Callable[[Job, float, str], None]], Remove]


@dataclass(slots=True, eq=False)
class Subscriber:
    """One page. `chunks` holds what is to be written; None ends the stream."""

    abort: Callable[[], None] = lambda: None
    """Drops its connection and all unsent data."""
    chunks: "asyncio.Queue[bytes | None]" = field(default_factory=lambda: asyncio.Queue(_MAX_BEHIND))


class EventStream:
    """All subscribers, and the events that they receive."""

    def __init__(self, sources: StreamSources, clock: Clock, emit: Emit, tick: float = _TICK) -> None:
        self._sources = sources
        self._clock = clock
        self._emit = emit
        self._tick = tick
        self._subscribers: dict[Subscriber, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._settled: list[SettledJob] = []
        self._not_listed = 0
        self._progress: dict[str, tuple[Job, float, str]] = {}
        self._newest = b""
        """The last figures, for new subscribers."""
        self._closed = False

    def __len__(self) -> int:
        return len(self._subscribers)

    @contextlib.contextmanager
    def subscription(self) -> Iterator[Subscriber]:
        """Add a subscriber until the end of the block; the first one starts the stream, the last one stops it."""
        subscriber = Subscriber()
        subscriber.chunks.put_nowait(_RETRY + self._newest)
        self._subscribers[subscriber] = None
        if self._closed:
            self._drop(subscriber)
        elif self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="live")
        try:
            yield subscriber
        finally:
            self._subscribers.pop(subscriber, None)
            if not self._subscribers:
                self._stop()

    def drop_all(self) -> None:
        """End every stream; callers that are still allowed reconnect and are authenticated again."""
        for subscriber in tuple(self._subscribers):
            self._drop(subscriber)

    def close(self) -> None:
        """End every stream when the service stops, so that none delays it."""
        self._closed = True
        self.drop_all()
        self._stop()

    # -- events ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Send batches until cancelled; listen to the sources for as long."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._sources.settled(self._on_settled))
            stack.callback(self._sources.progress(self._on_progress))
            tick = 0
            while True:
                chunk = self._batch()
                if tick % _TICKS_PER_STATS == 0:
                    self._newest = await self._figures()
                    chunk += self._newest or b": no figures\n\n"
                if chunk:
                    self._send(chunk)
                tick += 1
                await asyncio.sleep(self._tick)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._settled.clear()
        self._progress.clear()
        self._not_listed, self._newest = 0, b""

    def _on_settled(self, event: JobSettled | WaitingJobCancelled) -> None:
        if len(self._settled) < _MAX_SETTLED:
            self._settled.append(self._settled_job(event))
        else:
            self._not_listed += 1

    def _settled_job(self, event: JobSettled | WaitingJobCancelled) -> SettledJob:
        if isinstance(event, WaitingJobCancelled):
            return {
                "jobId": event.job_id,
                "taskType": event.kind,
                "userId": event.user_id,
                "status": "cancelled",
                "attempt": 0,
                "durationMs": 0.0,
                "duration": 0.0,
                "completedAt": rfc3339(self._clock.now()),
            }
        attempt, job = event.attempt, event.attempt.job
        return {
            "jobId": job.id,
            "taskType": job.kind,
            "userId": job.user_id,
            "status": OUTCOMES[type(event.outcome)],
            "attempt": job.attempt,
            "durationMs": attempt.duration_ms,
            "duration": attempt.duration_ms,
            "completedAt": rfc3339(attempt.finished_at),
        }

    def _on_progress(self, job: Job, percent: float, note: str) -> None:
        if len(self._progress) < _MAX_PROGRESS or job.id in self._progress:
            self._progress[job.id] = (job, percent, note)

    def _batch(self) -> bytes:
        chunk = b""
        if self._progress:
            jobs = [_job_progress(*progress) for progress in self._progress.values()]
            self._progress.clear()
            chunk += _event(b"progress", {"jobs": jobs})
        if self._settled:
            chunk += _event(b"settled", {"jobs": self._settled, "more": self._not_listed})
            self._settled, self._not_listed = [], 0
        return chunk

    async def _figures(self) -> bytes:
        try:
            return _event(b"stats", await self._sources.stats())
        except StoreError:
            return b""  # /health has the reason
        except Exception as exc:  # noqa: BLE001 -- the stream goes on
            self._emit(LoopFailed("collecting figures for open pages", exc, 0.0))
            return b""

    def _send(self, chunk: bytes) -> None:
        for subscriber in tuple(self._subscribers):
            try:
                subscriber.chunks.put_nowait(chunk)
            except asyncio.QueueFull:
                self._drop(subscriber)
                subscriber.abort()  # a write in progress would wait for the slow reader indefinitely

    def _drop(self, subscriber: Subscriber) -> None:
        self._subscribers.pop(subscriber, None)
        while not subscriber.chunks.empty():
            subscriber.chunks.get_nowait()
        subscriber.chunks.put_nowait(None)


def _job_progress(job: Job, percent: float, note: str) -> JobProgress:
    return {"jobId": job.id, "taskType": job.kind, "userId": job.user_id, "percent": percent, "note": note}


def _event(name: bytes, data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, orjson.dumps(data))


class LiveRoutes:
    """`/api/v1/live`."""

    def __init__(
        self, stream: EventStream, longest: float = _LONGEST, streams_per_caller: int = MAX_SUBSCRIBERS
    ) -> None:
        self._stream = stream
        self._longest = longest
        self._streams_per_caller = streams_per_caller
        self._by_caller: Counter[str] = Counter()

    def routes(self) -> Sequence[Route]:
        summary = "Events as they happen: stats, progress, settled (server-sent events)"
        return (Route("GET", "/api/v1/live", self.subscribe, summary, "read", content="text/event-stream"),)

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        if len(self._stream) >= MAX_SUBSCRIBERS:
            return problem(503, f"{MAX_SUBSCRIBERS} streams are open: try again later", {"Retry-After": "30"})
        caller = request[CALLER].actor
        if self._by_caller[caller] >= self._streams_per_caller:
            text = f"this caller has {self._streams_per_caller} streams open: close one (Http:StreamsPerCaller)"
            return problem(429, text, {"Retry-After": "30"})
        response = web.StreamResponse(headers=_HEADERS)
        with self._counted(caller), self._stream.subscription() as subscriber:
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            if request.transport is not None:
                subscriber.abort = request.transport.abort
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(self._longest):
                    while (chunk := await subscriber.chunks.get()) is not None:
                        await response.write(chunk)
        return response

    @contextlib.contextmanager
    def _counted(self, caller: str) -> Iterator[None]:
        self._by_caller[caller] += 1
        try:
            yield
        finally:
            self._by_caller[caller] -= 1
            if not self._by_caller[caller]:
                del self._by_caller[caller]
