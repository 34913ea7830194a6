"""The link's table, events and sentences."""

import re
from itertools import product
from pathlib import Path

import pytest

from tests.support.listener import Listener
from worker.orgsocket.figures import status
from worker.orgsocket.link import (
    SLOW_CODES,
    TABLE,
    Change,
    Connect,
    ConnectError,
    Disconnect,
    Ending,
    Link,
    Reconnect,
    ReconnectAttempt,
    ReconnectError,
    ReconnectFailed,
    State,
    is_slow,
    refuses,
)

DOCS = Path(__file__).parents[2] / "docs" / "link.md"


@pytest.fixture
def events() -> Listener:
    return Listener()


@pytest.fixture
def link(events: Listener) -> Link:
    return Link("http://hub", 5, events, now=lambda: 1000.0)


def test_the_drawing_in_the_docs_shows_the_table_and_nothing_else() -> None:
    drawn = set(re.findall(r"^ +(\w+) --> (\w+): (\w+)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert drawn == {(before.value, after.value, change.value) for (before, change), after in TABLE.items()}


def test_every_state_can_be_left_and_reached() -> None:
    assert {before for before, _ in TABLE} == set(State)
    assert set(TABLE.values()) == set(State)


def test_the_end_is_possible_from_everywhere_but_the_end() -> None:
    assert {before for before, change in TABLE if change is Change.ENDED} == set(State) - {State.DISCONNECTED}


@pytest.mark.parametrize(("state", "change"), set(product(State, Change)) - set(TABLE))
def test_what_is_not_in_the_table_cannot_happen(state: State, change: Change, link: Link) -> None:
    link.state = state
    with pytest.raises(KeyError):
        link._move(change)


def test_a_first_session_is_a_connect_and_no_reconnect(link: Link, events: Listener) -> None:
    link.opening()
    link.trying(0)
    link.up(0, "ack")
    assert events.events == [Connect("http://hub", 1, "ack")]
    assert (link.state, link.since) == (State.CONNECTED, 1000.0)


def test_a_first_attempt_that_fails_is_told_but_is_no_reconnecting(link: Link, events: Listener) -> None:
    link.opening()
    link.trying(0)
    link.attempt_failed(0, Ending("refused"))
    link.trying(1)
    assert events.events == [ConnectError(0, "refused"), ReconnectAttempt(1, 5)]
    assert link.state is State.CONNECTING


def test_a_loss_and_its_recovery_are_told_in_order(link: Link, events: Listener) -> None:
    link.opening()
    link.up(0, "ack")
    events.events.clear()
    link.lost(Ending("gone", 1006), uptime=3.5, unproven=7, back=True)
    link.trying(1)
    link.attempt_failed(1, Ending("refused"))
    link.trying(2)
    link.up(2, "ack")
    assert events.events == [
        Disconnect("gone", 1006, 3.5, 7),
        ReconnectAttempt(1, 5),
        ConnectError(1, "refused"),
        ReconnectError(1, "refused"),
        ReconnectAttempt(2, 5),
        Connect("http://hub", 2, "ack"),
        Reconnect(2),
    ]
    assert (link.tries, link.last_code) == (2, 1006)


def test_used_up_attempts_fail_the_link_until_it_opens_again(link: Link, events: Listener) -> None:
    link.opening()
    link.exhausted(5, 5.0)
    assert link.state is State.FAILED
    assert events.events == [ReconnectFailed(5, 5.0)]
    link.opening()
    assert link.state is State.CONNECTING


def test_a_link_that_has_ended_can_end_again(link: Link) -> None:
    link.ended()
    assert link.state is State.DISCONNECTED


@pytest.mark.parametrize("code", SLOW_CODES)
def test_codes_of_refusal_are_retried_slowly(code: int) -> None:
    assert is_slow(Ending("closed", code))


@pytest.mark.parametrize("code", [None, 1000, 1001, 1002, 1005, 1006, 1009, 1011, 1012, 1013, 4408, 3000, 4999])
def test_all_other_codes_are_retried_at_once(code: int | None) -> None:
    assert not is_slow(Ending("closed", code))


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
def test_a_connect_error_that_says_unauthorized_is_a_refusal(data: object) -> None:
    assert refuses(data)


NO_REFUSALS = [None, "", {}, {"message": "Invalid namespace"}, {"data": "x"}, {"code": [1]}, ["x"], 7, "try later"]


@pytest.mark.parametrize("data", NO_REFUSALS)
def test_other_connect_errors_are_no_refusal(data: object) -> None:
    assert not refuses(data)


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_sentence_in_english_and_in_thai(state: State, link: Link) -> None:
    link.state, link.last_reason, link.attempt = state, "the connection broke", 2
    english, thai = status(link)
    assert english.endswith(".")
    assert re.search("[ก-๙]{5}", thai)
    assert "http://hub" in english or "the connection broke" in english
