"""The operations behind every door, on the real store."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support import handlers
from tests.support.sqlite_store import a_store, settle
from worker.clock import Clock
from worker.control import Control, JobRequest, job_view, parse_request
from worker.errors import InvalidPayload, KeyConflict, MissingUser, NotFound, NotPossible, UnknownKind
from worker.events import JobsAccepted, WaitingJobCancelled
from worker.handler import discover
from worker.job import JobState
from worker.notification import Wire, notification_id
from worker.queue import JobQuery
from worker.queues.sqlite import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with a_store(tmp_path) as store:
        yield store


@pytest.fixture
def control(store: SqliteStore) -> Control:
    return Control(store, discover([handlers]), Wire(), Clock(), default_user=None, max_attempts=3)


def request(kind: str = "echo", user: str | None = "user-1", **fields: Any) -> JobRequest:
    return parse_request({"taskType": kind, "userId": user} | fields)


# -- submitting ------------------------------------------------------------------------------------------------


async def test_a_job_is_stored_as_it_was_asked_for(control: Control) -> None:
    when = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    asked = request(payload={"text": "ก", "seconds": 1}, runAt=when.isoformat(), maxAttempts=7)
    accepted = await control.submit(asked)
    record = await control.show(accepted.job_id)
    assert (accepted.state, record.state, record.run, record.attempt) == ("created", JobState.QUEUED, 1, 0)
    assert (record.kind, record.user_id, record.max_attempts, record.key) == ("echo", "user-1", 7, None)
    assert record.payload == '{"seconds":1,"text":"ก"}'.encode()
    assert record.run_at == when.timestamp()


async def test_the_same_key_with_the_same_payload_is_the_first_job(control: Control) -> None:
    first = await control.submit(request(payload={"a": 1, "b": 2}), key="order-7")
    again = await control.submit(request(payload={"b": 2, "a": 1}), key="order-7")
    assert (first.state, again.state) == ("created", "existing")
    assert again.job_id == first.job_id


async def test_the_same_key_with_another_payload_is_a_conflict(control: Control) -> None:
    first = await control.submit(request(payload={"text": "a"}), key="order-7")
    with pytest.raises(KeyConflict, match=f"the key 'order-7' is taken by job {first.job_id}"):
        await control.submit(request(payload={"text": "b"}), key="order-7")
    assert len((await control.find(JobQuery())).jobs) == 1


async def test_the_key_may_come_in_the_body(control: Control) -> None:
    first = await control.submit(request(id="order-7"))
    assert (await control.submit(request(), key="order-7")).job_id == first.job_id


@pytest.mark.parametrize(
    ("scope", "kind", "user"), [("other", "echo", "user-1"), ("", "nothing", "user-1"), ("", "echo", "user-2")]
)
async def test_a_key_belongs_to_its_caller_kind_and_user(control: Control, scope: str, kind: str, user: str) -> None:
    await control.submit(request(), key="order-7")
    assert (await control.submit(request(kind, user), scope=scope, key="order-7")).state == "created"


async def test_no_sign_in_a_name_makes_two_keys_one(control: Control) -> None:
    await control.submit(request(user="u\x1fv"), key="k")
    assert (await control.submit(request(user="u"), key="v\x1fk")).state == "created"


async def test_an_unknown_kind_is_refused_with_those_there_are(control: Control) -> None:
    with pytest.raises(UnknownKind, match=r"unknown task type 'ech0'; there are: .*echo, "):
        await control.submit(request("ech0"))


async def test_a_job_without_a_user_needs_a_default(control: Control) -> None:
    with pytest.raises(MissingUser, match="WebSocket:DefaultUserId is not set"):
        await control.submit(request(user=None))
    control.default_user = "somebody"
    accepted = await control.submit(request(user=None))
    assert (await control.show(accepted.job_id)).user_id == "somebody"


async def test_nothing_is_stored_when_one_of_several_is_invalid(control: Control) -> None:
    with pytest.raises(InvalidPayload, match="payload of echo: text: "):
        await control.submit_all([request(), request(payload={"text": 7}), request()])
    assert (await control.find(JobQuery())).jobs == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "job: payload: "),
        (b"{}", "job: taskType: Field required"),
        (b'{"taskType":"echo","usreId":"x"}', "job: usreId: Extra inputs are not permitted"),
        (b'{"taskType":"echo","payload":[]}', "job: payload: "),
        (b'{"taskType":"echo","maxAttempts":0}', "job: maxAttempts: "),
        (b'{"taskType":"echo","runAt":"2030-01-01T00:00:00"}', "job: runAt: "),
        (b'{"taskType":"echo","runAt":"9999-12-31T23:59:59-12:00"}', "job: runAt: .*between the years 1 and 9999"),
        (b'{"taskType":"echo","runAt":"0001-01-01T00:00:00+12:00"}', "job: runAt: .*between the years 1 and 9999"),
    ],
)
def test_a_request_that_is_none_is_explained(body: bytes, message: str) -> None:
    with pytest.raises(InvalidPayload, match=f"^{message}"):
        parse_request(body)


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
async def test_every_time_that_is_accepted_can_be_shown(control: Control, time: str) -> None:
    accepted = await control.submit(request(runAt=time))
    assert job_view(await control.show(accepted.job_id))["runAt"] == time.replace("Z", ".000Z")


async def test_a_payload_that_is_nested_too_deep_is_refused(control: Control) -> None:
    value: list[Any] = []
    for _ in range(300):
        value = [value]
    with pytest.raises(InvalidPayload, match="payload of echo: Recursion limit reached"):
        await control.submit(request(payload={"text": value}))


# -- cancelling and retrying -----------------------------------------------------------------------------------


async def test_a_waiting_job_is_cancelled_and_told(control: Control, store: SqliteStore) -> None:
    accepted = await control.submit(request())
    assert await control.cancel(accepted.job_id) == "cancelled"
    record = await control.show(accepted.job_id)
    [message] = await store.pending(0, 10)
    told = orjson.loads(message.body)[1]["payload"]
    assert (record.state, record.error) == (JobState.CANCELLED, "Cancelled")
    assert (told["attempt"], told["duration"], told["error"]) == (0, 0.0, "Cancelled")
    assert told["notificationId"] == notification_id(accepted.job_id, 1)


async def test_the_wish_to_cancel_a_running_job_is_on_disk_and_reaches_the_worker(
    control: Control, store: SqliteStore
) -> None:
    asked: list[str] = []
    control.interrupt = lambda job_id: bool(asked.append(job_id)) or True
    accepted = await control.submit(request())
    await store.claim(1)
    assert await control.cancel(accepted.job_id) == "requested"
    assert asked == [accepted.job_id]
    assert (await control.show(accepted.job_id)).cancel_requested


async def test_a_job_that_has_ended_cannot_be_cancelled(control: Control, store: SqliteStore) -> None:
    accepted = await control.submit(request())
    await settle(store, (await store.claim(1)).jobs)
    with pytest.raises(NotPossible, match=r"has ended \(succeeded\)"):
        await control.cancel(accepted.job_id)


async def test_a_finished_job_is_retried_as_its_next_run(control: Control, store: SqliteStore) -> None:
    accepted = await control.submit(request())
    with pytest.raises(NotPossible, match="has not ended"):
        await control.retry(accepted.job_id)
    await settle(store, (await store.claim(1)).jobs)
    record = await control.retry(accepted.job_id)
    assert (record.state, record.run, record.attempt) == (JobState.QUEUED, 2, 0)
    [job] = (await store.claim(1)).jobs
    await settle(store, [job])
    ids = [message.notification_id for message in await store.pending(0, 10)]
    assert ids == [notification_id(accepted.job_id, 1), notification_id(accepted.job_id, 2)]


async def test_a_notification_is_sent_again_by_hand(control: Control, store: SqliteStore) -> None:
    await control.submit(request())
    await settle(store, (await store.claim(1)).jobs)
    [first] = await store.pending(0, 10)
    await store.delivered(first.id)
    assert await control.resend(first.notification_id) > first.id
    [again] = await store.pending(first.id, 10)
    assert orjson.loads(again.body)[1]["payload"]["redelivery"] == 1


@pytest.mark.parametrize("operation", ["show", "cancel", "retry", "resend"])
async def test_what_is_not_there_is_not_found(control: Control, operation: str) -> None:
    with pytest.raises(NotFound, match="there is no"):
        await getattr(control, operation)("0199a1b2-0000-7000-8000-000000000000")


# -- looking ---------------------------------------------------------------------------------------------------


async def test_jobs_are_found_page_by_page(control: Control) -> None:
    ids = [(await control.submit(request(payload={"text": f"งาน {n}"}))).job_id for n in range(5)]
    await control.submit(request(user="user-2"))
    seen: list[str] = []
    query = JobQuery(user_ids=["user-1"], limit=2)
    while True:
        page = await control.find(query)
        seen += [record.id for record in page.jobs]
        if page.cursor is None:
            break
        query = JobQuery(user_ids=["user-1"], limit=2, cursor=page.cursor)
    assert seen == ids[::-1]


async def test_a_cursor_or_state_that_is_none_is_refused(control: Control) -> None:
    with pytest.raises(InvalidPayload, match="cursor"):
        await control.find(JobQuery(cursor="elsewhere"))
    with pytest.raises(InvalidPayload, match="lost"):
        await control.notifications(state="lost")


# -- waiting ---------------------------------------------------------------------------------------------------


async def test_waiting_for_a_job_ends_with_it(control: Control, store: SqliteStore) -> None:
    accepted = await control.submit(request())
    waiting = [asyncio.ensure_future(control.wait(accepted.job_id, 30)) for _ in range(2)]
    [job] = (await store.claim(1)).jobs
    await settle(store, [job])
    control.ended(job.id)
    async with asyncio.timeout(5):
        assert {(await one).state for one in waiting} == {JobState.SUCCEEDED}


async def test_waiting_for_a_job_ends_when_it_is_cancelled_before_it_runs(control: Control, store: SqliteStore) -> None:
    accepted = await control.submit(request())
    waiting = asyncio.ensure_future(control.wait(accepted.job_id, 30))
    await control.show(accepted.job_id)  # by now the other has looked as well
    await control.cancel(accepted.job_id)
    async with asyncio.timeout(5):
        assert (await waiting).state is JobState.CANCELLED


async def test_waiting_for_a_job_that_has_ended_is_no_wait(control: Control, store: SqliteStore) -> None:
    accepted = await control.submit(request())
    await settle(store, (await store.claim(1)).jobs)
    async with asyncio.timeout(5):
        assert (await control.wait(accepted.job_id, 30)).state is JobState.SUCCEEDED


async def test_a_wait_that_is_too_short_tells_how_the_job_is(control: Control) -> None:
    accepted = await control.submit(request())
    assert (await control.wait(accepted.job_id, 0.01)).state is JobState.QUEUED
    with pytest.raises(NotFound):
        await control.wait("0199a1b2-0000-7000-8000-000000000000", 30)
    assert control._waiters == {}


# -- what is said ----------------------------------------------------------------------------------------------


async def test_what_is_new_on_disk_is_said_once_for_each_call(control: Control) -> None:
    heard: list[object] = []
    control.emit = heard.append
    await control.submit_all([request(), request("nothing")])
    await control.submit(request(), key="order-7")
    await control.submit(request(), key="order-7")
    assert heard == [JobsAccepted(["echo", "nothing"]), JobsAccepted(["echo"])]


async def test_a_waiting_job_that_is_cancelled_is_said_so(control: Control, store: SqliteStore) -> None:
    accepted = await control.submit(request())
    running = await control.submit(request())
    heard: list[object] = []
    control.emit = heard.append
    await store.claim(1)
    await control.cancel(accepted.job_id)
    await control.cancel(running.job_id)
    assert len(heard) == 1
    assert heard[0] in [WaitingJobCancelled(job.job_id, "echo", "user-1") for job in (accepted, running)]
