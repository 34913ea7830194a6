"""A SocketIoNotifier that takes messages from a list, with delays short enough for tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from config.link_settings import WebSocketSettings
from tests.support.event_collector import EventCollector
from tests.support.message_source import ListSource
from worker.core.clock import Clock
from worker.notifiers.socketio.notifier import SocketIoNotifier
from worker.notifiers.socketio.server_capabilities import ServerCapabilitiesStore


@dataclass
class RunningNotifier:
    notifier: SocketIoNotifier
    source: ListSource
    events: EventCollector
    stop: asyncio.Event
    task: "asyncio.Task[None]"


def fast_settings(url: str, **changes: Any) -> WebSocketSettings:
    """Return settings with delays of milliseconds; a test that is about a deadline sets that deadline itself."""
    return WebSocketSettings(
        **{
            "url": url,
            "reconnection_delay": 10,
            "max_reconnection_delay": 60,
            "reconnection_attempts": 0,
            "timeout": 60000,
            "ack_timeout": 60000,
            "min_uptime": 50,
            "slow_retry_delay": 300,
            "task_delay_on_error": 50,
            **changes,
        }
    )


@contextlib.asynccontextmanager
async def running_notifier(
    settings: WebSocketSettings,
    source: ListSource | None = None,
    servers: ServerCapabilitiesStore | None = None,
    **arguments: Any,
) -> AsyncIterator[RunningNotifier]:
    """Run the notifier; cancel it at the end if it has not ended by itself."""
    events, source, stop = EventCollector(), source or ListSource(), asyncio.Event()
    notifier = SocketIoNotifier(settings, servers or ServerCapabilitiesStore(), emit=events, clock=Clock(), **arguments)
    task = asyncio.create_task(notifier.run(source, stop))
    try:
        yield RunningNotifier(notifier, source, events, stop, task)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
