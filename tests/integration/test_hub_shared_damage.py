"""What no hub wrote in the Redis that hubs share: it is left out and reported, and other users are served as before."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.eventually import eventually
from tests.support.hub import EVENT, message
from tests.support.redis_server import RedisServer
from tests.support.shared_hubs import hubs, number_of
from worker.core.events import LoopFailed
from worker.hub.events import InboxDamaged, InboxFailed, SharedInboxRestored
from worker.hub.inbox import ResumePoint


@pytest.mark.parametrize(
    "publication",
    [b"0 -1 - -11\n", b"nonsense", b"3 0 - 2\nann{}", b"3 0 - 4\nannnull", b"3 0 - 1\nann[", b"3 1 a 1\nann7"],
)
async def test_publication_that_no_hub_sent_is_left_out(
    redis_server: RedisServer, tmp_path: Path, publication: bytes
) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher, browser = await hub.publisher(), await hub.browser()
        with redis_server.client() as redis:
            for _ in range(5):
                redis.publish("insignia-hub:3:news", publication)
        assert await publisher.publish(message(1)) == {"ok": True}
        assert number_of(await browser.next()) == 1
        assert 1 <= len([event for event in hub.events if isinstance(event, LoopFailed)]) <= 3
        assert [event for event in hub.events if isinstance(event, SharedInboxRestored)] == []


@pytest.mark.parametrize("body", [b"{", b"[]", b'["a",{},{"userId":"bob"}]', b"\xff", b'{"a":1,"b":2,"c":3}'])
async def test_stored_message_that_no_hub_wrote_is_left_out(
    redis_server: RedisServer, tmp_path: Path, body: bytes
) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher = await hub.publisher()
        for number in range(2):
            await publisher.publish(message(number))
        with redis_server.client() as redis:
            for _ in range(150):
                number = redis.hincrby("insignia-hub:3:u:ann", "seq", 1)
                redis.xadd("insignia-hub:3:m:ann", {"b": body}, id=f"{number}-0")
        await publisher.publish(message(2))
        browser = await hub.browser()
        assert [number_of(await browser.next()) for _ in range(3)] == [0, 1, 2]
        await publisher.publish(message(3))
        assert number_of(await browser.next()) == 3


async def test_numbers_that_were_given_already_are_left_out(redis_server: RedisServer, tmp_path: Path) -> None:
    """More entries than a page with one number must not be read again and again."""
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher, browser = await hub.publisher(), await hub.browser(lastSeq=None)
        place = (await browser.next())[1]
        await publisher.publish(message(1))
        assert number_of(await browser.next()) == 1
        with redis_server.client() as redis:
            redis.hincrby("insignia-hub:3:u:ann", "seq", 1)
            for number, copy in [(1, copy) for copy in range(1, 151)] + [(2, copy) for copy in range(150)]:
                body = orjson.dumps([EVENT, message(number), {"userId": "ann"}]).decode()
                redis.xadd("insignia-hub:3:m:ann", {"b": body}, id=f"{number}-{copy}")
            redis.client_kill_filter(_type="pubsub")
        await hub.wait_for_event(SharedInboxRestored)
        late = await hub.browser(epoch=place["epoch"], lastSeq=1)
        assert (await late.next())[1] == {"epoch": place["epoch"], "seq": 2, "after": 1, "recovered": True}
        await publisher.publish(message(3))
        for one in (browser, late):
            assert [number_of(await one.next()) for _ in range(2)] == [2, 3]
            assert await one.received_so_far() == []
        assert [event for event in hub.events if isinstance(event, LoopFailed)]


@pytest.mark.parametrize("of_ann", ["another type", "no number", "no seq"])
async def test_inbox_that_no_hub_can_read_keeps_nothing_from_other_users(
    redis_server: RedisServer, tmp_path: Path, of_ann: str
) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher, ann, bob = await hub.publisher(), await hub.browser(), await hub.browser("bob")
        for number, user, browser in ((1, "ann", ann), (2, "bob", bob)):
            await publisher.publish(message(number), user)
            assert number_of(await browser.next()) == number
        with redis_server.client() as redis:
            if of_ann == "another type":
                redis.set("insignia-hub:3:u:ann", "text")
            elif of_ann == "no number":
                redis.hset("insignia-hub:3:u:ann", "seq", "many")
            else:
                redis.hdel("insignia-hub:3:u:ann", "seq")
            redis.client_kill_filter(_type="pubsub")
            await eventually(lambda: [event for event in hub.events if isinstance(event, SharedInboxRestored)])
        await publisher.publish(message(3), "bob")
        assert number_of(await bob.next()) == 3


DAMAGES: dict[str, Callable[[Any], object]] = {
    "user of another type": lambda redis: redis.set("insignia-hub:3:u:ann", "text"),
    "messages of another type": lambda redis: (
        redis.hset("insignia-hub:3:u:ann", mapping={"epoch": "ab12", "seq": 3, "read": 0})
        and redis.set("insignia-hub:3:m:ann", "text")
    ),
    "seq is text": lambda redis: redis.hset("insignia-hub:3:u:ann", mapping={"epoch": "ab12", "seq": "many"}),
    "seq is negative": lambda redis: redis.hset("insignia-hub:3:u:ann", mapping={"epoch": "ab12", "seq": -2}),
    "seq was given": lambda redis: (
        redis.hset("insignia-hub:3:u:ann", mapping={"epoch": "ab12", "seq": 3, "read": 0})
        and redis.xadd("insignia-hub:3:m:ann", {"b": "{}"}, id="9-0")
    ),
    "last number of a stream": lambda redis: (
        redis.xadd("insignia-hub:3:m:ann", {"b": "{}"}, id="18446744073709551615-18446744073709551615")
        and redis.hset("insignia-hub:3:u:ann", mapping={"epoch": "ab12", "seq": 3, "read": 0})
    ),
    "read is text": lambda redis: redis.hset("insignia-hub:3:u:ann", mapping={"epoch": "ab12", "seq": 3, "read": "x"}),
    "read is not finite": lambda redis: redis.hset(
        "insignia-hub:3:u:ann", mapping={"epoch": "ab12", "seq": 3, "read": "nan"}
    ),
    "epoch has spaces": lambda redis: redis.hset("insignia-hub:3:u:ann", mapping={"epoch": "a b", "seq": 3, "read": 0}),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_inbox_is_named_once_and_its_batch_stores_all_others(
    redis_server: RedisServer, tmp_path: Path, damage: str
) -> None:
    async with hubs(redis_server, tmp_path) as (one, two):
        publisher, bob, far = await one.publisher(), await one.browser("bob"), await two.browser("bob")
        with redis_server.client() as redis:
            DAMAGES[damage](redis)
        sent = [("ann", 1), ("bob", 2), ("ann", 3), ("bob", 4)]
        answers = await asyncio.gather(*(publisher.publish(message(number), user) for user, number in sent))
        assert [answer["ok"] for answer in answers] == [False, True, False, True]
        assert "damaged" in answers[0]["error"]
        for browser in (bob, far):
            assert [number_of(await browser.next()) for _ in range(2)] == [2, 4]
        [named] = [event for event in one.events if isinstance(event, InboxDamaged)]
        assert (named.user_id, named.key) == ("ann", "insignia-hub:3:u:ann")
        assert [event for event in one.events if isinstance(event, InboxFailed | LoopFailed)] == []
        with redis_server.client() as redis:
            redis.delete(named.key)
        assert await publisher.publish(message(1), "ann") == {"ok": True}  # it was not taken for a repetition
        ann = await two.browser("ann")
        assert number_of(await ann.next()) == 1


async def test_damaged_read_position_is_named_once_and_its_key_deleted(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher = await hub.publisher()
        assert await publisher.publish(message(1)) == {"ok": True}
        with redis_server.client() as redis:
            redis.hset("insignia-hub:3:u:ann", "read", "x")
            for number in (2, 3, 4):
                assert (await publisher.publish(message(number)))["ok"] is False
                raw = await hub.raw()
                await raw.connect_with({"token": hub.token()})
                assert await raw.wait_for_close_code() == 1011
            [named] = [event for event in hub.events if isinstance(event, InboxDamaged)]
            assert "read" in named.reason
            redis.delete(named.key)
        # What was accepted is a repetition, as the log says; what was rejected is not.
        for number in (1, 2, 3, 4):
            assert await publisher.publish(message(number)) == {"ok": True}
        browser = await hub.browser()
        assert [number_of(await browser.next()) for _ in range(3)] == [2, 3, 4]
        assert await browser.received_so_far() == []


async def test_inbox_without_a_read_position_is_unread(redis_server: RedisServer, tmp_path: Path) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher = await hub.publisher()
        assert await publisher.publish(message(1)) == {"ok": True}
        with redis_server.client() as redis:
            redis.hdel("insignia-hub:3:u:ann", "read")
            assert await publisher.publish(message(2)) == {"ok": True}
            browser = await hub.browser()
            assert [number_of(await browser.next()) for _ in range(2)] == [1, 2]
            await eventually(lambda: redis.hget("insignia-hub:3:u:ann", "read") == "2")
        assert [event for event in hub.events if isinstance(event, InboxDamaged)] == []


async def test_read_positions_of_others_are_stored_beside_a_damaged_inbox(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher, ann, bob = await hub.publisher(), await hub.browser(), await hub.browser("bob")
        for number, user, browser in ((1, "ann", ann), (2, "bob", bob)):
            await publisher.publish(message(number), user)
            assert number_of(await browser.next()) == number
        inbox = hub.hub.hub.inbox
        with redis_server.client() as redis:
            of_ann, of_bob = (str(redis.hget(f"insignia-hub:3:u:{user}", "epoch")) for user in ("ann", "bob"))
            redis.set("insignia-hub:3:u:ann", "text")
            inbox.mark_read("ann", ResumePoint(of_ann, 1))
            inbox.mark_read("bob", ResumePoint(of_bob, 1))
            inbox.flush()
            await eventually(lambda: redis.hget("insignia-hub:3:u:bob", "read") == "1")
        named = await hub.wait_for_event(InboxDamaged)
        assert named.user_id == "ann"
        again = await hub.browser("bob")
        assert await again.received_so_far() == []


async def test_many_damaged_inboxes_are_named_ten_times(redis_server: RedisServer, tmp_path: Path) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        publisher = await hub.publisher()
        users = [f"user-{number}" for number in range(20)]
        with redis_server.client() as redis:
            for user in users:
                redis.set(f"insignia-hub:3:u:{user}", "text")
        for number, user in enumerate(users):
            assert (await publisher.publish(message(number), user))["ok"] is False
        assert len([event for event in hub.events if isinstance(event, InboxDamaged)]) == 10
