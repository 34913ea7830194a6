"""Store, relay and link together: the news of ended jobs arrive over a broken network, and are recorded."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.channels import quick
from tests.support.eventually import eventually
from tests.support.fault_proxy import fault_proxy
from tests.support.listener import Listener
from tests.support.socketio_server import socketio_server
from tests.support.stores import a_job, success
from worker.clock import Clock
from worker.events import NotificationRejected, NotificationsDelivered
from worker.orgsocket.channel import OrgSocket
from worker.queue import Store
from worker.queues.sqlite import open_store
from worker.relay import Relay

JOBS = 1000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(tmp_path / "queue.db", owner="test", max_bytes=1 << 30, clock=Clock())
    yield opened
    await opened.close()


async def finish(store: Store, count: int) -> None:
    """So many jobs accepted, run and ended, each with its news."""
    await store.enqueue([a_job() for _ in range(count)])
    claimed = await store.claim(count)
    assert await store.settle([success(job) for job in claimed.jobs]) == [True] * count


async def test_every_news_is_delivered_and_recorded_whatever_the_network_does(store: Store) -> None:
    events = Listener()
    async with socketio_server() as server, fault_proxy(server.port) as proxy:
        channel = OrgSocket(quick(proxy.url, ack_timeout=600, timeout=1500, window=64), emit=events, pulse=0.3)
        relay = Relay(store, channel, events, 0.05)
        running = asyncio.create_task(relay.run(asyncio.Event()))
        trouble = asyncio.create_task(proxy.misbehave(random.Random(3), 0.1))
        for _ in range(JOBS // 50):
            await finish(store, 50)
            await asyncio.sleep(0.02)
        trouble.cancel()
        proxy.refusing, proxy.delay = False, 0.0
        assert await relay.flush(30)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert server.numbers == list(range(1, JOBS + 1))
    assert sum(event.count for event in events.of(NotificationsDelivered)) == JOBS
    assert (await store.figures()).outbox_depth == 0


async def test_a_refused_news_is_parked_and_the_rest_delivered(store: Store) -> None:
    events = Listener()

    def answer(note: dict[str, Any], _user: object) -> bool | None:
        return False if note["payload"]["sequence"] == 3 else None

    async with socketio_server(answer=answer) as server:
        channel = OrgSocket(quick(server.url), emit=events)
        relay = Relay(store, channel, events, 0.05)
        running = asyncio.create_task(relay.run(asyncio.Event()))
        await finish(store, 5)
        assert await relay.flush(10)
        await eventually(lambda: events.of(NotificationRejected))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    figures = await store.figures()
    assert (figures.outbox_depth, figures.outbox_dead) == (0, 1)
