"""Time that passes whatever happens to the wall clock: everything that deletes by age follows it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from worker.core.clock import Clock

AGREEMENT_SECONDS = 3600.0
"""How long both clocks must agree before the wall clock is believed about the time in which nothing ran."""

_JUMP_SECONDS = 2.0
"""A wall clock that moves by more than this against the monotonic clock was set."""


class SavedTime(NamedTuple):
    """What must be stored to continue after a restart."""

    elapsed: float
    """Seconds; only differences mean something."""
    wall: float
    monotonic: float
    boot: str
    """In which `monotonic` was read."""


def set_since(saved: SavedTime, clock: Clock) -> float:
    """Return by how many seconds the wall clock was set since then; negative: it was set back.

    After a restart of the machine no clock knows how long it was off: the least that it must have been set back.
    """
    passed = clock.monotonic() - saved.monotonic if _is_same_boot(saved, clock) else 0.0
    change = clock.now() - saved.wall
    return change - passed if passed > 0.0 else min(change, 0.0)


def _is_same_boot(saved: SavedTime, clock: Clock) -> bool:
    return saved.boot == clock.boot != ""


@dataclass(slots=True)
class ElapsedTime:
    """Counts elapsed seconds by the monotonic clock, across restarts.

    Within one boot of the machine the monotonic clock counts on while no process runs. After a restart of the machine
    only the wall clock knows how much time has passed; it is believed once both clocks have agreed for an hour, so that
    a wrong date, or a snapshot that was restored, ages nothing.
    """

    clock: Clock
    saved: SavedTime
    _base: float = 0.0
    _since: float = 0.0
    _stopped_at: float | None = None
    """Wall clock of the earlier process' last word, while the time since then is not counted yet."""
    _offset: float = 0.0
    _agreed_since: float = field(default=0.0)

    def __post_init__(self) -> None:
        now = self.clock.monotonic()
        self._base, self._since = self.saved.elapsed, now
        self._offset, self._agreed_since = self.clock.now() - now, now
        if _is_same_boot(self.saved, self.clock) and now >= self.saved.monotonic:
            self._base += now - self.saved.monotonic
        else:
            self._stopped_at = self.saved.wall

    def now(self) -> float:
        """Return the seconds that have passed; only differences mean something."""
        monotonic, wall = self.clock.monotonic(), self.clock.now()
        if abs(wall - monotonic - self._offset) > _JUMP_SECONDS:
            self._agreed_since = monotonic
        self._offset = wall - monotonic
        if self._stopped_at is not None and monotonic - self._agreed_since >= AGREEMENT_SECONDS:
            stopped = wall - (monotonic - self._since) - self._stopped_at
            self._base, self._stopped_at = self._base + max(stopped, 0.0), None
        return self._base + monotonic - self._since

    def save(self) -> SavedTime:
        """Return what must be stored now."""
        return SavedTime(self.now(), self.clock.now(), self.clock.monotonic(), self.clock.boot)
