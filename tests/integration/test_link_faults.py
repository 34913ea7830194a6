"""Thousands of notifications through networks that break: none is lost, all arrive in order, nothing is left behind."""

import asyncio
import contextlib
import gc
import random
import re
from collections import Counter
from collections.abc import Callable

import pytest
from aiohttp import WSMsgType

from tests.support.bad_servers import ScriptedConnection, acking, bad_server
from tests.support.eventually import eventually
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.message_source import ListSource, message
from tests.support.notifiers import fast_settings, running_notifier
from tests.support.socketio_server import socketio_server
from worker.notifiers.socketio.events import Connect, Disconnect, ServerError

MANY = 3000


def assert_nothing_lost(arrived: list[int], source: ListSource) -> None:
    """First arrivals are every number, in order; repeats are fine, they carry the same ids."""
    assert arrived == [note.id for note in source.messages]
    assert source.watermark == source.messages[-1].id
    assert source.rejections == {}


@pytest.mark.parametrize("seed", [1, 2])
async def test_messages_arrive_complete_and_in_order_over_a_faulty_network(seed: int) -> None:
    source = ListSource()
    async with socketio_server() as server, fault_proxy(server.port) as proxy:
        settings = fast_settings(proxy.url, ack_timeout=600, timeout=1500, confirmation="ack", window=64)
        async with running_notifier(settings, source, keep_alive=0.2) as link:
            trouble = asyncio.create_task(proxy.misbehave(random.Random(seed), 0.08))
            for start in range(1, MANY, 50):
                source.add(*[message(number) for number in range(start, start + 50)])
                await asyncio.sleep(0.02)
            await link.events.until(Disconnect, 3)
            trouble.cancel()
            proxy.refusing, proxy.delay = False, 0.0
            await source.until(MANY, seconds=120)
        assert_nothing_lost(server.numbers, source)


@pytest.mark.parametrize("fault", [FaultProxy.cut, FaultProxy.reset, FaultProxy.stall, FaultProxy.hole])
async def test_messages_in_flight_are_sent_again_after_a_fault(fault: Callable[[FaultProxy], None]) -> None:
    source = ListSource()
    async with socketio_server() as server, fault_proxy(server.port) as proxy:
        async with running_notifier(fast_settings(proxy.url, ack_timeout=300), source, keep_alive=0.2) as link:
            await link.events.one(Connect)
            fault(proxy)
            source.add(*[message(number) for number in range(1, 301)])
            await source.until(300)
            assert (await link.events.one(Disconnect)).reason
        assert_nothing_lost(server.numbers, source)


async def test_messages_survive_repeated_restarts_of_the_server() -> None:
    source = ListSource()
    async with socketio_server() as server, running_notifier(fast_settings(server.url, ack_timeout=300), source):
        for restart in range(1, 6):
            source.add(*[message(number) for number in range((restart - 1) * 200 + 1, restart * 200 + 1)])
            await asyncio.sleep(0.03)
            await server.stop()
            await server.start()
        await source.until(1000)
        assert_nothing_lost(server.numbers, source)


async def test_messages_taken_stay_within_the_window_when_the_server_does_not_read() -> None:
    source = ListSource([message(number, padding=20000) for number in range(1, 2001)])
    async with socketio_server() as server, fault_proxy(server.port) as proxy:
        async with running_notifier(
            fast_settings(proxy.url, window=64, ack_timeout=60000), source, keep_alive=60.0
        ) as link:
            await link.events.one(Connect)
            await source.until(64)
            proxy.stall()
            await eventually(lambda: link.notifier.status().in_flight == 64)
            taken = source.taken
            await asyncio.sleep(0.2)
            assert source.taken == taken
            proxy.resume()
            await source.until(2000, seconds=120)
        assert_nothing_lost(server.numbers, source)


async def test_sessions_leave_no_tasks_behind() -> None:
    async with bad_server(acking) as server:
        before, one_session = len(asyncio.all_tasks()), 0
        async with running_notifier(fast_settings(server.url)) as link:
            for session in range(1, 31):
                await link.events.one(Connect, count=session)
                one_session = one_session or len(asyncio.all_tasks())
                link.notifier.reconnect()
            await link.events.one(Connect, count=31)
            await eventually(lambda: len(asyncio.all_tasks()) <= one_session)  # the last one but one is still ending
        await eventually(lambda: len(asyncio.all_tasks()) <= before)


async def test_cancel_at_any_moment_leaves_nothing_open() -> None:
    async with bad_server(acking) as server:
        before = len(asyncio.all_tasks())
        for moment in range(40):
            source = ListSource([message(1)])
            async with running_notifier(fast_settings(server.url), source):
                for _ in range(moment):
                    await asyncio.sleep(0)
        await eventually(lambda: len(asyncio.all_tasks()) <= before)
    gc.collect()  # an unclosed connection or session would say so now, and warnings are errors


async def test_links_reconnect_after_delays_spread_by_their_jitter() -> None:
    """Twenty real links whose server restarts; how two hundred spread is in test_link_backoff."""
    shares = [number / 20 for number in range(20)]
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(socketio_server())
        settings = fast_settings(server.url, reconnection_delay=400, max_reconnection_delay=2000)
        links = [
            await stack.enter_async_context(
                running_notifier(settings, ListSource([message(1)]), jitter=lambda share=share: share)
            )
            for share in shares
        ]
        for link in links:
            await link.source.until(1)
        await server.stop()
        await server.start()
        for link, share in zip(links, shares, strict=True):
            await link.events.one(Connect, count=2)
            names = link.events.names()
            lost, tried = names.index("Disconnect"), names.index("ReconnectAttempt")
            assert link.events.times[tried] - link.events.times[lost] >= 0.4 * (0.5 + share) - 0.02


async def test_link_pings_more_often_when_idle_connections_are_cut() -> None:
    silence = 0.8
    pings: Counter[int] = Counter()

    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        while True:
            try:
                frame = await stage.ws.receive(timeout=silence)
            except TimeoutError:
                assert stage.request.transport is not None
                stage.request.transport.abort()
                return
            if frame.type is WSMsgType.PING:
                pings[stage.number] += 1
                await stage.ws.pong(frame.data)
            elif frame.type is not WSMsgType.TEXT:
                return

    async with bad_server(script) as server, running_notifier(fast_settings(server.url)) as link:
        await link.events.one(Disconnect, count=2)
        learned = await link.events.one(ServerError)
        assert re.search(r"cut after [\d.]+ s of silence", learned.detail)
        await link.events.one(Connect, count=3)
        # As many take longer than the silence after which the server cuts: it does no more.
        await eventually(lambda: max(pings.values(), default=0) >= 6)
