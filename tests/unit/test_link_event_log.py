"""The link's history: each of the eight events in the contract's words, the last two hundred."""

import itertools

import pytest

from worker.notifiers.socketio.event_log import EVENTS, LENGTH, LinkEventLog, LinkLogEntry
from worker.notifiers.socketio.events import (
    Connect,
    ConnectError,
    Disconnect,
    LinkEvent,
    Reconnect,
    ReconnectAttempt,
    ReconnectError,
    ReconnectFailed,
    ServerError,
)


@pytest.mark.parametrize(
    ("event", "entry"),
    [
        (
            Connect("http://hub", 2, "ack"),
            LinkLogEntry(9.0, "connect", detail="session 2 with http://hub, confirmation by ack"),
        ),
        (
            Disconnect("gone away", 1001, 61.25, 3),
            LinkLogEntry(9.0, "disconnect", 1001, "gone away", "after 61.2 s; 3 notifications will be sent again"),
        ),
        (
            Disconnect("the service stops", None, 5.0, 0, ours=True),
            LinkLogEntry(9.0, "disconnect", None, "the service stops", "after 5.0 s; closed by us"),
        ),
        (ServerError("an event", "nonsense"), LinkLogEntry(9.0, "error", None, "nonsense", "an event")),
        (ConnectError(0, "refused"), LinkLogEntry(9.0, "connect_error", None, "refused", "attempt 0")),
        (ReconnectAttempt(2, 5), LinkLogEntry(9.0, "reconnect_attempt", detail="attempt 2 of 5")),
        (ReconnectAttempt(7, 0), LinkLogEntry(9.0, "reconnect_attempt", detail="attempt 7")),
        (Reconnect(3), LinkLogEntry(9.0, "reconnect", detail="at attempt 3")),
        (ReconnectError(1, "timed out"), LinkLogEntry(9.0, "reconnect_error", None, "timed out", "attempt 1")),
        (ReconnectFailed(5, 7.5), LinkLogEntry(9.0, "reconnect_failed", detail="after 5 attempts; again in 7.5 s")),
    ],
)
def test_entry_has_the_name_and_text_of_its_event(event: LinkEvent, entry: LinkLogEntry) -> None:
    history = LinkEventLog(lambda: 9.0)
    history(event)
    assert history.entries() == [entry]


def test_event_log_records_all_eight_events() -> None:
    assert len(EVENTS) == 8


def test_entries_are_the_last_two_hundred_newest_first() -> None:
    ticks = itertools.count()
    history = LinkEventLog(lambda: float(next(ticks)))
    for attempt in range(LENGTH + 7):
        history(ReconnectAttempt(attempt, 0))
    entries = history.entries()
    assert len(entries) == 200
    assert (entries[0].detail, entries[-1].detail) == ("attempt 206", "attempt 7")
    assert entries[0].at > entries[1].at
