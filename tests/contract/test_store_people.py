"""What every Store answers to the API: filters, counts by kind, deliveries, the audit trail."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.stores import (
    START,
    ManualClock,
    StoreLocation,
    a_failure,
    a_job,
    an_attempt,
    cancel_notification,
    cancelled,
    failed,
    retried,
    settlement,
    success,
)
from worker.core.failure import LocalizedError, localized_of
from worker.core.job import JobState
from worker.core.notification import notification_id
from worker.core.outcome import Failed
from worker.core.store import AuditEntry, AuditQuery, JobQuery, Store


async def found(store: Store, **query: Any) -> list[str]:
    ids: list[str] = []
    cursor = None
    while True:
        page = await store.find_ids(JobQuery(cursor=cursor, limit=2, **query))
        ids += page.ids
        cursor = page.cursor
        if cursor is None:
            return ids


# -- filters -----------------------------------------------------------------------------------------------


async def test_find_with_several_states_users_and_organizations_returns_the_matching_jobs(store: Store) -> None:
    a, b, c, d = jobs = [
        a_job(user=user, organization=organization)
        for user, organization in (("u1", "กรม"), ("u2", "กรม"), ("u3", None), ("u1", "other"))
    ]
    await store.enqueue(jobs[:2])
    done, bad = sorted((await store.claim(2)).jobs, key=lambda job: job.user_id)
    await store.settle([success(done), failed(bad)])
    await store.enqueue(jobs[2:])
    assert await found(store, states=[JobState.SUCCEEDED, JobState.FAILED]) == [b.id, a.id]
    assert await found(store, states=[JobState.QUEUED, JobState.FAILED]) == [d.id, c.id, b.id]
    assert await found(store, user_ids=["u1", "u3", "unknown"]) == [d.id, c.id, a.id]
    assert await found(store, organizations=["กรม"]) == [b.id, a.id]
    assert await found(store, organizations=["กรม", "other"], user_ids=["u1"]) == [d.id, a.id]
    assert await found(store, organizations=["กรม", "other"], user_ids=["u1"], states=[JobState.QUEUED]) == [d.id]
    assert (
        await found(store, states=[]) == await found(store, user_ids=[]) == await found(store, organizations=[]) == []
    )


async def test_find_by_creation_time_returns_the_matching_jobs(store: Store) -> None:
    jobs = [a_job(START + number) for number in range(5)]
    await store.enqueue(jobs)
    assert await found(store, since=START + 1, until=START + 3) == [jobs[2].id, jobs[1].id]
    assert await found(store, since=START + 4) == [jobs[4].id]
    assert await found(store, until=START) == []


async def test_find_by_text_matches_the_user(store: Store) -> None:
    new = a_job(user="สมชาย@example.org")
    await store.enqueue([new, a_job()])
    assert await found(store, text="ชาย@EXAMPLE") == [new.id]


async def test_find_of_brief_records_leaves_out_long_fields(store: Store) -> None:
    await store.enqueue([a_job(payload="x" * 1000)])
    [job] = (await store.claim(1)).jobs
    await store.settle([failed(job)])
    [brief] = (await store.find(JobQuery(brief=True))).jobs
    assert (brief.payload, brief.result, brief.stack_trace) == (b"", None, None)
    assert (brief.id, brief.error, brief.state) == (job.id, "broken", JobState.FAILED)


async def test_find_of_brief_records_keeps_code_and_thai_text_of_a_failure_alone(store: Store) -> None:
    await store.enqueue([a_job(), a_job()])
    broken, fine = (await store.claim(2)).jobs
    failure = replace(a_failure(), code="wrong_day", text_th="ไม่มีวันนี้")
    await store.settle([settlement(an_attempt(broken, failure=failure), Failed(failure)), success(fine)])
    results = {one.id: one.result for one in (await store.find(JobQuery(brief=True))).jobs}
    assert localized_of(results[broken.id]) == LocalizedError("wrong_day", "ไม่มีวันนี้")
    assert results[fine.id] is None


async def test_get_many_returns_jobs_in_the_requested_order(store: Store) -> None:
    jobs = [a_job() for _ in range(3)]
    await store.enqueue(jobs)
    asked = [jobs[2].id, "unknown", jobs[0].id]
    assert [record.id for record in await store.get_many(asked)] == [jobs[2].id, jobs[0].id]
    assert await store.get_many([]) == []


# -- counts by kind ----------------------------------------------------------------------------------------


async def test_counts_by_kind_counts_queued_jobs(store: Store, location: StoreLocation) -> None:
    await store.enqueue([a_job(START - 9, kind="report"), a_job(kind="report"), a_job(kind="noop", delay=60.0)])
    assert await store.counts_by_kind() == {"report": 2, "noop": 1}
    await store.pause("report")
    assert await store.counts_by_kind() == {"report": 2, "noop": 1}
    await store.resume("report")
    first, second = (await store.claim(2)).jobs
    assert await store.counts_by_kind() == {"noop": 1}
    await store.release([first])
    await store.settle([retried(second, START)])
    assert await store.counts_by_kind() == {"report": 2, "noop": 1}
    record = await store.get(first.id)
    assert record is not None
    await store.cancel(first.id, 1, cancel_notification(record))
    store = await location.reopen(store)
    assert await store.counts_by_kind() == {"report": 1, "noop": 1}
    await store.retry(first.id)
    assert await store.counts_by_kind() == {"report": 2, "noop": 1}


# -- deliveries --------------------------------------------------------------------------------------------


async def test_deliveries_of_a_job_are_listed_by_run(store: Store, manual_clock: ManualClock) -> None:
    new = a_job()
    await store.enqueue([new, a_job()])
    jobs = (await store.claim(2)).jobs
    await store.settle([success(job, START) for job in jobs])
    manual_clock.pass_time(5.0)
    await store.delivered(2)
    await store.shown([notification_id(new.id, 1)], START + 7.0)
    await store.shown([notification_id(new.id, 1), "unknown"], START + 9.0)
    await store.retry(new.id)
    [job] = (await store.claim(1)).jobs
    await store.settle([failed(job, START + 20.0)])
    await store.dead(3, "not yours")
    first, second = await store.deliveries(new.id)
    assert (first.run, first.sequence, first.state, first.redelivery) == (1, 1, "delivered", 0)
    assert first.notification_id == notification_id(new.id, 1)
    assert (first.stored_at, first.delivered_at, first.shown_at, first.shown_count) == (START, START + 5, START + 7, 2)
    assert (second.run, second.state, second.reason) == (2, "dead", "not yours")
    assert (second.delivered_at, second.shown_at, second.shown_count) == (None, None, 0)
    assert await store.deliveries("unknown") == []


async def test_deliveries_show_a_resent_notification_under_its_run(store: Store, manual_clock: ManualClock) -> None:
    new = a_job()
    await store.enqueue([new])
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job)])
    await store.delivered(1)
    manual_clock.pass_time(60.0)
    await store.resend(notification_id(new.id, 1))
    [delivery] = await store.deliveries(new.id)
    assert (delivery.state, delivery.redelivery, delivery.delivered_at) == ("pending", 1, None)


async def test_resend_is_possible_until_the_notification_is_pruned(store: Store, manual_clock: ManualClock) -> None:
    new = a_job()
    await store.enqueue([new])
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job)])
    await store.delivered(1)
    for expected in (2, 3):
        assert [one.id for one in await store.notifications()] == [expected - 1]
        message = await store.resend(notification_id(new.id, 1))
        assert message is not None
        assert message.id == expected
        await store.delivered(expected)
    assert [one.id for one in await store.notifications()] == [3]
    manual_clock.pass_time(100.0)
    assert (await store.prune(0.0, 10)).runs == 1
    assert await store.resend(notification_id(new.id, 1)) is None


async def test_prune_removes_deliveries_with_their_notification(store: Store, manual_clock: ManualClock) -> None:
    new = a_job()
    await store.enqueue([new])
    [job] = (await store.claim(1)).jobs
    await store.settle([success(job)])
    await store.delivered(1)
    await store.shown([notification_id(new.id, 1)], START)
    manual_clock.pass_time(100.0)
    await store.prune(0.0, 10)
    assert await store.deliveries(new.id) == []


async def test_notifications_by_job_return_the_matching_ones(store: Store) -> None:
    jobs = [a_job(user=user) for user in ("a", "b")]
    await store.enqueue(jobs)
    await store.settle([success(job) for job in (await store.claim(2)).jobs])
    assert [one.job_id for one in await store.notifications(job_id=jobs[1].id)] == [jobs[1].id]
    assert await store.notifications(job_id=jobs[1].id, user_id="a") == []
    assert await store.notifications(job_id=jobs[1].id, state="dead") == []


# -- the audit trail ---------------------------------------------------------------------------------------


def an_entry(number: int) -> AuditEntry:
    detail = '{"note":"ยกเลิก"}'.encode() if number % 2 else None
    return AuditEntry(START + number, f"key-{number % 3}", "cancel" if number % 2 else "retry", f"job-{number}", detail)


async def test_audit_trail_is_listed_newest_first_in_pages(store: Store, location: StoreLocation) -> None:
    entries = [an_entry(number) for number in range(7)]
    for entry in entries:
        await store.audit(entry)
    store = await location.reopen(store)
    first = await store.audit_trail(AuditQuery(limit=4))
    second = await store.audit_trail(AuditQuery(limit=4, cursor=first.cursor))
    assert [*first.entries, *second.entries] == entries[::-1]
    assert second.cursor is None
    assert (await store.audit_trail(AuditQuery(actor="key-1"))).entries == [entries[4], entries[1]]
    assert (await store.audit_trail(AuditQuery(actor="key-1", action="cancel"))).entries == [entries[1]]
    with pytest.raises(ValueError, match="cursor"):
        await store.audit_trail(AuditQuery(cursor="x"))


async def test_prune_audit_removes_old_entries_up_to_its_limit(store: Store, manual_clock: ManualClock) -> None:
    for number in range(3):
        await store.audit(an_entry(number))
    assert await store.prune_audit(300.0, 2) == 0
    manual_clock.pass_time(200.0)
    for number in range(3, 5):
        await store.audit(an_entry(number))
    assert (await store.prune(100.0, 2)).runs == 0
    manual_clock.pass_time(100.0)
    assert await store.prune_audit(300.0, 2) == 2
    assert await store.prune_audit(300.0, 2) == 1
    assert await store.prune_audit(300.0, 2) == 0
    assert len((await store.audit_trail(AuditQuery())).entries) == 2


async def test_deliveries_show_the_notification_of_a_cancelled_run(store: Store) -> None:
    new = a_job()
    await store.enqueue([new])
    [job] = (await store.claim(1)).jobs
    await store.settle([cancelled(job)])
    [delivery] = await store.deliveries(new.id)
    assert delivery.state == "pending"
