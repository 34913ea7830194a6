"""One session: sends what the source has, and ends as soon as receipt is in doubt. Knows nothing of reconnecting."""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from worker.core.clock import Clock
from worker.core.notifier import MessageSource
from worker.core.store import OutboxMessage
from worker.net.rate_limit import BoundedReporter
from worker.notifiers.socketio.confirmation import WINDOW_BYTES, Confirmation, ConfirmationConfig, DeliveryTracker
from worker.notifiers.socketio.confirmation_reporter import ConfirmationReporter, SessionStats
from worker.notifiers.socketio.frame_limit import FrameLimit
from worker.notifiers.socketio.handshake import ConnectOptions
from worker.notifiers.socketio.keep_alive import KeepAlive
from worker.notifiers.socketio.link_connection import NewConnection
from worker.notifiers.socketio.protocol import OpenPacket
from worker.notifiers.socketio.retry_ledger import ResendPolicy, RetryLedger
from worker.notifiers.socketio.sender import MessageSender, SenderParts
from worker.notifiers.socketio.server_capabilities import ServerCapabilities
from worker.notifiers.socketio.state import MESSAGES_REJECTED, CloseReason, is_rejection

_SOURCE_IDLE = 0.5
"""Seconds: a source that has had nothing for so long after the stop has nothing more."""
_MAX_BAD_FRAMES = 10
"""Unreadable frames that are reported in one session: a broken server must not flood the log."""
_ERRORS_PER_MINUTE = 10
"""Errors that the server reports which are shown, so that it cannot flood the log."""
_MAX_VOLATILE = 64
"""Volatile messages that may wait for a full transport buffer; the rest is dropped."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What holds for every session. Seconds and bytes."""

    confirmation: Confirmation
    window: int
    ack_timeout: float
    max_payload: int
    keep_alive: float
    """After so long without a frame the server is pinged, and given up after as long again."""
    event: str = "socket-notification"
    namespace: str = "/"
    window_bytes: int = WINDOW_BYTES


class SessionListener(Protocol):
    """Receives what is worth reporting."""

    def report_error(self, where: str, detail: str, *, alarm: bool = False) -> None:
        """Something went wrong; `alarm`: it will not heal by itself."""
        ...

    def on_mode_change(self, mode: str) -> None:
        """The mode of confirmation has changed within a session."""
        ...

    def on_handshake(self, opened: OpenPacket) -> None:
        """The handshake succeeded."""
        ...


