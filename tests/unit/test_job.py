"""A job's states and ids."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from worker.job import TERMINAL, TRANSITIONS, JobState, new_job_id


def test_every_state_has_its_moves() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_a_run_ends_only_by_running_or_by_being_cancelled_while_it_waits() -> None:
    into_the_end = {(state, end) for state, ends in TRANSITIONS.items() for end in ends & TERMINAL}
    assert into_the_end == {
        (JobState.QUEUED, JobState.CANCELLED),
        (JobState.RUNNING, JobState.SUCCEEDED),
        (JobState.RUNNING, JobState.FAILED),
        (JobState.RUNNING, JobState.CANCELLED),
    }


def test_a_finished_job_can_only_be_queued_again() -> None:
    assert {TRANSITIONS[state] for state in TERMINAL} == {frozenset({JobState.QUEUED})}


@given(st.floats(min_value=0, max_value=4_000_000_000))
def test_a_job_id_is_a_uuid_of_version_7_that_tells_its_millisecond(now: float) -> None:
    value = uuid.UUID(new_job_id(now))
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert value.int >> 80 == int(now * 1000)


def test_ids_of_the_same_millisecond_differ() -> None:
    assert len({new_job_id(1_700_000_000.0) for _ in range(1000)}) == 1000


def test_ids_sort_by_time() -> None:
    ids = [new_job_id(1_700_000_000 + n / 1000) for n in range(100)]
    assert ids == sorted(ids)
