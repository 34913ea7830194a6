"""The watermark against a server that is simulated frame by frame: what is confirmed was received, in order.

Hypothesis plays a network and a server: frames travel in order in both directions, the server may stop acting on
what it reads at any moment (DISCONNECT), lose its acknowledgements, or break the line. Whatever happens, nothing may
be confirmed that the server has not handled, and everything arrives in order once the line holds.
"""

from collections import deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from worker.notifiers.socketio.confirmation import Confirmation, ConfirmationConfig, DeliveryTracker
from worker.notifiers.socketio.server_capabilities import ServerCapabilities

PING_INTERVAL = 10.0
PING_TIMEOUT = 20.0


class LinkMachine(RuleBasedStateMachine):
    mode: Confirmation

    @initialize(acks=st.booleans(), window=st.integers(1, 8))
    def begin(self, acks: bool, window: int) -> None:
        self.acks, self.window = acks or self.mode == "ack", window
        self.server = ServerCapabilities()
        self.now = 0.0
        self.total = 0  # messages the source has had
        self.confirmed = 0  # the source's watermark
        self.handled: list[int] = []  # what the server's handlers got
        self.fresh_session()

    def fresh_session(self) -> None:
        self.tracker = DeliveryTracker(
            ConfirmationConfig(self.mode, self.window, 10.0, PING_INTERVAL, PING_TIMEOUT), self.server
        )
        self.next = self.confirmed + 1
        self.out: deque[tuple[str, int, bytes]] = deque()  # to the server
        self.back: deque[tuple[str, int, bytes]] = deque()  # from the server
        self.inbox: deque[tuple[int, int]] = deque()  # parsed, handlers not yet run
        self.deaf = False  # after a DISCONNECT it still answers pings
        self.ping_sent_at: float | None = None  # the oldest without PONG
        self.last_ping_at = self.now - PING_INTERVAL

    @rule(more=st.integers(0, 5))
    def send(self, more: int) -> None:
        """As session.py does: fill the window, then ping if the mode asks for it."""
        self.total += more
        while self.next <= self.total and self.tracker.room:
            number = self.tracker.on_sent(self.next, 10, self.now)
            self.out.append(("event", number, str(self.next).encode()))
            self.next += 1
        self.ping()

    def ping(self) -> None:
        if self.tracker.needs_ping() or self.tracker.needs_probe(self.now):
            self.out.append(("ping", 0, self.tracker.on_ping_sent(self.tracker.window.sent, self.now)))

    @rule()
    def server_turn(self) -> None:
        """One turn of the server's loop: run the handlers of what was parsed before, then parse what came."""
        self.run_handlers()
        while self.out:
            kind, number, payload = self.out.popleft()
            if kind == "ping":
                self.back.append(("pong", 0, payload))
            elif kind == "pong":
                self.ping_sent_at = None
            elif not self.deaf:
                self.inbox.append((number, int(payload)))

    def run_handlers(self) -> None:
        while self.inbox:
            number, message = self.inbox.popleft()
            self.handled.append(message)
            if self.acks:
                self.back.append(("ack", number, b""))

    @rule()
    def server_heartbeat(self) -> None:
        """Every PING_INTERVAL, however late they are read; without a PONG in time the server closes."""
        if self.ping_sent_at is not None and self.now - self.ping_sent_at >= PING_TIMEOUT:
            self.fresh_session()
        elif not self.deaf and self.now - self.last_ping_at >= PING_INTERVAL:
            self.run_handlers()
            self.last_ping_at = self.now
            self.ping_sent_at = self.now if self.ping_sent_at is None else self.ping_sent_at
            self.back.append(("heartbeat", 0, b""))

    @rule(politely=st.booleans())
    def session_ends(self, politely: bool) -> None:
        """The line breaks; or a DISCONNECT comes: the server then reads and drops, what it had parsed it handles."""
        if not politely:
            self.fresh_session()
        elif not self.deaf:
            self.deaf = True
            self.back.append(("disconnect", 0, b""))

    @rule(some=st.integers(1, 5))
    def read(self, some: int) -> None:
        for _ in range(min(some, len(self.back))):
            kind, number, payload = self.back.popleft()
            if kind == "disconnect":
                self.fresh_session()
                return
            if kind == "ack":
                self.tracker.on_ack(number, self.now)
            elif kind == "pong":
                self.tracker.on_pong(payload, self.now)
                self.ping()
            else:
                self.tracker.on_heartbeat(self.now)
                self.out.append(("pong", 0, b""))
                self.tracker.on_heartbeat_answered(self.tracker.window.sent, self.now)
            self.report()

    @rule(seconds=st.sampled_from([0.1, 3.0, 6.0, 11.0, 21.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        if self.tracker.check(self.now) == "timed out":
            self.fresh_session()
        self.ping()
        self.report()

    def report(self) -> None:
        if self.tracker.window.confirmed:
            assert self.tracker.window.confirmed >= self.confirmed or self.tracker.window.confirmed == 0
            self.confirmed = max(self.confirmed, self.tracker.window.confirmed)

    @invariant()
    def nothing_is_confirmed_that_was_not_received(self) -> None:
        if not hasattr(self, "handled"):
            return
        assert set(range(1, self.confirmed + 1)) <= set(self.handled)

    @invariant()
    def first_arrivals_are_in_order(self) -> None:
        if hasattr(self, "handled"):
            firsts = list(dict.fromkeys(self.handled))
            assert firsts == list(range(1, len(firsts) + 1))

    @invariant()
    def the_window_is_bounded(self) -> None:
        if hasattr(self, "tracker") and self.tracker.mode != "heartbeat":
            assert len(self.tracker.window) <= self.window

    def teardown(self) -> None:
        """Once the line holds, everything arrives and is confirmed."""
        if not hasattr(self, "handled"):
            return
        self.fresh_session()
        for _ in range(60 * (1 + self.total)):
            if self.confirmed == self.total:
                break
            self.send(0)
            self.server_turn()
            self.server_turn()
            self.now += 2.0  # so that a probe fits well into the timeout, as it does on any real line
            self.server_heartbeat()
            self.read(1000)
            self.time_passes(0.1)
        assert self.confirmed == self.total
        self.server_turn()
        assert sorted(set(self.handled)) == list(range(1, self.total + 1))


def case_of(confirmation: Confirmation) -> type:
    machine: Any = type(f"{confirmation.title()}Machine", (LinkMachine,), {"mode": confirmation})
    case: Any = machine.TestCase
    case.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
    assert isinstance(case, type)
    return case


TestAck, TestFence, TestHeartbeat, TestAuto = (case_of(mode) for mode in ("ack", "fence", "heartbeat", "auto"))
