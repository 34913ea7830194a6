"""Stores with something of everything, and what they show: for moves between providers."""

from typing import Any

from tests.support.stores import START, ManualClock, a_job, cancelled, failed, retried, success
from worker.core.store import AuditEntry, AuditQuery, JobQuery, Store


def ignore(_table: str, _done: int, _total: int) -> None:
    """Show no progress."""


async def fill(store: Store, clock: ManualClock) -> None:
    """Bring about a row of every sort: states, attempts, deliveries, marks, a pause, an entry of the audit log."""
    jobs = [a_job(user=f"user-{number % 3}", organization="กรม", key=f"k{number}") for number in range(40)]
    await store.enqueue(jobs)
    await store.enqueue([a_job(user="a\0b", kind="paused", payload={"ชื่อ": "ประถมาภรณ์ \ue000"}), a_job(delay=60.0)])
    claimed = (await store.claim(20)).jobs
    ends = [success(claimed[0]), failed(claimed[1]), cancelled(claimed[2])]
    ends += [retried(claimed[3], START + 30), retried(claimed[4], START)]
    await store.settle([*ends, *(success(job) for job in claimed[5:12])])
    await store.delivered(4)
    await store.dead(6, "no")
    message = (await store.notifications(limit=1))[0]
    await store.shown([message.notification_id], START)
    await store.retry(claimed[0].id)
    await store.pause("paused")
    await store.audit(AuditEntry(START, "key", "pause", "paused", b"{}"))
    await store.prune(600.0, 10)
    clock.pass_time(1.0)


async def content(store: Store) -> dict[str, Any]:
    """Return all that a store shows."""
    jobs = (await store.find(JobQuery(limit=1000))).jobs
    return {
        "jobs": jobs,
        "attempts": [await store.attempts(job.id) for job in jobs],
        "deliveries": [await store.deliveries(job.id) for job in jobs],
        "notifications": await store.notifications(limit=1000),
        "pending": await store.pending(0, 1000),
        "paused": await store.paused(),
        "audit": (await store.audit_trail(AuditQuery(limit=100))).entries,
        "kinds": await store.counts_by_kind(),
        "counts": (await store.stats()).jobs,
    }


async def assert_goes_on(moved: Store) -> None:
    """Check that a moved store is sound, and that its jobs, ids and idempotency keys continue."""
    assert await moved.examine() == []
    jobs = (await moved.claim(100)).jobs
    assert {job.kind for job in jobs} == {"noop"}
    last = (await moved.notifications(limit=1))[0].id
    assert await moved.settle([success(jobs[0])]) == [True]
    assert (await moved.notifications(limit=1))[0].id == last + 1
    [again] = await moved.enqueue([a_job(user="user-0", organization="กรม", key="k0")])
    assert again.state == "existing"
    assert await moved.examine() == []
