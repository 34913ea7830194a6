"""How long to wait before the next attempt: tenacity's strategies, counted over attempts and short sessions.

Knows no clock and never sleeps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt, stop_never, wait_exponential
from tenacity.stop import stop_base
from tenacity.wait import wait_base

_JITTER = 0.5
"""Proportional: a pause of s seconds becomes 0.5 s … 1.5 s, so that many workers do not come back at the same
moment."""


_MIN_DELAY = 0.01
"""Seconds: a ReconnectionDelay of 0 must not become a hot loop."""


class wait_jittered(wait_base):  # noqa: N801 -- tenacity's strategies are named in lower case
    """Another strategy's delay, spread by ±50 %. `jitter` gives numbers in [0, 1)."""

    def __init__(self, wait: wait_base, jitter: Callable[[], float]) -> None:
        self._wait = wait
        self._jitter = jitter

    def __call__(self, retry_state: RetryCallState) -> float:
        return self._wait(retry_state) * (1 - _JITTER + 2 * _JITTER * self._jitter())


@dataclass(slots=True)
class Backoff:
    """Delays double from `base` and never exceed `cap`, jitter included; seconds. `attempts` 0: endless."""

    base: float
    cap: float
    attempts: int
    jitter: Callable[[], float]
    _level: int = 0
    _wait: wait_base = field(init=False)
    _stop: stop_base = field(init=False)
    _state: RetryCallState = field(init=False)

    def __post_init__(self) -> None:
        # The jitter stretches by up to 1.5: limiting the plain delay to two thirds of the cap keeps the spread whole
        # there, where limiting the stretched one would send half of all workers back at the very same moment.
        plain = wait_exponential(multiplier=self.base, max=self.cap / (1 + _JITTER))
        self._wait = wait_jittered(plain, self.jitter)
        self._stop = stop_after_attempt(self.attempts) if self.attempts else stop_never
        self._state = RetryCallState(AsyncRetrying(), None, (), {})

    def exhausted(self, attempt: int) -> bool:
        """Return whether no attempt follows the failed one with this number; the first since the start is number 0."""
        self._state.attempt_number = attempt
        return bool(self._stop(self._state))

    def next_delay(self) -> float:
        """Return the seconds until the next attempt; each call doubles the next."""
        self._level += 1
        self._state.attempt_number = self._level
        return max(_MIN_DELAY, float(self._wait(self._state)))

    def reset(self) -> None:
        """Begin with the first delay again: a session has lasted, or a reconnect was requested."""
        self._level = 0
