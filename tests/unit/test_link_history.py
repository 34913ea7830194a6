"""The link's history: each of the eight events in the contract's words, the last two hundred."""

import itertools

import pytest

from worker.orgsocket.history import EVENTS, LENGTH, Entry, History
from worker.orgsocket.link import (
    Connect,
    ConnectError,
    Disconnect,
    Error,
    LinkEvent,
    Reconnect,
    ReconnectAttempt,
    ReconnectError,
    ReconnectFailed,
)


@pytest.mark.parametrize(
    ("event", "entry"),
    [
        (Connect("http://hub", 2, "ack"), Entry(9.0, "connect", detail="session 2 with http://hub, receipt by ack")),
        (
            Disconnect("gone away", 1001, 61.25, 3),
            Entry(9.0, "disconnect", 1001, "gone away", "after 61.2 s; 3 notifications will be sent again"),
        ),
        (
            Disconnect("the service stops", None, 5.0, 0, ours=True),
            Entry(9.0, "disconnect", None, "the service stops", "after 5.0 s; closed by us"),
        ),
        (Error("an event", "nonsense"), Entry(9.0, "error", None, "nonsense", "an event")),
        (ConnectError(0, "refused"), Entry(9.0, "connect_error", None, "refused", "attempt 0")),
        (ReconnectAttempt(2, 5), Entry(9.0, "reconnect_attempt", detail="attempt 2 of 5")),
        (ReconnectAttempt(7, 0), Entry(9.0, "reconnect_attempt", detail="attempt 7")),
        (Reconnect(3), Entry(9.0, "reconnect", detail="at attempt 3")),
        (ReconnectError(1, "timed out"), Entry(9.0, "reconnect_error", None, "timed out", "attempt 1")),
        (ReconnectFailed(5, 7.5), Entry(9.0, "reconnect_failed", detail="after 5 attempts; again in 7.5 s")),
    ],
)
def test_an_event_is_told_in_the_words_of_the_contract(event: LinkEvent, entry: Entry) -> None:
    history = History(lambda: 9.0)
    history(event)
    assert history.entries() == [entry]


def test_all_eight_events_are_listened_to() -> None:
    assert len(EVENTS) == 8


def test_the_last_two_hundred_are_kept_the_newest_first() -> None:
    ticks = itertools.count()
    history = History(lambda: float(next(ticks)))
    for attempt in range(LENGTH + 7):
        history(ReconnectAttempt(attempt, 0))
    entries = history.entries()
    assert len(entries) == 200
    assert (entries[0].detail, entries[-1].detail) == ("attempt 206", "attempt 7")
    assert entries[0].at > entries[1].at
