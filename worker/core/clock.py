"""The clocks that components receive: one for times of day, one for durations."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return what identifies this boot of the machine; an empty string where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` is the wall clock (seconds since 1970, UTC; may jump), `monotonic` measures durations (seconds)."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    boot: str = field(default_factory=boot_id)
    """Identifies the boot of the machine in which `monotonic` counts; empty if it is unknown."""

    def offset(self) -> float:
        """Return the wall clock minus the monotonic clock, which changes only when the wall clock is set."""
        return self.now() - self.monotonic()


SET_SECONDS: Final = 1.0
"""A wall clock that moves by fewer seconds than this against the monotonic clock was not set."""


_FIRST, _LAST = -62_135_596_800.0, 253_402_300_799.999
"""The year 1 begins, the year 9999 ends."""


def rfc3339(seconds: float) -> str:
    """Return a wall-clock time as RFC 3339 in UTC with milliseconds: 2026-11-20T08:15:30.123Z.

    For a time outside the years 1 to 9999, as SQL can give a job, the first or the last of them.
    """
    if not _FIRST <= seconds <= _LAST:
        seconds = _FIRST if seconds < _FIRST else _LAST
    # Rounded to microseconds first, as datetime does, then truncated, so that seconds and milliseconds agree.
    whole, milliseconds = divmod(round(seconds * 1_000_000) // 1000, 1000)
    return f"{_second(whole)}.{milliseconds:03d}Z"


@lru_cache(maxsize=256)
def _second(whole: int) -> str:
    """Format a whole second; cached, because thousands of messages share one."""
    # Not by strftime, whose %Y writes the year 1 with one digit.
    return datetime.fromtimestamp(whole, UTC).replace(tzinfo=None).isoformat()
