"""Pauses between attempts."""

import random
from collections import Counter

import pytest

from worker.orgsocket.backoff import Backoff


def middle() -> float:
    return 0.5


def test_pauses_double_from_the_base_up_to_the_cap() -> None:
    backoff = Backoff(1.0, 30.0, 0, middle)
    assert [backoff.pause() for _ in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


@pytest.mark.parametrize(("spread", "factor"), [(0.0, 0.5), (0.999999, 1.5)])
def test_the_jitter_is_proportional_fifty_percent(spread: float, factor: float) -> None:
    backoff = Backoff(1.0, 30.0, 0, lambda: spread)
    assert backoff.pause() == pytest.approx(factor, rel=1e-4)
    assert backoff.pause() == pytest.approx(2 * factor, rel=1e-4)


def test_no_pause_exceeds_the_cap_however_many_attempts_there_were() -> None:
    chance = random.Random(1)
    backoff = Backoff(1.0, 30.0, 0, chance.random)
    assert max(backoff.pause() for _ in range(2000)) <= 30.0


def test_a_delay_of_zero_is_no_hot_loop() -> None:
    assert Backoff(0.0, 0.0, 0, middle).pause() >= 0.01


def test_attempts_are_counted_from_the_first_after_the_start() -> None:
    backoff = Backoff(1.0, 30.0, 5, middle)
    assert [backoff.exhausted(attempt) for attempt in range(7)] == [False] * 5 + [True, True]


def test_zero_attempts_are_endless() -> None:
    assert not Backoff(1.0, 30.0, 0, middle).exhausted(10**6)


def test_afresh_begins_with_the_base_again() -> None:
    backoff = Backoff(1.0, 30.0, 0, middle)
    for _ in range(4):
        backoff.pause()
    backoff.afresh()
    assert backoff.pause() == 1.0


def test_two_hundred_workers_do_not_come_back_at_one_moment() -> None:
    """A hub restarts: with the defaults, no tenth of a second sees more than an eighth of the workers, in no round,
    and the cap bunches nobody."""
    chance = random.Random(7)
    workers = [Backoff(1.0, 30.0, 0, chance.random) for _ in range(200)]
    clocks = [0.0] * 200
    for _ in range(8):
        clocks = [clock + worker.pause() for clock, worker in zip(clocks, workers, strict=True)]
        busiest = Counter(round(clock, 1) for clock in clocks).most_common(1)[0][1]
        assert busiest <= 32
    assert max(clocks) - min(clocks) > 30
