"""Every Store carries notifications like this, whatever it is made of."""

import asyncio

import orjson
import pytest

from tests.support.stores import (
    START,
    HandClock,
    StoreHouse,
    a_job,
    cancel_news,
    failed,
    retried,
    run_one,
    sequence_in,
    success,
)
from worker.notification import notification_id
from worker.queue import OutboxMessage, Store


async def _messages(store: Store, count: int, user: str = "somchai") -> list[str]:
    """`count` runs ended; their job ids in that order."""
    return [await run_one(store, a_job(user=user)) for _ in range(count)]


async def test_the_end_of_a_run_is_news(store: Store) -> None:
    [job_id] = await _messages(store, 1)
    [message] = await store.pending(0, 10)
    payload = orjson.loads(message.body)[1]["payload"]
    assert (message.id, message.job_id, message.user_id) == (1, job_id, "somchai")
    assert message.notification_id == notification_id(job_id, 1) == payload["notificationId"]
    assert (payload["jobId"], payload["sequence"], payload["status"]) == (job_id, 1, "success")


async def test_news_come_in_the_order_their_runs_ended(store: Store) -> None:
    await store.enqueue([a_job(user=f"user-{number % 3}") for number in range(30)])
    jobs = (await store.claim(30)).jobs[::-1]
    await store.settle([success(job) for job in jobs[:10]])
    await store.settle([failed(job) for job in jobs[10:]])
    messages = await store.pending(0, 100)
    assert [message.job_id for message in messages] == [job.id for job in jobs]
    assert [message.id for message in messages] == list(range(1, 31))


async def test_each_user_counts_from_one_without_gaps(store: Store) -> None:
    users = ["a", "b", "a", "c", "a", "b"] * 5
    await store.enqueue([a_job(user=user) for user in users])
    jobs = (await store.claim(100)).jobs
    await store.settle([success(job) for job in jobs[:17]])
    await asyncio.gather(*(store.settle([success(job)]) for job in jobs[17:]))
    numbers: dict[str, list[int]] = {}
    for message in await store.pending(0, 100):
        numbers.setdefault(message.user_id, []).append(sequence_in(message.body))
    assert numbers == {user: list(range(1, users.count(user) + 1)) for user in "abc"}


async def test_sequences_go_on_after_a_restart(house: StoreHouse) -> None:
    store = await house.open()
    await _messages(store, 3)
    store = await house.reopen(store)
    await _messages(store, 2)
    assert [sequence_in(message.body) for message in await store.pending(0, 10)] == [1, 2, 3, 4, 5]


async def test_a_refused_settlement_draws_no_number(store: Store) -> None:
    await store.enqueue([a_job(), a_job()])
    first, second = (await store.claim(2)).jobs
    await store.settle([success(first)])
    assert await store.settle([failed(first), success(second)]) == [False, True]
    assert [sequence_in(message.body) for message in await store.pending(0, 10)] == [1, 2]


async def test_a_failed_call_draws_no_number(store: Store) -> None:
    await store.enqueue([a_job(), a_job()])
    first, second = (await store.claim(2)).jobs
    silent = success(second)
    with pytest.raises(ValueError, match="notification"):
        await store.settle([success(first), type(silent)(silent.attempt, silent.outcome, None)])
    await store.settle([success(first), success(second)])
    assert [sequence_in(message.body) for message in await store.pending(0, 10)] == [1, 2]


async def test_a_call_that_fails_halfway_draws_no_number_and_counts_nothing(store: Store) -> None:
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
    figures = await store.figures()
    assert (figures.jobs["running"], figures.jobs["succeeded"], figures.outbox_depth) == (0, 3, 3)


async def test_pending_goes_on_after_an_id_and_keeps_to_its_limit(store: Store) -> None:
    await _messages(store, 5)
    assert [message.id for message in await store.pending(0, 2)] == [1, 2]
    assert [message.id for message in await store.pending(2, 2)] == [3, 4]
    assert [message.id for message in await store.pending(4, 2)] == [5]
    assert await store.pending(5, 2) == []
    assert await store.pending(0, 0) == []


async def test_what_is_delivered_is_pending_no_more(store: Store, hands: HandClock) -> None:
    await _messages(store, 5)
    await store.delivered(2)
    hands.pass_time(10)
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
    assert (await store.figures()).outbox_depth == 2


async def test_a_watermark_never_goes_back(store: Store) -> None:
    await _messages(store, 3)
    await store.delivered(3)
    await store.delivered(1)
    await store.delivered(3)
    assert await store.pending(0, 10) == []
    assert (await store.figures()).outbox_depth == 0


async def test_a_watermark_from_the_future_does_not_swallow_what_comes(store: Store) -> None:
    await _messages(store, 2)
    await store.delivered(1000)
    await _messages(store, 1)
    assert [message.id for message in await store.pending(0, 10)] == [3]


async def test_a_watermark_for_an_empty_outbox_is_harmless(store: Store) -> None:
    await store.delivered(5)
    await _messages(store, 1)
    assert len(await store.pending(0, 10)) == 1


async def test_delivered_outlives_the_process(house: StoreHouse) -> None:
    store = await house.open()
    await _messages(store, 3)
    await store.delivered(2)
    store = await house.reopen(store)
    assert [message.id for message in await store.pending(0, 10)] == [3]


async def test_a_dead_message_blocks_nothing_behind_it(store: Store) -> None:
    await _messages(store, 3)
    await store.dead(2, "payload refused")
    assert [message.id for message in await store.pending(0, 10)] == [1, 3]
    await store.delivered(3)
    [dead] = await store.notifications(state="dead")
    assert (dead.id, dead.state, dead.reason, dead.delivered_at) == (2, "dead", "payload refused", None)
    figures = await store.figures()
    assert (figures.outbox_depth, figures.outbox_dead) == (0, 1)


