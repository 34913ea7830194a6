"""Waiting for what another thread or process does; inside one loop, await an event instead."""

import asyncio
from collections.abc import Callable


async def eventually(holds: Callable[[], object], *, timeout: float = 5.0) -> None:
    """Until `holds()` is true; TimeoutError after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        while not holds():
            await asyncio.sleep(0.005)
