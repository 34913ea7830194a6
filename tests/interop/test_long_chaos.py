"""Tens of thousands of notifications to the JavaScript server through a faulty network."""

import asyncio
import random
from typing import Any

import pytest

from tests.support.fault_proxy import fault_proxy
from tests.support.js import js_server
from tests.support.message_source import ListSource, message
from tests.support.notifiers import fast_settings, running_notifier
from worker.notifiers.socketio.events import Disconnect

LEVERS: dict[str, dict[str, Any]] = {
    "ack": {},
    "fence": {"acks": False},
    "heartbeat": {"acks": False, "pingInterval": 1000, "pingTimeout": 400},
}
COUNT = {"ack": 20_000, "fence": 20_000, "heartbeat": 2_000}
PAUSE = {"ack": 0.15, "fence": 0.15, "heartbeat": 4.0}
"""Seconds between faults: heartbeat needs two undisturbed pings to confirm anything."""


@pytest.mark.kill
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", LEVERS)
async def test_messages_arrive_complete_and_in_order_over_minutes_of_faults(mode: str) -> None:
    source, count = ListSource(), COUNT[mode]
    async with js_server(**LEVERS[mode]) as server, fault_proxy(server.port) as proxy:
        # A network this bad interrupts a notification that is alone in flight more often than a poison one is tried.
        settings = fast_settings(proxy.url, ack_timeout=800, timeout=1500, confirmation=mode, max_send_attempts=1000)
        async with running_notifier(settings, source, keep_alive=0.3) as link:
            trouble = asyncio.create_task(proxy.misbehave(random.Random(count), PAUSE[mode]))
            for start in range(1, count, 200):
                source.add(*[message(number) for number in range(start, start + 200)])
                await asyncio.sleep(0.02)
            await asyncio.sleep(PAUSE[mode] * 3)
            trouble.cancel()
            proxy.refusing, proxy.delay = False, 0.0
            await source.until(count, seconds=400)
            assert len(link.events.of(Disconnect)) >= 2
        arrived = (await server.report())["ids"]
    assert list(dict.fromkeys(arrived)) == list(range(1, count + 1))
    assert source.rejections == {}
