"""Counting what happens: kinds and outcomes, seconds, percentiles, and labels that stay few."""

import pytest

from tests.support.attempts import a_claimed_job
from worker.core import events
from worker.core.failure import Failure
from worker.core.job import Job
from worker.core.outcome import Attempt, CancelledOutcome, Failed, Outcome, Retry, Succeeded
from worker.notifiers.socketio import events as link
from worker.observability.stats import DURATIONS, OTHER, SECONDS, Histogram, JobStats

KINDS = frozenset({"echo", "slow"})


@pytest.fixture
def stats() -> JobStats:
    return JobStats(KINDS)


def publish(stats: JobStats, *happened: object) -> None:
    listeners = stats.listeners()
    for event in happened:
        listeners[type(event)](event)


def ended(outcome: Outcome, milliseconds: float = 7.0, kind: str = "echo") -> events.JobSettled:
    failure = None if isinstance(outcome, Succeeded) else outcome.failure
    return events.JobSettled(Attempt(a_claimed_job(kind), 0.0, 1.0, milliseconds, failure=failure), outcome)


def a_failure(name: str = "ValueError") -> Failure:
    return Failure(name, "broken", None, "0123456789ab")


def test_attempts_are_counted_by_kind_and_outcome(stats: JobStats) -> None:
    failure = a_failure()
    publish(stats, ended(Succeeded(None)), ended(Succeeded(None), kind="slow"), ended(Succeeded(None)))
    publish(stats, ended(Failed(failure)), ended(Retry(failure, 9.0)), ended(CancelledOutcome(failure)))
    counts = {key: histogram.count for key, histogram in stats.attempts.items()}
    assert counts == {
        ("echo", "succeeded"): 2,
        ("slow", "succeeded"): 1,
        ("echo", "failed"): 1,
        ("echo", "retried"): 1,
        ("echo", "cancelled"): 1,
    }


@pytest.mark.parametrize(("milliseconds", "place"), [(0.0, 0), (5.0, 0), (5.01, 1), (3.6e6, 15), (3.7e6, 16)])
def test_duration_is_counted_at_or_below_its_bound(stats: JobStats, milliseconds: float, place: int) -> None:
    publish(stats, ended(Succeeded(None), milliseconds))
    histogram = stats.attempts["echo", "succeeded"]
    assert [n for n, count in enumerate(histogram.counts) if count] == [place]
    assert (histogram.total, histogram.count) == (milliseconds, 1)
    other = Histogram(DURATIONS)
    other.observe(milliseconds)
    assert other.counts == histogram.counts


def test_kind_without_a_handler_is_counted_as_other(stats: JobStats) -> None:
    publish(stats, *(ended(Failed(a_failure()), kind=f"kind-{n}") for n in range(200)))
    assert {key: histogram.count for key, histogram in stats.attempts.items()} == {(OTHER, "failed"): 200}


def test_error_classes_beyond_the_limit_are_counted_as_other(stats: JobStats) -> None:
    publish(stats, *(ended(Failed(a_failure(f"Error{n}"))) for n in range(200)), ended(Failed(a_failure("Error0"))))
    assert len(stats.errors) == 51
    assert (stats.errors["echo", "Error0"], stats.errors["echo", OTHER]) == (2, 150)


def test_tick_records_the_counts_of_one_second(stats: JobStats) -> None:
    publish(stats, events.JobsAccepted(["echo", "slow", "echo"]), ended(Succeeded(None)))
    stats.tick(100.0)
    publish(stats, ended(Failed(a_failure())), events.WaitingJobCancelled("id", "slow", "user"), ended(Succeeded(None)))
    publish(stats, ended(CancelledOutcome(a_failure())), ended(Retry(a_failure(), 5.0)))
    stats.tick(101.0)
    stats.tick(102.0)
    assert [tuple(second) for second in stats.seconds] == [
        (100.0, 3, 1, 0, 0),
        (101.0, 0, 1, 1, 2),
        (102.0, 0, 0, 0, 0),
    ]


def test_seconds_are_kept_for_five_minutes(stats: JobStats) -> None:
    for now in range(SECONDS + 10):
        stats.tick(float(now))
    assert (len(stats.seconds), stats.seconds[0].at) == (300, 10.0)


def test_percentile_uses_the_latest_attempts(stats: JobStats) -> None:
    assert stats.percentile(0.5) is None
    publish(stats, *(ended(Succeeded(None), 9e9) for _ in range(50)))
    publish(stats, *(ended(Succeeded(None), float(n)) for n in range(1024)))
    assert (stats.percentile(0.5), stats.percentile(0.99)) == (512.0, 1013.0)


def test_other_events_are_counted_by_name(stats: JobStats) -> None:
    job: Job = a_claimed_job("echo")
    publish(stats, events.JobsReleased((job, job)), events.OwnershipLost(job), events.HandlerAbandoned(job))
    publish(stats, events.LoopFailed("x", ValueError(), 0.0), events.LoopBlocked(1.0, ""), events.IntakeRefused("full"))
    publish(stats, events.ListenerFailed("a", ValueError(), True), events.ListenerFailed("a", ValueError(), False))
    publish(stats, events.Pruned(7), events.NotificationsDelivered(5, 9), events.NotificationRejected("n", "j", "r"))
    publish(stats, link.Connect("http://hub", 1, "ack"), link.ConnectError(0, "refused"))
    assert stats.totals == {
        "released": 2,
        "ownership_lost": 1,
        "abandoned": 1,
        "loop_failures": 1,
        "listener_failures": 2,
        "loop_blocked": 1,
        "store_full": 1,
        "pruned": 7,
        "delivered": 5,
        "rejected": 1,
        "link_connects": 1,
        "link_connect_errors": 1,
    }


def test_ended_sessions_are_counted_by_close_code(stats: JobStats) -> None:
    publish(stats, *(link.Disconnect("gone", code, 1.0, 0) for code in (1006, None, 1006)))
    assert stats.close_codes == {"1006": 2, "none": 1}