class LinkSession:
    """Made for one attempt: `open`, then `run`. The connection reports every frame to it (FrameListener)."""

    def __init__(
        self,
        config: SessionConfig,
        server: ServerCapabilities,
        clock: Clock,
        stats: SessionStats,
        listener: SessionListener,
        new_connection: NewConnection,
        *,
        dialect: str = "",
        ledger: RetryLedger | None = None,
    ) -> None:
        self.dialect = dialect
        """Version of Engine.IO and transport, for people."""
        self.connection = new_connection(self)
        self.opened_at = 0.0
        self._config = config
        self._server = server
        self._clock = clock
        self._stats = stats
        self._listener = listener
        self._tracker = self._new_tracker(25.0, 20.0)
        self._limit = FrameLimit(config.max_payload, server)
        self._reporter = ConfirmationReporter(config.window, stats)
        self._ledger = ledger or RetryLedger(ResendPolicy())
        self._sender: MessageSender | None = None
        self._keep_alive = KeepAlive(config.keep_alive, server)
        self._source: MessageSource | None = None
        self._ended = asyncio.Event()
        self._accepted = False  # whether the server has accepted a message in this session
        self._too_small_to_halve = False  # whether the server closed over a frame that is as small as it can be
        self._bad_frames = 0
        per_second, note = _ERRORS_PER_MINUTE / 60, " (after {:,} more errors, which are not shown)"
        self._report_server_error = BoundedReporter(
            listener.report_error, clock.monotonic, per_second=per_second, burst=_ERRORS_PER_MINUTE, note=note
        )
        self._read_at = 0.0  # when the last frame was read
        self._ping: asyncio.Task[None] | None = None
        self._volatile: set[asyncio.Task[None]] = set()

    @property
    def mode(self) -> str:
        return self._tracker.mode

    @property
    def in_flight(self) -> int:
        return len(self._tracker.window)

    # -- life ----------------------------------------------------------------------------------------------

    async def open(self, options: ConnectOptions) -> None:
        """Connect; raises whatever went wrong. The caller sets the timeout and aborts the connection on failure."""
        opened = await self.connection.connect(options)
        self._tracker = self._new_tracker(opened.ping_interval, opened.ping_timeout)
        doubt = self._limit.apply_announcement(opened.max_payload)
        self.opened_at = self._read_at = self._clock.monotonic()
        self._listener.on_handshake(opened)
        if doubt is not None:
            self._listener.report_error("handshake", doubt)

    def _new_tracker(self, ping_interval: float, ping_timeout: float) -> DeliveryTracker:
        config = self._config
        return DeliveryTracker(
            ConfirmationConfig(
                config.confirmation, config.window, config.ack_timeout, ping_interval, ping_timeout, config.window_bytes
            ),
            self._server,
        )

    async def run(self, source: MessageSource, stop: asyncio.Event) -> CloseReason:
        """Run until the session ends, for whatever reason; what is unconfirmed then goes back to the source."""
        self._source = source
        self._sender = self._new_sender(source)
        loops: list[Coroutine[Any, Any, None]] = [
            self._send_loop(self._sender),
            self._check_loop(),
            self._finish_after(stop),
        ]
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            await self._ended.wait()
        finally:
            try:
                await _cancel([*tasks, *self._volatile, *([self._ping] if self._ping else [])])
            finally:
                self._learn(self._sender)
                self._reporter.report(self._tracker, source)
                source.rewind()
                await self._disconnect()
        assert self.connection.close_reason is not None
        return self.connection.close_reason

    def _new_sender(self, source: MessageSource) -> MessageSender:
        return MessageSender(
            SenderParts(
                connection=self.connection,
                tracker=self._tracker,
                limit=self._limit,
                reporter=self._reporter,
                ledger=self._ledger,
                clock=self._clock,
                after_send=self._ping_if_needed,
                report=lambda detail: self._listener.report_error("receipt", detail),
            ),
            source,
        )

    def _learn(self, sender: MessageSender) -> None:
        """Note what the end of the session says about the notifications: nothing when we ended it ourselves, or when
        the reason lies in credentials or in the size of a frame."""
        sender.on_report()
        reason = self.connection.close_reason
        if reason is None:
            return
        if reason.blames_messages or self._too_small_to_halve:
            sender.learn()
        self._learn_keep_alive(reason)

    def _learn_keep_alive(self, reason: CloseReason) -> None:
        if reason.code != 1006 or self._tracker.window or self._tracker.unanswered_since() is not None:
            self._keep_alive.on_other_end()
        elif (detail := self._keep_alive.on_cut(self._clock.monotonic() - self._read_at)) is not None:
            self._listener.report_error("keep-alive", detail)

    async def _disconnect(self) -> None:
        if self.connection.close_reason is not None and self.connection.close_reason.final:
            await self.connection.close()
        else:
            await self.connection.abort()

    # -- sending -------------------------------------------------------------------------------------------

    async def _send_loop(self, sender: MessageSender) -> None:
        try:
            await sender.run()
        except Exception as exc:  # noqa: BLE001 -- whatever stops the loop ends the session, and the next one goes on
            if not self.connection.over:
                self._listener.report_error("sending notifications", f"{type(exc).__name__}: {exc}")
            self.connection.end(CloseReason(f"sending failed: {type(exc).__name__}: {exc}", 1006))

    def forget(self, message: OutboxMessage) -> None:
        """An operator has set the message aside: wait for its confirmation no longer, and do not send it again."""
        if self._sender is not None:
            self._sender.forget(message)
        else:
            self._ledger.set_aside(message)

    def send_volatile(self, body: bytes) -> None:
        """Send a message that may be lost, if there is room for it now."""
        if self.connection.over or len(self._volatile) >= _MAX_VOLATILE or not self._limit.allows(body):
            return
        task = asyncio.create_task(self._write_volatile(body))
        self._volatile.add(task)
        task.add_done_callback(self._volatile.discard)

    async def _write_volatile(self, body: bytes) -> None:
        with contextlib.suppress(Exception):  # it may be lost, and the send loop notices a broken connection
            await self.connection.send_volatile(body)

    def _ping_if_needed(self) -> None:
        if self._tracker.needs_ping():
            self._send_ping()

    def _send_ping(self) -> None:
        """In a task of its own: it may wait for a full transport buffer, and the check loop must not."""
        if self._ping is None or self._ping.done():
            payload = self._tracker.on_ping_sent(self.connection.written, self._clock.monotonic())
            self._ping = asyncio.create_task(self._write_ping(payload))

    async def _write_ping(self, payload: bytes) -> None:
        with contextlib.suppress(OSError):  # the reader notices a broken connection
            await self.connection.ping(payload)

    # -- time ----------------------------------------------------------------------------------------------

    async def _check_loop(self) -> None:
        interval = min(1.0, self._config.ack_timeout / 8, self._keep_alive.interval / 4)
        was_late = False
        while True:
            due = self._clock.monotonic() + interval
            await asyncio.sleep(interval)
            now = self._clock.monotonic()
            # After a time in which this process did not run, what has arrived is read first: the server was not late.
            was_late = not was_late and now - due > interval
            if was_late:
                continue
            self._check_confirmation(now)
            self._check_keep_alive(now)

    def _check_confirmation(self, now: float) -> None:
        tracker = self._tracker
        if tracker.needs_probe(now):
            self._send_ping()
        match tracker.check(now):
            case "timed out":
                count = len(tracker.window.unsettled_ids())
                plural = "" if count == 1 else "s"
                detail = f"no confirmation of receipt for {count} notification{plural} ({tracker.mode})"
                self.connection.end(CloseReason(detail))
            case "downgraded":
                self._listener.on_mode_change(tracker.mode)
                self._listener.report_error(
                    "receipt",
                    f'no acknowledgement for event "{self._config.event}" in namespace "{self._config.namespace}": '
                    "check WebSocket:Event and WebSocket:Namespace, and that the server's handler acknowledges. From "
                    "now on its pongs confirm receipt (fence), which says that it has read a notification, not that it "
                    "has handled it",
                    alarm=True,
                )
                self._report()
            case "ok":
                pass

    def _check_keep_alive(self, now: float) -> None:
        unanswered = self._tracker.unanswered_since()
        if unanswered is not None:
            if now - max(unanswered, self._read_at) > self._keep_alive.patience:
                reason = "the server does not answer pings: the connection is half open"
                self.connection.end(CloseReason(reason, 1006))
        elif now - self._read_at > self._keep_alive.interval:
            self._send_ping()

    async def _finish_after(self, stop: asyncio.Event) -> None:
        """After the stop: end when all that was taken is confirmed and the source has been empty for a moment."""
        await stop.wait()
        changed = self._reporter.changed
        while self._tracker.window or not self._source_is_idle():
            changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SOURCE_IDLE / 4):
                    await changed.wait()
        self.connection.end(CloseReason("everything is delivered", 1000, final=True))

    def _source_is_idle(self) -> bool:
        since = self._sender.waiting_since if self._sender else None
        return since is not None and self._clock.monotonic() - since >= _SOURCE_IDLE

    # -- reading (FrameListener) ---------------------------------------------------------------------------

    def on_ack(self, number: int, rejection: str | None) -> None:
        self._read_at = now = self._clock.monotonic()
        if rejection is None:
            self._accepted = True
        elif not self._reject(number, rejection):
            return
        if self._tracker.on_ack(number, now):
            self._listener.on_mode_change(self._tracker.mode)
            self._listener.report_error(
                "receipt", "the server acknowledges after all: acknowledgements confirm receipt again"
            )
        self._report()

    def _reject(self, number: int, rejection: str) -> bool:
        """Return whether the message is settled by it.

        A server that has accepted nothing in this session and says unauthorized means us, not the message: a token
        without the right to publish must not bury the outbox. A message that is rejected in this way twice is
        settled all the same, so that it does not block those behind it.
        """
        message_id = self._tracker.window.message_id(number)
        if message_id is None or self._source is None:
            return True
        if not self._accepted and is_rejection(rejection) and message_id != self._server.unauthorized_message:
            self._server.unauthorized_message = message_id
            self.connection.end(CloseReason(f"{MESSAGES_REJECTED}: {rejection}", rejected=True))
            return False
        self._source.rejected(message_id, rejection)
        return True

    def on_pong(self, payload: bytes) -> None:
        self._read_at = now = self._clock.monotonic()
        self._stats.last_pong = self._clock.now()
        self._tracker.on_pong(payload, now)
        self._report()
        self._ping_if_needed()

    def on_heartbeat(self) -> None:
        self._read_at = now = self._clock.monotonic()
        self._stats.last_pong = self._clock.now()
        self._tracker.on_heartbeat(now)
        self._report()

    def on_heartbeat_answered(self, written: int) -> None:
        self._tracker.on_heartbeat_answered(written, self._clock.monotonic())

    def on_heartbeat_sent(self, written: int) -> None:
        self._tracker.on_heartbeat_sent(written, self._clock.monotonic())

    def on_heartbeat_reply(self) -> None:
        self._read_at = now = self._clock.monotonic()
        self._stats.last_pong = self._clock.now()
        self._tracker.on_heartbeat_reply(now)
        self._report()

    def on_written(self, number: int) -> None:
        if self._tracker.mode == "none":
            self._tracker.on_written(number, self._clock.monotonic())
            self._report()

    def on_event(self, event: str, arguments: Sequence[Any]) -> None:
        self._read_at = self._clock.monotonic()
        if event == "error":
            self._report_server_error("the server", str(arguments[0]) if arguments else "an error event")

    def on_bad_frame(self, detail: str) -> None:
        self._bad_frames += 1
        if self._bad_frames <= _MAX_BAD_FRAMES:
            self._listener.report_error("reading", detail)

    def on_close(self, reason: CloseReason) -> None:
        if reason.too_large and self._tracker.window:
            limit = self._limit.halve(self._tracker.window.largest)
            self._too_small_to_halve = limit is None
            if limit is not None:
                self._listener.report_error(
                    "sending", f"a frame was too large for the server; from now on {limit} bytes at most"
                )
        self._ended.set()

    def _report(self) -> None:
        self._reporter.schedule(self._tracker, self._source)


async def _cancel(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
