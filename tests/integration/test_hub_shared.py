"""Several hubs and one Redis: what one accepts all give out, in order; what fan-out loses is fetched by its number."""

import asyncio
import contextlib

import orjson
import pytest
from pydantic import SecretStr

from config.settings import HubSettings, JwtSettings
from tests.support.eventually import eventually
from tests.support.hub import EVENT, PATH, message, progress, running_hub
from tests.support.process import WorkerProcess, free_port
from tests.support.redis_server import RedisServer
from tests.support.roaming import RoamingPublisher
from worker.clock import Clock
from worker.errors import Unavailable
from worker.hub.auth import Authority
from worker.hub.events import ClientDisconnected, InboxFailed, InboxForgetful, SharedInboxBack, SharedInboxLost
from worker.hub.news import read_news
from worker.hub.publication import split
from worker.listen import Listener

KEY = "the-key-of-both-hubs-in-this-test-0123456789"


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@contextlib.asynccontextmanager
async def hubs(server, tmp_path, count=2):
    settings = HubSettings(redis=SecretStr(server.url), jwt=JwtSettings(key=SecretStr(KEY)))
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running_hub(tmp_path / f"state{n}", settings=settings))
            for n in range(count)
        ]


def number_of(event):
    return int(event[1]["payload"]["notificationId"].removeprefix("news-"))


async def test_what_one_hub_accepts_the_other_gives_out(server, tmp_path):
    async with hubs(server, tmp_path) as (one, two):
        near, far = await one.browser(), await two.browser()
        publisher = await one.publisher()
        for number in range(3):
            assert await publisher.publish(message(number)) == {"ok": True}
        for browser in (near, far):
            assert [number_of(await browser.next()) for _ in range(3)] == [0, 1, 2]
        assert await near.rest() == []
        assert await far.rest() == []


async def test_a_repetition_at_the_other_hub_is_dropped(server, tmp_path):
    async with hubs(server, tmp_path) as (one, two):
        browser = await one.browser()
        first, second = await one.publisher(), await two.publisher()
        assert await first.publish(message(1)) == {"ok": True}
        assert await second.publish(message(1)) == {"ok": True}
        assert await second.publish(message(1, redelivery=1)) == {"ok": True}
        assert await second.publish(message(2)) == {"ok": True}
        assert [number_of(await browser.next()) for _ in range(3)] == [1, 1, 2]
        assert two.hub.figures().repetitions == 1


async def test_a_backlog_is_read_at_whichever_hub_one_comes_to(server, tmp_path):
    async with hubs(server, tmp_path) as (one, two):
        publisher = await one.publisher()
        for number in range(250):  # more than two pages
            await publisher.client.emit(EVENT, (message(number), {"userId": "ann"}))
        await publisher.publish(message(250))
        browser = await two.browser()
        assert [number_of(await browser.next()) for _ in range(251)] == list(range(251))


async def test_what_was_read_at_one_hub_is_not_given_again_at_the_other(server, tmp_path):
    async with hubs(server, tmp_path) as (one, two):
        publisher, browser = await one.publisher(), await one.browser()
        await publisher.publish(message(1))
        await browser.next()
        with server.client() as redis:
            await eventually(lambda: redis.hget("insignia-hub:3:u:ann", "read") == "1")
        await publisher.publish(message(2), "somebody else")
        late = await two.browser()
        assert await late.rest() == []


async def test_one_who_resumes_gets_exactly_what_came_after(server, tmp_path):
    async with hubs(server, tmp_path) as (one, two):
        publisher, browser = await one.publisher(), await one.browser(lastSeq=None)
        place = (await browser.next())[1]
        for number in range(1, 4):
            await publisher.publish(message(number))
        again = await two.browser(epoch=place["epoch"], lastSeq=1)
        assert (await again.next())[1] == {"epoch": place["epoch"], "seq": 3, "after": 1, "recovered": True}
        assert [number_of(await again.next()) for _ in range(2)] == [2, 3]


