"""Several hubs with one Redis: all deliver what one accepts, in order, and fetch by its number what fan-out lost."""

import asyncio
import contextlib
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from redis.exceptions import TimeoutError as RedisTimeoutError

from config.hub_settings import HubSettings
from tests.support.eventually import eventually
from tests.support.hub import EVENT, PATH, PATIENCE, message, progress, running_hub
from tests.support.ports import free_port
from tests.support.process import WorkerProcess
from tests.support.redis_server import RedisServer
from tests.support.roaming import RoamingPublisher
from tests.support.shared_hubs import KEY, hubs, number_of
from worker.cli.listener import Listener
from worker.core.clock import Clock
from worker.core.events import LoopFailed
from worker.errors import Unavailable
from worker.hub.events import (
    ClientDisconnected,
    InboxFailed,
    InboxNotDurable,
    SharedInboxLost,
    SharedInboxRestored,
)
from worker.hub.inboxes.redis_scripts import decode_publication
from worker.hub.messages import read_message
from worker.hub.tokens import TokenService


async def test_notification_accepted_by_one_hub_is_delivered_by_the_other(redis_server, tmp_path):
    async with hubs(redis_server, tmp_path) as (one, two):
        near, far = await one.browser(), await two.browser()
        publisher = await one.publisher()
        for number in range(3):
            assert await publisher.publish(message(number)) == {"ok": True}
        for browser in (near, far):
            assert [number_of(await browser.next()) for _ in range(3)] == [0, 1, 2]
        assert await near.received_so_far() == []
        assert await far.received_so_far() == []


async def test_repetition_at_the_other_hub_is_dropped(redis_server, tmp_path):
    async with hubs(redis_server, tmp_path) as (one, two):
        browser = await one.browser()
        first, second = await one.publisher(), await two.publisher()
        assert await first.publish(message(1)) == {"ok": True}
        assert await second.publish(message(1)) == {"ok": True}
        assert await second.publish(message(1, redelivery=1)) == {"ok": True}
        assert await second.publish(message(2)) == {"ok": True}
        assert [number_of(await browser.next()) for _ in range(3)] == [1, 1, 2]
        assert two.hub.stats().repetitions == 1


async def test_missed_notifications_are_replayed_by_either_hub(redis_server, tmp_path):
    async with hubs(redis_server, tmp_path) as (one, two):
        publisher = await one.publisher()
        for number in range(250):  # more than two pages
            await publisher.client.emit(EVENT, (message(number), {"userId": "ann"}))
        await publisher.publish(message(250))
        browser = await two.browser()
        assert [number_of(await browser.next()) for _ in range(251)] == list(range(251))


async def test_notifications_read_at_one_hub_are_not_sent_again_by_the_other(redis_server, tmp_path):
    async with hubs(redis_server, tmp_path) as (one, two):
        publisher, browser = await one.publisher(), await one.browser()
        await publisher.publish(message(1))
        await browser.next()
        with redis_server.client() as redis:
            await eventually(lambda: redis.hget("insignia-hub:3:u:ann", "read") == "1")
        await publisher.publish(message(2), "another user")
        late = await two.browser()
        assert await late.received_so_far() == []


async def test_client_that_resumes_at_another_hub_gets_exactly_what_followed(redis_server, tmp_path):
    async with hubs(redis_server, tmp_path) as (one, two):
        publisher, browser = await one.publisher(), await one.browser(lastSeq=None)
        place = (await browser.next())[1]
        for number in range(1, 4):
            await publisher.publish(message(number))
        again = await two.browser(epoch=place["epoch"], lastSeq=1)
        assert (await again.next())[1] == {"epoch": place["epoch"], "seq": 3, "after": 1, "recovered": True}
        assert [number_of(await again.next()) for _ in range(2)] == [2, 3]


async def test_progress_and_job_messages_reach_the_clients_of_all_hubs(redis_server, tmp_path):
    async with hubs(redis_server, tmp_path) as (one, two):
        watcher = await two.native(path="/ws/tasks/job-7")
        stranger = await two.native("bob", "/ws/tasks/job-7")
        publisher = await one.publisher()
        assert await publisher.publish(progress("job-7", 40)) == {"ok": True}
        assert (await watcher.next_native("progress"))["data"]["percent"] == 40
        await publisher.publish(message(7))
        assert (await watcher.next_native("notification"))["data"]["payload"]["jobId"] == "job-7"
        assert [said["type"] for said in await stranger.received_so_far()] == []


async def test_token_revoked_at_one_hub_is_rejected_by_all(redis_server, tmp_path):
    async with hubs(redis_server, tmp_path) as (one, two):
        token = one.token(token_id="lost")
        browser = await two.browser(token=token)
        await one.hub.revoke("lost")
        await asyncio.wait_for(browser.gone.wait(), 30)
        raw = await two.raw()
        assert "unauthorized" in await raw.connect_with({"token": token})
    async with hubs(redis_server, tmp_path, 1) as (later,):
        raw = await later.raw()
        assert "unauthorized" in await raw.connect_with({"token": token})


