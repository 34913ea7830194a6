"""The relay between the real store and a channel that is played by the test."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.hearing import Heard
from tests.support.sqlite_store import Gate, a_store, told
from worker.events import LoopFailed, NotificationRejected, NotificationsDelivered
from worker.notifier import Feed
from worker.queues.sqlite import SqliteStore
from worker.relay import READ_AHEAD, Relay


@dataclass
class Channel:
    """Does nothing by itself: the test takes and confirms."""

    feed: "asyncio.Future[Feed]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def run(self, feed: Feed, stop: asyncio.Event) -> None:
        self.feed.set_result(feed)
        await asyncio.Event().wait()

    def progress(self, body: bytes) -> None:
        raise AssertionError


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with a_store(tmp_path) as store:
        yield store


@contextlib.asynccontextmanager
async def relaying(outbox: Any) -> AsyncIterator[tuple[Relay, Feed, Heard]]:
    heard, channel = Heard(), Channel()
    relay = Relay(outbox, channel, heard, pause_on_error=0.01)
    running = asyncio.ensure_future(relay.run(asyncio.Event()))
    try:
        yield relay, await channel.feed, heard
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def taken(feed: Feed, limit: int) -> list[int]:
    async with asyncio.timeout(5):
        return [message.id for message in await feed.take(limit)]


async def states(store: SqliteStore) -> dict[int, str]:
    return {record.id: record.state for record in await store.notifications(limit=1000)}


async def test_messages_are_taken_in_order_and_each_once(store: SqliteStore) -> None:
    ids = await told(store, 1100)  # more than is read ahead
    async with relaying(store) as (_, feed, _):
        got: list[int] = []
        while len(got) < len(ids):
            got += await taken(feed, 100)
    assert got == ids == sorted(ids)


async def test_taking_waits_for_the_next_message(store: SqliteStore) -> None:
    async with relaying(store) as (_, feed, _):
        waiting = asyncio.ensure_future(taken(feed, 10))
        await asyncio.sleep(0)
        ids = await told(store, 2)
        got = await waiting
        got += await taken(feed, 10) if len(got) < 2 else []
    assert got == ids


async def test_what_is_confirmed_is_recorded_and_told(store: SqliteStore) -> None:
    ids = await told(store, 3)
    async with relaying(store) as (_, feed, heard):
        await taken(feed, 10)
        feed.confirmed(ids[1])
        assert await heard.until(NotificationsDelivered) == [NotificationsDelivered(2, ids[1])]
    assert [message.id for message in await store.pending(0, 10)] == [ids[2]]


async def test_a_watermark_does_not_go_back(store: SqliteStore) -> None:
    ids = await told(store, 3)
    async with relaying(store) as (_, feed, heard):
        await taken(feed, 10)
        feed.confirmed(ids[2])
        feed.confirmed(ids[0])
        assert await heard.until(NotificationsDelivered) == [NotificationsDelivered(3, ids[2])]


async def test_after_a_lost_session_all_is_sent_again_from_the_oldest_unconfirmed(store: SqliteStore) -> None:
    ids = await told(store, 5)
    async with relaying(store) as (_, feed, _):
        await taken(feed, 4)
        feed.confirmed(ids[1])
        feed.rewind()
        assert await taken(feed, 10) == ids[2:]


async def test_a_rewind_wakes_who_waits_for_something_new(store: SqliteStore) -> None:
    ids = await told(store, 2)
    async with relaying(store) as (_, feed, _):
        await taken(feed, 10)
        waiting = asyncio.ensure_future(taken(feed, 10))
        gate = asyncio.ensure_future(store.pending(ids[-1], 1))
        await gate  # by now the relay has found nothing either
        await asyncio.sleep(0)
        feed.rewind()
        assert await waiting == ids


async def test_a_read_that_belongs_to_a_lost_session_is_not_handed_out_twice(store: SqliteStore) -> None:
    ids = await told(store, 3)
    gate = Gate(store, "pending")
    async with relaying(gate) as (_, feed, _):
        gate.open.clear()
        waiting = asyncio.ensure_future(taken(feed, 10))
        await gate.reached.wait()
        feed.rewind()
        gate.open.set()
        assert await waiting == ids
        more = asyncio.ensure_future(taken(feed, 10))
        new = await told(store, 1)
        assert await more == new


async def test_what_was_proven_counts_though_the_session_was_lost_before_it_was_recorded(store: SqliteStore) -> None:
    ids = await told(store, 3)
    async with relaying(store) as (_, feed, heard):
        await taken(feed, 10)
        feed.confirmed(ids[1])
        feed.rewind()
        assert await heard.until(NotificationsDelivered) == [NotificationsDelivered(2, ids[1])]
        assert await taken(feed, 10) == ids[2:]


async def test_a_refused_message_is_parked_and_blocks_nothing(store: SqliteStore) -> None:
    ids = await told(store, 3)
    async with relaying(store) as (_, feed, heard):
        await taken(feed, 10)
        feed.rejected(ids[1], "no such user")
        feed.confirmed(ids[2])
        [rejected] = await heard.until(NotificationRejected)
        await heard.until(NotificationsDelivered)
    assert rejected.reason == "no such user"
    assert await states(store) == {ids[0]: "delivered", ids[1]: "dead", ids[2]: "delivered"}
    [dead] = await store.notifications(state="dead")
    assert dead.reason == "no such user"


async def test_a_refused_message_is_not_sent_again_after_a_lost_session(store: SqliteStore) -> None:
    ids = await told(store, 3)
    async with relaying(store) as (_, feed, _):
        await taken(feed, 10)
        feed.rejected(ids[1], "no")
        feed.rewind()
        assert await taken(feed, 10) == [ids[0], ids[2]]


async def test_a_refused_message_is_not_sent_again_by_a_read_that_began_before(store: SqliteStore) -> None:
    """The read still finds it pending, and comes back when it has been parked."""
    ids = await told(store, 3)
    gate = Gate(store, "pending")
    async with relaying(gate) as (_, feed, heard):
        await taken(feed, 10)
        feed.rejected(ids[1], "no")
        feed.rewind()
        gate.open.clear()
        gate.reached.clear()
        waiting = asyncio.ensure_future(taken(feed, 10))
        await gate.reached.wait()
        await heard.until(NotificationRejected)
        gate.open.set()
        assert await waiting == [ids[0], ids[2]]


async def test_a_refusal_from_a_lost_session_is_not_believed(store: SqliteStore) -> None:
    ids = await told(store, 1)
    async with relaying(store) as (_, feed, heard):
        await taken(feed, 10)
        feed.rewind()
        feed.rejected(ids[0], "late")
        assert await taken(feed, 10) == ids
        feed.confirmed(ids[0])
        await heard.until(NotificationsDelivered)
    assert heard.of(NotificationRejected) == []


async def test_a_resent_message_comes_at_the_end_marked_as_such(store: SqliteStore) -> None:
    ids = await told(store, 2)
    async with relaying(store) as (_, feed, heard):
        [first, _] = await feed.take(10)
        feed.confirmed(ids[1])
        await heard.until(NotificationsDelivered)
        await store.resend(first.notification_id)
        [again] = await feed.take(10)
    assert again.id > ids[1]
    assert again.notification_id == first.notification_id
    assert b'"redelivery":1' in again.body


# -- told, not read --------------------------------------------------------------------------------------------


async def test_what_is_told_need_not_be_read_back(store: SqliteStore) -> None:
    ids = await told(store, 3)
    gate = Gate(store, "pending")
    async with relaying(gate) as (_, feed, _):
        assert await taken(feed, 10) == ids
        for _ in range(5):
            more = await told(store, 2)
            assert await taken(feed, 10) == more
    assert len(gate.calls) == 1


async def test_more_than_is_held_in_memory_is_read_when_its_turn_comes(store: SqliteStore) -> None:
    ids = await told(store, 1)
    async with relaying(store) as (_, feed, _):
        assert await taken(feed, 10) == ids
        for _ in range(4):
            ids += await told(store, 400)
        got = ids[:1]
        while len(got) < len(ids):
            got += await taken(feed, 100)
    assert got == ids


async def test_what_is_told_during_a_read_is_neither_lost_nor_doubled(store: SqliteStore) -> None:
    ids = await told(store, 2)
    gate = Gate(store, "pending")
    async with relaying(gate) as (_, feed, _):
        gate.open.clear()
        waiting = asyncio.ensure_future(taken(feed, 2))
        await gate.reached.wait()  # it has read the first two, and is held up
        more = await told(store, 3)
        gate.open.set()
        assert await waiting == ids
        assert await taken(feed, 10) == more


async def test_what_is_told_during_a_read_beyond_what_is_held_is_read_though_no_more_news_come(
    store: SqliteStore,
) -> None:
    gate = Gate(store, "pending")
    async with relaying(gate) as (_, feed, _):
        gate.open.clear()
        waiting = asyncio.ensure_future(taken(feed, 1000))
        await gate.reached.wait()  # it has found nothing, and is held up
        ids = await told(store, READ_AHEAD) + await told(store, 3)
        gate.open.set()
        got = await waiting
        while len(got) < len(ids):
            got += await taken(feed, 1000)
    assert got == ids


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_crosses_whatever_all_come_in_order(store: SqliteStore, seed: int) -> None:
    chance, got = random.Random(seed), list[int]()
    gate = Gate(store, "pending")
    async with relaying(gate) as (_, feed, _):
        ids = await told(store, chance.randrange(3))
        for _ in range(30):
            match chance.randrange(5):
                case 0:
                    ids += await told(store, chance.choice([1, 2, 700]))
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


async def test_reading_goes_on_after_an_error(store: SqliteStore) -> None:
    ids = await told(store, 1)
    gate = Gate(store, "pending")
    gate.errors = [OSError("disk"), OSError("disk")]
    async with relaying(gate) as (_, feed, heard):
        assert await taken(feed, 10) == ids
    assert [event.where for event in heard.of(LoopFailed)] == ["reading the outbox"] * 2


@pytest.mark.parametrize("method", ["delivered", "dead"])
async def test_recording_goes_on_after_an_error(store: SqliteStore, method: str) -> None:
    ids = await told(store, 2)
    gate = Gate(store, method)
    gate.errors = [OSError("disk"), OSError("disk")]
    async with relaying(gate) as (_, feed, heard):
        await taken(feed, 10)
        feed.rejected(ids[0], "no")
        feed.confirmed(ids[1])
        await heard.until(NotificationsDelivered)
    assert len(heard.of(LoopFailed)) == 2
    assert await states(store) == {ids[0]: "dead", ids[1]: "delivered"}


# -- flushing ------------------------------------------------------------------------------------------------


async def test_an_empty_outbox_is_flushed_at_once(store: SqliteStore) -> None:
    async with relaying(store) as (relay, _, _):
        assert await relay.flush(5)


async def test_flushing_waits_for_the_last_proof_though_others_came_long_before(store: SqliteStore) -> None:
    ids = await told(store, 3)
    async with relaying(store) as (relay, feed, heard):
        await taken(feed, 10)
        feed.confirmed(ids[0])
        await heard.until(NotificationsDelivered)
        flushed = asyncio.ensure_future(relay.flush(10))
        done, _ = await asyncio.wait([flushed], timeout=0.1)
        assert not done  # it has looked, and is waiting
        feed.confirmed(ids[1])
        await heard.until(NotificationsDelivered, 2)
        feed.confirmed(ids[2])
        assert await flushed
    assert await store.pending(0, 10) == []


async def test_flushing_waits_for_refusals_to_be_parked(store: SqliteStore) -> None:
    ids = await told(store, 1)
    async with relaying(store) as (relay, feed, _):
        await taken(feed, 10)
        flushed = asyncio.ensure_future(relay.flush(10, patience=5))
        feed.rejected(ids[0], "no")
        async with asyncio.timeout(2):
            assert await flushed


async def test_flushing_gives_up_when_nothing_moves(store: SqliteStore) -> None:
    await told(store, 1)
    async with relaying(store) as (relay, _, _):
        async with asyncio.timeout(2):
            assert not await relay.flush(30, patience=0.05)


async def test_flushing_gives_up_at_its_deadline_though_things_move(store: SqliteStore) -> None:
    ids = await told(store, 3)
    async with relaying(store) as (relay, feed, heard):
        await taken(feed, 10)
        flushed = asyncio.ensure_future(relay.flush(0.05, patience=30))
        feed.confirmed(ids[0])
        await heard.until(NotificationsDelivered)
        async with asyncio.timeout(2):
            assert not await flushed
