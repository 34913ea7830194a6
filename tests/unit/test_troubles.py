"""Each trouble has one line in the log when it begins and one when it is over, however often something fails."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson
import pytest
from loguru import logger

from tests.support.attempts import a_claimed_job
from worker.core.events import (
    ClockSet,
    IntakeRefused,
    LoopFailed,
    LoopRecovered,
    PartDegraded,
    PartRecovered,
    ReloadFailed,
    ResourcesShort,
    ResourcesSuffice,
    SettingsReloaded,
    StoreBack,
    StoreLost,
)
from worker.core.redact import Redactor
from worker.errors import StoreAway, StoreFull, StoreLocked
from worker.hub.events import InboxFailed, InboxRestored, SharedInboxLost, SharedInboxRestored
from worker.notifiers.socketio.events import (
    Connect,
    ConnectError,
    Disconnect,
    Reconnect,
    ReconnectAttempt,
    ReconnectError,
    ReconnectFailed,
)
from worker.observability.log_messages import Logs
from worker.observability.log_output import LogOptions, start_logging

LOCKED, FULL, AWAY = StoreLocked("locked by another program"), StoreFull("no room"), StoreAway("no answer")
CLAIMING, SETTLING, WRITING, ROOM = "claiming jobs", "settling jobs", "writing to the store", "accepting jobs"


@dataclass
class Case:
    """The events of a trouble, and the lines that they lead to."""

    begin: list[object]
    first: list[str]
    end: list[object] = field(default_factory=list)
    last: list[str] = field(default_factory=list)


def _attempts(cause: str) -> list[object]:
    return [
        event
        for number in range(1, 4)
        for event in (ReconnectAttempt(number, 3), ConnectError(number, cause), ReconnectError(number, cause))
    ]


CASES = {
    "the store is locked": Case(
        [LoopFailed(WRITING, LOCKED, 1.0), *[LoopFailed(SETTLING, LOCKED, 5.0)] * 3, LoopFailed(CLAIMING, LOCKED, 5.0)],
        ["loop_failed"],
        [LoopRecovered(SETTLING), LoopRecovered(WRITING), LoopRecovered(CLAIMING)],
        ["loop_recovered"],
    ),
    "the store is locked when a slow loop wakes": Case(
        [LoopFailed("pruning old jobs", LOCKED, 60.0), LoopFailed(WRITING, LOCKED, 1.0)],
        ["loop_failed"],
        [LoopRecovered(WRITING), LoopRecovered("pruning old jobs")],
        ["loop_recovered"],
    ),
    "a slow loop alone fails": Case(
        [LoopFailed("pruning old jobs", LOCKED, 60.0)],
        ["loop_failed"],
        [LoopRecovered("pruning old jobs")],
        ["loop_recovered"],
    ),
    "the disk is full": Case(
        [IntakeRefused("no room"), LoopFailed(SETTLING, FULL, 5.0), LoopFailed(ROOM, FULL, 1.0)],
        ["store_full"],
        [LoopRecovered(ROOM), LoopRecovered(CLAIMING), LoopRecovered(SETTLING)],
        ["loop_recovered"],
    ),
    "the disk is full while no job waits": Case(
        [LoopFailed(ROOM, FULL, 1.0)], ["store_full"], [LoopRecovered(ROOM)], ["loop_recovered"]
    ),
    "PostgreSQL is away": Case(
        [LoopFailed("reading the outbox", AWAY, 5.0), StoreLost("db", "refused"), LoopFailed(WRITING, AWAY, 1.0)],
        ["store_lost"],
        [StoreBack("db", 9.0), LoopRecovered(WRITING), LoopRecovered("reading the outbox")],
        ["store_back"],
    ),
    "the server is away": Case(
        [Disconnect("lost", 1006, 9.0, 2), *_attempts("refused"), ReconnectFailed(3, 5.0), *_attempts("refused")],
        ["link_disconnect", "link_reconnect_attempt", "link_connect_error", "link_reconnect_failed"],
        [Connect("http://hub", 2, "ack"), Reconnect(3)],
        ["link_connect", "link_reconnect"],
    ),
    "the server is away for another reason": Case(
        [*_attempts("refused"), *_attempts("no such host"), *_attempts("refused")],
        ["link_reconnect_attempt", "link_connect_error", "link_connect_error"],
        [Connect("http://hub", 1, "ack")],
        ["link_connect"],
    ),
    "threads or open files are short": Case(
        [ResourcesShort(a_claimed_job(), "threads")],
        ["resources_short"],
        [ResourcesSuffice(30.0)],
        ["resources_suffice"],
    ),
    "a reader keeps the store's log": Case(
        [PartDegraded("storeLog", "process 1 reads", "end it")],
        ["part_degraded"],
        [PartRecovered("storeLog", 60.0)],
        ["part_recovered"],
    ),
    "the settings are wrong": Case(
        [ReloadFailed("a typo")], ["reload_failed"], [SettingsReloaded((), ())], ["settings_reloaded"]
    ),
    "the hub's inbox fails": Case(
        [InboxFailed(OSError("disk"))], ["inbox_failed"], [InboxRestored()], ["inbox_restored"]
    ),
    "Redis is away": Case(
        [SharedInboxLost("redis", OSError("refused"))],
        ["shared_inbox_lost"],
        [SharedInboxRestored("redis", 3.0, 1)],
        ["shared_inbox_restored"],
    ),
    "a defect lets a loop fail": Case(
        [*[LoopFailed("pruning old jobs", ValueError("bad"), 60.0)] * 3],
        ["loop_failed"],
        [LoopRecovered("pruning old jobs")],
        ["loop_recovered"],
    ),
    "two defects": Case(
        [LoopFailed(CLAIMING, KeyError("a"), 5.0), LoopFailed(SETTLING, KeyError("b"), 5.0)],
        ["loop_failed", "loop_failed"],
        [LoopRecovered(CLAIMING), LoopRecovered(SETTLING)],
        ["loop_recovered", "loop_recovered"],
    ),
    "the clock is set": Case([ClockSet(-3600.0)], ["clock_set"]),
}


@pytest.fixture
def page() -> Iterator[io.StringIO]:
    """What is logged, as JSON, at the default level."""
    page = io.StringIO()
    start_logging(LogOptions(formatter="Json"), Redactor.of([]), page)
    yield page
    logger.remove()


def _written(logs: Logs, page: io.StringIO, events: list[object]) -> list[str]:
    before = len(page.getvalue())
    for event in events:
        logs(event)
    return [orjson.loads(line)["event"] for line in page.getvalue()[before:].splitlines()]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_trouble_has_one_line_at_its_begin_and_one_at_its_end_each_time(page: io.StringIO, case: Case) -> None:
    logs = Logs()
    for _ in range(2):
        assert _written(logs, page, case.begin) == case.first
        assert _written(logs, page, case.end) == case.last


def test_end_says_how_long_it_took_and_how_often_it_failed(page: io.StringIO) -> None:
    now = 100.0
    logs = Logs(monotonic=lambda: now)
    _written(logs, page, [LoopFailed(WRITING, LOCKED, 1.0), LoopFailed(SETTLING, LOCKED, 5.0)])
    now = 112.5
    _written(logs, page, [LoopRecovered(WRITING), LoopRecovered(SETTLING)])
    assert "writing to the store works again after 12.5 s and 2 failures" in page.getvalue()
