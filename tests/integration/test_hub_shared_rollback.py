"""A Redis that lost its newest writes but kept the epoch gives numbers again: clients start over and get everything."""

import asyncio
from pathlib import Path
from typing import Any

from tests.support.eventually import eventually
from tests.support.hub import PATIENCE, Browser, RunningHub, message
from tests.support.redis_server import RedisServer
from tests.support.shared_hubs import hubs, number_of
from worker.hub.inbox import ResumePoint

USER = "insignia-hub:3:u:ann"


def lose_writes(redis: Any) -> None:
    """As after a failover to a replica that has the user's first write alone."""
    assert redis.hget(USER, "seq") == "3"
    redis.hset(USER, mapping={"seq": 0, "read": 0})
    redis.delete("insignia-hub:3:m:ann", *redis.keys("insignia-hub:3:s:*"))


async def published(publisher: Browser, *numbers: int) -> None:
    answers = await asyncio.gather(*(publisher.publish(message(number)) for number in numbers))
    assert answers == [{"ok": True}] * len(numbers)


async def at_three(hub: RunningHub, publisher: Browser) -> tuple[Browser, dict[str, Any]]:
    """A browser that has received three notifications, and its position."""
    browser = await hub.browser(lastSeq=None)
    place = (await browser.next())[1]
    await published(publisher, 1, 2, 3)
    assert [number_of(await browser.next()) for _ in range(3)] == [1, 2, 3]
    return browser, {"epoch": place["epoch"], "lastSeq": 3}


async def starts_over(hub: RunningHub, browser: Browser, place: dict[str, Any], *numbers: int) -> None:
    """The browser is closed; with its old position it gets all that is stored."""
    await asyncio.wait_for(browser.gone.wait(), PATIENCE)
    again = await hub.browser(**place)
    welcome = (await again.next())[1]
    assert welcome["recovered"] is False
    assert welcome["epoch"] != place["epoch"]
    assert [number_of(await again.next()) for _ in numbers] == list(numbers)
    assert await again.received_so_far() == []


async def test_opening_an_inbox_that_lost_messages_ends(redis_server: RedisServer, tmp_path: Path) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher = await hub.publisher()
        browser, place = await at_three(hub, publisher)
        with redis_server.client() as redis:
            lose_writes(redis)
        late = await hub.raw()
        await late.connect_with({"token": hub.token(), "lastSeq": None})
        assert await late.wait_for_close_code() == 1011
        await published(publisher, 4, 5, 6, 7)
        await starts_over(hub, browser, place, 4, 5, 6, 7)


async def test_lost_messages_are_noticed_when_the_subscription_returns(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher = await hub.publisher()
        browser, place = await at_three(hub, publisher)
        with redis_server.client() as redis:
            lose_writes(redis)
            redis.client_kill_filter(_type="pubsub")
        await asyncio.wait_for(browser.gone.wait(), PATIENCE)
        await published(publisher, 4, 5, 6, 7)
        await starts_over(hub, browser, place, 4, 5, 6, 7)


async def test_numbers_that_are_published_again_are_noticed(redis_server: RedisServer, tmp_path: Path) -> None:
    """Redis is past the hub's number again before the hub could ask."""
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher = await hub.publisher()
        browser, place = await at_three(hub, publisher)
        with redis_server.client() as redis:
            lose_writes(redis)
        await published(publisher, 4, 5, 6, 7)
        await starts_over(hub, browser, place, 4, 5, 6, 7)


async def test_hub_that_only_read_the_numbers_notices_that_they_are_given_again(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with hubs(redis_server, tmp_path) as (one, two):
        publisher = await one.publisher()
        first, place = await at_three(one, publisher)
        second = await two.browser(**place)
        with redis_server.client() as redis:
            lose_writes(redis)
        await published(publisher, 4)
        await starts_over(two, second, place, 4)
        await starts_over(one, first, place, 4)


async def test_resuming_beyond_the_end_gets_everything(redis_server: RedisServer, tmp_path: Path) -> None:
    """Also if the read position is of the numbers before."""
    async with hubs(redis_server, tmp_path) as (one, two):
        publisher = await one.publisher()
        browser, place = await at_three(one, publisher)
        await browser.close()
        await one.wait_until_clients("ann", 0)
        with redis_server.client() as redis:
            lose_writes(redis)
            await published(publisher, 4)
            redis.hset(USER, "read", 3)
        await starts_over(two, browser, place, 4)


async def test_read_position_of_another_epoch_is_void(redis_server: RedisServer, tmp_path: Path) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher, bob = await hub.publisher(), await hub.browser("bob")
        await at_three(hub, publisher)
        await publisher.publish(message(4), "bob")
        await bob.next()
        inbox = hub.hub.hub.inbox
        with redis_server.client() as redis:
            of_ann, of_bob = (str(redis.hget(f"insignia-hub:3:u:{user}", "epoch")) for user in ("ann", "bob"))
            redis.hset(USER, mapping={"epoch": "ab12", "read": 0})
            inbox.mark_read("ann", ResumePoint(of_ann, 3))
            inbox.mark_read("bob", ResumePoint(of_bob, 1))
            inbox.flush()
            await eventually(lambda: redis.hget("insignia-hub:3:u:bob", "read") == "1")
            assert redis.hget(USER, "read") == "0"


async def test_late_answer_of_a_client_marks_nothing_read_in_the_new_epoch(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher = await hub.publisher()
        await hub.browser()
        [before] = hub.hub.hub.clients_of("ann")
        await published(publisher, 1, 2, 3)
        with redis_server.client() as redis:
            lose_writes(redis)
        await published(publisher, 4, 5, 6, 7)
        await hub.wait_until_clients("ann", 0)
        await hub.browser(lastSeq=None)  # of the new epoch; it does not say what it has read
        before.last_read_seq = 0
        hub.hub.hub.on_pong(before, 3)
        hub.hub.hub.inbox.flush()
        again = await hub.browser()
        assert [number_of(await again.next()) for _ in range(4)] == [4, 5, 6, 7]