async def test_messages_published_during_a_lost_subscription_are_fetched(redis_server, tmp_path):
    async with hubs(redis_server, tmp_path) as (one, two):
        browsers = [await one.browser(), await two.browser()]
        publisher = await one.publisher()
        with redis_server.client() as redis:
            for number in range(40):
                if number % 10 == 5:
                    redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                await publisher.publish(message(number))
        for browser in browsers:
            assert [number_of(await browser.next()) for _ in range(40)] == list(range(40))
            assert await browser.received_so_far() == []
        await two.wait_for_event(SharedInboxRestored)


async def test_gap_in_the_numbers_is_fetched(redis_server, tmp_path):
    """43 after 41: Redis never published 42 to this hub, although no connection was lost."""
    async with hubs(redis_server, tmp_path, 1) as (hub,):
        browser, publisher = await hub.browser(), await hub.publisher()
        await publisher.publish(message(1))
        with redis_server.client() as redis:
            epoch = redis.hget("insignia-hub:3:u:ann", "epoch")
            for number in (2, 3):
                redis.hincrby("insignia-hub:3:u:ann", "seq", 1)
                body = orjson.dumps([EVENT, message(number), {"userId": "ann"}]).decode()
                redis.xadd("insignia-hub:3:m:ann", {"b": body}, id=f"{number}-0")
            redis.publish("insignia-hub:3:news", f"3 3 {epoch} {len(body.encode())}\nann{body}")
        assert [number_of(await browser.next()) for _ in range(3)] == [1, 2, 3]
        await publisher.publish(message(4))
        assert number_of(await browser.next()) == 4


async def test_message_that_comes_with_the_first_page_is_delivered_after_a_failed_command(
    redis_server, tmp_path, monkeypatch
):
    """The subscription stays, so nothing else makes the hub look for it before the user's next message."""
    async with hubs(redis_server, tmp_path) as (one, two):
        publisher = await two.publisher()
        inbox: Any = one.hub.hub.inbox
        page_of, modes = inbox._reader.page, []

        async def page(user, mode, resume_point):
            modes.append(mode)
            if mode == "read" and modes.count("read") == 1:
                raise RedisTimeoutError("no answer")
            found = await page_of(user, mode, resume_point)
            if mode == "open":
                assert await publisher.publish(message(1)) == {"ok": True}
                await eventually(lambda: inbox._served["ann"].behind)
            return found

        monkeypatch.setattr(inbox._reader, "page", page)
        browser = await one.browser()
        assert number_of(await browser.next()) == 1
        assert modes == ["open", "read", "read"]


@pytest.mark.parametrize("failing", ["_reader", "_writer"])
async def test_unexpected_error_of_the_redis_client_closes_who_waits_for_it(
    redis_server, tmp_path, monkeypatch, failing
):
    async with hubs(redis_server, tmp_path, 1) as (hub,):
        inbox = hub.hub.hub.inbox
        publisher = await hub.publisher()

        async def fail(**_arguments):
            raise RuntimeError("the transport is closed")

        with monkeypatch.context() as patch:
            script = {"_reader": "_page_script", "_writer": "_append_script"}[failing]
            patch.setattr(getattr(inbox, failing), script, fail)
            if failing == "_reader":
                raw = await hub.raw()
                await raw.connect_with({"token": hub.token()})
                assert await raw.wait_for_close_code() == 1011
            else:
                await publisher.client.emit(EVENT, (message(1), {"userId": "ann"}))
                await asyncio.wait_for(publisher.gone.wait(), PATIENCE)
        publisher, browser = await hub.publisher(), await hub.browser()
        assert await publisher.publish(message(2)) == {"ok": True}
        assert number_of(await browser.next()) == 2
        assert "the transport is closed" in str((await hub.wait_for_event(InboxFailed)).error)


async def test_unexpected_error_of_a_loop_is_reported_and_the_loop_goes_on(redis_server, tmp_path, monkeypatch):
    async with hubs(redis_server, tmp_path, 1) as (hub,):
        publisher, browser = await hub.publisher(), await hub.browser()
        inbox: Any = hub.hub.hub.inbox
        writer = inbox._writer
        next_batch = writer._next_batch

        def fail_once():
            monkeypatch.setattr(writer, "_next_batch", next_batch)
            raise RuntimeError("no batch")

        monkeypatch.setattr(writer, "_next_batch", fail_once)
        assert await publisher.publish(message(1)) == {"ok": True}
        assert number_of(await browser.next()) == 1
        assert "no batch" in str((await hub.wait_for_event(LoopFailed)).error)


