"""What is proven received: one session's messages in the order they were sent, and a watermark that moves over them.

Knows no socket and no clock: it is told what was sent and read, strictly in that order, with the time (seconds,
monotonic) of each. When the session ends it is thrown away, and everything unproven is sent again by the next one.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from worker.orgsocket.window import Window

Confirmation = Literal["auto", "ack", "fence", "heartbeat", "none"]
Mode = Literal["ack", "fence", "heartbeat", "none"]

HEARTBEAT_BYTES = 4 * 1024 * 1024
"""The window of heartbeat mode: proof takes up to two ping intervals, so messages are bounded by size, not number."""

_UNLIMITED = 1 << 31


@dataclass(frozen=True, slots=True)
class Rules:
    """Times in seconds."""

    confirmation: Confirmation
    window: int
    ack_timeout: float
    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    """Both from the server's OPEN packet."""


@dataclass(slots=True)
class Peer:
    """What is remembered of one Url between sessions."""

    acks: bool = False
    """It has acknowledged at least once, ever: its silence is a fault, never a habit."""
    silent: bool = False
    """It never acked while its fences passed: sessions begin in fence mode."""
    refused: int | None = None
    """The message it last refused as unauthorized, before it accepted any."""
    largest: int | None = None
    """Bytes of a frame it may bear although it announced more: it has closed over larger ones."""


@dataclass(frozen=True, slots=True)
class _Ping:
    number: int
    written: int
    """Messages on the wire before it."""
    parsed: int
    """Messages known to be parsed when it was sent."""
    sent_at: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """Our PONG to the server's PING of this number."""

    heartbeat: int
    written: int
    sent_at: float


Verdict = Literal["fine", "doubt", "downgraded"]


@dataclass(slots=True)
class Proof:
    """One session's proof of receipt."""

    rules: Rules
    peer: Peer
    mode: Mode = field(init=False)
    window: Window = field(default_factory=Window)
    latencies: list[float] = field(default_factory=list)
    """Seconds from sending to proof; whoever reads them clears them."""
    _moved_at: float = 0.0  # when the watermark last moved
    _pings: deque[_Ping] = field(default_factory=deque)
    _ping_number: int = 0
    _parsed: int = 0  # up to this number a pong says: parsed
    _handled: int = 0  # up to this number a second pong says: handled, as far as a pong can say it
    _heartbeats: int = 0
    _answers: deque[_Answer] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.mode = self._first_mode()

    def _first_mode(self) -> Mode:
        if self.rules.confirmation != "auto":
            return self.rules.confirmation
        return "fence" if self.peer.silent and not self.peer.acks else "ack"

    @property
    def wants_acks(self) -> bool:
        """Whether messages are sent with an acknowledgement id."""
        return self.rules.confirmation in ("auto", "ack")

    @property
    def room(self) -> int:
        """How many more messages may be sent now."""
        if self.mode == "heartbeat":
            return _UNLIMITED if self.window.size < HEARTBEAT_BYTES else 0
        return max(0, self.rules.window - len(self.window))

    # -- what was sent -------------------------------------------------------------------------------------

    def sent(self, message_id: int, size: int, now: float) -> int:
        """Its number on the wire."""
        if not self.window:
            self._moved_at = now
        return self.window.add(message_id, size, now)

    def written(self, number: int, now: float) -> None:
        """The transport has taken all up to `number`; only mode `none` calls that proof."""
        if self.mode == "none":
            self._prove(number, now)

    def pinged(self, written: int, now: float) -> bytes:
        """A WebSocket ping goes out after `written` messages; its payload."""
        self._ping_number += 1
        self._pings.append(_Ping(self._ping_number, written, self._parsed, now))
        return b"%d" % self._ping_number

    def heartbeat_answered(self, written: int, now: float) -> None:
        """Our Engine.IO PONG went out after `written` messages."""
        if self.mode == "heartbeat":
            self._answers.append(_Answer(self._heartbeats, written, now))

    # -- what was read -------------------------------------------------------------------------------------

    def acked(self, number: int, now: float) -> bool:
        """True: this acknowledgement ended fence mode."""
        self.peer.acks = True
        restored = self.rules.confirmation == "auto" and self.mode == "fence"
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

    def ponged(self, payload: bytes, now: float) -> None:
        """Pongs are cumulative (RFC 6455, 5.5.3: a peer may answer only the latest ping)."""
        number = int(payload) if payload.isdigit() and len(payload) < 20 else 0
        if not self._pings or not self._pings[0].number <= number <= self._pings[-1].number:
            return
        while self._pings and self._pings[0].number <= number:
            answered = self._pings.popleft()
        # The first pong after a message says it was parsed; only the next ping's pong, sent after that, comes from
        # a peer that has had a turn of its event loop to hand it to a handler.
        self._handled = max(self._handled, answered.parsed)
        self._parsed = max(self._parsed, answered.written)
        if self.mode == "fence":
            self._prove(self._handled, now)

    def heartbeat(self, now: float) -> None:
        """An Engine.IO PING. A server that got no PONG n within its pingTimeout would have closed by now.

        Arrival alone does not say when a PING was sent: one that was held up on its way may be older than our PONG.
        So it must also be so many PINGs later as pingTimeout is long.
        """
        if self.mode != "heartbeat":
            return
        self._heartbeats += 1
        rules, proven = self.rules, 0
        while self._answers:
            answer = self._answers[0]
            later = (self._heartbeats - answer.heartbeat) * rules.ping_interval
            if later < rules.ping_timeout or now < answer.sent_at + rules.ping_timeout:
                break
            proven = self._answers.popleft().written
        self._prove(proven, now)

    # -- what time says ------------------------------------------------------------------------------------

    def wants_ping(self) -> bool:
        """Whether a fence is to be sent now."""
        return self.mode == "fence" and bool(self.window) and not self._pings

    def wants_probe(self, now: float) -> bool:
        """Whether a fence is to be sent to find out if the server is deaf or merely never acks."""
        return (
            self.mode == "ack"
            and self.rules.confirmation == "auto"
            and not self.peer.acks
            and not self._pings
            and self._handled <= self.window.base
            and self._stalled(now, self.rules.ack_timeout / 2)
        )

    def unanswered_since(self) -> float | None:
        """When the oldest ping without pong was sent."""
        return self._pings[0].sent_at if self._pings else None

    def judge(self, now: float) -> Verdict:
        """doubt: the session must end, and everything unproven be sent again."""
        if not self._stalled(now, self._patience()):
            return "fine"
        if self.rules.confirmation == "auto" and not self.peer.acks and self.mode == "ack" and self._passed():
            self.mode, self.peer.silent = "fence", True
            self._prove(self._handled, now)
            self._moved_at = now
            return "downgraded"
        return "doubt"

    def _passed(self) -> bool:
        """Two fences have passed the oldest message."""
        return self._handled > self.window.base

    def _patience(self) -> float:
        if self.mode == "heartbeat":
            return 2 * (self.rules.ping_interval + self.rules.ping_timeout)
        return self.rules.ack_timeout

    def _stalled(self, now: float, seconds: float) -> bool:
        """Counted from the watermark's last move: a slow server that works off its queue is no silent one."""
        oldest = self.window.oldest_sent_at
        return oldest is not None and now - max(oldest, self._moved_at) > seconds

    def _prove(self, number: int, now: float) -> None:
        settled = self.window.settle_up_to(number)
        if settled:
            self._moved_at = now
            self.latencies.extend(now - sent_at for sent_at in settled)
