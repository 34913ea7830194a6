"""The link and our own hub."""

import asyncio
from pathlib import Path
from typing import Any

from config.link_settings import WebSocketSettings
from tests.support.fault_proxy import fault_proxy
from tests.support.hub import EVENT, RunningHub, running_hub
from tests.support.message_source import ListSource, message
from tests.support.notifiers import fast_settings, running_notifier
from worker.core.notification import progress
from worker.core.store import OutboxMessage
from worker.notifiers.socketio.events import Connect, ConnectError, Disconnect, ServerError


def notes(first: int, last: int) -> list[OutboxMessage]:
    return [message(number, user="ann") for number in range(first, last + 1)]


async def sequences(browser: Any, count: int) -> list[int]:
    return [(await browser.next())[1]["payload"]["sequence"] for _ in range(count)]


def at(hub: RunningHub) -> WebSocketSettings:
    return fast_settings(hub.url, token=hub.hub.worker_token())


async def test_hub_delivers_each_message_once_and_in_order(tmp_path: Path) -> None:
    source = ListSource(notes(1, 300))
    async with running_hub(tmp_path) as hub, running_notifier(at(hub), source) as link:
        browser = await hub.browser("ann")
        await source.until(300)
        assert await sequences(browser, 300) == list(range(1, 301))
        assert link.notifier.status().mode == "ack"
        assert link.events.of(Disconnect) == []


async def test_hub_delivers_messages_that_are_sent_again_once(tmp_path: Path) -> None:
    source = ListSource()
    async with running_hub(tmp_path) as hub, fault_proxy(hub.port) as proxy:
        settings = fast_settings(proxy.url, token=hub.hub.worker_token(), ack_timeout=300)
        async with running_notifier(settings, source, keep_alive=0.2) as link:
            browser = await hub.browser("ann")
            for fault in (proxy.cut, proxy.hole, proxy.reset, proxy.stall):
                await link.events.one(Connect, count=len(link.events.of(Disconnect)) + 1)
                first = len(source.messages) + 1
                source.add(*notes(first, first + 99))
                await source.until(first)
                fault()
                await source.until(first + 99)
        assert await sequences(browser, 400) == list(range(1, 401))
        assert await browser.received_so_far() == []


async def test_hub_delivers_progress(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub, running_notifier(at(hub)) as link:
        browser = await hub.browser("ann")
        await link.events.one(Connect)
        link.notifier.progress(progress("job-1", "report", "ann", 40.0, "", EVENT))
        name, note, *_ = await browser.next()
        assert (name, note["message"], note["payload"]["percent"]) == (EVENT, "Task Progress", 40.0)


async def test_link_reconnects_to_a_hub_that_restarted(tmp_path: Path) -> None:
    source = ListSource(notes(1, 100))
    async with running_hub(tmp_path) as hub, running_notifier(at(hub), source) as link:
        await source.until(100)
        await hub.hub.close()
        await link.events.one(Disconnect)
        source.add(*notes(101, 200))
        async with running_hub(tmp_path) as successor:
            link.notifier.connect_to(successor.url, successor.hub.worker_token)
            await source.until(200)


async def test_unknown_token_raises_an_alarm(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path) as hub,
        running_notifier(fast_settings(hub.url, token="nonsense", slow_retry_delay=60000)) as link,
    ):
        assert "unauthorized" in (await link.events.one(ConnectError)).cause
        assert (await link.events.one(ServerError)).alarm


async def test_token_without_the_publish_scope_rejects_no_message(tmp_path: Path) -> None:
    source = ListSource(notes(1, 50))
    async with (
        running_hub(tmp_path) as hub,
        running_notifier(fast_settings(hub.url, token=hub.token("ann"), slow_retry_delay=60000), source) as link,
    ):
        assert "forbidden" in (await link.events.one(Disconnect)).reason
        assert (await link.events.one(ServerError)).alarm
        await asyncio.sleep(0.05)
        assert (source.rejections, source.watermark) == ({}, 0)
        link.notifier.connect_to(hub.url, hub.hub.worker_token)
        link.notifier.reconnect()
        await source.until(50)


async def test_message_rejected_as_forbidden_twice_is_settled(tmp_path: Path) -> None:
    source = ListSource(notes(1, 2))
    async with (
        running_hub(tmp_path) as hub,
        running_notifier(fast_settings(hub.url, token=hub.token("ann"), slow_retry_delay=50), source),
    ):
        await source.until(2)
    assert set(source.rejections) == {1, 2}
