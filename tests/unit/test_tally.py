"""Counting what happens: kinds and outcomes, seconds, percentiles, and labels that stay few."""

import pytest

from tests.support.attempts import a_job
from worker import events
from worker.failure import Failure
from worker.job import Job
from worker.orgsocket import link
from worker.outcome import Attempt, Cancelled, Failed, Outcome, Retry, Succeeded
from worker.tally import DURATIONS, OTHER, SECONDS, Histogram, Tally

KINDS = frozenset({"echo", "slow"})


@pytest.fixture
def tally() -> Tally:
    return Tally(KINDS)


def tell(tally: Tally, *happened: object) -> None:
    listeners = tally.listeners()
    for event in happened:
        listeners[type(event)](event)


def ended(outcome: Outcome, milliseconds: float = 7.0, kind: str = "echo") -> events.JobSettled:
    failure = None if isinstance(outcome, Succeeded) else outcome.failure
    return events.JobSettled(Attempt(a_job(kind), 0.0, 1.0, milliseconds, failure=failure), outcome)


def a_failure(name: str = "ValueError") -> Failure:
    return Failure(name, "broken", None, "0123456789ab")


def test_attempts_are_counted_by_kind_and_outcome(tally: Tally) -> None:
    failure = a_failure()
    tell(tally, ended(Succeeded(None)), ended(Succeeded(None), kind="slow"), ended(Succeeded(None)))
    tell(tally, ended(Failed(failure)), ended(Retry(failure, 9.0)), ended(Cancelled(failure)))
    counts = {key: histogram.count for key, histogram in tally.attempts.items()}
    assert counts == {
        ("echo", "succeeded"): 2,
        ("slow", "succeeded"): 1,
        ("echo", "failed"): 1,
        ("echo", "retried"): 1,
        ("echo", "cancelled"): 1,
    }


@pytest.mark.parametrize(("milliseconds", "place"), [(0.0, 0), (5.0, 0), (5.01, 1), (3.6e6, 15), (3.7e6, 16)])
def test_a_duration_lies_below_its_bound_or_on_it(tally: Tally, milliseconds: float, place: int) -> None:
    tell(tally, ended(Succeeded(None), milliseconds))
    histogram = tally.attempts["echo", "succeeded"]
    assert [n for n, count in enumerate(histogram.counts) if count] == [place]
    assert (histogram.total, histogram.count) == (milliseconds, 1)
    other = Histogram(DURATIONS)
    other.observe(milliseconds)
    assert other.counts == histogram.counts


def test_a_kind_that_nobody_handles_is_called_other(tally: Tally) -> None:
    tell(tally, *(ended(Failed(a_failure()), kind=f"kind-{n}") for n in range(200)))
    assert {key: histogram.count for key, histogram in tally.attempts.items()} == {(OTHER, "failed"): 200}


def test_classes_of_errors_stay_few(tally: Tally) -> None:
    tell(tally, *(ended(Failed(a_failure(f"Error{n}"))) for n in range(200)), ended(Failed(a_failure("Error0"))))
    assert len(tally.errors) == 51
    assert (tally.errors["echo", "Error0"], tally.errors["echo", OTHER]) == (2, 150)


def test_a_second_tells_what_happened_in_it(tally: Tally) -> None:
    tell(tally, events.JobsAccepted(["echo", "slow", "echo"]), ended(Succeeded(None)))
    tally.tick(100.0)
    tell(tally, ended(Failed(a_failure())), events.WaitingJobCancelled("id", "slow", "user"), ended(Succeeded(None)))
    tell(tally, ended(Cancelled(a_failure())), ended(Retry(a_failure(), 5.0)))
    tally.tick(101.0)
    tally.tick(102.0)
    assert [tuple(second) for second in tally.seconds] == [
        (100.0, 3, 1, 0, 0),
        (101.0, 0, 1, 1, 2),
        (102.0, 0, 0, 0, 0),
    ]


def test_seconds_go_back_five_minutes(tally: Tally) -> None:
    for now in range(SECONDS + 10):
        tally.tick(float(now))
    assert (len(tally.seconds), tally.seconds[0].at) == (300, 10.0)


def test_percentiles_are_of_the_last_attempts(tally: Tally) -> None:
    assert tally.percentile(0.5) is None
    tell(tally, *(ended(Succeeded(None), 9e9) for _ in range(50)))
    tell(tally, *(ended(Succeeded(None), float(n)) for n in range(1024)))
    assert (tally.percentile(0.5), tally.percentile(0.99)) == (512.0, 1013.0)


def test_everything_else_is_counted_too(tally: Tally) -> None:
    job: Job = a_job("echo")
    tell(tally, events.JobsReleased((job, job)), events.OwnershipLost(job), events.HandlerAbandoned(job))
    tell(tally, events.LoopFailed("x", ValueError(), 0.0), events.LoopBlocked(1.0, ""), events.IntakeRefused("full"))
    tell(tally, events.Pruned(7), events.NotificationsDelivered(5, 9), events.NotificationRejected("n", "j", "r"))
    tell(tally, link.Connect("http://hub", 1, "ack"), link.ConnectError(0, "refused"))
    assert tally.totals == {
        "released": 2,
        "ownership_lost": 1,
        "abandoned": 1,
        "loop_failures": 1,
        "loop_blocked": 1,
        "store_full": 1,
        "pruned": 7,
        "delivered": 5,
        "rejected": 1,
        "link_connects": 1,
        "link_connect_errors": 1,
    }


def test_sessions_of_the_link_end_by_code(tally: Tally) -> None:
    tell(tally, *(link.Disconnect("gone", code, 1.0, 0) for code in (1006, None, 1006)))
    assert tally.close_codes == {"1006": 2, "none": 1}
