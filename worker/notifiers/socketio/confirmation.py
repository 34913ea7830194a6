"""Tracks which messages of one session are confirmed, in the order they were sent, by a watermark.

Knows no socket and no clock: its caller reports what was sent and read, strictly in that order, with the time
(seconds, monotonic) of each. It is discarded with the session, and the next one sends everything unconfirmed again.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from worker.notifiers.socketio.server_capabilities import ServerCapabilities

Confirmation = Literal["auto", "ack", "fence", "heartbeat", "none"]
Mode = Literal["ack", "fence", "heartbeat", "none"]

WINDOW_BYTES = 4 * 1024 * 1024
"""Most bytes in the window, unless the settings say otherwise."""

_UNLIMITED = 1 << 31


@dataclass(frozen=True, slots=True)
class ConfirmationConfig:
    """How receipt is confirmed. Times in seconds."""

    confirmation: Confirmation
    window: int
    ack_timeout: float
    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    """Both from the server's OPEN packet."""
    window_bytes: int = WINDOW_BYTES


@dataclass(frozen=True, slots=True)
class _Ping:
    number: int
    written: int
    """Messages on the wire before it."""
    parsed: int
    """Messages known to be parsed when it was sent."""
    sent_at: float


@dataclass(frozen=True, slots=True)
class _HeartbeatAnswer:
    """Our PONG to the server's PING of this number."""

    heartbeat: int
    written: int
    sent_at: float


@dataclass(slots=True)
class Window:
    """Messages sent and not confirmed, oldest first. They are numbered 1, 2, 3 … on the wire, in order."""

    sent: int = 0
    """The highest number sent."""
    base: int = 0
    """The highest number up to which everything is settled: the watermark."""
    size: int = 0
    """Bytes of all messages in the window."""
    confirmed: int = 0
    """The id of the message at the watermark; 0: none is confirmed yet."""
    settled: list[int] | None = None
    """Ids in the order they were settled, for a reader that clears them; None: nothing reads them."""
    _unconfirmed: deque[tuple[int, int, float]] = field(default_factory=deque)  # message id, size, sent at
    _early: set[int] = field(default_factory=set)  # settled before an older one

    def __len__(self) -> int:
        return self.sent - self.base

    @property
    def oldest_sent_at(self) -> float | None:
        return self._unconfirmed[0][2] if self._unconfirmed else None

    @property
    def largest(self) -> int:
        """Bytes of the largest message in the window."""
        return max((size for _, size, _ in self._unconfirmed), default=0)

    def add(self, message_id: int, size: int, now: float) -> int:
        """Add a message that is being sent; return its number."""
        self.sent += 1
        self.size += size
        self._unconfirmed.append((message_id, size, now))
        return self.sent

    def message_id(self, number: int) -> int | None:
        """Return the id of the message with this number; None: settled before, or never sent."""
        if not self.base < number <= self.sent or number in self._early:
            return None
        return self._unconfirmed[number - self.base - 1][0]

    def settle(self, number: int) -> float | None:
        """Settle one message; return when it was sent, or None if it was settled before or never sent."""
        if not self.base < number <= self.sent or number in self._early:
            return None
        message_id, _, sent_at = self._unconfirmed[number - self.base - 1]
        if self.settled is not None:
            self.settled.append(message_id)
        if number == self.base + 1:
            self._advance()
        else:
            self._early.add(number)
        while self._early and self.base + 1 in self._early:
            self._early.discard(self.base + 1)
            self._advance()
        return sent_at

    def settle_up_to(self, number: int) -> list[float]:
        """Settle all up to `number`; return when each of the newly settled was sent."""
        settled = []
        while self.base < min(number, self.sent):
            if self.base + 1 in self._early:
                self._early.discard(self.base + 1)
            else:
                settled.append(self._unconfirmed[0][2])
                if self.settled is not None:
                    self.settled.append(self._unconfirmed[0][0])
            self._advance()
        return settled

    def settle_id(self, message_id: int) -> None:
        """Settle the message with this id, if it is in the window."""
        number = next((number for number, entry in self._numbered() if entry[0] == message_id), 0)
        self.settle(number)

    def unsettled_ids(self) -> list[int]:
        """Return the ids of what was sent and is not settled, oldest first."""
        return [entry[0] for number, entry in self._numbered() if number not in self._early]

    def early_ids(self) -> list[int]:
        """Return the ids of what is settled although something sent before it is not."""
        return [entry[0] for number, entry in self._numbered() if number in self._early]

    def overtaken_ids(self) -> list[int]:
        """Return the ids of what is not settled although something sent after it is."""
        last = max(self._early, default=0)
        return [entry[0] for number, entry in self._numbered() if number < last and number not in self._early]

    def _numbered(self) -> Iterator[tuple[int, tuple[int, int, float]]]:
        return enumerate(self._unconfirmed, self.base + 1)

    def _advance(self) -> None:
        self.confirmed, size, _ = self._unconfirmed.popleft()
        self.size -= size
        self.base += 1


