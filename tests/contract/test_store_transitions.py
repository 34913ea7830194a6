"""Every Store changes the state of a job as the table of transitions says, and in no other way."""

from collections.abc import Awaitable, Callable

import pytest

from tests.support.stores import START, a_job, cancel_notification, cancelled, failed, retried, success
from worker.core.job import TRANSITIONS, Job, JobAction, JobState
from worker.core.store import Settlement, Store


async def job_in(store: Store, state: JobState) -> Job:
    """Bring a job into the state; return it as it was claimed, or would be."""
    job_id = (await store.enqueue([a_job()]))[0].job_id
    if state == JobState.QUEUED:
        return Job(
            id=job_id, kind="noop", user_id="somchai", payload=b"{}", run=1, attempt=0, max_attempts=3,
            created_at=START, owner="unknown", claim=0,
        )  # fmt: skip
    [job] = (await store.claim(1)).jobs
    ends: dict[JobState, Callable[[Job], Settlement]] = {
        JobState.SUCCEEDED: success,
        JobState.FAILED: failed,
        JobState.CANCELLED: cancelled,
    }
    if state in ends:
        assert await store.settle([ends[state](job)]) == [True]
    return job


async def settle(store: Store, settlement: Settlement) -> None:
    await store.settle([settlement])


async def cancel(store: Store, job: Job) -> None:
    record = await store.get(job.id)
    assert record is not None
    await store.cancel(job.id, record.run, cancel_notification(record))


ACTIONS: dict[JobAction, Callable[[Store, Job], Awaitable[object]]] = {
    JobAction.CLAIM: lambda store, _job: store.claim(1),
    JobAction.RELEASE: lambda store, job: store.release([job]),
    JobAction.RETRY: lambda store, job: settle(store, retried(job, START)),
    JobAction.SUCCEED: lambda store, job: settle(store, success(job)),
    JobAction.FAIL: lambda store, job: settle(store, failed(job)),
    JobAction.END_CANCELLED: lambda store, job: settle(store, cancelled(job)),
    JobAction.CANCEL_WAITING: cancel,
    JobAction.RUN_AGAIN: lambda store, job: store.retry(job.id),
}


@pytest.mark.parametrize("action", JobAction)
@pytest.mark.parametrize("state", JobState)
async def test_action_changes_the_state_as_the_table_says(store: Store, state: JobState, action: JobAction) -> None:
    job = await job_in(store, state)
    await ACTIONS[action](store, job)
    transition = TRANSITIONS[action]
    expected = transition.target if state in transition.sources else state
    record = await store.get(job.id)
    assert record is not None
    assert record.state == expected
    assert {name: count for name, count in (await store.stats()).jobs.items() if count} == {expected.value: 1}
