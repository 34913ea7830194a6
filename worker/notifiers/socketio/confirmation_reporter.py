"""Reports to the message source what is confirmed: at once when it matters, otherwise a few frames at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.core.notifier import MessageSource
from worker.notifiers.socketio.confirmation import DeliveryTracker
from worker.notifiers.socketio.held_messages import HeldMessages

_DELAY = 0.002
"""Seconds a confirmation may wait for others before it is reported."""


@dataclass(slots=True)
class SessionStats:
    """Counted over all sessions."""

    messages: int = 0
    """Messages confirmed."""
    last_pong: float | None = None
    """Wall clock of the last heartbeat or pong."""
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    """Seconds from sending to confirmation, of the last thousand messages."""


class ConfirmationReporter:
    """One session's reports. `changed` is set after each, when the window may have room again."""

    def __init__(self, window: int, stats: SessionStats) -> None:
        self.held: HeldMessages | None = None
        """Set while some notifications are sent alone or later: the watermark is then theirs."""
        self.before_report: Callable[[], None] = lambda: None
        """Called before each report."""
        self.changed = asyncio.Event()
        self._window = window
        self._stats = stats
        self._scheduled: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reported_id = 0
        self._counted = 0

    def schedule(self, tracker: DeliveryTracker, source: MessageSource | None) -> None:
        """Report at the end of this turn of the event loop when nothing is in flight any more, or a good part of the
        window is confirmed; otherwise a moment later: one report, and one refill of the window, for many frames."""
        window = tracker.window
        new = window.base - self._counted
        if not new:
            return
        loop = asyncio.get_running_loop()
        if not window or new >= self._window // 4:
            if self._scheduled is None:
                self._scheduled = loop.call_soon(self.report, tracker, source)
        elif self._timer is None:
            self._timer = loop.call_later(_DELAY, self.report, tracker, source)

    def report(self, tracker: DeliveryTracker, source: MessageSource | None) -> None:
        """Report the id up to which everything is confirmed to the source, and count what is new."""
        self._cancel_scheduled()
        self.before_report()
        stats = self._stats
        stats.messages += tracker.window.base - self._counted
        self._counted = tracker.window.base
        stats.latencies.extend(tracker.latencies)
        tracker.latencies.clear()
        up_to = tracker.window.confirmed if self.held is None else self.held.watermark
        if up_to > self._reported_id and source is not None:
            self._reported_id = up_to
            source.confirmed(up_to)
        self.changed.set()

    def _cancel_scheduled(self) -> None:
        for handle in (self._scheduled, self._timer):
            if handle is not None:
                handle.cancel()
        self._scheduled = self._timer = None