async def test_progress_and_job_channels_reach_all_hubs(server, tmp_path):
    async with hubs(server, tmp_path) as (one, two):
        watcher = await two.native(path="/ws/tasks/job-7")
        stranger = await two.native("bob", "/ws/tasks/job-7")
        publisher = await one.publisher()
        assert await publisher.publish(progress("job-7", 40)) == {"ok": True}
        assert (await watcher.hear("progress"))["data"]["percent"] == 40
        await publisher.publish(message(7))
        assert (await watcher.hear("notification"))["data"]["payload"]["jobId"] == "job-7"
        assert [said["type"] for said in await stranger.rest()] == []


async def test_a_token_that_is_revoked_at_one_hub_is_refused_at_all(server, tmp_path):
    async with hubs(server, tmp_path) as (one, two):
        token = one.token(token_id="lost")
        browser = await two.browser(token=token)
        await one.hub.revoke("lost")
        await asyncio.wait_for(browser.gone.wait(), 5)
        raw = await two.raw()
        assert "unauthorized" in await raw.enter({"token": token})
    async with hubs(server, tmp_path, 1) as (later,):
        raw = await later.raw()
        assert "unauthorized" in await raw.enter({"token": token})


async def test_what_is_said_while_the_listening_line_is_down_is_fetched(server, tmp_path):
    async with hubs(server, tmp_path) as (one, two):
        browsers = [await one.browser(), await two.browser()]
        publisher = await one.publisher()
        with server.client() as redis:
            for number in range(40):
                if number % 10 == 5:
                    redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                await publisher.publish(message(number))
        for browser in browsers:
            assert [number_of(await browser.next()) for _ in range(40)] == list(range(40))
            assert await browser.rest() == []
        await two.happened(SharedInboxBack)


async def test_a_gap_is_healed_by_its_number(server, tmp_path):
    """43 after 41: Redis never told this hub of 42, and no line was lost."""
    async with hubs(server, tmp_path, 1) as (hub,):
        browser, publisher = await hub.browser(), await hub.publisher()
        await publisher.publish(message(1))
        with server.client() as redis:
            epoch = redis.hget("insignia-hub:3:u:ann", "epoch")
            for number in (2, 3):
                redis.hincrby("insignia-hub:3:u:ann", "seq", 1)
                body = orjson.dumps([EVENT, message(number), {"userId": "ann"}]).decode()
                redis.xadd("insignia-hub:3:m:ann", {"b": body}, id=f"{number}-0")
            redis.publish("insignia-hub:3:news", f"3 3 {epoch} {len(body.encode())}\nann{body}")
        assert [number_of(await browser.next()) for _ in range(3)] == [1, 2, 3]
        await publisher.publish(message(4))
        assert number_of(await browser.next()) == 4


async def test_while_redis_is_away_nothing_is_acknowledged_and_clients_are_asked_to_come_back(server, tmp_path):
    async with hubs(server, tmp_path, 1) as (hub,):
        publisher = await hub.publisher()
        server.kill()
        for number in (1, 2, 3):
            await publisher.client.emit(EVENT, (message(number), {"userId": "ann"}))
        ended = await hub.happened(ClientDisconnected)
        assert ended.code == 1011
        await hub.happened(SharedInboxLost)
        raw = await hub.raw()
        await raw.enter({"token": hub.token()})
        assert await raw.ended() == 1011
        assert len([event for event in hub.events if isinstance(event, InboxFailed)]) == 1
        server.start()
        await hub.happened(SharedInboxBack)
        publisher, browser = await hub.publisher(), await hub.browser()
        assert await publisher.publish(message(1)) == {"ok": True}
        assert number_of(await browser.next()) == 1


async def test_a_hub_starts_without_its_redis_and_finds_it_later(server, tmp_path):
    server.kill()
    async with hubs(server, tmp_path, 1) as (hub,):
        await hub.happened(SharedInboxLost)
        server.start()
        await hub.happened(SharedInboxBack)
        assert await (await hub.publisher()).publish(message(1)) == {"ok": True}