ConfirmationCheck = Literal["ok", "timed out", "downgraded"]


@dataclass(slots=True)
class DeliveryTracker:
    """Decides what is confirmed in one session. Its caller reports what was sent and read, in order."""

    config: ConfirmationConfig
    server: ServerCapabilities
    mode: Mode = field(init=False)
    window: Window = field(default_factory=Window)
    latencies: list[float] = field(default_factory=list)
    """Seconds from sending to confirmation; the reader clears them."""
    limit: int = field(init=False)
    """Most messages in the window now; it grows to the configured window as messages are confirmed."""
    _grown_at: int = 0  # the watermark when the limit last grew
    _moved_at: float = 0.0  # when the watermark last moved
    _pings: deque[_Ping] = field(default_factory=deque)
    _ping_number: int = 0
    _parsed: int = 0  # a pong says that messages up to this number are parsed
    _handled: int = 0  # a second pong: handled, as far as a pong can say it
    _heartbeats: int = 0
    _heartbeat_answers: deque[_HeartbeatAnswer] = field(default_factory=deque)
    _own_heartbeats: deque[_Ping] = field(default_factory=deque)  # Engine.IO 3: ours, that the server answers
    _answered_up_to: int = 0  # messages before the last of our heartbeats that was answered

    def __post_init__(self) -> None:
        self.mode = self._initial_mode()
        self.limit = self.config.window

    def _initial_mode(self) -> Mode:
        if self.config.confirmation != "auto":
            return self.config.confirmation
        return "fence" if self.server.never_acks and not self.server.acks else "ack"

    @property
    def requests_acks(self) -> bool:
        """Return whether messages are sent with an acknowledgement id."""
        return self.config.confirmation in ("auto", "ack")

    @property
    def room(self) -> int:
        """Return how many more messages may be sent now, if they are small."""
        if self.window.size >= self.config.window_bytes:
            return 0
        if self.mode == "heartbeat" and self.limit >= self.config.window:
            return _UNLIMITED  # confirmation takes up to two ping intervals: only the bytes are bounded
        return max(0, self.limit - len(self.window))

    def fits(self, size: int) -> bool:
        """Return whether a message of `size` bytes may be sent now; the only one in flight always may."""
        return not self.window or self.window.size + size <= self.config.window_bytes

    def begin_with(self, limit: int) -> None:
        """Begin with a smaller window, which doubles whenever as many messages were confirmed as it holds."""
        self.limit = min(limit, self.config.window)

    def grow(self) -> bool:
        """Let the window grow if enough was confirmed; return whether it is whole again."""
        while self.limit < self.config.window and self.window.base - self._grown_at >= self.limit:
            self._grown_at += self.limit
            self.limit = min(2 * self.limit, self.config.window)
        return self.limit >= self.config.window

    # -- sent ---------------------------------------------------------------------------------------------

    def on_sent(self, message_id: int, size: int, now: float) -> int:
        """A message is being sent; return its number on the wire."""
        if not self.window:
            self._moved_at = now
        return self.window.add(message_id, size, now)

    def on_written(self, number: int, now: float) -> None:
        """The transport has taken all up to `number`; only mode `none` counts that as confirmation."""
        if self.mode == "none":
            self._confirm(number, now)

    def on_ping_sent(self, written: int, now: float) -> bytes:
        """A WebSocket ping is sent after `written` messages; return its payload."""
        self._ping_number += 1
        self._pings.append(_Ping(self._ping_number, written, self._parsed, now))
        return b"%d" % self._ping_number

    def on_heartbeat_answered(self, written: int, now: float) -> None:
        """Our Engine.IO PONG was sent after `written` messages."""
        if self.mode == "heartbeat":
            self._heartbeat_answers.append(_HeartbeatAnswer(self._heartbeats, written, now))

    def on_heartbeat_sent(self, written: int, now: float) -> None:
        """Our Engine.IO 3 heartbeat is sent after `written` messages."""
        self._own_heartbeats.append(_Ping(0, written, self._answered_up_to, now))

    # -- read ---------------------------------------------------------------------------------------------

    def on_ack(self, number: int, now: float) -> bool:
        """Message `number` was acknowledged; return whether this ended fence mode.

        A number that was never sent proves nothing: not even that the server acknowledges.
        """
        if not 0 < number <= self.window.sent:
            return False
        self.server.acks = True
        restored = self.config.confirmation == "auto" and self.mode == "fence"
        if restored:
            self.mode = "ack"
            self._moved_at = now
        before = self.window.base
        sent_at = self.window.settle(number)
        if sent_at is not None:
            self.latencies.append(now - sent_at)
        if self.window.base != before:
            self._moved_at = now
        return restored

    def on_pong(self, payload: bytes, now: float) -> None:
        """A WebSocket pong was read.

        Pongs are cumulative: a server may answer only the latest ping (RFC 6455, 5.5.3).
        """
        number = int(payload) if payload.isdigit() and len(payload) < 20 else 0
        if not self._pings or not self._pings[0].number <= number <= self._pings[-1].number:
            return
        while self._pings and self._pings[0].number <= number:
            answered = self._pings.popleft()
        # The first pong after a message says it was parsed; only the next ping's pong, sent after that, comes from
        # a server that has had a turn of its event loop to hand it to a handler.
        self._handled = max(self._handled, answered.parsed)
        self._parsed = max(self._parsed, answered.written)
        if self.mode == "fence":
            self._confirm(self._handled, now)

    def on_heartbeat(self, now: float) -> None:
        """An Engine.IO PING was read. A server that got no PONG n within its pingTimeout would have closed by now.

        Arrival alone does not say when a PING was sent: one that was held up on its way may be older than our PONG.
        So it must also be so many PINGs later as pingTimeout is long.
        """
        if self.mode != "heartbeat":
            return
        self._heartbeats += 1
        config, confirmed = self.config, 0
        while self._heartbeat_answers:
            answer = self._heartbeat_answers[0]
            later = (self._heartbeats - answer.heartbeat) * config.ping_interval
            if later < config.ping_timeout or now < answer.sent_at + config.ping_timeout:
                break
            confirmed = self._heartbeat_answers.popleft().written
        self._confirm(confirmed, now)

    def on_heartbeat_reply(self, now: float) -> None:
        """The server's answer to our Engine.IO 3 heartbeat was read; it answers each, in order.

        It has parsed what came before that heartbeat. As with pongs, only the answer to the next one, sent after
        this, comes from a server that has had a turn of its event loop to hand it to a handler.
        """
        if not self._own_heartbeats:
            return
        answered = self._own_heartbeats.popleft()
        self._answered_up_to = answered.written
        if self.mode == "heartbeat":
            self._confirm(answered.parsed, now)

    # -- time --------------------------------------------------------------------------------------------

    def needs_ping(self) -> bool:
        """Return whether a fence is to be sent now."""
        return self.mode == "fence" and bool(self.window) and not self._pings

    def needs_probe(self, now: float) -> bool:
        """Return whether a fence is to be sent to learn if the server does not read, or merely never acknowledges."""
        return (
            self.mode == "ack"
            and self.config.confirmation == "auto"
            and not self.server.acks
            and not self._pings
            and self._handled <= self.window.base
            and self._stalled(now, self.config.ack_timeout / 2)
        )

    def unanswered_since(self) -> float | None:
        """Return when the oldest ping without a pong was sent; None: all are answered."""
        return self._pings[0].sent_at if self._pings else None

    def check(self, now: float) -> ConfirmationCheck:
        """Return "timed out" when the session must end, so that the next one sends everything unconfirmed again."""
        if not self._stalled(now, self._timeout()):
            return "ok"
        if self.config.confirmation == "auto" and not self.server.acks and self.mode == "ack" and self._fences_passed():
            self.mode, self.server.never_acks = "fence", True
            self._confirm(self._handled, now)
            self._moved_at = now
            return "downgraded"
        return "timed out"

    def _fences_passed(self) -> bool:
        """Return whether two fences have passed the oldest message."""
        return self._handled > self.window.base

    def _timeout(self) -> float:
        if self.mode == "heartbeat":
            return 2 * (self.config.ping_interval + self.config.ping_timeout)
        return self.config.ack_timeout

    def _stalled(self, now: float, seconds: float) -> bool:
        """Counted from the watermark's last move: a slow server that works off its queue is not a silent one."""
        oldest = self.window.oldest_sent_at
        return oldest is not None and now - max(oldest, self._moved_at) > seconds

    def _confirm(self, number: int, now: float) -> None:
        settled = self.window.settle_up_to(number)
        if settled:
            self._moved_at = now
            self.latencies.extend(now - sent_at for sent_at in settled)
