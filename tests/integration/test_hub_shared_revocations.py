"""Revoked tokens of hubs that share a Redis: while a hub cannot tell which they are, it accepts none."""

import asyncio
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.hub import PATIENCE, Closed, RunningHub, message
from tests.support.redis_server import RedisServer
from tests.support.shared_hubs import hubs, number_of
from worker.core.events import LoopFailed
from worker.errors import StoreAway, StoreUnwritable
from worker.hub.events import RevocationsRead, RevocationsUnreadable, SharedInboxLost, SharedInboxRestored
from worker.hub.tokens import RevocationsUnknown

KEY = "insignia-hub:3:revoked"


async def is_closed_as_unavailable(hub: RunningHub) -> None:
    """Both endpoints ask their clients to come again, since their tokens may be valid."""
    page = await hub.raw()
    with pytest.raises(Closed, match="1011"):
        await page.connect_with({"token": hub.token()})
    native = await hub.raw("/ws")
    await native.send_native("auth", {"token": hub.token()})
    assert await native.wait_for_close_code() == 1011
    with pytest.raises(RevocationsUnknown):
        hub.hub.tokens.identify(hub.token())


async def test_hub_that_starts_with_unreadable_revocations_accepts_no_token_until_it_knows(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with redis_server.client() as redis:
        redis.set(KEY, "text")
        async with hubs(redis_server, tmp_path, count=1) as [hub]:
            await is_closed_as_unavailable(hub)
            publisher = await hub.publisher()  # the worker in this process: its token cannot be revoked
            assert await publisher.publish(message(1)) == {"ok": True}
            redis.delete(KEY)
            redis.sadd(KEY, "lost")
            await hub.wait_for_event(RevocationsRead)
            browser = await hub.browser()
            assert number_of(await browser.next()) == 1
            raw = await hub.raw()
            assert "unauthorized" in await raw.connect_with({"token": hub.token(token_id="lost")})
            [told] = [event for event in hub.events if isinstance(event, RevocationsUnreadable)]
            assert told.key == KEY


async def test_revocations_that_become_unreadable_close_who_may_be_revoked(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """After a lost connection: what was revoked since then cannot be told. What hubs know is stored again."""
    async with hubs(redis_server, tmp_path) as (one, two):
        await one.hub.revoke("lost")
        browser = await two.browser()
        with redis_server.client() as redis:
            redis.set(KEY, "text")
            redis.client_kill_filter(_type="pubsub")
            await asyncio.wait_for(browser.gone.wait(), PATIENCE)
            await is_closed_as_unavailable(two)
            redis.delete(KEY)
            await two.wait_for_event(RevocationsRead)
            await two.browser()
            await eventually(lambda: redis.smembers(KEY) == {"lost"})


async def test_token_that_cannot_be_stored_as_revoked_is_rejected_by_all_hubs_that_listen(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with hubs(redis_server, tmp_path) as (one, two):
        browser = await two.browser(token=one.token(token_id="lost"))
        with redis_server.client() as redis:
            redis.set(KEY, "text")
            with pytest.raises(StoreUnwritable, match="is revoked, but the hubs' Redis has not stored it yet"):
                await one.hub.revoke("lost")
            await asyncio.wait_for(browser.gone.wait(), PATIENCE)
            redis.delete(KEY)
            await eventually(lambda: redis.smembers(KEY) == {"lost"})


async def test_token_that_is_revoked_while_redis_is_away_is_stored_when_it_is_back(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with hubs(redis_server, tmp_path) as (one, two):
        redis_server.kill()
        with pytest.raises(StoreAway):
            await one.hub.revoke("lost")
        redis_server.start()
        for hub in (one, two):
            await hub.wait_for_event(SharedInboxRestored)
        token = one.token(token_id="lost")
        with redis_server.client() as redis:
            await eventually(lambda: redis.smembers(KEY) == {"lost"})
    async with hubs(redis_server, tmp_path, count=1) as [later]:
        raw = await later.raw()
        assert "unauthorized" in await raw.connect_with({"token": token})


async def test_revocation_that_is_stored_later_reaches_the_hubs_that_listen(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """They have read what is stored before, and would accept the token until they lose their connection."""
    async with hubs(redis_server, tmp_path) as (one, two):
        browser = await two.browser(token=one.token(token_id="lost"))
        with redis_server.client() as redis:
            redis.config_set("min-replicas-to-write", 1)  # Redis takes no writes, such as one with a full memory
            with pytest.raises(StoreUnwritable, match="has not stored it yet"):
                await one.hub.revoke("lost")
            redis.config_set("min-replicas-to-write", 0)
            await eventually(lambda: redis.smembers(KEY) == {"lost"})
        await asyncio.wait_for(browser.gone.wait(), PATIENCE)
        raw = await two.raw()
        assert "unauthorized" in await raw.connect_with({"token": one.token(token_id="lost")})


async def test_revocation_that_cannot_be_stored_keeps_no_hub_from_listening(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        with redis_server.client() as redis:
            redis.config_set("min-replicas-to-write", 1)
            with pytest.raises(StoreUnwritable, match="has not stored it yet"):
                await hub.hub.revoke("lost")
            redis.client_kill_filter(_type="pubsub")
            await hub.wait_for_event(SharedInboxRestored)
            redis.config_set("min-replicas-to-write", 0)
            await eventually(lambda: redis.smembers(KEY) == {"lost"})


async def test_redis_that_answers_nothing_for_now_is_not_taken_for_damaged_revocations(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Clients stay, as while it cannot be reached, and the log does not say to delete the key."""
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        browser = await hub.browser()
        with redis_server.client() as redis:
            redis.config_set("replica-serve-stale-data", "no")
            redis.replicaof("127.0.0.1", "1")  # as during a failover: MASTERDOWN to all that ask for data
            redis.client_kill_filter(_type="pubsub")
            await hub.wait_for_event(SharedInboxLost)
            await asyncio.sleep(1)
            redis.replicaof("NO", "ONE")
            await hub.wait_for_event(SharedInboxRestored)
        assert not [event for event in hub.events if isinstance(event, RevocationsUnreadable)]
        assert not browser.gone.is_set()


async def test_hub_that_never_reached_redis_accepts_no_token(redis_server: RedisServer, tmp_path: Path) -> None:
    redis_server.kill()
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        await is_closed_as_unavailable(hub)
        redis_server.start()
        await hub.wait_for_event(SharedInboxRestored)
        await hub.browser()


async def test_revoked_id_in_another_encoding_hides_no_other(redis_server: RedisServer, tmp_path: Path) -> None:
    with redis_server.client() as redis:
        redis.sadd(KEY, b"\xff", "lost")
    async with hubs(redis_server, tmp_path, count=1) as [hub]:
        raw = await hub.raw()
        assert "unauthorized" in await raw.connect_with({"token": hub.token(token_id="lost")})
        await hub.browser()
        assert [event for event in hub.events if isinstance(event, LoopFailed)]