async def test_what_was_delivered_cannot_die_and_what_is_dead_dies_once(store: Store) -> None:
    await _messages(store, 2)
    await store.delivered(1)
    await store.dead(1, "too late")
    await store.dead(2, "first")
    await store.dead(2, "second")
    await store.dead(99, "nobody")
    [dead] = await store.notifications(state="dead")
    assert (dead.id, dead.reason) == (2, "first")
    figures = await store.figures()
    assert (figures.outbox_depth, figures.outbox_dead) == (0, 1)


@pytest.mark.parametrize("state", ["delivered", "dead"])
async def test_a_message_sent_again_goes_to_the_end_with_its_count(store: Store, state: str) -> None:
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
    assert (await store.figures()).outbox_dead == 0


async def test_each_resending_counts_on(store: Store) -> None:
    [job_id] = await _messages(store, 1)
    for times in (1, 2, 3):
        await store.delivered(100)
        again = await store.resend(notification_id(job_id, 1))
        assert again is not None
        assert orjson.loads(again.body)[1]["payload"]["redelivery"] == times
    [record] = await store.notifications()
    assert (record.redelivery, record.state, record.sequence) == (3, "pending", 1)


async def test_a_pending_message_is_not_sent_twice(store: Store) -> None:
    [job_id] = await _messages(store, 1)
    [message] = await store.pending(0, 10)
    assert await store.resend(notification_id(job_id, 1)) == message
    assert await store.pending(0, 10) == [message]


async def test_two_who_resend_at_once_send_once(store: Store) -> None:
    [job_id] = await _messages(store, 1)
    await store.delivered(1)
    first, second = await asyncio.gather(*(store.resend(notification_id(job_id, 1)) for _ in range(2)))
    assert first == second
    assert len(await store.pending(0, 10)) == 1


async def test_an_unknown_message_cannot_be_sent_again(store: Store) -> None:
    await _messages(store, 1)
    assert await store.resend("nobody") is None


async def test_a_message_sent_again_is_kept_as_long_as_a_new_one(store: Store, hands: HandClock) -> None:
    [job_id] = await _messages(store, 1)
    await store.delivered(1)
    hands.pass_time(1000)
    await store.resend(notification_id(job_id, 1))
    await store.delivered(2)
    assert await store.prune(START + 500, 10) == 0
    assert await store.prune(START + 1500, 10) == 1


async def test_notifications_are_listed_newest_first_by_state_and_user(store: Store) -> None:
    for user in ("a", "b", "a", "b", "a"):
        await _messages(store, 1, user)
    await store.delivered(2)
    await store.dead(4, "no")

    async def ids(**query: object) -> list[int]:
        return [record.id for record in await store.notifications(**query)]  # type: ignore[arg-type]

    assert await ids() == [5, 4, 3, 2, 1]
    assert await ids(limit=2) == [5, 4]
    assert await ids(before=4, limit=2) == [3, 2]
    assert await ids(user_id="a") == [5, 3, 1]
    assert await ids(state="pending") == [5, 3]
    assert await ids(state="delivered", user_id="b") == [2]
    assert await ids(state="dead") == [4]
    assert await ids(user_id="nobody") == []
    with pytest.raises(ValueError, match="states are"):
        await store.notifications(state="lost")


async def test_a_listed_notification_tells_all_there_is(store: Store) -> None:
    [job_id] = await _messages(store, 1)
    [message] = await store.pending(0, 1)
    [record] = await store.notifications()
    assert (record.notification_id, record.job_id, record.user_id) == (message.notification_id, job_id, "somchai")
    assert (record.sequence, record.created_at, record.body, record.redelivery) == (1, START, message.body, 0)


async def test_listeners_are_told_of_new_messages_only(store: Store) -> None:
    told: list[OutboxMessage] = []
    store.on_message(told.extend)
    await store.enqueue([a_job(), a_job(), a_job()])
    first, second = (await store.claim(2)).jobs
    await store.settle([retried(first, START + 60)])
    await asyncio.sleep(0)
    assert told == []
    await store.settle([success(second)])
    await asyncio.sleep(0)
    assert told == await store.pending(0, 10)
    record = await store.get(first.id)
    assert record is not None
    await store.cancel(first.id, 1, cancel_news(record))
    await asyncio.sleep(0)
    assert told == await store.pending(0, 10)
    assert len(told) == 2


async def test_listeners_are_told_the_messages_as_they_are_stored(store: Store, house: StoreHouse) -> None:
    told: list[OutboxMessage] = []
    store.on_message(told.extend)
    await _messages(store, 300)
    await store.delivered(299)
    [last] = await store.notifications(limit=1)
    await store.delivered(300)
    resent = await store.resend(last.notification_id)
    await _messages(store, 2)
    assert resent == told[300]
    assert [message.id for message in told] == list(range(1, 304))
    assert await store.pending(0, 10) == told[300:]


async def test_what_is_told_after_a_reopening_goes_on_with_the_ids(house: StoreHouse) -> None:
    store = await house.open()
    await _messages(store, 3)
    await store.delivered(3)
    store = await house.reopen(store)
    told: list[OutboxMessage] = []
    store.on_message(told.extend)
    await _messages(store, 2)
    assert [message.id for message in told] == [4, 5]
    assert await store.pending(0, 10) == told


async def test_close_writes_what_waits(house: StoreHouse) -> None:
    store = await house.open()
    await _messages(store, 3)
    recording = asyncio.ensure_future(store.delivered(3))
    await asyncio.sleep(0)
    store = await house.reopen(store)
    await recording
    assert await store.pending(0, 10) == []