async def test_a_redis_that_forgot_everything_makes_clients_begin_anew(tmp_path):
    server = RedisServer(tmp_path / "redis", durable=False)
    server.start()
    try:
        async with hubs(server, tmp_path, 1) as (hub,):
            forgetful = await hub.happened(InboxForgetful)
            assert "appendonly" in forgetful.reason
            browser, publisher = await hub.browser(lastSeq=None), await hub.publisher()
            place = (await browser.next())[1]
            await publisher.publish(message(1))
            server.kill()
            await hub.happened(SharedInboxLost)
            server.start()
            await asyncio.wait_for(browser.gone.wait(), 10)
            again = await hub.browser(epoch=place["epoch"], lastSeq=1)
            welcome = (await again.next())[1]
            assert welcome["recovered"] is False
            assert welcome["epoch"] != place["epoch"]
    finally:
        server.kill()


async def test_a_wrong_secret_is_said_in_one_line_without_the_secret(server, tmp_path):
    wrong = SecretStr(server.url.replace("only-for", "not-for"))
    with pytest.raises(Unavailable, match=r"Hub:Redis redis://127\.0\.0\.1:\d+/3 refuses us") as caught:
        async with running_hub(tmp_path, settings=HubSettings(redis=wrong)):
            pass
    assert "not-for" not in str(caught.value)


def test_a_publication_is_split_by_its_lengths():
    body = orjson.dumps([EVENT, message(1), {"userId": "สมชาย 3\n"[:5]}])
    user = "สมชาย".encode()
    publication = b"%d 7 ab12 %d\n%b%b" % (len(user), len(body), user, body) + b"4 -1 - 0\nlost"
    first, second = split(publication)
    assert (first.user, first.seq, first.epoch, first.body) == ("สมชาย", 7, "ab12", body)
    assert read_news(orjson.loads(first.body), first.body).id == "news-1"
    assert (second.user, second.seq) == ("lost", -1)


# -- two processes, a Redis that is killed ---------------------------------------------------------------------------


async def received(url, token, count):
    """What one browser shows, in order, across every loss."""
    listener = Listener(url, PATH, EVENT, lambda: token)
    numbers = []
    async with contextlib.aclosing(listener.messages()) as messages:
        async for got in messages:
            numbers.append(number_of((None, got.message)))
            if len(numbers) == count:
                return numbers
    return numbers


@pytest.mark.timeout(180)
async def test_two_processes_lose_nothing_while_redis_is_killed(server, tmp_path):
    authority = Authority(KEY.encode(), "insignia-worker", "org-socket", Clock())
    processes, urls = [], []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        urls.append(f"http://127.0.0.1:{free_port()}")
        settings = [f"--Http:Url={urls[-1]}", f"--Hub:Redis={server.url}", f"--Hub:Jwt:Key={KEY}"]
        processes.append(WorkerProcess(tmp_path / name, settings, command="hub"))
    try:
        for process in processes:
            await process.start()
        users, each = ("ann", "bob", "สมชาย"), 1000
        bodies = [
            orjson.dumps([EVENT, message(number), {"userId": users[number % 3]}]).decode() for number in range(3 * each)
        ]
        publisher = RoamingPublisher(urls, authority.mint("link", publish=True))
        browsers = [asyncio.ensure_future(received(url, authority.mint(user), each)) for url in urls for user in users]
        sending = asyncio.ensure_future(publisher.send_all(bodies))
        for count in (400, 1500):
            await publisher.reaches(count)
            server.kill()
            sessions = publisher.sessions
            await eventually(lambda before=sessions: publisher.sessions > before, timeout=20)
            server.start()
        async with asyncio.timeout(90):
            await sending
            heard = await asyncio.gather(*browsers)
        for place, numbers in enumerate(heard):
            assert numbers == list(range(place % 3, 3 * each, 3))
        assert all("shared_inbox_back" in process.text() or "is back after" in process.text() for process in processes)
    finally:
        for process in processes:
            if process.process is not None and process.process.poll() is None:
                process.kill()
