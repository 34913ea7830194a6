"""Figures of the whole service, for pages and for Prometheus. Counts nothing itself."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from worker.clock import Clock, rfc3339
from worker.door.answers import Answer, Timestamp
from worker.door.problems import json_response
from worker.door.routes import Route
from worker.queue import Store
from worker.tally import Second, Tally
from worker.worker import Worker


class Outbox(Answer):
    depth: int
    dead: int
    oldest_age: float | None


class Size(Answer):
    size: int
    """Bytes."""
    max: int
    full: bool


class Throughput(Answer):
    """One second; `at` is its end."""

    at: Timestamp
    enqueued: int
    succeeded: int
    failed: int
    cancelled: int


class Latency(Answer):
    """Milliseconds that the last 1024 attempts took."""

    p50: float | None
    p99: float | None


class Stats(Answer):
    """The service now."""

    at: Timestamp
    jobs: dict[str, int]
    """By state."""
    queued: dict[str, int]
    """Waiting jobs by kind, those of paused kinds too."""
    paused: list[str]
    running: int
    concurrency: int
    quiet: bool
    oldest_job_age: float | None
    """Seconds since the oldest job that could run fell due."""
    outbox: Outbox
    store: Size
    throughput: list[Throughput]
    """The last five minutes, the oldest first; on the stream the seconds since the event before."""
    latency: Latency


@dataclass(frozen=True, slots=True)
class Statistics:
    """Puts the figures together; every call asks the store."""

    store: Store
    tally: Tally
    worker: Worker
    clock: Clock

    async def now(self, *, seconds: int | None = None) -> dict[str, Any]:
        """As `Stats`, with that many of the last seconds; None: all there are. StoreError: it does not answer."""
        figures = await self.store.figures()
        queued, paused = await self.store.counts_by_kind(), await self.store.paused()
        known = list(self.tally.seconds)
        return {
            "at": rfc3339(self.clock.now()),
            "jobs": dict(figures.jobs),
            "queued": dict(queued),
            "paused": sorted(paused),
            "running": self.worker.running,
            "concurrency": self.worker.concurrency,
            "quiet": self.worker.quiet,
            "oldestJobAge": figures.oldest_job_age,
            "outbox": {
                "depth": figures.outbox_depth,
                "dead": figures.outbox_dead,
                "oldestAge": figures.oldest_outbox_age,
            },
            "store": {"size": figures.size_bytes, "max": figures.max_bytes, "full": figures.full},
            "throughput": [_second(second) for second in (known if seconds is None else known[-seconds:])],
            "latency": {"p50": self.tally.percentile(0.5), "p99": self.tally.percentile(0.99)},
        }


def _second(second: Second) -> dict[str, Any]:
    return {"at": rfc3339(second.at)} | dict(zip(Second._fields[1:], second[1:], strict=True))


Exposition = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Takes what the scraper accepts; gives the page and its content type."""


class StatsRoutes:
    """`/api/v1/stats` and `/metrics`."""

    def __init__(self, statistics: Callable[[], Awaitable[Mapping[str, Any]]], exposition: Exposition) -> None:
        self._statistics = statistics
        self._exposition = exposition

    def routes(self) -> Sequence[Route]:
        stats: Mapping[int, type[Answer]] = {200: Stats}
        return (
            Route("GET", "/api/v1/stats", self.stats, "Figures of the whole service", "read", answers=stats),
            Route("GET", "/metrics", self.metrics, "For Prometheus", "read", content="text/plain"),
        )

    async def stats(self, _request: web.Request) -> web.Response:
        return json_response(await self._statistics())

    async def metrics(self, request: web.Request) -> web.Response:
        body, content_type = await self._exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})
