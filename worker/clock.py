"""Time, handed in. Two clocks: one for what people read, one for differences."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` is the wall clock (seconds since 1970, UTC; may jump), `monotonic` measures durations (seconds)."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


def rfc3339(seconds: float) -> str:
    """UTC with milliseconds, as on the wire: 2026-11-20T08:15:30.123Z (RFC 3339)."""
    # Rounded to microseconds first, as datetime does, then cut: seconds and milliseconds must agree.
    whole, milliseconds = divmod(round(seconds * 1_000_000) // 1000, 1000)
    return f"{_second(whole)}.{milliseconds:03d}Z"


@lru_cache(maxsize=256)
def _second(whole: int) -> str:
    """Thousands of messages share a second; its calendar is worked out once."""
    # Not by strftime, whose %Y writes the year 1 with one digit.
    return datetime.fromtimestamp(whole, UTC).replace(tzinfo=None).isoformat()
