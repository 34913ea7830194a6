"""The supervisor through every row of fortunes: scripted sessions, no socket, no waiting."""

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.feed import ListFeed
from tests.support.listener import Listener
from worker.clock import Clock
from worker.orgsocket.backoff import Backoff
from worker.orgsocket.link import (
    Connect,
    ConnectError,
    Disconnect,
    Ending,
    Error,
    Link,
    Reconnect,
    ReconnectAttempt,
    ReconnectError,
    ReconnectFailed,
    State,
)
from worker.orgsocket.supervisor import Patience, Supervisor
from worker.orgsocket.wire import Refused, Terms

ATTEMPTS = 3


class Scripted:
    """A session whose fortune is written: an exception for the attempt, or an ending for the session."""

    def __init__(self, fortune: Exception | Ending) -> None:
        self.fortune = fortune
        self.wire = self
        self.mode = "ack"
        self.in_flight = 0
        self.opened_at = 0.0
        self.stage = "nothing"
        self.dropped = False

    async def open(self, _terms: Terms) -> None:
        if isinstance(self.fortune, Exception):
            raise self.fortune

    async def carry(self, feed: ListFeed, _stop: asyncio.Event) -> Ending:
        assert isinstance(self.fortune, Ending)
        feed.rewind()
        return self.fortune

    async def drop(self) -> None:
        self.dropped = True


async def terms() -> Terms:
    return Terms("http://hub", "/", {}, None)


class Stage:
    """A supervisor that runs out of fortunes into a stop."""

    def __init__(
        self, fortunes: list[Exception | Ending], *, base: float = 0.0, monotonic: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.events, self.stop = Listener(), asyncio.Event()
        self.sessions: list[Scripted] = []
        self.states: list[State] = []
        self.pauses: list[float] = []
        """Before each attempt, as they were announced."""
        self._fortunes = iter(fortunes)
        self.link = Link("http://hub", ATTEMPTS, self._emit)
        backoff = Backoff(base, 1.0, ATTEMPTS, lambda: 0.5)
        patience = Patience(timeout=5.0, min_uptime=5.0, slow_retry=0.0, between_rounds=0.0)
        self.supervisor = Supervisor(
            self.link,
            backoff,
            patience,
            Clock(monotonic=monotonic),
            new_session=self._next,  # type: ignore[arg-type]  # plays a Session
            terms=terms,
        )

    def _emit(self, event: object) -> None:
        self.events(event)
        self.states.append(self.link.state)
        if isinstance(event, ReconnectAttempt):
            self.pauses.append(round(self.link.retry_in, 6))

    def _next(self) -> Scripted:
        fortune = next(self._fortunes, None)
        if fortune is None:
            self.stop.set()
        self.sessions.append(Scripted(fortune or Ending("all played", final=True)))
        return self.sessions[-1]

    async def play(self) -> None:
        async with asyncio.timeout(20):
            await self.supervisor.run(ListFeed(), self.stop)


FAILURES = st.sampled_from(
    [OSError("no route"), TypeError("object of type 'int' has no len()"), KeyError("sid"), ValueError("junk"),
     Refused(Ending("CONNECT_ERROR: try later")), TimeoutError("inner")]
)  # fmt: skip
REFUSALS = st.builds(lambda: Refused(Ending("CONNECT_ERROR: unauthorized", refused=True)))
ENDINGS = st.builds(Ending, st.just("over"), st.sampled_from([None, 1000, 1006, 1008, 4401, 4408]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(FAILURES, FAILURES, REFUSALS, ENDINGS), max_size=12))
def test_whatever_happens_it_comes_back_and_tells_it(fortunes: list[Exception | Ending]) -> None:
    async def play() -> Stage:
        stage = Stage(fortunes)
        await stage.play()
        return stage

    stage = asyncio.run(play())
    failures = [fortune for fortune in fortunes if isinstance(fortune, Exception)]
    ups = len(fortunes) - len(failures) + 1
    assert len(stage.events.of(ConnectError)) == len(failures)
    assert len(stage.events.of(Connect)) == len(stage.events.of(Disconnect)) == ups
    assert len(stage.events.of(Reconnect)) == ups - 1
    assert len(stage.events.of(ReconnectError)) <= len(failures)
    assert all(session.dropped for session in stage.sessions if isinstance(session.fortune, Exception))
    assert stage.link.state is State.DISCONNECTED
    _never_more_attempts_than_allowed(stage)


def _never_more_attempts_than_allowed(stage: Stage) -> None:
    in_a_row = 0
    for event in stage.events.events:
        match event:
            case ReconnectAttempt(attempt):
                in_a_row += 1
                assert attempt == in_a_row <= ATTEMPTS
            case ReconnectFailed(attempts):
                assert attempts == in_a_row == ATTEMPTS
                in_a_row = 0
            case Connect() | Error(alarm=True):
                in_a_row = 0


async def test_the_state_is_what_the_event_says() -> None:
    stage = Stage([OSError("x"), Ending("over", 1006), *[OSError("x")] * 3])
    await stage.play()
    seen = [(type(event).__name__, state) for event, state in zip(stage.events.events, stage.states, strict=True)]
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


async def test_pauses_grow_over_sessions_that_do_not_last() -> None:
    stage = Stage([Ending("dropped", 1006)] * 4, base=0.01)
    await stage.play()
    assert stage.pauses == [0.01, 0.02, 0.04, 0.08]


async def test_pauses_begin_afresh_after_a_session_that_lasted() -> None:
    stage = Stage([Ending("dropped", 1006)] * 4, base=0.01, monotonic=lambda: 6.0)
    await stage.play()
    assert stage.pauses == [0.01] * 4
