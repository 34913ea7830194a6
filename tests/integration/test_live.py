"""The stream for pages that watch, over real sockets: once for all, nothing for nobody, no one waits for the slow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.support.attempts import a_job
from tests.support.eventually import eventually
from worker.clock import Clock
from worker.door.app import serve_tcp
from worker.door.live import MOST_VIEWERS, Live, LiveRoutes, Sources
from worker.errors import StoreCorrupt
from worker.events import JobSettled, LoopFailed, WaitingJobCancelled
from worker.failure import Failure
from worker.job import Job
from worker.outcome import Attempt, Failed, Retry, Succeeded

TICK = 0.02


@dataclass
class Stage:
    """What pages watch."""

    live: Live = field(init=False)
    url: str = ""
    session: aiohttp.ClientSession = field(init=False)
    asked: int = 0
    stats: Any = field(default_factory=lambda: {"jobs": {"queued": 1}})
    ends: list[Callable[[Any], None]] = field(default_factory=list)
    steps: list[Callable[[Job, float, str], None]] = field(default_factory=list)
    heard: list[object] = field(default_factory=list)

    async def figures(self) -> Any:
        self.asked += 1
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
        async with asyncio.timeout(10):
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

    sources = Sources(stage.figures, listening(stage.ends), listening(stage.steps))
    stage.live = Live(sources, Clock(), stage.heard.append, TICK)
    app = web.Application()
    for path, longest in (("/api/v1/live", 60.0), ("/short", 0.1)):
        [route] = LiveRoutes(stage.live, longest).routes()
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


async def test_while_nobody_watches_nothing_is_done(stage: Stage) -> None:
    async with stage.watch() as page:
        await page.next("stats")
        assert (len(stage.ends), len(stage.steps), len(stage.live)) == (1, 1, 1)
    await eventually(lambda: len(stage.live) == 0)
    await eventually(lambda: not stage.ends and not stage.steps)
    asked = stage.asked
    await asyncio.sleep(10 * TICK)  # nothing to wait for: it is the absence that counts
    assert stage.asked == asked


async def test_all_who_watch_get_the_same_from_one_computation(stage: Stage) -> None:
    async with contextlib.AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(stage.watch()) for _ in range(5)]
        for page in pages:
            assert await page.next("stats") == {"jobs": {"queued": 1}}
        asked, stage.stats = stage.asked, {"jobs": {"queued": 2}}
        for page in pages:
            while await page.next("stats") != {"jobs": {"queued": 2}}:
                pass
        assert stage.asked - asked <= 4


async def test_who_comes_later_has_figures_at_once(stage: Stage) -> None:
    async with stage.watch() as first:
        await first.next("stats")
        async with stage.watch() as second:
            assert await second.block() == "retry: 2000"
            assert (await second.block()).startswith("event: stats\n")


async def test_ends_of_jobs_are_told_in_batches(stage: Stage) -> None:
    jobs = [a_job("echo"), a_job("echo"), a_job("slow", attempt=3)]
    failure = Failure("ValueError", "broken", None, "0123456789ab")
    async with stage.watch() as page:
        await page.next("stats")
        stage.ended(settled(jobs[0], Succeeded(b"{}")))
        stage.ended(settled(jobs[1], Retry(failure, 9.0)))
        stage.ended(settled(jobs[2], Failed(failure)))
        stage.ended(WaitingJobCancelled("waiting-job", "slow", "ผู้ใช้"))
        told = await page.next("settled")
    assert [(job["jobId"], job["status"]) for job in told["jobs"]] == [
        (jobs[0].id, "succeeded"),
        (jobs[1].id, "retried"),
        (jobs[2].id, "failed"),
        ("waiting-job", "cancelled"),
    ]
    assert told["jobs"][2] == {
        "jobId": jobs[2].id,
        "taskType": "slow",
        "userId": "user-1",
        "status": "failed",
        "attempt": 3,
        "duration": 1500.25,
        "completedAt": "2023-11-14T22:13:21.500Z",
    }
    assert (told["more"], told["jobs"][3]["userId"]) == (0, "ผู้ใช้")


async def test_of_very_many_ends_only_their_number_is_told(stage: Stage) -> None:
    async with stage.watch() as page:
        await page.next("stats")
        for _ in range(1234):
            stage.ended(settled(a_job("echo"), Succeeded(None)))
        told = await page.next("settled")
    assert (len(told["jobs"]), told["more"]) == (100, 1134)


async def test_of_progress_only_the_newest_of_each_job_is_told(stage: Stage) -> None:
    job, other = a_job("slow"), a_job("slow")
    async with stage.watch() as page:
        await page.next("stats")
        for percent in range(100):
            stage.stepped(job, float(percent), f"ขั้นที่ {percent}")
        stage.stepped(other, 5.0, "")
        told = (await page.next("progress"))["jobs"]
    assert [(step["jobId"], step["percent"], step["note"]) for step in told] == [
        (job.id, 99.0, "ขั้นที่ 99"),
        (other.id, 5.0, ""),
    ]


async def test_a_page_that_does_not_read_is_dropped_and_the_others_notice_nothing(stage: Stage) -> None:
    stage.stats = {"padding": "x" * 400_000}
    async with stage.watch(), stage.watch() as reader:
        await eventually(lambda: len(stage.live) == 2)
        async with asyncio.timeout(30):
            while len(stage.live) == 2:
                await reader.next("stats")
        for _ in range(3):
            assert await reader.next("stats") == stage.stats


async def test_a_store_that_does_not_answer_ends_no_stream(stage: Stage) -> None:
    stage.stats = StoreCorrupt("not today")
    async with stage.watch() as page:
        assert await page.block() == "retry: 2000"
        assert await page.block() == ": no figures"
        stage.stats = ZeroDivisionError("ours")
        await eventually(lambda: any(isinstance(event, LoopFailed) for event in stage.heard))
        stage.stats = {"back": True}
        assert await page.next("stats") == {"back": True}


async def test_no_more_than_a_hundred_watch(stage: Stage) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(MOST_VIEWERS):
            await stack.enter_async_context(stage.watch())
        async with stage.session.get(stage.url + "/api/v1/live") as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "30")


@pytest.mark.parametrize("end", [Live.drop_all, Live.close])
async def test_streams_can_be_ended(stage: Stage, end: Callable[[Live], None]) -> None:
    async with stage.watch() as page, stage.watch():
        await page.next("stats")
        end(stage.live)
        while await page.block():
            pass
    await eventually(lambda: len(stage.live) == 0)
    assert stage.ends == []


async def test_a_page_that_comes_after_the_end_is_let_go(stage: Stage) -> None:
    stage.live.close()
    async with stage.watch() as page:
        while await page.block():
            pass
    assert (len(stage.live), stage.asked) == (0, 0)


async def test_asking_for_the_head_alone_watches_nothing(stage: Stage) -> None:
    async with stage.session.head(stage.url + "/api/v1/live") as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
    await eventually(lambda: len(stage.live) == 0)


async def test_a_stream_ends_after_a_while_so_that_who_watches_shows_again_that_he_may(stage: Stage) -> None:
    async with stage.watch("/short") as page:
        while await page.block():
            pass
    await eventually(lambda: len(stage.live) == 0)
