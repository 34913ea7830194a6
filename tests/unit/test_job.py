"""A job's states and ids."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from worker.core import job_docs
from worker.core.job import TERMINAL, TRANSITIONS, JobAction, JobState, new_job_id

PAIRS = {(source, change.target) for change in TRANSITIONS.values() for source in change.sources}


def test_transition_table_has_every_action() -> None:
    assert set(TRANSITIONS) == set(JobAction)


def test_run_ends_only_by_running_or_by_being_cancelled_while_it_waits() -> None:
    assert {(source, target) for source, target in PAIRS if target in TERMINAL} == {
        (JobState.QUEUED, JobState.CANCELLED),
        (JobState.RUNNING, JobState.SUCCEEDED),
        (JobState.RUNNING, JobState.FAILED),
        (JobState.RUNNING, JobState.CANCELLED),
    }


def test_finished_job_can_only_be_queued_again() -> None:
    assert {target for source, target in PAIRS if source in TERMINAL} == {JobState.QUEUED}


def test_diagram_has_every_pair_of_the_table() -> None:
    drawn = job_docs.diagram()
    assert all(f"{source} --> {target}" in drawn for source, target in PAIRS)


@given(st.floats(min_value=0, max_value=4_000_000_000))
def test_job_id_is_a_uuid_of_version_7_that_starts_with_its_millisecond(now: float) -> None:
    value = uuid.UUID(new_job_id(now))
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert value.int >> 80 == int(now * 1000)


def test_job_ids_of_the_same_millisecond_differ() -> None:
    assert len({new_job_id(1_700_000_000.0) for _ in range(1000)}) == 1000


def test_job_ids_sort_by_time() -> None:
    ids = [new_job_id(1_700_000_000 + n / 1000) for n in range(100)]
    assert ids == sorted(ids)
