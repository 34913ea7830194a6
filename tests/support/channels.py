"""An OrgSocket at work on a feed, with delays short enough for tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from config.settings import WebSocketSettings
from tests.support.feed import ListFeed
from tests.support.listener import Listener
from worker.orgsocket.channel import OrgSocket


@dataclass
class Running:
    channel: OrgSocket
    feed: ListFeed
    events: Listener
    stop: asyncio.Event
    task: "asyncio.Task[None]"


def quick(url: str, **changes: Any) -> WebSocketSettings:
    """Settings with pauses of milliseconds."""
    return WebSocketSettings(
        **{
            "url": url,
            "reconnection_delay": 10,
            "max_reconnection_delay": 60,
            "reconnection_attempts": 0,
            "timeout": 3000,
            "ack_timeout": 1500,
            "min_uptime": 50,
            "slow_retry_delay": 300,
            "task_delay_on_error": 50,
            **changes,
        }
    )


@contextlib.asynccontextmanager
async def running(
    settings: WebSocketSettings, feed: ListFeed | None = None, **arguments: Any
) -> AsyncIterator[Running]:
    """Cancelled at the end if it has not ended by itself."""
    events, feed, stop = Listener(), feed or ListFeed(), asyncio.Event()
    channel = OrgSocket(settings, emit=events, **arguments)
    task = asyncio.create_task(channel.run(feed, stop))
    try:
        yield Running(channel, feed, events, stop, task)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