async def test_publish_without_redis_is_not_acknowledged_and_clients_reconnect(redis_server, tmp_path):
    async with hubs(redis_server, tmp_path, 1) as (hub,):
        publisher = await hub.publisher()
        redis_server.kill()
        for number in (1, 2, 3):
            await publisher.client.emit(EVENT, (message(number), {"userId": "ann"}))
        ended = await hub.wait_for_event(ClientDisconnected)
        assert ended.code == 1011
        await hub.wait_for_event(SharedInboxLost)
        raw = await hub.raw()
        await raw.connect_with({"token": hub.token()})
        assert await raw.wait_for_close_code() == 1011
        assert len([event for event in hub.events if isinstance(event, InboxFailed)]) == 1
        redis_server.start()
        await hub.wait_for_event(SharedInboxRestored)
        publisher, browser = await hub.publisher(), await hub.browser()
        assert await publisher.publish(message(1)) == {"ok": True}
        assert number_of(await browser.next()) == 1


async def test_hub_started_without_redis_connects_to_it_later(redis_server, tmp_path):
    redis_server.kill()
    async with hubs(redis_server, tmp_path, 1) as (hub,):
        await hub.wait_for_event(SharedInboxLost)
        redis_server.start()
        await hub.wait_for_event(SharedInboxRestored)
        assert await (await hub.publisher()).publish(message(1)) == {"ok": True}


async def test_redis_that_lost_its_data_makes_clients_start_from_scratch(tmp_path):
    redis_server = RedisServer(tmp_path / "redis", durable=False)
    redis_server.start()
    try:
        async with hubs(redis_server, tmp_path, 1) as (hub,):
            forgetful = await hub.wait_for_event(InboxNotDurable)
            assert "appendonly" in forgetful.reason
            browser, publisher = await hub.browser(lastSeq=None), await hub.publisher()
            place = (await browser.next())[1]
            await publisher.publish(message(1))
            redis_server.kill()
            await hub.wait_for_event(SharedInboxLost)
            redis_server.start()
            await asyncio.wait_for(browser.gone.wait(), 30)
            await hub.wait_for_event(SharedInboxRestored)
            again = await hub.browser(epoch=place["epoch"], lastSeq=1)
            welcome = (await again.next())[1]
            assert welcome["recovered"] is False
            assert welcome["epoch"] != place["epoch"]
    finally:
        redis_server.kill()


async def test_wrong_redis_secret_is_reported_in_one_line_without_the_secret(redis_server, tmp_path):
    wrong = SecretStr(redis_server.url.replace("only-for", "not-for"))
    with pytest.raises(Unavailable, match=r"Hub:Redis redis://127\.0\.0\.1:\d+/3 rejects the login") as caught:
        async with running_hub(tmp_path, settings=HubSettings(redis=wrong)):
            pass
    assert "not-for" not in str(caught.value)


def test_decode_publication_splits_by_the_lengths():
    body = orjson.dumps([EVENT, message(1), {"userId": "สมชาย 3\n"[:5]}])
    user = "สมชาย".encode()
    publication = b"%d 7 ab12 %d\n%b%b" % (len(user), len(body), user, body) + b"4 -1 - 0\nlost"
    first, second = decode_publication(publication)
    assert (first.user, first.seq, first.epoch, first.body) == ("สมชาย", 7, "ab12", body)
    assert read_message(orjson.loads(first.body), first.body).id == "news-1"
    assert (second.user, second.seq) == ("lost", -1)


@pytest.mark.parametrize(
    "publication",
    [b"0 -1 - -11\n", b"-9 1 a 0\n", b"3 1 a 9\nann", b"3 1 a\nann", b"\xff", b"3 x a 0\nann", b"1 1 a 0\n\xff", b"3"],
)
def test_decode_publication_rejects_what_no_hub_sent(publication):
    with pytest.raises(ValueError):
        list(decode_publication(publication))


# -- two processes, a Redis that is killed ---------------------------------------------------------------------------


async def received(url, token, count):
    """What one browser shows, in order, across all lost connections."""
    listener = Listener(url, PATH, EVENT, lambda: token)
    numbers = []
    async with contextlib.aclosing(listener.messages()) as messages:
        async for got in messages:
            numbers.append(number_of((None, got.message)))
            if len(numbers) == count:
                return numbers
    return numbers


@pytest.mark.timeout(900)
async def test_two_hubs_lose_nothing_while_redis_is_killed(redis_server, tmp_path):
    authority = TokenService(KEY.encode(), "insignia-worker", "org-socket", Clock())
    processes, urls = [], []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        urls.append(f"http://127.0.0.1:{free_port()}")
        settings = [f"--Http:Url={urls[-1]}", f"--Hub:Redis={redis_server.url}", f"--Hub:Jwt:Key={KEY}"]
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
            redis_server.kill()
            await publisher.reconnects(after=publisher.sessions)
            redis_server.start()
        async with asyncio.timeout(600):
            await sending
            collected = await asyncio.gather(*browsers)
        for place, numbers in enumerate(collected):
            assert numbers == list(range(place % 3, 3 * each, 3))
        await eventually(lambda: all("is available again after" in process.text() for process in processes))
    finally:
        for process in processes:
            if process.process is not None and process.process.poll() is None:
                process.kill()
