"""The retry rule, and which job is charged with a crash."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.attempts import a_claimed_job
from worker.core.failure import Failure
from worker.core.job import Job
from worker.core.outcome import (
    Attempt,
    CancelledOutcome,
    Failed,
    Placement,
    RecoveryDecision,
    Retry,
    RetryPolicy,
    Succeeded,
    decide,
    decide_recovery,
    is_isolated,
)

POLICY = RetryPolicy(base=5.0, cap=300.0, jitter=0.5)
FAILURE = Failure("ValueError", "ValueError: no luck", None, "0123456789ab")


def an_attempt(job: Job, failure: Failure | None = None, result: bytes | None = None) -> Attempt:
    return Attempt(job, 100.0, 101.0, 1000.0, result, failure)


def test_decide_an_attempt_without_a_failure_succeeds_with_its_result() -> None:
    assert decide(an_attempt(a_claimed_job(), result=b"{}"), POLICY, 101.0, 0.5) == Succeeded(b"{}")


def test_decide_a_failure_is_retried_after_the_backoff() -> None:
    outcome = decide(an_attempt(a_claimed_job(attempt=2), FAILURE), POLICY, now=1000.0, spread=0.5)
    assert outcome == Retry(FAILURE, run_at=1010.0, delay=10.0)


def test_decide_the_last_attempt_fails_the_run() -> None:
    assert decide(an_attempt(a_claimed_job(attempt=3, max_attempts=3), FAILURE), POLICY, 0.0, 0.0) == Failed(FAILURE)


def test_decide_a_failure_that_is_not_retryable_fails_the_run() -> None:
    hopeless = replace(FAILURE, retryable=False)
    assert decide(an_attempt(a_claimed_job(), hopeless), POLICY, 0.0, 0.0) == Failed(hopeless)


@pytest.mark.parametrize("attempt", [1, 3])
def test_decide_a_cancellation_ends_the_run_as_cancelled(attempt: int) -> None:
    cancelled = replace(FAILURE, cancelled=True, retryable=False)
    assert decide(an_attempt(a_claimed_job(attempt=attempt), cancelled), POLICY, 0.0, 0.0) == CancelledOutcome(
        cancelled
    )


spreads = st.floats(min_value=0, max_value=1, exclude_max=True)
numbers = st.integers(min_value=1, max_value=1000)


@given(numbers, numbers, st.booleans(), st.booleans(), spreads)
def test_decide_never_retries_beyond_the_attempts(
    attempt: int, most: int, retryable: bool, cancelled: bool, spread: float
) -> None:
    failure = replace(FAILURE, retryable=retryable, cancelled=cancelled)
    outcome = decide(an_attempt(a_claimed_job(attempt=attempt, max_attempts=most), failure), POLICY, 50.0, spread)
    if isinstance(outcome, Retry):
        assert attempt < most
        assert retryable
        assert not cancelled
        assert outcome.run_at >= 50.0
        assert not outcome.suspect


@given(st.integers(min_value=1, max_value=10**9), spreads)
def test_delay_stays_within_the_jitter_around_the_cap(attempt: int, spread: float) -> None:
    assert POLICY.base * 0.5 <= POLICY.delay(attempt, spread) <= POLICY.cap * 1.5


@given(st.integers(min_value=1, max_value=100), spreads)
def test_delay_does_not_shrink_from_attempt_to_attempt(attempt: int, spread: float) -> None:
    assert POLICY.delay(attempt, spread) <= POLICY.delay(attempt + 1, spread)


def test_delay_doubles_up_to_the_cap() -> None:
    assert [POLICY.delay(attempt, 0.5) for attempt in range(1, 9)] == [5, 10, 20, 40, 80, 160, 300, 300]


def test_delay_without_a_base_is_0() -> None:
    assert RetryPolicy(base=0.0).delay(7, 0.9) == 0.0


# -- after a crash of the service ------------------------------------------------------------------------------


def orphan(**fields: Any) -> Job:
    return a_claimed_job(**{"owner": "1@boot-1"} | fields)


def decided(job: Job, placement: Placement, boot: str = "boot-1") -> RecoveryDecision:
    [decision] = decide_recovery([job], 500.0, boot, lambda _kind: placement)
    return decision


def test_recovery_after_a_reboot_acquits_every_job() -> None:
    for placement in get_args(Placement):
        for job in (orphan(), orphan(crashes=5), orphan(suspect=True, crashes=2), orphan(owner="1@boot-1~")):
            assert decided(job, placement, boot="boot-2") == RecoveryDecision(job)


def test_recovery_never_suspects_a_job_that_ran_in_a_child_process() -> None:
    in_child = orphan(crashes=1)
    assert decided(in_child, "child") == RecoveryDecision(in_child)
    isolated = orphan(crashes=2)
    assert decided(isolated, "movable") == RecoveryDecision(isolated)


@pytest.mark.parametrize("placement", ["movable", "service"])
@pytest.mark.parametrize("owner", ["1@boot-1", "1@", "of-an-earlier-version"])
def test_recovery_after_the_first_crash_isolates_no_job_even_if_it_was_the_only_one(
    placement: Placement, owner: str
) -> None:
    job = orphan(owner=owner)
    assert decided(job, placement) == RecoveryDecision(job, crashed=True)


def test_recovery_after_the_second_crash_isolates_the_job() -> None:
    job = orphan(crashes=1)
    assert decided(job, "movable") == RecoveryDecision(job, crashed=True)
    assert is_isolated(job._replace(crashes=2))
    assert not is_isolated(job)
    assert decided(job, "service") == RecoveryDecision(job, crashed=True, suspect=True)


def test_recovery_charges_a_job_that_ran_alone_until_its_attempts_are_used_up() -> None:
    ends = []
    for attempt in (1, 2, 3):
        decision = decided(orphan(attempt=attempt, max_attempts=3, suspect=True, crashes=2), "service")
        assert decision.charged is not None
        assert decision.charged.failure is not None
        assert (decision.charged.failure.type, decision.charged.started_at) == ("Crashed", 500.0)
        ends.append(type(decide(decision.charged, POLICY, 0.0, 0.0)))
    assert ends == [Retry, Retry, Failed]


def test_recovery_without_orphans_decides_nothing() -> None:
    assert decide_recovery([], 500.0, "boot-1", lambda _kind: "service") == []


@pytest.mark.parametrize(("asked", "run_at"), [(60.0, 1060.0), (1.0, 1005.0), (7200.0, 1300.0)])
def test_retry_after_is_limited_to_the_longest_delay(asked: float, run_at: float) -> None:
    failure = replace(FAILURE, retry_after=asked)
    outcome = decide(an_attempt(a_claimed_job(), failure), POLICY, now=1000.0, spread=0.5)
    assert outcome == Retry(failure, run_at, delay=run_at - 1000.0)
