"""The due jobs of a line stay sorted, whatever is added and taken out."""

import random
from bisect import insort

import pytest

from worker.stores.sqlite.due_jobs import DueJobs, Head


@pytest.mark.parametrize("seed", range(20))
def test_due_jobs_are_those_of_a_sorted_list(seed: int) -> None:
    rng = random.Random(seed)
    jobs, expected = DueJobs(), list[Head]()
    for seq in rng.sample(range(10_000), 4000):
        match rng.randrange(4):
            case 0 | 1:
                head = (float(rng.randrange(5)), seq)
                jobs.add(head)
                insort(expected, head)
            case 2 if expected:
                assert jobs.take_first() == expected.pop(0)
            case 3 if expected:
                head = expected.pop(rng.randrange(len(expected)))
                jobs.remove(head)
        assert len(jobs) == len(expected)
        assert bool(jobs.times) == bool(expected)
        if expected:
            assert jobs.first == expected[0]
        assert jobs.first_time == (expected[0][0] if expected else None)


def test_many_jobs_taken_in_order_leave_none_behind() -> None:
    jobs = DueJobs()
    for seq in range(5000):
        jobs.add((1.0, seq))
    assert [jobs.take_first()[1] for _ in range(4999)] == list(range(4999))
    assert len(jobs.times) < 2500
    assert (jobs.take_first(), jobs.first_time) == ((1.0, 4999), None)


def test_job_that_is_not_there_cannot_be_removed() -> None:
    jobs = DueJobs()
    for seq in (1, 3):
        jobs.add((1.0, seq))
    with pytest.raises(ValueError, match="job 2 is not among"):
        jobs.remove((1.0, 2))
    assert [jobs.take_first(), jobs.take_first()] == [(1.0, 1), (1.0, 3)]
