"""The operations that every interface uses, on the real store."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support import handlers
from tests.support.sqlite_store import a_store, settle
from worker.core.clock import Clock, rfc3339
from worker.core.events import JobsAccepted, WaitingJobCancelled
from worker.core.job import JobState
from worker.core.notification import NotificationFormat, notification_id
from worker.core.outcome import Succeeded
from worker.core.store import JobQuery
from worker.errors import InvalidPayload, KeyConflict, MissingUser, NotFound, NotPossible, UnknownKind
from worker.handler import discover
from worker.runtime.job_request import JobRequest, parse_request
from worker.runtime.operations import JobService
from worker.stores.sqlite.store import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with a_store(tmp_path) as store:
        yield store


@pytest.fixture
def jobs(store: SqliteStore) -> JobService:
    return JobService(store, discover([handlers]), NotificationFormat(), Clock(), default_user=None, max_attempts=3)


def request(kind: str = "echo", user: str | None = "user-1", **fields: Any) -> JobRequest:
    return parse_request({"taskType": kind, "userId": user} | fields)


# -- submitting ------------------------------------------------------------------------------------------------


async def test_submit_stores_the_requested_job(jobs: JobService) -> None:
    when = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    asked = request(payload={"text": "ก", "seconds": 1}, runAt=when.isoformat(), maxAttempts=7)
    accepted = await jobs.submit(asked)
    record = await jobs.show(accepted.job_id)
    assert (accepted.state, record.state, record.run, record.attempt) == ("created", JobState.QUEUED, 1, 0)
    assert (record.kind, record.user_id, record.max_attempts, record.key) == ("echo", "user-1", 7, None)
    assert record.payload == '{"seconds":1,"text":"ก"}'.encode()
    assert record.run_at == when.timestamp()


async def test_submit_with_a_known_key_and_the_same_payload_returns_the_first_job(jobs: JobService) -> None:
    first = await jobs.submit(request(payload={"a": 1, "b": 2}), key="order-7")
    again = await jobs.submit(request(payload={"b": 2, "a": 1}), key="order-7")
    assert (first.state, again.state) == ("created", "existing")
    assert again.job_id == first.job_id


async def test_submit_with_a_known_key_and_another_payload_raises_key_conflict(jobs: JobService) -> None:
    first = await jobs.submit(request(payload={"text": "a"}), key="order-7")
    with pytest.raises(KeyConflict, match=f"the key 'order-7' is taken by job {first.job_id}"):
        await jobs.submit(request(payload={"text": "b"}), key="order-7")
    assert len((await jobs.find(JobQuery())).jobs) == 1


async def test_submit_accepts_the_key_in_the_body(jobs: JobService) -> None:
    first = await jobs.submit(request(id="order-7"))
    assert (await jobs.submit(request(), key="order-7")).job_id == first.job_id


@pytest.mark.parametrize(
    ("scope", "kind", "user"), [("other", "echo", "user-1"), ("", "nothing", "user-1"), ("", "echo", "user-2")]
)
async def test_idempotency_key_is_scoped_by_caller_kind_and_user(
    jobs: JobService, scope: str, kind: str, user: str
) -> None:
    await jobs.submit(request(), key="order-7")
    assert (await jobs.submit(request(kind, user), scope=scope, key="order-7")).state == "created"


async def test_idempotency_key_with_a_separator_in_a_name_stays_distinct(jobs: JobService) -> None:
    await jobs.submit(request(user='u", "v'), key="k")
    assert (await jobs.submit(request(user="u"), key='v", "k')).state == "created"


async def test_submit_of_an_unknown_kind_names_the_known_ones(jobs: JobService) -> None:
    with pytest.raises(UnknownKind, match=r"unknown task type 'ech0'; there are: .*echo, "):
        await jobs.submit(request("ech0"))


async def test_submit_without_a_user_uses_the_default_user(jobs: JobService) -> None:
    with pytest.raises(MissingUser, match="WebSocket:DefaultUserId is not set"):
        await jobs.submit(request(user=None))
    jobs.default_user = "somebody"
    accepted = await jobs.submit(request(user=None))
    assert (await jobs.show(accepted.job_id)).user_id == "somebody"


async def test_submit_all_stores_nothing_when_one_job_is_invalid(jobs: JobService) -> None:
    with pytest.raises(InvalidPayload, match="payload of echo: text: "):
        await jobs.submit_all([request(), request(payload={"text": 7}), request()])
    assert (await jobs.find(JobQuery())).jobs == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "job: send it as a JSON object$"),
        (b'"{}"', "job: send it as a JSON object, not as a text that holds one"),
        (b"{}", "job: taskType: Field required"),
        (b'{"taskType":"echo","usreId":"x"}', "job: usreId: Extra inputs are not permitted"),
        (b'{"taskType":"echo","payload":[]}', "job: payload: "),
        (b'{"taskType":"echo","maxAttempts":0}', "job: maxAttempts: "),
        (b'{"taskType":"echo","runAt":"2030-01-01T00:00:00"}', "job: runAt: "),
        (b'{"taskType":"echo","runAt":"9999-12-31T23:59:59-12:00"}', "job: runAt: .*between the years 1 and 9999"),
        (b'{"taskType":"echo","runAt":"0001-01-01T00:00:00+12:00"}', "job: runAt: .*between the years 1 and 9999"),
    ],
)
def test_parse_request_explains_an_invalid_request(body: bytes, message: str) -> None:
    with pytest.raises(InvalidPayload, match=f"^{message}"):
        parse_request(body)


@pytest.mark.parametrize("years", [-9, 9])
async def test_every_accepted_time_can_be_formatted(jobs: JobService, years: int) -> None:
    time = f"{datetime.now(UTC).year + years}-12-31T23:59:59Z"
    accepted = await jobs.submit(request(runAt=time))
    assert rfc3339((await jobs.show(accepted.job_id)).run_at) == time.replace("Z", ".000Z")


async def test_submit_rejects_a_payload_that_is_nested_too_deep(jobs: JobService) -> None:
    value: list[Any] = []
    for _ in range(300):
        value = [value]
    with pytest.raises(InvalidPayload, match="payload of echo: Recursion limit reached"):
        await jobs.submit(request(payload={"text": value}))


# -- cancelling and retrying -----------------------------------------------------------------------------------


async def test_cancel_of_a_waiting_job_ends_it_and_stores_its_notification(
    jobs: JobService, store: SqliteStore
) -> None:
    accepted = await jobs.submit(request())
    assert await jobs.cancel(accepted.job_id) == "cancelled"
    record = await jobs.show(accepted.job_id)
    [message] = await store.pending(0, 10)
    reported = orjson.loads(message.body)[1]["payload"]
    assert (record.state, record.error) == (JobState.CANCELLED, "Cancelled")
    assert (reported["attempt"], reported["duration"], reported["error"]) == (0, 0.0, "Cancelled")
    assert reported["notificationId"] == notification_id(accepted.job_id, 1)


async def test_cancel_of_a_running_job_is_stored_and_reaches_the_worker(jobs: JobService, store: SqliteStore) -> None:
    interrupted: list[str] = []

    def interrupt(job_id: str) -> bool:
        interrupted.append(job_id)
        return True

    jobs.interrupt = interrupt
    accepted = await jobs.submit(request())
    await store.claim(1)
    assert await jobs.cancel(accepted.job_id) == "requested"
    assert interrupted == [accepted.job_id]
    assert (await jobs.show(accepted.job_id)).cancel_requested


async def test_cancel_of_an_ended_job_raises_not_possible(jobs: JobService, store: SqliteStore) -> None:
    accepted = await jobs.submit(request())
    await settle(store, (await store.claim(1)).jobs)
    with pytest.raises(NotPossible, match=r"has ended \(succeeded\)"):
        await jobs.cancel(accepted.job_id)


async def test_retry_of_an_ended_job_starts_its_next_run(jobs: JobService, store: SqliteStore) -> None:
    accepted = await jobs.submit(request())
    with pytest.raises(NotPossible, match="has not ended"):
        await jobs.retry(accepted.job_id)
    await settle(store, (await store.claim(1)).jobs)
    record = await jobs.retry(accepted.job_id)
    assert (record.state, record.run, record.attempt) == (JobState.QUEUED, 2, 0)
    [job] = (await store.claim(1)).jobs
    await settle(store, [job])
    ids = [message.notification_id for message in await store.pending(0, 10)]
    assert ids == [notification_id(accepted.job_id, 1), notification_id(accepted.job_id, 2)]


async def test_resend_queues_the_notification_with_a_redelivery_number(jobs: JobService, store: SqliteStore) -> None:
    await jobs.submit(request())
    await settle(store, (await store.claim(1)).jobs)
    [first] = await store.pending(0, 10)
    await store.delivered(first.id)
    assert await jobs.resend(first.notification_id) > first.id
    [again] = await store.pending(first.id, 10)
    assert orjson.loads(again.body)[1]["payload"]["redelivery"] == 1


@pytest.mark.parametrize("operation", ["show", "cancel", "retry", "resend"])
async def test_operation_on_an_unknown_id_raises_not_found(jobs: JobService, operation: str) -> None:
    with pytest.raises(NotFound, match="there is no"):
        await getattr(jobs, operation)("0199a1b2-0000-7000-8000-000000000000")


# -- looking ---------------------------------------------------------------------------------------------------


async def test_find_returns_jobs_page_by_page(jobs: JobService) -> None:
    ids = [(await jobs.submit(request(payload={"text": f"งาน {n}"}))).job_id for n in range(5)]
    await jobs.submit(request(user="user-2"))
    seen: list[str] = []
    query = JobQuery(user_ids=["user-1"], limit=2)
    while True:
        page = await jobs.find(query)
        seen += [record.id for record in page.jobs]
        if page.cursor is None:
            break
        query = JobQuery(user_ids=["user-1"], limit=2, cursor=page.cursor)
    assert seen == ids[::-1]


async def test_find_rejects_an_invalid_cursor_or_state(jobs: JobService) -> None:
    with pytest.raises(InvalidPayload, match="cursor"):
        await jobs.find(JobQuery(cursor="elsewhere"))
    with pytest.raises(InvalidPayload, match="lost"):
        await jobs.notifications(state="lost")


# -- waiting ---------------------------------------------------------------------------------------------------


async def test_wait_returns_when_the_job_is_settled(jobs: JobService, store: SqliteStore) -> None:
    accepted = await jobs.submit(request())
    waiting = [asyncio.ensure_future(jobs.wait(accepted.job_id, 30)) for _ in range(2)]
    [job] = (await store.claim(1)).jobs
    await settle(store, [job])
    jobs.on_settled(job.id, Succeeded(None))
    async with asyncio.timeout(30):
        assert {(await one).state for one in waiting} == {JobState.SUCCEEDED}


async def test_wait_returns_when_a_waiting_job_is_cancelled(jobs: JobService, store: SqliteStore) -> None:
    accepted = await jobs.submit(request())
    waiting = asyncio.ensure_future(jobs.wait(accepted.job_id, 30))
    await jobs.show(accepted.job_id)  # by now the other has looked as well
    await jobs.cancel(accepted.job_id)
    async with asyncio.timeout(30):
        assert (await waiting).state is JobState.CANCELLED


async def test_wait_for_an_ended_job_returns_at_once(jobs: JobService, store: SqliteStore) -> None:
    accepted = await jobs.submit(request())
    await settle(store, (await store.claim(1)).jobs)
    async with asyncio.timeout(30):
        assert (await jobs.wait(accepted.job_id, 30)).state is JobState.SUCCEEDED


async def test_wait_that_times_out_returns_the_present_state(jobs: JobService) -> None:
    accepted = await jobs.submit(request())
    assert (await jobs.wait(accepted.job_id, 0.01)).state is JobState.QUEUED
    with pytest.raises(NotFound):
        await jobs.wait("0199a1b2-0000-7000-8000-000000000000", 30)
    assert jobs._waiters == {}


# -- what is said ----------------------------------------------------------------------------------------------


async def test_submit_emits_one_event_per_call_for_new_jobs_only(jobs: JobService) -> None:
    received: list[object] = []
    jobs.emit = received.append
    await jobs.submit_all([request(), request("nothing")])
    await jobs.submit(request(), key="order-7")
    await jobs.submit(request(), key="order-7")
    assert received == [JobsAccepted(["echo", "nothing"]), JobsAccepted(["echo"])]


async def test_cancel_emits_an_event_for_waiting_jobs_only(jobs: JobService, store: SqliteStore) -> None:
    accepted = await jobs.submit(request())
    running = await jobs.submit(request())
    received: list[object] = []
    jobs.emit = received.append
    await store.claim(1)
    await jobs.cancel(accepted.job_id)
    await jobs.cancel(running.job_id)
    assert len(received) == 1
    assert received[0] in [WaitingJobCancelled(job.job_id, "echo", "user-1") for job in (accepted, running)]
