"""Pauses between attempts."""

import random
from collections import Counter

import pytest

from worker.notifiers.socketio.backoff import Backoff


def middle() -> float:
    return 0.5


def test_delays_double_from_the_base_up_to_the_cap() -> None:
    backoff = Backoff(1.0, 30.0, 0, middle)
    assert [backoff.next_delay() for _ in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


@pytest.mark.parametrize(("spread", "factor"), [(0.0, 0.5), (0.999999, 1.5)])
def test_jitter_is_fifty_percent_of_the_delay(spread: float, factor: float) -> None:
    backoff = Backoff(1.0, 30.0, 0, lambda: spread)
    assert backoff.next_delay() == pytest.approx(factor, rel=1e-4)
    assert backoff.next_delay() == pytest.approx(2 * factor, rel=1e-4)


def test_delays_never_exceed_the_cap() -> None:
    chance = random.Random(1)
    backoff = Backoff(1.0, 30.0, 0, chance.random)
    assert max(backoff.next_delay() for _ in range(2000)) <= 30.0


def test_delay_of_zero_becomes_ten_milliseconds() -> None:
    assert Backoff(0.0, 0.0, 0, middle).next_delay() >= 0.01


def test_exhausted_counts_attempts_after_the_first() -> None:
    backoff = Backoff(1.0, 30.0, 5, middle)
    assert [backoff.exhausted(attempt) for attempt in range(7)] == [False] * 5 + [True, True]


def test_exhausted_is_never_true_with_zero_attempts() -> None:
    assert not Backoff(1.0, 30.0, 0, middle).exhausted(10**6)


def test_reset_begins_with_the_base_again() -> None:
    backoff = Backoff(1.0, 30.0, 0, middle)
    for _ in range(4):
        backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() == 1.0


def test_delays_of_two_hundred_workers_spread_over_time() -> None:
    """A hub restarts: with the defaults, no tenth of a second sees more than an eighth of the workers, in no round,
    and the cap puts no workers together."""
    chance = random.Random(7)
    workers = [Backoff(1.0, 30.0, 0, chance.random) for _ in range(200)]
    clocks = [0.0] * 200
    for _ in range(8):
        clocks = [clock + worker.next_delay() for clock, worker in zip(clocks, workers, strict=True)]
        busiest = Counter(round(clock, 1) for clock in clocks).most_common(1)[0][1]
        assert busiest <= 32
    assert max(clocks) - min(clocks) > 30
