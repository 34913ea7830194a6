"""The link and our own hub."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from config.settings import WebSocketSettings
from tests.support.channels import quick, running
from tests.support.fault_proxy import fault_proxy
from tests.support.feed import ListFeed, message
from tests.support.hub import EVENT, RunningHub, running_hub
from worker.notification import progress
from worker.orgsocket.link import Connect, ConnectError, Disconnect, Error
from worker.queue import OutboxMessage


def notes(first: int, last: int) -> list[OutboxMessage]:
    return [message(number, user="ann") for number in range(first, last + 1)]


async def sequences(browser: Any, count: int) -> list[int]:
    return [(await browser.next())[1]["payload"]["sequence"] for _ in range(count)]


def at(hub: RunningHub) -> WebSocketSettings:
    return quick(hub.url, token=hub.hub.worker_token())


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "library"])
async def test_a_browser_receives_what_the_worker_sends_once_and_in_order(tmp_path: Path, fast: bool) -> None:
    feed = ListFeed(notes(1, 300))
    async with running_hub(tmp_path) as hub, running(at(hub), feed, fast=fast) as link:
        browser = await hub.browser("ann")
        await feed.until(300)
        assert await sequences(browser, 300) == list(range(1, 301))
        assert link.channel.figures().mode == "ack"
        assert link.events.of(Disconnect) == []


async def test_what_is_sent_again_after_a_fault_reaches_the_browser_once(tmp_path: Path) -> None:
    feed = ListFeed()
    async with running_hub(tmp_path) as hub, fault_proxy(hub.port) as proxy:
        settings = quick(proxy.url, token=hub.hub.worker_token(), ack_timeout=300)
        async with running(settings, feed, pulse=0.2) as link:
            browser = await hub.browser("ann")
            for fault in (proxy.cut, proxy.hole, proxy.reset, proxy.stall):
                await link.events.one(Connect, count=len(link.events.of(Disconnect)) + 1)
                first = len(feed.messages) + 1
                feed.add(*notes(first, first + 99))
                await feed.until(first)
                fault()
                await feed.until(first + 99)
        assert await sequences(browser, 400) == list(range(1, 401))
        assert await browser.rest() == []


async def test_progress_passes_through(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub, running(at(hub)) as link:
        browser = await hub.browser("ann")
        await link.events.one(Connect)
        link.channel.progress(progress("job-1", "report", "ann", 40.0, "", EVENT))
        name, told, *_ = await browser.next()
        assert (name, told["message"], told["payload"]["percent"]) == (EVENT, "Task Progress", 40.0)


async def test_a_hub_that_restarts_is_found_again(tmp_path: Path) -> None:
    feed = ListFeed(notes(1, 100))
    async with running_hub(tmp_path) as hub, running(at(hub), feed) as link:
        await feed.until(100)
        await hub.hub.close()
        await link.events.one(Disconnect)
        feed.add(*notes(101, 200))
        async with running_hub(tmp_path) as successor:
            link.channel.connect_to(successor.url, successor.hub.worker_token)
            await feed.until(200)


async def test_a_token_that_the_hub_does_not_know_is_refused_with_an_alarm(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path) as hub,
        running(quick(hub.url, token="nonsense", slow_retry_delay=60000)) as link,
    ):
        assert "unauthorized" in (await link.events.one(ConnectError)).cause
        assert (await link.events.one(Error)).alarm


async def test_a_token_without_the_right_to_publish_buries_nothing(tmp_path: Path) -> None:
    feed = ListFeed(notes(1, 50))
    async with (
        running_hub(tmp_path) as hub,
        running(quick(hub.url, token=hub.token("ann"), slow_retry_delay=60000), feed) as link,
    ):
        assert "forbidden" in (await link.events.one(Disconnect)).reason
        assert (await link.events.one(Error)).alarm
        await asyncio.sleep(0.05)
        assert (feed.refused, feed.watermark) == ({}, 0)
        link.channel.connect_to(hub.url, hub.hub.worker_token)
        link.channel.reconnect()
        await feed.until(50)


async def test_a_message_refused_as_forbidden_twice_blocks_nobody_behind_it(tmp_path: Path) -> None:
    feed = ListFeed(notes(1, 2))
    async with (
        running_hub(tmp_path) as hub,
        running(quick(hub.url, token=hub.token("ann"), slow_retry_delay=50), feed),
    ):
        await feed.until(2)
    assert set(feed.refused) == {1, 2}
