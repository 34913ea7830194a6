"""Figures of the whole service, for pages and for Prometheus. Counts nothing itself."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from typing_extensions import TypedDict

from worker.api.errors import json_response
from worker.api.routing import Route
from worker.api.schemas import Timestamp, deprecated, response
from worker.core.clock import Clock, rfc3339
from worker.core.store import Store
from worker.observability.stats import JobStats, PerSecondCounts
from worker.runtime.worker import Worker


@response
class OutboxAnswer(TypedDict):
    depth: int
    dead: int
    oldestAgeSeconds: float | None
    oldestAge: Annotated[float | None, deprecated("oldestAgeSeconds")]


@response
class StoreSize(TypedDict):
    sizeBytes: int
    maxBytes: int
    size: Annotated[int, deprecated("sizeBytes")]
    max: Annotated[int, deprecated("maxBytes")]
    full: bool


@response
class Throughput(TypedDict):
    """One second; `at` is its end."""

    at: Timestamp
    enqueued: int
    succeeded: int
    failed: int
    cancelled: int


@response
class Latency(TypedDict):
    """Milliseconds that the last 1024 attempts took."""

    p50: float | None
    p99: float | None


@response
class Stats(TypedDict):
    """The present figures of the service."""

    at: Timestamp
    jobs: dict[str, int]
    """By status."""
    queued: dict[str, int]
    """Waiting jobs by task type, paused ones included."""
    paused: list[str]
    running: int
    concurrency: int
    quiet: bool
    oldestJobAgeSeconds: float | None
    """Since the oldest waiting job was due."""
    oldestJobAge: Annotated[float | None, deprecated("oldestJobAgeSeconds")]
    outbox: OutboxAnswer
    store: StoreSize
    throughput: list[Throughput]
    """The last five minutes, oldest first; in the stream the last three seconds."""
    latencyMs: Latency
    latency: Annotated[Latency, deprecated("latencyMs")]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Collects the figures; every call reads the store."""

    store: Store
    tally: JobStats
    worker: Worker
    clock: Clock

    async def now(self, *, seconds: int | None = None) -> Stats:
        """Return the figures with that many of the last seconds, or all that are kept. Raises StoreError."""
        figures = await self.store.stats()
        queued, paused = await self.store.counts_by_kind(), await self.store.paused()
        known = list(self.tally.seconds)
        latency: Latency = {"p50": self.tally.percentile(0.5), "p99": self.tally.percentile(0.99)}
        return {
            "at": rfc3339(self.clock.now()),
            "jobs": dict(figures.jobs),
            "queued": dict(queued),
            "paused": sorted(paused),
            "running": self.worker.running,
            "concurrency": self.worker.concurrency,
            "quiet": self.worker.quiet,
            "oldestJobAgeSeconds": figures.oldest_job_age,
            "oldestJobAge": figures.oldest_job_age,
            "outbox": {
                "depth": figures.outbox_depth,
                "dead": figures.outbox_dead,
                "oldestAgeSeconds": figures.oldest_outbox_age,
                "oldestAge": figures.oldest_outbox_age,
            },
            "store": _store_size(figures.size_bytes, figures.max_bytes, full=figures.full),
            "throughput": [_throughput(second) for second in (known if seconds is None else known[-seconds:])],
            "latencyMs": latency,
            "latency": latency,
        }


def _store_size(size: int, largest: int, *, full: bool) -> StoreSize:
    return {"sizeBytes": size, "maxBytes": largest, "size": size, "max": largest, "full": full}


def _throughput(second: PerSecondCounts) -> Throughput:
    return {
        "at": rfc3339(second.at),
        "enqueued": second.enqueued,
        "succeeded": second.succeeded,
        "failed": second.failed,
        "cancelled": second.cancelled,
    }


Exposition = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Takes the scraper's Accept header; returns the page and its content type."""


class StatsRoutes:
    """`/api/v1/stats` and `/metrics`."""

    def __init__(self, statistics: Callable[[], Awaitable[Mapping[str, Any]]], exposition: Exposition) -> None:
        self._statistics = statistics
        self._exposition = exposition

    def routes(self) -> Sequence[Route]:
        stats: Mapping[int, type[Any]] = {200: Stats}
        return (
            Route("GET", "/api/v1/stats", self.stats, "Figures of the whole service", "read", answers=stats),
            Route("GET", "/metrics", self.metrics, "Metrics for Prometheus", "read", content="text/plain"),
        )

    async def stats(self, _request: web.Request) -> web.Response:
        return json_response(await self._statistics())

    async def metrics(self, request: web.Request) -> web.Response:
        body, content_type = await self._exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})
