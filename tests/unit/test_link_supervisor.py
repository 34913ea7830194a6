"""The supervisor over scripted sessions: no socket, no waiting."""

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.event_collector import EventCollector
from tests.support.message_source import ListSource
from worker.core.clock import Clock
from worker.notifiers.socketio.backoff import Backoff
from worker.notifiers.socketio.events import (
    Connect,
    ConnectError,
    Disconnect,
    Reconnect,
    ReconnectAttempt,
    ReconnectError,
    ReconnectFailed,
    ServerError,
)
from worker.notifiers.socketio.handshake import ConnectOptions, ConnectRejected
from worker.notifiers.socketio.state import CloseReason, Link, State
from worker.notifiers.socketio.supervisor import RetryTimings, Supervisor

ATTEMPTS = 3


class ScriptedSession:
    """A session with a given outcome: an exception of the attempt, or the reason why the session closes."""

    def __init__(self, outcome: Exception | CloseReason) -> None:
        self.outcome = outcome
        self.connection = self
        self.mode = "ack"
        self.dialect = ""
        self.in_flight = 0
        self.opened_at = 0.0
        self.stage = "nothing"
        self.aborted = False

    async def open(self, _options: ConnectOptions) -> None:
        if isinstance(self.outcome, Exception):
            raise self.outcome

    async def run(self, source: ListSource, _stop: asyncio.Event) -> CloseReason:
        assert isinstance(self.outcome, CloseReason)
        source.rewind()
        return self.outcome

    async def abort(self) -> None:
        self.aborted = True


async def read_options() -> ConnectOptions:
    return ConnectOptions("http://hub", "/", {}, None)


class Scenario:
    """A supervisor that is stopped when the scripted outcomes are used up."""

    def __init__(
        self,
        outcomes: list[Exception | CloseReason],
        *,
        base: float = 0.0,
        monotonic: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.events, self.stop = EventCollector(), asyncio.Event()
        self.sessions: list[ScriptedSession] = []
        self.states: list[State] = []
        self.delays: list[float] = []
        """Seconds before each attempt, as the link announced them."""
        self._outcomes = iter(outcomes)
        self.link = Link("http://hub", ATTEMPTS, self._emit)
        backoff = Backoff(base, 1.0, ATTEMPTS, lambda: 0.5)
        timings = RetryTimings(timeout=5.0, min_uptime=5.0, slow_retry=0.0, between_rounds=0.0)
        self.supervisor = Supervisor(
            self.link,
            backoff,
            timings,
            Clock(monotonic=monotonic),
            new_session=self._next,  # type: ignore[arg-type]  # acts as a LinkSession
            read_options=read_options,
        )

    def _emit(self, event: object) -> None:
        self.events(event)
        self.states.append(self.link.state)
        if isinstance(event, ReconnectAttempt):
            self.delays.append(round(self.link.retry_in, 6))

    def _next(self) -> ScriptedSession:
        outcome = next(self._outcomes, None)
        if outcome is None:
            self.stop.set()
        self.sessions.append(ScriptedSession(outcome or CloseReason("all played", final=True)))
        return self.sessions[-1]

    async def play(self) -> None:
        async with asyncio.timeout(30):
            await self.supervisor.run(ListSource(), self.stop)


FAILURES = st.sampled_from(
    [OSError("no route"), TypeError("object of type 'int' has no len()"), KeyError("sid"), ValueError("junk"),
     ConnectRejected(CloseReason("CONNECT_ERROR: try later")), TimeoutError("inner")]
)  # fmt: skip
REJECTIONS = st.builds(lambda: ConnectRejected(CloseReason("CONNECT_ERROR: unauthorized", rejected=True)))
CLOSE_REASONS = st.builds(CloseReason, st.just("over"), st.sampled_from([None, 1000, 1006, 1008, 4401, 4408]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(FAILURES, FAILURES, REJECTIONS, CLOSE_REASONS), max_size=12))
def test_supervisor_comes_back_after_any_outcome_and_emits_events(outcomes: list[Exception | CloseReason]) -> None:
    async def play() -> Scenario:
        scenario = Scenario(outcomes)
        await scenario.play()
        return scenario

    scenario = asyncio.run(play())
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    ups = len(outcomes) - len(failures) + 1
    assert len(scenario.events.of(ConnectError)) == len(failures)
    assert len(scenario.events.of(Connect)) == len(scenario.events.of(Disconnect)) == ups
    assert len(scenario.events.of(Reconnect)) == ups - 1
    assert len(scenario.events.of(ReconnectError)) <= len(failures)
    assert all(session.aborted for session in scenario.sessions if isinstance(session.outcome, Exception))
    assert scenario.link.state is State.DISCONNECTED
    _never_more_attempts_than_allowed(scenario)


def _never_more_attempts_than_allowed(scenario: Scenario) -> None:
    in_a_row = 0
    for event in scenario.events.events:
        match event:
            case ReconnectAttempt(attempt):
                in_a_row += 1
                assert attempt == in_a_row <= ATTEMPTS
            case ReconnectFailed(attempts):
                assert attempts == in_a_row == ATTEMPTS
                in_a_row = 0
            case Connect() | ServerError(alarm=True):
                in_a_row = 0


async def test_state_matches_each_event() -> None:
    scenario = Scenario([OSError("x"), CloseReason("over", 1006), *[OSError("x")] * 3])
    await scenario.play()
    seen = [(type(event).__name__, state) for event, state in zip(scenario.events.events, scenario.states, strict=True)]
    assert seen == [
        ("ConnectError", State.CONNECTING),
        ("ReconnectAttempt", State.CONNECTING),
        ("Connect", State.CONNECTED),
        ("Disconnect", State.RECONNECTING),
        *[
            ("ReconnectAttempt", State.RECONNECTING),
            ("ConnectError", State.RECONNECTING),
            ("ReconnectError", State.RECONNECTING),
        ]
        * 3,
        ("ReconnectFailed", State.FAILED),
        ("ReconnectAttempt", State.CONNECTING),
        ("Connect", State.CONNECTED),
        ("Reconnect", State.CONNECTED),
        ("Disconnect", State.DISCONNECTED),
    ]


async def test_delays_grow_over_sessions_that_do_not_last() -> None:
    scenario = Scenario([CloseReason("dropped", 1006)] * 4, base=0.01)
    await scenario.play()
    assert scenario.delays == [0.01, 0.02, 0.04, 0.08]


async def test_delays_reset_after_a_session_that_lasted() -> None:
    scenario = Scenario([CloseReason("dropped", 1006)] * 4, base=0.01, monotonic=lambda: 6.0)
    await scenario.play()
    assert scenario.delays == [0.01] * 4
