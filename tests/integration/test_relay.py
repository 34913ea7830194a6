"""The relay between the real store and a channel that is played by the test."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.event_collector import EventCollector
from tests.support.sqlite_store import Gate, a_store, add_notifications
from worker.core.events import LoopFailed, NotificationRejected, NotificationsDelivered
from worker.core.notifier import MessageSource
from worker.core.store import OutboxMessage
from worker.runtime.relay import READ_AHEAD, Relay
from worker.stores.sqlite.store import SqliteStore

PATIENCE = (60.0, 60.0)
"""Seconds for all messages, and without progress: guards against a hang."""


@dataclass
class Channel:
    """Does nothing by itself: the test takes and confirms."""

    feed: "asyncio.Future[MessageSource]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def run(self, feed: MessageSource, stop: asyncio.Event) -> None:
        self.feed.set_result(feed)
        await asyncio.Event().wait()

    def forget(self, message: OutboxMessage) -> None:
        raise AssertionError

    def progress(self, body: bytes) -> None:
        raise AssertionError


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with a_store(tmp_path) as store:
        yield store


@contextlib.asynccontextmanager
async def relaying(outbox: Any, **options: Any) -> AsyncIterator[tuple[Relay, MessageSource, EventCollector]]:
    collector, channel = EventCollector(), Channel()
    relay = Relay(outbox, channel, collector, pause_on_error=0.01, **options)
    running = asyncio.ensure_future(relay.run(asyncio.Event()))
    try:
        yield relay, await channel.feed, collector
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def taken(feed: MessageSource, limit: int) -> list[int]:
    async with asyncio.timeout(30):
        return [message.id for message in await feed.take(limit)]


async def states(store: SqliteStore) -> dict[int, str]:
    return {record.id: record.state for record in await store.notifications(limit=1000)}


async def test_take_returns_messages_in_order_and_each_once(store: SqliteStore) -> None:
    ids = await add_notifications(store, 1100)  # more than is read ahead
    async with relaying(store) as (_, feed, _):
        got: list[int] = []
        while len(got) < len(ids):
            got += await taken(feed, 100)
    assert got == ids == sorted(ids)


async def test_take_waits_for_the_next_message(store: SqliteStore) -> None:
    async with relaying(store) as (_, feed, _):
        waiting = asyncio.ensure_future(taken(feed, 10))
        await asyncio.sleep(0)
        ids = await add_notifications(store, 2)
        got = await waiting
        got += await taken(feed, 10) if len(got) < 2 else []
    assert got == ids


async def test_confirmed_messages_are_recorded_and_reported(store: SqliteStore) -> None:
    ids = await add_notifications(store, 3)
    async with relaying(store) as (_, feed, collector):
        await taken(feed, 10)
        feed.confirmed(ids[1])
        assert await collector.until(NotificationsDelivered) == [NotificationsDelivered(2, ids[1])]
    assert [message.id for message in await store.pending(0, 10)] == [ids[2]]


async def test_confirmation_below_the_watermark_changes_nothing(store: SqliteStore) -> None:
    ids = await add_notifications(store, 3)
    async with relaying(store) as (_, feed, collector):
        await taken(feed, 10)
        feed.confirmed(ids[2])
        feed.confirmed(ids[0])
        assert await collector.until(NotificationsDelivered) == [NotificationsDelivered(3, ids[2])]


async def test_rewind_sends_again_from_the_oldest_unconfirmed_message(store: SqliteStore) -> None:
    ids = await add_notifications(store, 5)
    async with relaying(store) as (_, feed, _):
        await taken(feed, 4)
        feed.confirmed(ids[1])
        feed.rewind()
        assert await taken(feed, 10) == ids[2:]


async def test_rewind_wakes_a_waiting_take(store: SqliteStore) -> None:
    ids = await add_notifications(store, 2)
    async with relaying(store) as (_, feed, _):
        await taken(feed, 10)
        waiting = asyncio.ensure_future(taken(feed, 10))
        gate = asyncio.ensure_future(store.pending(ids[-1], 1))
        await gate  # by now the relay has found nothing either
        await asyncio.sleep(0)
        feed.rewind()
        assert await waiting == ids


async def test_read_of_a_lost_session_is_not_returned_twice(store: SqliteStore) -> None:
    ids = await add_notifications(store, 3)
    gate = Gate(store, "pending")
    async with relaying(gate) as (_, feed, _):
        gate.open.clear()
        waiting = asyncio.ensure_future(taken(feed, 10))
        await gate.reached.wait()
        feed.rewind()
        gate.open.set()
        assert await waiting == ids
        more = asyncio.ensure_future(taken(feed, 10))
        new = await add_notifications(store, 1)
        assert await more == new


async def test_confirmation_before_a_lost_session_is_still_recorded(store: SqliteStore) -> None:
    ids = await add_notifications(store, 3)
    async with relaying(store) as (_, feed, collector):
        await taken(feed, 10)
        feed.confirmed(ids[1])
        feed.rewind()
        assert await collector.until(NotificationsDelivered) == [NotificationsDelivered(2, ids[1])]
        assert await taken(feed, 10) == ids[2:]


async def test_rejected_message_is_set_aside_and_blocks_nothing(store: SqliteStore) -> None:
    ids = await add_notifications(store, 3)
    async with relaying(store) as (_, feed, collector):
        await taken(feed, 10)
        feed.rejected(ids[1], "no such user")
        feed.confirmed(ids[2])
        [rejected] = await collector.until(NotificationRejected)
        await collector.until(NotificationsDelivered)
    assert rejected.reason == "no such user"
    assert await states(store) == {ids[0]: "delivered", ids[1]: "dead", ids[2]: "delivered"}
    [dead] = await store.notifications(state="dead")
    assert dead.reason == "no such user"


async def test_rejected_message_is_not_sent_again_after_a_lost_session(store: SqliteStore) -> None:
    ids = await add_notifications(store, 3)
    async with relaying(store) as (_, feed, _):
        await taken(feed, 10)
        feed.rejected(ids[1], "no")
        feed.rewind()
        assert await taken(feed, 10) == [ids[0], ids[2]]


async def test_rejected_message_is_not_sent_again_by_an_earlier_read(store: SqliteStore) -> None:
    """The read still finds it pending, and comes back when it has been parked."""
    ids = await add_notifications(store, 3)
    gate = Gate(store, "pending")
    async with relaying(gate) as (_, feed, collector):
        await taken(feed, 10)
        feed.rejected(ids[1], "no")
        feed.rewind()
        gate.open.clear()
        gate.reached.clear()
        waiting = asyncio.ensure_future(taken(feed, 10))
        await gate.reached.wait()
        await collector.until(NotificationRejected)
        gate.open.set()
        assert await waiting == [ids[0], ids[2]]


async def test_rejection_from_a_lost_session_is_ignored(store: SqliteStore) -> None:
    ids = await add_notifications(store, 1)
    async with relaying(store) as (_, feed, collector):
        await taken(feed, 10)
        feed.rewind()
        feed.rejected(ids[0], "late")
        assert await taken(feed, 10) == ids
        feed.confirmed(ids[0])
        await collector.until(NotificationsDelivered)
    assert collector.of(NotificationRejected) == []


async def test_resent_message_comes_last_with_its_redelivery(store: SqliteStore) -> None:
    ids = await add_notifications(store, 2)
    async with relaying(store) as (_, feed, collector):
        [first, _] = await feed.take(10)
        feed.confirmed(ids[1])
        await collector.until(NotificationsDelivered)
        await store.resend(first.notification_id)
        [again] = await feed.take(10)
    assert again.id > ids[1]
    assert again.notification_id == first.notification_id
    assert b'"redelivery":1' in again.body


# -- new notifications that are not read from the store ------------------------------------------------


async def test_committed_messages_are_passed_on_without_a_read(store: SqliteStore) -> None:
    ids = await add_notifications(store, 3)
    gate = Gate(store, "pending")
    async with relaying(gate) as (_, feed, _):
        assert await taken(feed, 10) == ids
        for _ in range(5):
            more = await add_notifications(store, 2)
            assert await taken(feed, 10) == more
    assert len(gate.calls) == 1


async def test_messages_beyond_the_buffer_are_read_later(store: SqliteStore) -> None:
    ids = await add_notifications(store, 1)
    async with relaying(store) as (_, feed, _):
        assert await taken(feed, 10) == ids
        for _ in range(4):
            ids += await add_notifications(store, 400)
        got = ids[:1]
        while len(got) < len(ids):
            got += await taken(feed, 100)
    assert got == ids


async def test_messages_committed_during_a_read_are_passed_on_once(store: SqliteStore) -> None:
    ids = await add_notifications(store, 2)
    gate = Gate(store, "pending")
    async with relaying(gate) as (_, feed, _):
        gate.open.clear()
        waiting = asyncio.ensure_future(taken(feed, 2))
        await gate.reached.wait()  # it has read the first two, and is held up
        more = await add_notifications(store, 3)
        gate.open.set()
        assert await waiting == ids
        assert await taken(feed, 10) == more


async def test_messages_committed_during_a_read_beyond_the_buffer_are_read_later(
    store: SqliteStore,
) -> None:
    gate = Gate(store, "pending")
    async with relaying(gate) as (_, feed, _):
        gate.open.clear()
        waiting = asyncio.ensure_future(taken(feed, 1000))
        await gate.reached.wait()  # it has found nothing, and is held up
        ids = await add_notifications(store, READ_AHEAD) + await add_notifications(store, 3)
        gate.open.set()
        got = await waiting
        while len(got) < len(ids):
            got += await taken(feed, 1000)
    assert got == ids


async def test_large_messages_are_kept_up_to_a_number_of_bytes(store: SqliteStore) -> None:
    async with relaying(store, max_bytes=2_000) as (relay, feed, _):
        ids = await add_notifications(store, 1)
        got = await taken(feed, 10)
        for _ in range(20):
            ids += await add_notifications(store, 1)
        assert 0 < sum(len(message.body) for message in relay._buffer) <= 2_000
        while len(got) < len(ids):
            got += await taken(feed, 100)
            assert sum(len(message.body) for message in relay._buffer) <= 2_000
    assert got == ids


@pytest.mark.parametrize("max_bytes", [1, 2_000, 4_000_000])
@pytest.mark.parametrize("seed", range(12))
async def test_all_messages_come_in_order_under_any_interleaving(store: SqliteStore, seed: int, max_bytes: int) -> None:
    chance, got = random.Random(seed), list[int]()
    gate = Gate(store, "pending")
    async with relaying(gate, max_bytes=max_bytes) as (_, feed, _):
        ids = await add_notifications(store, chance.randrange(3))
        for _ in range(30):
            match chance.randrange(5):
                case 0:
                    ids += await add_notifications(store, chance.choice([1, 2, 700]))
                case 1:
                    feed.rewind()
                    got.clear()
                case 2 if len(got) < len(ids):
                    got += await taken(feed, chance.choice([1, 100, 1000]))
                case 3:
                    gate.open.clear() if gate.open.is_set() else gate.open.set()
                case _:
                    waiting = asyncio.ensure_future(feed.take(1))
                    await asyncio.sleep(0)
                    waiting.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        got += [message.id for message in await waiting]
            gate.open.set()
        while len(got) < len(ids):
            got += await taken(feed, 1000)
    assert got == ids


# -- the store fails -----------------------------------------------------------------------------------------


async def test_reading_continues_after_an_error(store: SqliteStore) -> None:
    ids = await add_notifications(store, 1)
    gate = Gate(store, "pending")
    gate.errors = [OSError("disk"), OSError("disk")]
    async with relaying(gate) as (_, feed, collector):
        assert await taken(feed, 10) == ids
    assert [event.where for event in collector.of(LoopFailed)] == ["reading the outbox"] * 2


@pytest.mark.parametrize("method", ["delivered", "dead"])
async def test_recording_continues_after_an_error(store: SqliteStore, method: str) -> None:
    ids = await add_notifications(store, 2)
    gate = Gate(store, method)
    gate.errors = [OSError("disk"), OSError("disk")]
    async with relaying(gate) as (_, feed, collector):
        await taken(feed, 10)
        feed.rejected(ids[0], "no")
        feed.confirmed(ids[1])
        await collector.until(NotificationsDelivered)
    assert len(collector.of(LoopFailed)) == 2
    assert await states(store) == {ids[0]: "dead", ids[1]: "delivered"}


# -- flushing ------------------------------------------------------------------------------------------------


async def test_flush_of_an_empty_outbox_returns_at_once(store: SqliteStore) -> None:
    async with relaying(store) as (relay, _, _):
        assert await relay.flush(*PATIENCE)


async def test_flush_waits_for_the_last_confirmation(store: SqliteStore) -> None:
    ids = await add_notifications(store, 3)
    async with relaying(store) as (relay, feed, collector):
        await taken(feed, 10)
        feed.confirmed(ids[0])
        await collector.until(NotificationsDelivered)
        flushed = asyncio.ensure_future(relay.flush(*PATIENCE))
        done, _ = await asyncio.wait([flushed], timeout=0.1)
        assert not done  # it has looked, and is waiting
        feed.confirmed(ids[1])
        await collector.until(NotificationsDelivered, 2)
        feed.confirmed(ids[2])
        assert await flushed
    assert await store.pending(0, 10) == []


async def test_flush_waits_until_rejections_are_recorded(store: SqliteStore) -> None:
    ids = await add_notifications(store, 1)
    async with relaying(store) as (relay, feed, _):
        await taken(feed, 10)
        flushed = asyncio.ensure_future(relay.flush(*PATIENCE))
        feed.rejected(ids[0], "no")
        async with asyncio.timeout(30):
            assert await flushed


async def test_flush_without_progress_gives_up(store: SqliteStore) -> None:
    await add_notifications(store, 1)
    async with relaying(store) as (relay, _, _):
        async with asyncio.timeout(30):
            assert not await relay.flush(30, idle_timeout=0.05)


async def test_flush_waits_for_what_is_under_way_longer_than_without_progress(store: SqliteStore) -> None:
    """A server that needs seconds to confirm: what it has received would be sent again after the next start."""
    ids = await add_notifications(store, 1)
    async with relaying(store) as (relay, feed, _):
        await taken(feed, 10)
        flushed = asyncio.ensure_future(relay.flush(60, idle_timeout=0.01))
        done, _ = await asyncio.wait([flushed], timeout=0.2)
        assert not done
        feed.confirmed(ids[0])
        assert await flushed
    assert await store.pending(0, 10) == []


@pytest.mark.parametrize("reason", ["session ends", "stop is forced"])
async def test_flush_gives_up_when_nothing_under_way_is_waited_for(store: SqliteStore, reason: str) -> None:
    await add_notifications(store, 1)
    async with relaying(store) as (relay, feed, _):
        await taken(feed, 10)
        flushed = asyncio.ensure_future(relay.flush(3600, idle_timeout=0.01))
        if reason == "session ends":
            feed.rewind()
        else:
            relay.force_stop()
        async with asyncio.timeout(30):
            assert not await flushed


async def test_flush_with_progress_gives_up_at_its_deadline(store: SqliteStore) -> None:
    ids = await add_notifications(store, 3)
    async with relaying(store) as (relay, feed, collector):
        await taken(feed, 10)
        flushed = asyncio.ensure_future(relay.flush(0.05, idle_timeout=30))
        feed.confirmed(ids[0])
        await collector.until(NotificationsDelivered)
        async with asyncio.timeout(30):
            assert not await flushed
