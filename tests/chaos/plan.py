"""Draws the faults of a run from its seed: the same seed gives the same faults in the same order."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

KILLS = ("kill-service", "kill-service-of-hub", "kill-hub", "kill-server", "kill-child")
FAULTS = (
    *KILLS,
    *("stop-service", "stop-service-of-hub", "stop-hub"),
    *("pause-service", "pause-hub", "pause-server", "pause-child"),
    *("server-without-acks", "server-closes", "clients-cut"),
    *("network-cut", "network-reset", "network-stalled", "network-hole", "network-refused", "network-of-hub-cut"),
    *("disk-full", "clock-jump", "unread-log", "kill-guard"),
)
WORKERS = 4
"""Services that share a store in PostgreSQL."""
CLUSTER_KILLS = ("kill-worker", "kill-one-hub", "kill-redis", "kill-postgres")
CLUSTER_FAULTS = (
    *CLUSTER_KILLS,
    *("stop-worker", "pause-worker", "pause-one-hub", "pause-redis", "pause-postgres"),
    *("cut-off-relay", "clients-cut", "hub-line-cut"),
)
_CLOCK_JUMPS = (3600.0, -3600.0, 86400.0, -86400.0, 31 * 86400.0, 34 * 365 * 86400.0, -56 * 365 * 86400.0)


class Strike(NamedTuple):
    """One fault of the plan. All times in seconds."""

    pause: float
    """Before it."""
    fault: str
    hold: float
    """How long it lasts, for faults that last."""
    spread: float
    """In [0, 1): what else the fault chooses."""

    @property
    def clock_jump(self) -> float:
        return _CLOCK_JUMPS[int(self.spread * len(_CLOCK_JUMPS))]

    @property
    def worker(self) -> int:
        return int(self.spread * WORKERS)


def draw_strikes(seed: int, faults: Sequence[str] = FAULTS, *, pause: float = 1.0) -> Iterator[Strike]:
    """Yield strikes without end. Each fault once, in any order, then by chance."""
    chance = random.Random(seed)
    coming = chance.sample(list(faults), len(faults))
    while True:
        fault = coming.pop() if coming else chance.choice(faults)
        yield Strike(pause * chance.uniform(0.2, 1.8), fault, chance.uniform(0.2, 4.0), chance.random())
