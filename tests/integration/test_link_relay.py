"""Store, relay and link together: notifications of ended jobs arrive over a faulty network, and are recorded."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.event_collector import EventCollector
from tests.support.eventually import eventually
from tests.support.fault_proxy import fault_proxy
from tests.support.notifiers import fast_settings
from tests.support.socketio_server import socketio_server
from tests.support.stores import a_job, success
from worker.core.clock import Clock
from worker.core.events import NotificationRejected, NotificationsDelivered
from worker.core.notification import NotificationFormat
from worker.core.store import Store
from worker.handler import discover
from worker.notifiers.socketio.notifier import SocketIoNotifier
from worker.notifiers.socketio.server_capabilities import ServerCapabilitiesStore
from worker.runtime.operations import JobService
from worker.runtime.relay import Relay
from worker.stores.sqlite.store import open_store

JOBS = 1000
PATIENCE = (120.0, 60.0)
"""Seconds for all notifications, and without progress: guards against a hang."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(tmp_path / "queue.db", owner="test", max_bytes=1 << 30, clock=Clock())
    yield opened
    await opened.close()


async def finish(store: Store, count: int) -> None:
    """Accept, run and end that many jobs, each with its notification."""
    await store.enqueue([a_job() for _ in range(count)])
    claimed = await store.claim(count)
    assert await store.settle([success(job) for job in claimed.jobs]) == [True] * count


async def test_relay_delivers_and_records_every_notification_over_a_faulty_network(store: Store) -> None:
    events = EventCollector()
    async with socketio_server() as server, fault_proxy(server.port) as proxy:
        notifier = SocketIoNotifier(
            fast_settings(proxy.url, ack_timeout=600, timeout=1500, window=64),
            ServerCapabilitiesStore(),
            emit=events,
            clock=Clock(),
            keep_alive=0.3,
        )
        relay = Relay(store, notifier, events, 0.05)
        running = asyncio.create_task(relay.run(asyncio.Event()))
        trouble = asyncio.create_task(proxy.misbehave(random.Random(3), 0.1))
        for _ in range(JOBS // 50):
            await finish(store, 50)
            await asyncio.sleep(0.02)
        trouble.cancel()
        proxy.refusing, proxy.delay = False, 0.0
        assert await relay.flush(*PATIENCE)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert server.numbers == list(range(1, JOBS + 1))
    assert sum(event.count for event in events.of(NotificationsDelivered)) == JOBS
    assert (await store.stats()).outbox_depth == 0


async def test_relay_sets_a_rejected_notification_aside_and_delivers_the_rest(store: Store) -> None:
    events = EventCollector()

    def answer(note: dict[str, Any], _user: object) -> bool | None:
        return False if note["payload"]["sequence"] == 3 else None

    async with socketio_server(answer=answer) as server:
        notifier = SocketIoNotifier(fast_settings(server.url), ServerCapabilitiesStore(), emit=events, clock=Clock())
        relay = Relay(store, notifier, events, 0.05)
        running = asyncio.create_task(relay.run(asyncio.Event()))
        await finish(store, 5)
        assert await relay.flush(*PATIENCE)
        await eventually(lambda: events.of(NotificationRejected))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    figures = await store.stats()
    assert (figures.outbox_depth, figures.outbox_dead) == (0, 1)


async def test_notification_set_aside_by_an_operator_lets_the_rest_go_on(store: Store) -> None:
    events = EventCollector()

    def answer(note: dict[str, Any], _user: object) -> object:
        return ... if note["payload"]["sequence"] == 3 else None

    async with socketio_server(answer=answer) as server:
        settings = fast_settings(server.url, confirmation="ack", ack_timeout=200, max_send_attempts=1000)
        notifier = SocketIoNotifier(settings, ServerCapabilitiesStore(), emit=events, clock=Clock())
        relay = Relay(store, notifier, events, 0.05)
        jobs = JobService(store, discover([]), NotificationFormat(), Clock(), None, 3, on_set_aside=relay.set_aside)
        running = asyncio.create_task(relay.run(asyncio.Event()))
        await finish(store, 5)
        await eventually(lambda: server.numbers.count(3) and len(server.ids) >= 8)
        [blocked] = [message for message in await store.pending(0, 10) if b'"sequence":3}' in message.body]
        await jobs.set_aside(blocked.notification_id)
        assert await relay.flush(*PATIENCE)
        await finish(store, 1)
        assert await relay.flush(*PATIENCE)
        await store.resend(blocked.notification_id)
        # A copy of the first delivery may still be on its way, over a connection that was given up.
        await eventually(lambda: any("redelivery" in note["payload"] for note, _ in server.received))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    [resent] = [note["payload"] for note, _ in server.received if "redelivery" in note["payload"]]
    assert (resent["redelivery"], resent["notificationId"]) == (1, blocked.notification_id)
    assert (await store.stats()).outbox_dead == 0, "it waits to be sent once more"
