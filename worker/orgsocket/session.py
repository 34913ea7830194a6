"""One session: sends what the feed has, hears what is proven, and ends at the first doubt. Knows no reconnecting."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from worker.clock import Clock
from worker.notification import refit
from worker.notifier import Feed
from worker.orgsocket.link import Ending, refuses
from worker.orgsocket.proof import Confirmation, Peer, Proof, Rules
from worker.orgsocket.wire import Terms, Wire
from worker.queue import OutboxMessage

_OVERHEAD = 64
"""Bytes kept free in a frame for packet types and ack id; refit keeps the same."""
_BATCH = 256
"""Messages taken at once where the window is counted in bytes."""
_QUIET = 0.5
"""Seconds: a feed that has had nothing for so long after the stop has nothing more."""
_PUZZLES = 10
"""Frames without sense that are told of in one session: a broken server must not flood the log."""
_SMALLEST = 1024
"""Bytes; the least that WebSocket:MaxPayload may be, and that a peer is believed to bear."""
_LINGER = 0.002
"""Seconds a proof may wait for company before the feed is told."""
_WHISPERS = 64
"""Volatile messages that may wait for a full transport buffer; the rest is forgotten."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for every session. Seconds and bytes."""

    confirmation: Confirmation
    window: int
    ack_timeout: float
    max_payload: int
    pulse: float
    """After so long without a frame the server is pinged, and given up after as long again."""
    fast: bool = True


@dataclass(slots=True)
class Tally:
    """What all sessions together have seen."""

    messages: int = 0
    last_pong: float | None = None
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=1000))


class Notes(Protocol):
    """Who is told what is worth telling."""

    def trouble(self, where: str, detail: str, *, alarm: bool = False) -> None: ...

    def proves_by(self, mode: str) -> None:
        """The mode has changed within a session."""
        ...


