"""Thousands of notifications through networks that break: none is lost, all arrive in order, nothing is left behind."""

import asyncio
import contextlib
import gc
import random

import engineio
import pytest

from tests.support.bad_servers import acking, bad_server
from tests.support.channels import quick, running
from tests.support.eventually import eventually
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.feed import ListFeed, message
from tests.support.socketio_server import socketio_server
from worker.orgsocket.link import Connect, Disconnect

MANY = 3000


def assert_nothing_lost(arrived: list[int], feed: ListFeed) -> None:
    """First arrivals are every number, in order; repeats are fine, they carry the same ids."""
    assert arrived == [note.id for note in feed.messages]
    assert feed.watermark == feed.messages[-1].id
    assert feed.refused == {}


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "library"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_notification_is_lost_or_out_of_order_whatever_the_network_does(seed: int, fast: bool) -> None:
    feed = ListFeed()
    async with socketio_server() as server, fault_proxy(server.port) as proxy:
        settings = quick(proxy.url, ack_timeout=600, timeout=1500, confirmation="ack", window=64)
        async with running(settings, feed, pulse=0.2, fast=fast) as link:
            trouble = asyncio.create_task(proxy.misbehave(random.Random(seed), 0.08))
            for start in range(1, MANY, 50):
                feed.add(*[message(number) for number in range(start, start + 50)])
                await asyncio.sleep(0.02)
            trouble.cancel()
            proxy.refusing, proxy.delay = False, 0.0
            await feed.until(MANY, seconds=60)
            assert len(link.events.of(Disconnect)) >= 3
        assert_nothing_lost(server.numbers, feed)
    assert engineio.base_client.connected_clients == []


@pytest.mark.parametrize("fault", [FaultProxy.cut, FaultProxy.reset, FaultProxy.stall, FaultProxy.hole])
async def test_what_was_under_way_when_the_line_broke_is_sent_again(fault: object) -> None:
    feed = ListFeed()
    async with socketio_server() as server, fault_proxy(server.port) as proxy:
        async with running(quick(proxy.url, ack_timeout=300), feed, pulse=0.2) as link:
            await link.events.one(Connect)
            fault(proxy)  # type: ignore[operator]
            feed.add(*[message(number) for number in range(1, 301)])
            await feed.until(300)
            assert (await link.events.one(Disconnect)).reason
        assert_nothing_lost(server.numbers, feed)


async def test_a_server_that_restarts_again_and_again_loses_nothing() -> None:
    feed = ListFeed()
    async with socketio_server() as server, running(quick(server.url, ack_timeout=300), feed):
        for restart in range(1, 6):
            feed.add(*[message(number) for number in range((restart - 1) * 200 + 1, restart * 200 + 1)])
            await asyncio.sleep(0.03)
            await server.stop()
            await server.start()
        await feed.until(1000)
        assert_nothing_lost(server.numbers, feed)


async def test_a_peer_that_does_not_read_costs_no_memory_beyond_the_window() -> None:
    feed = ListFeed([message(number, padding=20000) for number in range(1, 2001)])
    async with socketio_server() as server, fault_proxy(server.port) as proxy:
        async with running(quick(proxy.url, window=64, ack_timeout=60000), feed, pulse=60.0) as link:
            await link.events.one(Connect)
            await feed.until(64)
            proxy.stall()
            await asyncio.sleep(0.3)
            assert link.channel.figures().in_flight <= 64
            taken = feed.taken
            await asyncio.sleep(0.2)
            assert feed.taken == taken
            proxy.resume()
            await feed.until(2000, seconds=60)
        assert_nothing_lost(server.numbers, feed)


async def test_many_sessions_leave_no_client_behind() -> None:
    async with bad_server(acking) as server:
        before = len(asyncio.all_tasks())
        async with running(quick(server.url)) as link:
            for session in range(1, 31):
                await link.events.one(Connect, count=session)
                link.channel.reconnect()
            await link.events.one(Connect, count=31)
            assert len(engineio.base_client.connected_clients) == 1
        await eventually(lambda: len(asyncio.all_tasks()) <= before)
    assert engineio.base_client.connected_clients == []


async def test_cancelling_at_any_moment_leaves_nothing_open() -> None:
    async with bad_server(acking) as server:
        before = len(asyncio.all_tasks())
        for moment in range(40):
            feed = ListFeed([message(1)])
            async with running(quick(server.url), feed):
                for _ in range(moment):
                    await asyncio.sleep(0)
        await eventually(lambda: len(asyncio.all_tasks()) <= before)
    assert engineio.base_client.connected_clients == []
    gc.collect()  # an unclosed connection or session would say so now, and warnings are errors


async def test_workers_come_back_each_after_a_pause_of_its_own() -> None:
    """Twenty real links whose server restarts; how two hundred spread is in test_link_backoff."""
    shares = [number / 20 for number in range(20)]
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(socketio_server())
        settings = quick(server.url, reconnection_delay=400, max_reconnection_delay=2000)
        links = [
            await stack.enter_async_context(running(settings, ListFeed([message(1)]), spread=lambda share=share: share))
            for share in shares
        ]
        for link in links:
            await link.feed.until(1)
        await server.stop()
        await server.start()
        for link, share in zip(links, shares, strict=True):
            await link.events.one(Connect, count=2)
            names = link.events.names()
            lost, tried = names.index("Disconnect"), names.index("ReconnectAttempt")
            assert link.events.times[tried] - link.events.times[lost] >= 0.4 * (0.5 + share) - 0.02
