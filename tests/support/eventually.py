"""Waits for another thread or process; within one loop, await an event instead."""

import asyncio
from collections.abc import Callable


async def eventually(holds: Callable[[], object], *, timeout: float = 120.0) -> None:
    """Wait until `holds()` is true. Raises TimeoutError after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        while not holds():
            await asyncio.sleep(0.005)
