"""Runs a coroutine to its end: on uvloop where it is installed, with a garbage collector tuned for long runs."""

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable

from worker.errors import WorkerError

_STRAGGLER_SECONDS = 0.5


def run_to_end(work: Awaitable[None], at_end: Callable[[], object] = lambda: None) -> None:
    """Run `work`, then end the tasks that it left, and call `at_end`.

    Raises what `work` raises, and WorkerError when it is cancelled.
    """
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop

    async def body() -> None:
        try:
            await work
        except asyncio.CancelledError:
            # Nothing else cancels it: a signal requests a stop.
            raise WorkerError(
                "a handler cancelled all tasks of the event loop, the service's own included: it may cancel its own "
                "tasks only; start the service again"
            ) from None
        await _end_stragglers(at_end)

    _tune_gc()
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(body())
    finally:
        at_end()


def _tune_gc() -> None:
    """Exempt what exists now from collection, and collect seldom.

    A job leaves no reference cycles; a collection at every 700th new object took a fifteenth of the worker's time.
    """
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)


async def _end_stragglers(at_end: Callable[[], object]) -> None:
    """Cancel the tasks that are left; end the process where one refuses, as the loop would wait for it indefinitely."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for straggler in left:
        straggler.cancel()
    if left and (await asyncio.wait(left, timeout=_STRAGGLER_SECONDS))[1]:
        at_end()
        sys.stdout.flush()
        os._exit(0)
