"""The retry rule, and who is charged for a crash."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.attempts import a_job
from worker.failure import Failure
from worker.job import Job
from worker.outcome import Attempt, Cancelled, Failed, Retry, RetryPolicy, Succeeded, decide, judge

POLICY = RetryPolicy(base=5.0, cap=300.0, jitter=0.5)
FAILURE = Failure("ValueError", "ValueError: no luck", None, "0123456789ab")


def an_attempt(job: Job, failure: Failure | None = None, result: bytes | None = None) -> Attempt:
    return Attempt(job, 100.0, 101.0, 1000.0, result, failure)


def test_an_attempt_without_failure_succeeds_with_its_result() -> None:
    assert decide(an_attempt(a_job(), result=b"{}"), POLICY, 101.0, 0.5) == Succeeded(b"{}")


def test_a_failure_is_retried_after_the_backoff() -> None:
    outcome = decide(an_attempt(a_job(attempt=2), FAILURE), POLICY, now=1000.0, spread=0.5)
    assert outcome == Retry(FAILURE, run_at=1010.0)


def test_the_last_attempt_ends_the_run() -> None:
    assert decide(an_attempt(a_job(attempt=3, max_attempts=3), FAILURE), POLICY, 0.0, 0.0) == Failed(FAILURE)


def test_what_cannot_succeed_ends_the_run_at_the_first_attempt() -> None:
    hopeless = replace(FAILURE, retryable=False)
    assert decide(an_attempt(a_job(), hopeless), POLICY, 0.0, 0.0) == Failed(hopeless)


@pytest.mark.parametrize("attempt", [1, 3])
def test_a_cancel_ends_the_run_as_cancelled(attempt: int) -> None:
    cancelled = replace(FAILURE, cancelled=True, retryable=False)
    assert decide(an_attempt(a_job(attempt=attempt), cancelled), POLICY, 0.0, 0.0) == Cancelled(cancelled)


spreads = st.floats(min_value=0, max_value=1, exclude_max=True)
numbers = st.integers(min_value=1, max_value=1000)


@given(numbers, numbers, st.booleans(), st.booleans(), spreads)
def test_no_job_is_retried_beyond_its_attempts(
    attempt: int, most: int, retryable: bool, cancelled: bool, spread: float
) -> None:
    failure = replace(FAILURE, retryable=retryable, cancelled=cancelled)
    outcome = decide(an_attempt(a_job(attempt=attempt, max_attempts=most), failure), POLICY, 50.0, spread)
    if isinstance(outcome, Retry):
        assert attempt < most
        assert retryable
        assert not cancelled
        assert outcome.run_at >= 50.0
        assert not outcome.suspect


@given(st.integers(min_value=1, max_value=10**9), spreads)
def test_a_delay_stays_within_the_jitter_around_the_cap(attempt: int, spread: float) -> None:
    assert POLICY.base * 0.5 <= POLICY.delay(attempt, spread) <= POLICY.cap * 1.5


@given(st.integers(min_value=1, max_value=100), spreads)
def test_delays_do_not_shrink_from_attempt_to_attempt(attempt: int, spread: float) -> None:
    assert POLICY.delay(attempt, spread) <= POLICY.delay(attempt + 1, spread)


def test_delays_double_up_to_the_cap() -> None:
    assert [POLICY.delay(attempt, 0.5) for attempt in range(1, 9)] == [5, 10, 20, 40, 80, 160, 300, 300]


def test_without_a_base_there_is_no_pause() -> None:
    assert RetryPolicy(base=0.0).delay(7, 0.9) == 0.0


def test_the_only_job_of_a_dead_service_is_charged() -> None:
    job = a_job(attempt=2)
    [verdict] = judge([job], now=500.0)
    assert verdict.job is job
    assert verdict.charged is not None
    assert verdict.charged.failure is not None
    assert (verdict.charged.failure.type, verdict.charged.failure.retryable) == ("Crashed", True)
    assert (verdict.charged.started_at, verdict.charged.finished_at, verdict.charged.duration_ms) == (500.0, 500.0, 0.0)


def test_among_several_jobs_of_a_dead_service_nobody_is_charged() -> None:
    jobs = [a_job(), a_job(), a_job()]
    assert [(verdict.job, verdict.charged) for verdict in judge(jobs, 500.0)] == [(job, None) for job in jobs]


def test_a_dead_service_without_jobs_leaves_nothing_to_judge() -> None:
    assert judge([], 500.0) == []


def test_a_poison_job_is_convicted_after_its_attempts() -> None:
    """Each crash is charged, as it runs alone, until none is left."""
    job = a_job(attempt=1, max_attempts=3, suspect=True)
    ends = []
    for attempt in (1, 2, 3):
        [verdict] = judge([job._replace(attempt=attempt)], 0.0)
        assert verdict.charged is not None
        ends.append(type(decide(verdict.charged, POLICY, 0.0, 0.0)))
    assert ends == [Retry, Retry, Failed]


@pytest.mark.parametrize(("asked", "run_at"), [(60.0, 1060.0), (1.0, 1005.0), (7200.0, 1300.0)])
def test_who_asks_to_be_left_alone_is_up_to_the_longest_pause(asked: float, run_at: float) -> None:
    failure = replace(FAILURE, retry_after=asked)
    assert decide(an_attempt(a_job(), failure), POLICY, now=1000.0, spread=0.5) == Retry(failure, run_at)
