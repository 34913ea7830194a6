"""How fast one may ask: buckets by name, that fill again and do not pile up."""

from worker.door.limits import Throttle


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_at_once_and_then_at_the_rate() -> None:
    watch = Watch()
    throttle = Throttle(2.0, 3.0, watch)
    assert [throttle.take("a") for _ in range(3)] == [None] * 3
    assert throttle.take("a") == 0.5
    watch.now = 0.25
    assert throttle.take("a") == 0.25
    watch.now = 0.5
    assert throttle.take("a") is None
    watch.now = 1000.0
    assert [throttle.take("a") is None for _ in range(4)] == [True, True, True, False]


def test_each_name_has_its_own() -> None:
    throttle = Throttle(1.0, 1.0, Watch())
    assert throttle.take("a") is None
    assert throttle.take("b") is None
    assert throttle.take("a") is not None


def test_looking_takes_nothing() -> None:
    throttle = Throttle(1.0, 1.0, Watch())
    assert [throttle.wait("a") for _ in range(5)] == [None] * 5
    throttle.take("a")
    assert [throttle.wait("a") for _ in range(2)] == [1.0, 1.0]


def test_without_a_rate_there_is_no_limit() -> None:
    throttle = Throttle(0.0, 0.0, Watch())
    assert [throttle.take("a") for _ in range(100)] == [None] * 100
    assert throttle.wait("a") is None


def test_names_do_not_pile_up_and_who_waits_is_not_forgotten_first() -> None:
    watch = Watch()
    throttle = Throttle(1.0, 2.0, watch)
    for number in range(5_000):
        throttle.take(f"early-{number}")
    watch.now = 1.5  # these are full again
    for number in range(8_000):
        throttle.take(f"late-{number}")
        throttle.take(f"late-{number}")
    assert throttle.held <= 10_000
    assert throttle.take("late-0") is not None
    for number in range(20_000):
        throttle.take(f"flood-{number}")
    assert throttle.held <= 10_000
