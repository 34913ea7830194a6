"""When to try again: tenacity's strategies, counted over attempts and short sessions. Knows no clock, never sleeps."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt, stop_never, wait_exponential
from tenacity.stop import stop_base
from tenacity.wait import wait_base

_JITTER = 0.5
"""Proportional: a pause of s seconds becomes 0.5 s … 1.5 s, so that many workers do not come back at one moment."""


_SHORTEST = 0.01
"""Seconds: a ReconnectionDelay of 0 must not become a hot loop."""


class wait_spread(wait_base):  # noqa: N801 -- tenacity's strategies are named in lower case
    """Another strategy's pause, spread by ±50 %. `spread` gives numbers in [0, 1)."""

    def __init__(self, wait: wait_base, spread: Callable[[], float]) -> None:
        self._wait = wait
        self._spread = spread

    def __call__(self, retry_state: RetryCallState) -> float:
        return self._wait(retry_state) * (1 - _JITTER + 2 * _JITTER * self._spread())


@dataclass(slots=True)
class Backoff:
    """Pauses double from `base` and never exceed `cap`, jitter included; seconds. `attempts` 0: endless."""

    base: float
    cap: float
    attempts: int
    spread: Callable[[], float]
    _level: int = 0
    _wait: wait_base = field(init=False)
    _stop: stop_base = field(init=False)
    _state: RetryCallState = field(init=False)

    def __post_init__(self) -> None:
        # The jitter stretches by up to 1.5: cutting the plain pause at two thirds of the cap keeps the spread whole
        # there, where cutting the stretched one would send half of all workers back at the very same moment.
        plain = wait_exponential(multiplier=self.base, max=self.cap / (1 + _JITTER))
        self._wait = wait_spread(plain, self.spread)
        self._stop = stop_after_attempt(self.attempts) if self.attempts else stop_never
        self._state = RetryCallState(AsyncRetrying(), None, (), {})

    def exhausted(self, attempt: int) -> bool:
        """Whether no attempt follows the failed one with this number; the first since the start is number 0."""
        self._state.attempt_number = attempt
        return bool(self._stop(self._state))

    def pause(self) -> float:
        """Seconds until the next attempt; each call doubles the next."""
        self._level += 1
        self._state.attempt_number = self._level
        return max(_SHORTEST, float(self._wait(self._state)))

    def afresh(self) -> None:
        """A session has lasted, or somebody asked: the next pause is the first again."""
        self._level = 0
