"""Waits until the store may have jobs that are due."""

import asyncio
import contextlib
from typing import Final

from worker.core.clock import SET_SECONDS, Clock

_RECHECK_DELAY: Final = 0.02
"""Seconds before the store is asked again for a job that is due but was not returned."""
_CLOCK_STEP: Final = 1.0
"""Seconds between two looks at the wall clock while a job waits for a time: no timer notices that it was set."""


async def wait_for_work(has_work: asyncio.Event, next_run_at: float | None, clock: Clock) -> None:
    """Wait until the store says that it may have work, `next_run_at` is reached, or the wall clock was set.

    The store decides what a wall clock that was set means for its jobs.
    """
    if next_run_at is None:
        await has_work.wait()
        return
    # A job that is due but was not returned fell due since the claim, or the clock was set: ask again soon.
    delay = max(_RECHECK_DELAY, next_run_at - clock.now())
    end, offset = clock.monotonic() + delay, clock.offset()
    while (left := end - clock.monotonic()) > 0 and abs(clock.offset() - offset) < SET_SECONDS:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(left, _CLOCK_STEP)):
                await has_work.wait()
                return
