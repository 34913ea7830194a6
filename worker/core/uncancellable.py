"""Work that must run to its end even if its caller is cancelled."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def uncancellable(work: Coroutine[Any, Any, _T]) -> _T:
    """Await the work to its end; a cancellation takes effect after that."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # or asyncio would log that it was never retrieved
        raise
