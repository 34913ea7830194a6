"""The long run: tens of thousands of notifications to the real JavaScript server through a network that breaks."""

import asyncio
import random

import pytest

from tests.support.channels import quick, running
from tests.support.fault_proxy import fault_proxy
from tests.support.feed import ListFeed, message
from tests.support.js import js_server
from worker.orgsocket.link import Disconnect

LEVERS = {"ack": {}, "fence": {"acks": False}, "heartbeat": {"acks": False, "pingInterval": 1000, "pingTimeout": 400}}
COUNT = {"ack": 20_000, "fence": 20_000, "heartbeat": 2_000}
PAUSE = {"ack": 0.15, "fence": 0.15, "heartbeat": 4.0}
"""Seconds between faults: heartbeat needs two pings in peace to prove anything."""


@pytest.mark.kill
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", LEVERS)
async def test_nothing_is_lost_and_first_arrivals_are_in_order(mode: str) -> None:
    feed, count = ListFeed(), COUNT[mode]
    async with js_server(**LEVERS[mode]) as server, fault_proxy(server.port) as proxy:
        settings = quick(proxy.url, ack_timeout=800, timeout=1500, confirmation=mode)
        async with running(settings, feed, pulse=0.3) as link:
            trouble = asyncio.create_task(proxy.misbehave(random.Random(count), PAUSE[mode]))
            for start in range(1, count, 200):
                feed.add(*[message(number) for number in range(start, start + 200)])
                await asyncio.sleep(0.02)
            await asyncio.sleep(PAUSE[mode] * 3)
            trouble.cancel()
            proxy.refusing, proxy.delay = False, 0.0
            await feed.until(count, seconds=200)
            assert len(link.events.of(Disconnect)) >= 2
        arrived = (await server.report())["ids"]
    assert list(dict.fromkeys(arrived)) == list(range(1, count + 1))
    assert feed.refused == {}
