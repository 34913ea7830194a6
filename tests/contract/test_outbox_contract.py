"""What every Store does with notifications."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from tests.support.stores import (
    START,
    ManualClock,
    StoreLocation,
    a_job,
    cancel_notification,
    failed,
    retried,
    run_one,
    sequence_in,
    success,
)
from worker.core.notification import notification_id
from worker.core.store import OutboxMessage, Store


async def _messages(store: Store, count: int, user: str = "somchai") -> list[str]:
    """Run `count` jobs one after another; return their ids in that order."""
    return [await run_one(store, a_job(user=user)) for _ in range(count)]


async def test_settle_of_an_ended_run_writes_a_pending_notification(store: Store) -> None:
    [job_id] = await _messages(store, 1)
    [message] = await store.pending(0, 10)
    payload = orjson.loads(message.body)[1]["payload"]
    assert (message.id, message.job_id, message.user_id) == (1, job_id, "somchai")
    assert message.notification_id == notification_id(job_id, 1) == payload["notificationId"]
    assert (payload["jobId"], payload["sequence"], payload["status"]) == (job_id, 1, "success")


async def test_pending_returns_notifications_in_the_order_their_runs_ended(store: Store) -> None:
    await store.enqueue([a_job(user=f"user-{number % 3}") for number in range(30)])
    jobs = (await store.claim(30)).jobs[::-1]
    await store.settle([success(job) for job in jobs[:10]])
    await store.settle([failed(job) for job in jobs[10:]])
    messages = await store.pending(0, 100)
    assert [message.job_id for message in messages] == [job.id for job in jobs]
    assert [message.id for message in messages] == list(range(1, 31))


def revealed_late(reads: Sequence[Sequence[int]]) -> list[int]:
    """Return the ids that became visible after a higher one, given what each read of all pending ids returned."""
    seen: set[int] = set()
    late = []
    for ids in reads:
        late += [message_id for message_id in ids if message_id not in seen and message_id < max(seen, default=0)]
        seen.update(ids)
    return late


async def test_id_becomes_visible_only_after_all_lower_ids(store: Store) -> None:
    await store.enqueue([a_job(user=f"user-{number % 7}") for number in range(300)])
    jobs = (await store.claim(300)).jobs
    announced: list[int] = []
    store.on_message(lambda messages: announced.extend(message.id for message in messages))
    settling = [asyncio.ensure_future(store.settle([success(job) for job in jobs[at::60]])) for at in range(60)]
    reads: list[list[int]] = [[]]
    while len(reads[-1]) < 300:
        reads.append([message.id for message in await store.pending(0, 1000)])
    await asyncio.gather(*settling)
    assert revealed_late(reads) == []
    assert announced == sorted(announced) == reads[-1]


def test_ids_revealed_out_of_order_are_found() -> None:
    """The promise above can be broken: two transactions that commit in another order than they drew their ids."""
    assert revealed_late([[], [1, 2], [1, 2, 5], [1, 2, 3, 4, 5], [6]]) == [3, 4]
    assert revealed_late([[1], [1, 2, 3], [3, 4]]) == []


async def test_sequence_of_each_user_counts_from_one_without_gaps(store: Store) -> None:
    users = ["a", "b", "a", "c", "a", "b"] * 5
    await store.enqueue([a_job(user=user) for user in users])
    jobs = (await store.claim(100)).jobs
    await store.settle([success(job) for job in jobs[:17]])
    await asyncio.gather(*(store.settle([success(job)]) for job in jobs[17:]))
    numbers: dict[str, list[int]] = {}
    for message in await store.pending(0, 100):
        numbers.setdefault(message.user_id, []).append(sequence_in(message.body))
    assert numbers == {user: list(range(1, users.count(user) + 1)) for user in "abc"}


async def test_sequence_continues_after_a_restart(location: StoreLocation) -> None:
    store = await location.open()
    await _messages(store, 3)
    store = await location.reopen(store)
    await _messages(store, 2)
    assert [sequence_in(message.body) for message in await store.pending(0, 10)] == [1, 2, 3, 4, 5]


async def test_rejected_settlement_uses_no_sequence_number(store: Store) -> None:
    await store.enqueue([a_job(), a_job()])
    first, second = (await store.claim(2)).jobs
    await store.settle([success(first)])
    assert await store.settle([failed(first), success(second)]) == [False, True]
    assert [sequence_in(message.body) for message in await store.pending(0, 10)] == [1, 2]


async def test_invalid_call_of_settle_uses_no_sequence_number(store: Store) -> None:
    await store.enqueue([a_job(), a_job()])
    first, second = (await store.claim(2)).jobs
    silent = success(second)
    with pytest.raises(ValueError, match="notification"):
        await store.settle([success(first), type(silent)(silent.attempt, silent.outcome, None)])
    await store.settle([success(first), success(second)])
    assert [sequence_in(message.body) for message in await store.pending(0, 10)] == [1, 2]


async def test_call_of_settle_that_fails_halfway_changes_nothing(store: Store) -> None:
    await store.enqueue([a_job(), a_job(), a_job()])
    first, second, third = (await store.claim(3)).jobs
    broken = success(second)
    assert broken.notification is not None
    broken = broken._replace(notification=broken.notification._replace(user_id="\ud800"))
    failure, neighbour = await asyncio.gather(
        store.settle([success(first), broken]), store.settle([success(third)]), return_exceptions=True
    )
    assert isinstance(failure, Exception)
    assert neighbour == [True]
    assert await store.settle([success(first), success(second)]) == [True, True]
    assert [(one.job_id, sequence_in(one.body)) for one in await store.pending(0, 10)] == [
        (third.id, 1),
        (first.id, 2),
        (second.id, 3),
    ]
    figures = await store.stats()
    assert (figures.jobs["running"], figures.jobs["succeeded"], figures.outbox_depth) == (0, 3, 3)


async def test_pending_after_an_id_continues_there_up_to_its_limit(store: Store) -> None:
    await _messages(store, 5)
    assert [message.id for message in await store.pending(0, 2)] == [1, 2]
    assert [message.id for message in await store.pending(2, 2)] == [3, 4]
    assert [message.id for message in await store.pending(4, 2)] == [5]
    assert await store.pending(5, 2) == []
    assert await store.pending(0, 0) == []


async def test_pending_ends_with_the_message_that_reaches_the_bytes(store: Store) -> None:
    await _messages(store, 5)
    sizes = [len(message.body) for message in await store.pending(0, 5)]
    assert [message.id for message in await store.pending(0, 5, 1)] == [1]
    assert [message.id for message in await store.pending(0, 5, sizes[0])] == [1]
    assert [message.id for message in await store.pending(0, 5, sizes[0] + 1)] == [1, 2]
    assert [message.id for message in await store.pending(1, 5, sum(sizes[1:4]))] == [2, 3, 4]
    assert [message.id for message in await store.pending(0, 3, sum(sizes))] == [1, 2, 3]


async def test_delivered_notifications_are_not_pending_any_more(store: Store, manual_clock: ManualClock) -> None:
    await _messages(store, 5)
    await store.delivered(2)
    manual_clock.pass_time(10)
    await store.delivered(3)
    assert [message.id for message in await store.pending(0, 10)] == [4, 5]
    records = await store.notifications()
    assert [(record.id, record.state, record.delivered_at) for record in records] == [
        (5, "pending", None),
        (4, "pending", None),
        (3, "delivered", START + 10),
        (2, "delivered", START),
        (1, "delivered", START),
    ]
    assert (await store.stats()).outbox_depth == 2


async def test_delivered_with_a_lower_id_changes_nothing(store: Store) -> None:
    await _messages(store, 3)
    await store.delivered(3)
    await store.delivered(1)
    await store.delivered(3)
    assert await store.pending(0, 10) == []
    assert (await store.stats()).outbox_depth == 0


async def test_delivered_with_an_id_that_does_not_exist_yet_leaves_later_notifications_pending(store: Store) -> None:
    await _messages(store, 2)
    await store.delivered(1000)
    await _messages(store, 1)
    assert [message.id for message in await store.pending(0, 10)] == [3]


async def test_delivered_on_an_empty_outbox_changes_nothing(store: Store) -> None:
    await store.delivered(5)
    await _messages(store, 1)
    assert len(await store.pending(0, 10)) == 1


async def test_delivered_is_kept_after_a_restart(location: StoreLocation) -> None:
    store = await location.open()
    await _messages(store, 3)
    await store.delivered(2)
    store = await location.reopen(store)
    assert [message.id for message in await store.pending(0, 10)] == [3]


async def test_dead_notification_leaves_later_ones_pending(store: Store) -> None:
    await _messages(store, 3)
    await store.dead(2, "payload refused")
    assert [message.id for message in await store.pending(0, 10)] == [1, 3]
    await store.delivered(3)
    [dead] = await store.notifications(state="dead")
    assert (dead.id, dead.state, dead.reason, dead.delivered_at) == (2, "dead", "payload refused", None)
    figures = await store.stats()
    assert (figures.outbox_depth, figures.outbox_dead) == (0, 1)


async def test_dead_applies_only_to_a_pending_notification(store: Store) -> None:
    await _messages(store, 2)
    await store.delivered(1)
    await store.dead(1, "too late")
    await store.dead(2, "first")
    await store.dead(2, "second")
    await store.dead(99, "unknown")
    [dead] = await store.notifications(state="dead")
    assert (dead.id, dead.reason) == (2, "first")
    figures = await store.stats()
    assert (figures.outbox_depth, figures.outbox_dead) == (0, 1)


@pytest.mark.parametrize("state", ["delivered", "dead"])
async def test_resend_moves_the_notification_to_the_end_and_counts_it(store: Store, state: str) -> None:
    [job_id, _] = await _messages(store, 2)
    original = (await store.pending(0, 1))[0]
    await (store.delivered(2) if state == "delivered" else store.dead(1, "no"))
    again = await store.resend(notification_id(job_id, 1))
    assert again is not None
    assert (again.id, again.notification_id, again.job_id) == (3, original.notification_id, job_id)
    expected = orjson.loads(original.body)
    expected[1]["payload"]["redelivery"] = 1
    assert orjson.loads(again.body) == expected
    assert again in await store.pending(0, 10)
    assert (await store.stats()).outbox_dead == 0


async def test_resend_counts_each_redelivery(store: Store) -> None:
    [job_id] = await _messages(store, 1)
    for times in (1, 2, 3):
        await store.delivered(100)
        again = await store.resend(notification_id(job_id, 1))
        assert again is not None
        assert orjson.loads(again.body)[1]["payload"]["redelivery"] == times
    [record] = await store.notifications()
    assert (record.redelivery, record.state, record.sequence) == (3, "pending", 1)


async def test_resend_of_a_pending_notification_changes_nothing(store: Store) -> None:
    [job_id] = await _messages(store, 1)
    [message] = await store.pending(0, 10)
    assert await store.resend(notification_id(job_id, 1)) == message
    assert await store.pending(0, 10) == [message]


async def test_two_resends_at_the_same_time_add_one_notification(store: Store) -> None:
    [job_id] = await _messages(store, 1)
    await store.delivered(1)
    first, second = await asyncio.gather(*(store.resend(notification_id(job_id, 1)) for _ in range(2)))
    assert first == second
    assert len(await store.pending(0, 10)) == 1


async def test_resend_of_an_unknown_notification_returns_none(store: Store) -> None:
    await _messages(store, 1)
    assert await store.resend("unknown") is None


async def test_prune_keeps_a_resent_notification_as_long_as_a_new_one(store: Store, manual_clock: ManualClock) -> None:
    [job_id] = await _messages(store, 1)
    await store.delivered(1)
    await store.prune(1000.0, 10)
    manual_clock.pass_time(900)
    await store.resend(notification_id(job_id, 1))
    await store.delivered(2)
    manual_clock.pass_time(200)
    assert (await store.prune(1000.0, 10)).runs == 0
    manual_clock.pass_time(1000)
    assert (await store.prune(1000.0, 10)).runs == 1


async def test_notifications_by_state_and_user_are_listed_newest_first(store: Store) -> None:
    for user in ("a", "b", "a", "b", "a"):
        await _messages(store, 1, user)
    await store.delivered(2)
    await store.dead(4, "no")

    async def ids(**query: Any) -> list[int]:
        return [record.id for record in await store.notifications(**query)]

    assert await ids() == [5, 4, 3, 2, 1]
    assert await ids(limit=2) == [5, 4]
    assert await ids(before=4, limit=2) == [3, 2]
    assert await ids(user_id="a") == [5, 3, 1]
    assert await ids(state="pending") == [5, 3]
    assert await ids(state="delivered", user_id="b") == [2]
    assert await ids(state="dead") == [4]
    assert await ids(user_id="unknown") == []
    with pytest.raises(ValueError, match="states are"):
        await store.notifications(state="lost")


async def test_notifications_returns_every_field(store: Store) -> None:
    [job_id] = await _messages(store, 1)
    [message] = await store.pending(0, 1)
    [record] = await store.notifications()
    assert (record.notification_id, record.job_id, record.user_id) == (message.notification_id, job_id, "somchai")
    assert (record.sequence, record.created_at, record.body, record.redelivery) == (1, START, message.body, 0)


async def test_on_message_listener_receives_only_new_notifications(store: Store) -> None:
    received: list[OutboxMessage] = []
    store.on_message(received.extend)
    await store.enqueue([a_job(), a_job(), a_job()])
    first, second = (await store.claim(2)).jobs
    await store.settle([retried(first, START + 60)])
    await asyncio.sleep(0)
    assert received == []
    await store.settle([success(second)])
    await asyncio.sleep(0)
    assert received == await store.pending(0, 10)
    record = await store.get(first.id)
    assert record is not None
    await store.cancel(first.id, 1, cancel_notification(record))
    await asyncio.sleep(0)
    assert received == await store.pending(0, 10)
    assert len(received) == 2


async def test_on_message_listener_receives_notifications_as_they_are_stored(
    store: Store, location: StoreLocation
) -> None:
    received: list[OutboxMessage] = []
    store.on_message(received.extend)
    await _messages(store, 300)
    await store.delivered(299)
    [last] = await store.notifications(limit=1)
    await store.delivered(300)
    resent = await store.resend(last.notification_id)
    await _messages(store, 2)
    assert resent == received[300]
    assert [message.id for message in received] == list(range(1, 304))
    assert await store.pending(0, 10) == received[300:]


async def test_on_message_listener_after_a_restart_receives_the_next_ids(location: StoreLocation) -> None:
    store = await location.open()
    await _messages(store, 3)
    await store.delivered(3)
    store = await location.reopen(store)
    received: list[OutboxMessage] = []
    store.on_message(received.extend)
    await _messages(store, 2)
    assert [message.id for message in received] == [4, 5]
    assert await store.pending(0, 10) == received


async def test_close_writes_what_is_still_queued(location: StoreLocation) -> None:
    store = await location.open()
    await _messages(store, 3)
    recording = asyncio.ensure_future(store.delivered(3))
    await asyncio.sleep(0)
    store = await location.reopen(store)
    await recording
    assert await store.pending(0, 10) == []