class Session:
    """Made for one attempt; `open`, then `carry`. The wire tells it of every frame (wire.Reader)."""

    def __init__(self, limits: Limits, peer: Peer, clock: Clock, tally: Tally, notes: Notes) -> None:
        self.wire = Wire(self, fast=limits.fast)
        self.opened_at = 0.0
        self._limits = limits
        self._peer = peer
        self._clock = clock
        self._tally = tally
        self._notes = notes
        self._proof = self._make_proof(25.0, 20.0)
        self._largest = limits.max_payload
        self._feed: Feed | None = None
        self._over = asyncio.Event()
        self._moved = asyncio.Event()
        self._reporting = False
        self._timer: asyncio.TimerHandle | None = None
        self._reported = 0
        self._counted = 0
        self._accepted = False
        self._puzzles = 0
        self._taking_since: float | None = None
        self._heard_at = 0.0
        self._ping: asyncio.Task[None] | None = None
        self._whispers: set[asyncio.Task[None]] = set()

    @property
    def mode(self) -> str:
        return self._proof.mode

    @property
    def in_flight(self) -> int:
        return len(self._proof.window)

    # -- life ----------------------------------------------------------------------------------------------

    async def open(self, terms: Terms) -> None:
        """Connect; raises whatever went wrong. The caller holds the clock and drops the wire when it failed."""
        greeting = await self.wire.connect(terms)
        self._proof = self._make_proof(greeting.ping_interval, greeting.ping_timeout)
        told = (greeting.max_payload, self._peer.largest, self._largest)
        self._largest = min(size for size in told if size is not None)
        self.opened_at = self._heard_at = self._clock.monotonic()

    def _make_proof(self, ping_interval: float, ping_timeout: float) -> Proof:
        limits = self._limits
        rules = Rules(limits.confirmation, limits.window, limits.ack_timeout, ping_interval, ping_timeout)
        return Proof(rules, self._peer)

    async def carry(self, feed: Feed, stop: asyncio.Event) -> Ending:
        """Until the session ends, for whatever reason; what is unproven then goes back to the feed."""
        self._feed = feed
        loops = [asyncio.create_task(work) for work in (self._pump(feed), self._watch(), self._finish(stop))]
        try:
            await self._over.wait()
        finally:
            try:
                await _cancel([*loops, *self._whispers, *([self._ping] if self._ping else [])])
            finally:
                self._report()
                feed.rewind()
                await self._leave()
        assert self.wire.ending is not None
        return self.wire.ending

    async def _leave(self) -> None:
        if self.wire.ending is not None and self.wire.ending.final:
            await self.wire.goodbye()
        else:
            await self.wire.drop()

    # -- sending -------------------------------------------------------------------------------------------

    async def _pump(self, feed: Feed) -> None:
        try:
            while True:
                await self._until_room()
                await self._send(await self._take(feed))
        except Exception as exc:  # noqa: BLE001 -- whatever stops the pump ends the session, and the next one goes on
            if not self.wire.over:
                self._notes.trouble("sending notifications", f"{type(exc).__name__}: {exc}")
            self.wire.end(Ending(f"sending failed: {type(exc).__name__}: {exc}", 1006))

    async def _until_room(self) -> None:
        while not self._proof.room:
            self._moved.clear()
            await self._moved.wait()

    async def _take(self, feed: Feed) -> Sequence[OutboxMessage]:
        self._taking_since = self._clock.monotonic()
        messages = await feed.take(min(self._proof.room, _BATCH))
        if messages:
            self._taking_since = None
            return messages
        # Nothing will come any more: leave `_taking_since` set for whoever waits for the end.
        await asyncio.Event().wait()
        return []

    async def _send(self, messages: Sequence[OutboxMessage]) -> None:
        proof, wire, now = self._proof, self.wire, self._clock.monotonic()
        acks = proof.wants_acks
        for message in messages:
            body = self._fitted(message)
            if body is not None:
                await wire.send(proof.sent(message.id, len(body), now), body, ack=acks)
        wire.flush()
        if proof.wants_ping():
            self._send_ping()

    def _fitted(self, message: OutboxMessage) -> bytes | None:
        """The body within this peer's frame limit; None: it cannot be made to fit, and is settled as refused."""
        body = message.body
        if len(body) + _OVERHEAD <= self._largest:
            return body
        with contextlib.suppress(Exception):
            body = refit(body, self._largest)
        if len(body) + _OVERHEAD <= self._largest:
            return body
        assert self._feed is not None
        self._feed.rejected(message.id, f"{len(body)} bytes do not fit into the peer's {self._largest}")
        if not self._proof.window:
            self._feed.confirmed(message.id)
        return None

    def whisper(self, body: bytes) -> None:
        """Volatile: sent if there is room for it now."""
        if self.wire.over or len(self._whispers) >= _WHISPERS or len(body) + _OVERHEAD > self._largest:
            return
        whisper = asyncio.create_task(self._whisper(body))
        self._whispers.add(whisper)
        whisper.add_done_callback(self._whispers.discard)

    async def _whisper(self, body: bytes) -> None:
        with contextlib.suppress(Exception):  # nobody counts on it, and the pump will notice a dead line
            await self.wire.whisper(body)

    def _send_ping(self) -> None:
        """In a task of its own: it may wait for a full transport buffer, and whoever watches must not."""
        if self._ping is None or self._ping.done():
            payload = self._proof.pinged(self.wire.written, self._clock.monotonic())
            self._ping = asyncio.create_task(self._write_ping(payload))

    async def _write_ping(self, payload: bytes) -> None:
        with contextlib.suppress(OSError):  # a line that broke tells it to its reader
            await self.wire.ping(payload)

    # -- time ----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        step = min(1.0, self._limits.ack_timeout / 8, self._limits.pulse / 4)
        while True:
            await asyncio.sleep(step)
            now = self._clock.monotonic()
            self._judge(now)
            self._feel_pulse(now)

    def _judge(self, now: float) -> None:
        proof = self._proof
        if proof.wants_probe(now):
            self._send_ping()
        match proof.judge(now):
            case "doubt":
                self.wire.end(Ending(f"no proof of receipt for {len(proof.window)} notifications ({proof.mode})"))
            case "downgraded":
                self._notes.proves_by(proof.mode)
                self._notes.trouble(
                    "receipt",
                    "this server never acknowledges; from now on its pongs prove receipt (fence), which says that it "
                    "has read a notification, not that it has handled it",
                )
                self._progress()
            case "fine":
                pass

    def _feel_pulse(self, now: float) -> None:
        unanswered = self._proof.unanswered_since()
        if unanswered is not None:
            if now - max(unanswered, self._heard_at) > self._limits.pulse:
                self.wire.end(Ending("the server does not answer pings: the connection is half open", 1006))
        elif now - self._heard_at > self._limits.pulse:
            self._send_ping()

    async def _finish(self, stop: asyncio.Event) -> None:
        """After the stop: leave when all that was taken is proven and the feed has had no more for a moment."""
        await stop.wait()
        while self._proof.window or not self._dry():
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_QUIET / 4):
                    await self._moved.wait()
        self.wire.end(Ending("everything is delivered", 1000, final=True))

    def _dry(self) -> bool:
        return self._taking_since is not None and self._clock.monotonic() - self._taking_since >= _QUIET

    # -- hearing (wire.Reader) -----------------------------------------------------------------------------

    def acknowledged(self, number: int, refusal: str | None) -> None:
        self._heard_at = now = self._clock.monotonic()
        if refusal is None:
            self._accepted = True
        elif not self._refuse(number, refusal):
            return
        if self._proof.acked(number, now):
            self._notes.proves_by(self._proof.mode)
            self._notes.trouble("receipt", "the server acknowledges after all: acknowledgements prove receipt again")
        self._progress()

    def _refuse(self, number: int, refusal: str) -> bool:
        """Whether the message is settled by it. A server that has accepted nothing in this session and says
        unauthorized means us, not the message: a token without the right to publish must not bury the outbox. The
        same message refused so twice is settled all the same, lest it blocks those behind it."""
        message_id = self._proof.window.message_id(number)
        if message_id is None or self._feed is None:
            return True
        if not self._accepted and refuses(refusal) and message_id != self._peer.refused:
            self._peer.refused = message_id
            self.wire.end(Ending(f"the server refuses what we send: {refusal}", refused=True))
            return False
        self._feed.rejected(message_id, refusal)
        return True

    def ponged(self, payload: bytes) -> None:
        self._heard_at = now = self._clock.monotonic()
        self._tally.last_pong = self._clock.now()
        self._proof.ponged(payload, now)
        self._progress()
        if self._proof.wants_ping():
            self._send_ping()

    def heartbeat(self) -> None:
        self._heard_at = now = self._clock.monotonic()
        self._tally.last_pong = self._clock.now()
        self._proof.heartbeat(now)
        self._progress()

    def heartbeat_answered(self, written: int) -> None:
        self._proof.heartbeat_answered(written, self._clock.monotonic())

    def wrote(self, number: int) -> None:
        if self._proof.mode == "none":
            self._proof.written(number, self._clock.monotonic())
            self._progress()

    def told(self, event: str, arguments: Sequence[Any]) -> None:
        self._heard_at = self._clock.monotonic()
        if event == "error":
            self._notes.trouble("the server", str(arguments[0])[:500] if arguments else "an error without words")

    def puzzled(self, detail: str) -> None:
        self._puzzles += 1
        if self._puzzles <= _PUZZLES:
            self._notes.trouble("reading", detail)

    def ended(self, ending: Ending) -> None:
        if ending.too_large and self._proof.window:
            self._shrink()
        self._over.set()

    def _shrink(self) -> None:
        """Something on the way bears less than the server announced (a proxy, say): sent again as it is, the same
        frame would end every session. Half as large may pass; what cannot be cut so far is refused."""
        self._peer.largest = max(_SMALLEST, self._proof.window.largest // 2)
        self._notes.trouble(
            "sending", f"too large a frame for the peer; from now on {self._peer.largest} bytes at most"
        )

    def _progress(self) -> None:
        """Tell the feed at once when nothing is under way any more, or a good part of the window is proven;
        otherwise a moment later: one report, and one refill of the window, for many frames."""
        window = self._proof.window
        fresh = window.base - self._counted
        if not fresh:
            return
        loop = asyncio.get_running_loop()
        if not window or fresh >= self._limits.window // 4:
            if not self._reporting:
                self._reporting = True
                loop.call_soon(self._report)
        elif self._timer is None:
            self._timer = loop.call_later(_LINGER, self._report)

    def _report(self) -> None:
        self._reporting = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        proof, tally = self._proof, self._tally
        tally.messages += proof.window.base - self._counted
        self._counted = proof.window.base
        tally.latencies.extend(proof.latencies)
        proof.latencies.clear()
        if proof.window.confirmed > self._reported and self._feed is not None:
            self._reported = proof.window.confirmed
            self._feed.confirmed(self._reported)
        self._moved.set()


async def _cancel(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
