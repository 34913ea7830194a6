"""The event stream over real sockets: computed once for all subscribers, and not delayed by slow ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.support.attempts import a_claimed_job
from tests.support.eventually import eventually
from worker.api.auth.authenticator import CALLER, Caller
from worker.api.routes.live import MAX_SUBSCRIBERS, EventStream, LiveRoutes, StreamSources
from worker.api.server import serve_tcp
from worker.core.clock import Clock
from worker.core.events import JobSettled, LoopFailed, WaitingJobCancelled
from worker.core.failure import Failure
from worker.core.job import Job
from worker.core.outcome import Attempt, Failed, Retry, Succeeded
from worker.errors import StoreCorrupt

TICK = 0.02


@dataclass
class Stage:
    """What pages watch."""

    live: EventStream = field(init=False)
    url: str = ""
    session: aiohttp.ClientSession = field(init=False)
    asked: int = 0
    stats: Any = field(default_factory=lambda: {"jobs": {"queued": 1}})
    ends: list[Callable[[Any], None]] = field(default_factory=list)
    steps: list[Callable[[Job, float, str], None]] = field(default_factory=list)
    received: list[object] = field(default_factory=list)

    async def figures(self) -> Any:
        self.asked += 1
        if callable(self.stats):
            return self.stats()
        if isinstance(self.stats, Exception):
            raise self.stats
        return self.stats

    def ended(self, event: object) -> None:
        for listen in self.ends:
            listen(event)

    def stepped(self, job: Job, percent: float, note: str) -> None:
        for listen in self.steps:
            listen(job, percent, note)

    @contextlib.asynccontextmanager
    async def watch(self, path: str = "/api/v1/live") -> AsyncIterator["Page"]:
        async with self.session.get(self.url + path) as response:
            assert response.status == 200
            yield Page(response)


@dataclass
class Page:
    """One who watches."""

    response: aiohttp.ClientResponse

    async def block(self) -> str:
        """The next event as it is written; empty: the stream has ended."""
        async with asyncio.timeout(30):
            try:
                text = await self.response.content.readuntil(b"\n\n")
            except aiohttp.ClientPayloadError:
                return ""
            return text.decode().strip()

    async def next(self, name: str) -> Any:
        """The data of the next event of this name."""
        while block := await self.block():
            kind, _, data = block.partition("\n")
            if kind == f"event: {name}":
                return orjson.loads(data.removeprefix("data: "))
        raise AssertionError(f"the stream ended without {name}")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()

    def listening(listeners: list[Any]) -> Callable[[Any], Callable[[], None]]:
        def add(listener: Any) -> Callable[[], None]:
            listeners.append(listener)
            return lambda: listeners.remove(listener)

        return add

    sources = StreamSources(stage.figures, listening(stage.ends), listening(stage.steps))
    stage.live = EventStream(sources, Clock(), stage.received.append, TICK)

    @web.middleware
    async def authenticated(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        request[CALLER] = Caller(request.headers.get("X-Name", "page"), frozenset({"read"}))
        response: web.StreamResponse = await handler(request)
        return response

    app = web.Application(middlewares=[authenticated])
    for path, longest in (("/api/v1/live", 60.0), ("/short", 0.1), ("/few", 60.0)):
        [route] = LiveRoutes(stage.live, longest, 2 if path == "/few" else 1_000).routes()
        app.router.add_get(path, route.handle)
    async with contextlib.AsyncExitStack() as stack:
        stage.url = await stack.enter_async_context(
            serve_tcp(app, "http://127.0.0.1:0", lambda _address, _reason: None)
        )
        stack.callback(stage.live.close)
        stage.session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None))
        )
        yield stage


def settled(job: Job, outcome: Any) -> JobSettled:
    return JobSettled(Attempt(job, 1_700_000_000.0, 1_700_000_001.5, 1500.25), outcome)


async def test_stream_without_subscribers_computes_nothing(stage: Stage) -> None:
    async with stage.watch() as page:
        await page.next("stats")
        assert (len(stage.ends), len(stage.steps), len(stage.live)) == (1, 1, 1)
    await eventually(lambda: len(stage.live) == 0)
    await eventually(lambda: not stage.ends and not stage.steps)
    asked = stage.asked
    await asyncio.sleep(10 * TICK)  # nothing to wait for: it is the absence that counts
    assert stage.asked == asked


async def test_streams_of_one_caller_are_limited_and_counted_until_they_end(stage: Stage) -> None:
    url = f"{stage.url}/few"
    async with stage.session.get(url) as first, stage.session.get(url) as second:
        assert (first.status, second.status) == (200, 200)
        async with stage.session.get(url) as third:
            assert third.status == 429
            assert int(third.headers["Retry-After"]) > 0
        async with stage.session.get(url, headers={"X-Name": "another"}) as other:
            assert other.status == 200
        second.close()
        await eventually(lambda: len(stage.live) == 1)
        async with stage.session.get(url) as again:
            assert again.status == 200


async def test_subscribers_share_one_computation(stage: Stage) -> None:
    async with contextlib.AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(stage.watch()) for _ in range(5)]
        for page in pages:
            assert await page.next("stats") == {"jobs": {"queued": 1}}
        computed, stage.stats = stage.asked, lambda: {"computation": stage.asked}
        for page in pages:
            while (figures := await page.next("stats")) == {"jobs": {"queued": 1}}:
                pass
            # Each page receives the first of the new computations: there is none for one page alone.
            assert figures == {"computation": computed + 1}


async def test_later_subscriber_receives_figures_at_once(stage: Stage) -> None:
    async with stage.watch() as first:
        await first.next("stats")
        async with stage.watch() as second:
            assert await second.block() == "retry: 2000"
            assert (await second.block()).startswith("event: stats\n")


async def test_ends_of_jobs_are_sent_in_batches(stage: Stage) -> None:
    jobs = [a_claimed_job("echo"), a_claimed_job("echo"), a_claimed_job("slow", attempt=3)]
    failure = Failure("ValueError", "broken", None, "0123456789ab")
    async with stage.watch() as page:
        await page.next("stats")
        stage.ended(settled(jobs[0], Succeeded(b"{}")))
        stage.ended(settled(jobs[1], Retry(failure, 9.0)))
        stage.ended(settled(jobs[2], Failed(failure)))
        stage.ended(WaitingJobCancelled("waiting-job", "slow", "ผู้ใช้"))
        reported = await page.next("settled")
    assert [(job["jobId"], job["status"]) for job in reported["jobs"]] == [
        (jobs[0].id, "succeeded"),
        (jobs[1].id, "retried"),
        (jobs[2].id, "failed"),
        ("waiting-job", "cancelled"),
    ]
    assert reported["jobs"][2] == {
        "jobId": jobs[2].id,
        "taskType": "slow",
        "userId": "user-1",
        "status": "failed",
        "attempt": 3,
        "durationMs": 1500.25,
        "duration": 1500.25,
        "completedAt": "2023-11-14T22:13:21.500Z",
    }
    assert (reported["more"], reported["jobs"][3]["userId"]) == (0, "ผู้ใช้")


async def test_very_many_ends_of_jobs_are_sent_as_a_count(stage: Stage) -> None:
    async with stage.watch() as page:
        await page.next("stats")
        for _ in range(1234):
            stage.ended(settled(a_claimed_job("echo"), Succeeded(None)))
        reported = await page.next("settled")
    assert (len(reported["jobs"]), reported["more"]) == (100, 1134)


async def test_only_the_newest_progress_of_each_job_is_sent(stage: Stage) -> None:
    job, other = a_claimed_job("slow"), a_claimed_job("slow")
    async with stage.watch() as page:
        await page.next("stats")
        for percent in range(100):
            stage.stepped(job, float(percent), f"ขั้นที่ {percent}")
        stage.stepped(other, 5.0, "")
        reported = (await page.next("progress"))["jobs"]
    assert [(step["jobId"], step["percent"], step["note"]) for step in reported] == [
        (job.id, 99.0, "ขั้นที่ 99"),
        (other.id, 5.0, ""),
    ]


async def test_subscriber_that_does_not_read_is_dropped_alone(stage: Stage) -> None:
    stage.stats = {"padding": "x" * 400_000}
    async with stage.watch(), stage.watch() as reader:
        await eventually(lambda: len(stage.live) == 2)
        async with asyncio.timeout(30):
            while len(stage.live) == 2:
                await reader.next("stats")
        for _ in range(3):
            assert await reader.next("stats") == stage.stats


async def test_stream_continues_while_the_store_does_not_answer(stage: Stage) -> None:
    stage.stats = StoreCorrupt("not today")
    async with stage.watch() as page:
        assert await page.block() == "retry: 2000"
        assert await page.block() == ": no figures"
        stage.stats = ZeroDivisionError("ours")
        await eventually(lambda: any(isinstance(event, LoopFailed) for event in stage.received))
        stage.stats = {"back": True}
        assert await page.next("stats") == {"back": True}


async def test_stream_accepts_at_most_100_subscribers(stage: Stage) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(MAX_SUBSCRIBERS):
            await stack.enter_async_context(stage.watch())
        async with stage.session.get(stage.url + "/api/v1/live") as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "30")


@pytest.mark.parametrize("end", [EventStream.drop_all, EventStream.close])
async def test_drop_all_ends_every_stream(stage: Stage, end: Callable[[EventStream], None]) -> None:
    async with stage.watch() as page, stage.watch():
        await page.next("stats")
        end(stage.live)
        while await page.block():
            pass
    await eventually(lambda: len(stage.live) == 0)
    await eventually(lambda: stage.ends == [])


async def test_subscriber_after_close_is_ended_at_once(stage: Stage) -> None:
    stage.live.close()
    async with stage.watch() as page:
        while await page.block():
            pass
    assert (len(stage.live), stage.asked) == (0, 0)


async def test_head_request_does_not_subscribe(stage: Stage) -> None:
    async with stage.session.head(stage.url + "/api/v1/live") as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
    await eventually(lambda: len(stage.live) == 0)


async def test_stream_ends_after_its_lifetime_so_that_access_is_checked_again(stage: Stage) -> None:
    async with stage.watch("/short") as page:
        while await page.block():
            pass
    await eventually(lambda: len(stage.live) == 0)
