"""Rate limits: one token bucket per name; buckets refill, and their number is bounded."""

from worker.net.rate_limit import RateLimiter


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_take_allows_the_burst_and_then_the_rate() -> None:
    watch = Watch()
    throttle = RateLimiter(2.0, 3.0, watch)
    assert [throttle.take("a") for _ in range(3)] == [None] * 3
    assert throttle.take("a") == 0.5
    watch.now = 0.25
    assert throttle.take("a") == 0.25
    watch.now = 0.5
    assert throttle.take("a") is None
    watch.now = 1000.0
    assert [throttle.take("a") is None for _ in range(4)] == [True, True, True, False]


def test_take_counts_each_name_separately() -> None:
    throttle = RateLimiter(1.0, 1.0, Watch())
    assert throttle.take("a") is None
    assert throttle.take("b") is None
    assert throttle.take("a") is not None


def test_wait_takes_no_token() -> None:
    throttle = RateLimiter(1.0, 1.0, Watch())
    assert [throttle.wait("a") for _ in range(5)] == [None] * 5
    throttle.take("a")
    assert [throttle.wait("a") for _ in range(2)] == [1.0, 1.0]


def test_take_without_a_rate_is_always_allowed() -> None:
    throttle = RateLimiter(0.0, 0.0, Watch())
    assert [throttle.take("a") for _ in range(100)] == [None] * 100
    assert throttle.wait("a") is None


def test_names_are_bounded_and_the_longest_unused_is_forgotten_first() -> None:
    watch = Watch()
    throttle = RateLimiter(1.0, 2.0, watch)
    for number in range(5_000):
        throttle.take(f"early-{number}")
    watch.now = 1.5  # these buckets are full again
    for number in range(8_000):
        throttle.take(f"late-{number}")
        throttle.take(f"late-{number}")
    assert throttle.remembered_names <= 10_000
    assert throttle.take("late-0") is not None
    for number in range(20_000):
        throttle.take(f"flood-{number}")
    assert throttle.remembered_names <= 10_000
