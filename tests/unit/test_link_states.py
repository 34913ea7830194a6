"""The link's table, events and sentences."""

import re
from itertools import product
from pathlib import Path

import pytest

from tests.support.event_collector import EventCollector
from worker.notifiers.socketio.events import (
    Connect,
    ConnectError,
    Disconnect,
    Reconnect,
    ReconnectAttempt,
    ReconnectError,
    ReconnectFailed,
)
from worker.notifiers.socketio.state import (
    SLOW_CODES,
    TABLE,
    CloseReason,
    Link,
    LinkTransition,
    State,
    is_rejection,
    needs_slow_retry,
)
from worker.notifiers.socketio.status import describe

DOCS = Path(__file__).parents[2] / "docs" / "link.md"


@pytest.fixture
def events() -> EventCollector:
    return EventCollector()


@pytest.fixture
def link(events: EventCollector) -> Link:
    return Link("http://hub", 5, events, now=lambda: 1000.0)


def test_every_state_can_be_entered_and_left() -> None:
    assert {before for before, _ in TABLE} == set(State)
    assert set(TABLE.values()) == set(State)


def test_ended_is_possible_in_every_state_but_disconnected() -> None:
    assert {before for before, change in TABLE if change is LinkTransition.ENDED} == set(State) - {State.DISCONNECTED}


@pytest.mark.parametrize(("state", "change"), [pair for pair in product(State, LinkTransition) if pair not in TABLE])
def test_transition_outside_the_table_raises(state: State, change: LinkTransition, link: Link) -> None:
    link.state = state
    with pytest.raises(KeyError):
        link._move(change)


def test_first_session_emits_connect_only(link: Link, events: EventCollector) -> None:
    link.opening()
    link.attempt_started(0)
    link.connected(0, "ack")
    assert events.events == [Connect("http://hub", 1, "ack")]
    assert (link.state, link.connected_since) == (State.CONNECTED, 1000.0)


def test_first_failed_attempt_emits_connect_error_only(link: Link, events: EventCollector) -> None:
    link.opening()
    link.attempt_started(0)
    link.attempt_failed(0, CloseReason("refused"))
    link.attempt_started(1)
    assert events.events == [ConnectError(0, "refused"), ReconnectAttempt(1, 5)]
    assert link.state is State.CONNECTING


def test_loss_and_recovery_emit_their_events_in_order(link: Link, events: EventCollector) -> None:
    link.opening()
    link.connected(0, "ack")
    events.events.clear()
    link.session_ended(CloseReason("gone", 1006), uptime=3.5, unconfirmed=7, will_retry=True)
    link.attempt_started(1)
    link.attempt_failed(1, CloseReason("refused"))
    link.attempt_started(2)
    link.connected(2, "ack")
    assert events.events == [
        Disconnect("gone", 1006, 3.5, 7),
        ReconnectAttempt(1, 5),
        ConnectError(1, "refused"),
        ReconnectError(1, "refused"),
        ReconnectAttempt(2, 5),
        Connect("http://hub", 2, "ack"),
        Reconnect(2),
    ]
    assert (link.reconnect_attempts, link.last_code) == (2, 1006)


def test_exhausted_attempts_fail_the_link_until_it_opens_again(link: Link, events: EventCollector) -> None:
    link.opening()
    link.exhausted(5, 5.0)
    assert link.state is State.FAILED
    assert events.events == [ReconnectFailed(5, 5.0)]
    link.opening()
    assert link.state is State.CONNECTING


def test_ended_is_idempotent(link: Link) -> None:
    link.ended()
    assert link.state is State.DISCONNECTED


@pytest.mark.parametrize("code", SLOW_CODES)
def test_rejection_codes_need_a_slow_retry(code: int) -> None:
    assert needs_slow_retry(CloseReason("closed", code))


@pytest.mark.parametrize("code", [None, 1000, 1001, 1002, 1005, 1006, 1009, 1011, 1012, 1013, 4408, 3000, 4999])
def test_other_codes_need_no_slow_retry(code: int | None) -> None:
    assert not needs_slow_retry(CloseReason("closed", code))


@pytest.mark.parametrize(
    "data",
    [
        {"message": "not authorized", "data": {"code": 401}},
        {"message": "no", "data": {"code": 403}},
        {"message": "Unauthorized"},
        {"code": "401"},
        "Authentication failed",
        {"message": "jwt expired"},
        {"message": "too many connections", "data": {"code": 4409}},
        {"message": "unauthorized", "data": {"code": 4401}},
    ],
)
def test_connect_error_that_says_unauthorized_is_a_rejection(data: object) -> None:
    assert is_rejection(data)


NO_REJECTION_WORDS = [
    None,
    "",
    {},
    {"message": "Invalid namespace"},
    {"data": "x"},
    {"code": [1]},
    ["x"],
    7,
    "try later",
]


@pytest.mark.parametrize("data", NO_REJECTION_WORDS)
def test_other_connect_errors_are_not_a_rejection(data: object) -> None:
    assert not is_rejection(data)


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_sentence_in_english_and_thai(state: State, link: Link) -> None:
    link.state, link.last_reason, link.attempt = state, "the connection broke", 2
    english, thai = describe(link)
    assert english.endswith(".")
    assert re.search("[ก-๙]{5}", thai)
    assert "http://hub" in english or "the connection broke" in english
