"""Log lines: the table, their three forms, their levels, and what must never be in them."""

import asyncio
import dataclasses
import io
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger

from tests.support.attempts import a_claimed_job
from worker.core import events
from worker.core.events import (
    Announced,
    JobRecovered,
    JobSettled,
    JobsReleased,
    JobStarted,
    LoopBlocked,
    LoopFailed,
    NotificationsDelivered,
    ServiceStopped,
    Warned,
)
from worker.core.failure import Failure
from worker.core.job import Job
from worker.core.outcome import Attempt, CancelledOutcome, Failed, RecoveryDecision, Retry, Succeeded
from worker.core.redact import Redactor
from worker.hub import events as hub_events
from worker.notifiers.socketio import events as link_events
from worker.observability import log_line, log_messages, log_table
from worker.observability.log_messages import Logs
from worker.observability.log_output import LogOptions, enabled, printable, start_logging

FAILURE = Failure("ValueError", "ValueError: no luck", "Traceback: ...", "0123456789ab")


@dataclass
class Page:
    """Where the lines go."""

    stream: io.StringIO

    @property
    def lines(self) -> list[str]:
        text = self.stream.getvalue()
        assert text == "" or text.endswith("\n")
        return text.split("\n")[:-1]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.lines]

    def clear(self) -> None:
        self.stream.seek(0)
        self.stream.truncate()


@pytest.fixture
def page_of() -> Iterator[Callable[..., Page]]:
    """Starts logging to a page; afterwards all is as before."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("socketio", "engineio", "aiohttp.access", "asyncio")}

    def start(formatter: str = "Simple", **options: Any) -> Page:
        page = Page(io.StringIO())
        start_logging(LogOptions(formatter=formatter, **options), Redactor.of(["hush-hush"]), page.stream)
        return page

    yield start
    logger.remove()
    root.handlers[:], root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def settled(outcome: Any, job: Job | None = None, duration_ms: float = 12.5) -> JobSettled:
    failure = None if isinstance(outcome, Succeeded) else outcome.failure
    return JobSettled(Attempt(job or a_claimed_job(), 100.0, 101.0, duration_ms, None, failure), outcome)


# -- the table -----------------------------------------------------------------------------------------------------

NOT_LOGGED = {events.JobsAccepted, events.WaitingJobCancelled}
"""Too frequent, or reported by the request that caused them."""
EMOJI = {"🚀", "⚙️", "✅", "❌", "🔄", "📡", "🛑", "⚠️", "🐢", "🔑", "🔌"}


def event_types(module: ModuleType) -> list[type]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__
    ]


@pytest.mark.parametrize("module", [events, hub_events, link_events])
def test_every_event_has_a_line_or_is_named_as_not_logged(module: ModuleType) -> None:
    known = {*log_table.LINES, *log_messages._WRITERS, *NOT_LOGGED}
    assert [kind.__name__ for kind in event_types(module) if kind not in known] == []


def test_every_line_has_a_known_level_and_emoji_and_a_name_in_snake_case() -> None:
    for line in log_table.all_lines():
        assert line.emoji in EMOJI, line
        assert line.level in {"DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR"}, line
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", line.name), line


SAMPLES: list[object] = [
    events.ServiceStarted("1.2.3", "Production", "/queue.db", None, ("echo", "noop")),
    events.StoreCreated("/queue.db"),
    events.Audited("local", "jobs.cancel", "{0}"),
    events.Audited("local", "workers.quiet", ""),
    events.ServiceStopping("SIGTERM", 2, 30.0),
    events.ServiceStopped(1, 2),
    events.SettingsReloaded((), ()),
    events.SettingsReloaded(("Worker:Timeout",), ("Http:Url",)),
    events.ReloadFailed("appsettings.json:1:2: no JSON"),
    events.StoreLost("postgresql://db/hr", "{refused}"),
    events.StoreLost("postgresql://db/hr", "{refused}", jobs_wait=False),
    events.StoreBack("postgresql://db/hr", 2.5),
    events.PartDegraded("storeLog", "it has {9} bytes", "end the program"),
    events.PartRecovered("storeLog", 7.0),
    events.ClockSet(-60.0),
    events.ListenerFailed("worker.a", ValueError("{bad}"), first=True),
    events.ListenerFailed("worker.a", ValueError("bad"), first=False),
    events.OwnershipLost(a_claimed_job()),
    events.HandlerAbandoned(a_claimed_job()),
    events.ResourcesShort(a_claimed_job(), "threads"),
    events.ResourcesSuffice(30.0),
    events.Pruned(7),
    events.NotificationRejected("n1", "j1", "{no}"),
    link_events.Connect("http://hub", 1, "ack"),
    link_events.Disconnect("done", 1000, 2.0, 0, ours=True),
    link_events.Disconnect("gone", 1006, 2.0, 3),
    link_events.Disconnect("gone", None, 2.0, 3),
    link_events.ServerError("ack", "late"),
    link_events.ServerError("ack", "late", alarm=True),
    link_events.ConnectError(1, "refused"),
    link_events.ReconnectAttempt(1, 5),
    link_events.ReconnectAttempt(1, 0),
    link_events.Reconnect(2),
    link_events.ReconnectError(2, "refused"),
    link_events.ReconnectFailed(5, 5.0),
    hub_events.KeyCreated("/hub.key"),
    hub_events.HubStarted("/api/v1/org-socket", "/hub.db"),
    hub_events.HubStopped(3, 0.25),
    hub_events.ClientConnected("c1", None, "websocket", "127.0.0.1", 0, None),
    hub_events.ClientDisconnected("c1", "u1", "websocket", "127.0.0.1", 1000, "left", 3.0, 1, 1),
    hub_events.ClientRejected("the port", "127.0.0.1", "no token"),
    hub_events.MessageRejected("c1", None, "not JSON"),
    hub_events.NotificationShown("c1", "u1", "n1"),
    hub_events.InboxFailed(OSError("disk")),
    hub_events.InboxRestored(),
    hub_events.SharedInboxLost("redis:6379", OSError()),
    hub_events.SharedInboxRestored("redis:6379", 1.5, 4),
    hub_events.InboxDamaged("redis:6379", "u1", "WRONGTYPE", "insignia-hub:0:u:u1"),
    hub_events.RevocationsUnreadable("redis:6379", "insignia-hub:0:revoked", "WRONGTYPE"),
    hub_events.RevocationsRead("redis:6379"),
    hub_events.InboxNotDurable("redis:6379", "appendonly is off"),
]


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_line_of_each_event_is_written_with_its_name(page_of: Callable[..., Page], event: object) -> None:
    page = page_of("Json", levels={"Default": "Trace"})
    Logs()(event)
    choice = log_table.LINES[type(event)]
    line = choice if isinstance(choice, log_line.LogLine) else choice(event)
    assert (page.records[0]["event"], page.records[0]["emoji"]) == (line.name, line.emoji)
    assert "event." not in page.records[0]["msg"]


def test_settings_that_wait_for_a_restart_have_a_line_of_their_own(page_of: Callable[..., Page]) -> None:
    page = page_of("Json")
    Logs()(events.SettingsReloaded(("Worker:Timeout",), ("Http:Url", "Hub:Redis")))
    assert [record["msg"] for record in page.records] == [
        "settings reloaded: Worker:Timeout",
        "restart to apply: Http:Url, Hub:Redis; the old values stay in effect until then",
    ]


# -- forms -------------------------------------------------------------------------------------------------------


def test_simple_line_is_time_level_emoji_and_text(page_of: Callable[..., Page]) -> None:
    page, job = page_of(), a_claimed_job()
    Logs()(settled(Succeeded(None), job))
    [line] = page.lines
    assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d\d\d SUCCESS  ✅ echo job {job.id} succeeded in 12\.50 ms", line)


def test_systemd_line_begins_with_its_priority(page_of: Callable[..., Page]) -> None:
    page, logs = page_of("Systemd"), Logs()
    for event in (Announced("a"), Warned("b"), settled(Succeeded(None)), settled(Failed(FAILURE))):
        logs(event)
    assert [line.split(" ")[0] for line in page.lines] == ["<6>🚀", "<4>⚠️", "<5>✅", "<3>❌"]


def test_json_line_of_a_failed_job_holds_its_ids(page_of: Callable[..., Page]) -> None:
    page = page_of("Json", environment="Staging", version="1.2.3")
    job = a_claimed_job(user_id="สมชาย", attempt=3)
    Logs()(settled(Failed(FAILURE), job))
    [record] = page.records
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("ts"))
    assert record == {
        "level": "ERROR",
        "event": "job_failed",
        "emoji": "❌",
        "msg": f"echo job {job.id} failed permanently after attempt 3: ValueError: no luck [error 0123456789ab]",
        "service": "insignia-worker",
        "version": "1.2.3",
        "env": "Staging",
        "logger": "worker",
        "pid": os.getpid(),
        "job_id": job.id,
        "kind": "echo",
        "user_id": "สมชาย",
        "attempt": 3,
        "elapsed_ms": 12.5,
        "error_type": "ValueError",
        "error_id": "0123456789ab",
    }


@pytest.mark.parametrize("formatter", ["Simple", "Systemd", "Json"])
def test_line_with_emoji_off_has_text_only(page_of: Callable[..., Page], formatter: str) -> None:
    page = page_of(formatter, emoji=False)
    Logs()(settled(Succeeded(None)))
    assert "✅" not in page.lines[0]
    assert "succeeded in" in page.lines[0]


def test_auto_form_on_the_journals_socket_is_systemd(
    page_of: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        page_of()  # for its restoring
        start_logging(LogOptions(formatter="auto"), Redactor(), stream)
        Logs()(Announced("here"))
        assert theirs.recv(4096).decode().startswith("<6>🚀 here")
    logger.remove()


def test_auto_form_on_another_stream_is_simple(page_of: Callable[..., Page]) -> None:
    page = page_of("auto")
    Logs()(Announced("here"))
    assert page.lines[0].endswith("INFO     🚀 here")


def test_line_to_a_closed_stream_raises_nothing(page_of: Callable[..., Page], tmp_path: Path) -> None:
    page = page_of()
    page.stream.close()
    Logs()(Announced("not written"))


# -- levels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "written"),
    [
        ({}, {"INFO", "WARNING", "ERROR"}),
        ({"Default": "Warning"}, {"WARNING", "ERROR"}),
        ({"Default": "None"}, set()),
        ({"Default": "Debug"}, {"DEBUG", "INFO", "WARNING", "ERROR"}),
        ({"Default": "None", "worker": "Error"}, {"ERROR"}),
        ({"WORKER": "Error"}, {"ERROR"}),
        ({"work": "Error"}, {"INFO", "WARNING", "ERROR"}),
        ({"worker.deep": "Error"}, {"INFO", "WARNING", "ERROR"}),
    ],
)
def test_lines_below_the_level_of_their_category_are_not_written(
    page_of: Callable[..., Page], levels: dict[str, str], written: set[str]
) -> None:
    page = page_of("Json", levels=levels)
    for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
        logger.bind(category="worker").log(level, "x")
    assert {record["level"] for record in page.records} == written


def test_level_of_a_category_is_that_of_its_longest_prefix(page_of: Callable[..., Page]) -> None:
    page = page_of("Json", levels={"Default": "Error", "a": "None", "a.b": "Debug", "a.b.c": "Warning"})
    for category in ("a", "a.x", "a.b", "a.b.x.y", "a.b.c", "a.b.c.d", "a.bc", "z"):
        for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
            logger.bind(category=category).log(level, "x")
    lowest: dict[str, str] = {}
    for record in page.records:
        lowest.setdefault(record["logger"], record["level"])
    assert lowest == {"a.b": "DEBUG", "a.b.x.y": "DEBUG", "a.b.c": "WARNING", "a.b.c.d": "WARNING", "z": "ERROR"}


@pytest.mark.parametrize(("level", "is_on"), [("DEBUG", False), ("INFO", False), ("WARNING", True)])
def test_enabled_says_whether_a_level_is_written(level: str, is_on: bool) -> None:
    assert enabled(level, {"Default": "Debug", "worker": "Warning"}) == is_on
    assert not enabled(level, {"worker": "None"})


def test_lines_of_libraries_are_written_redacted_and_without_payloads(page_of: Callable[..., Page]) -> None:
    page = page_of("Json", levels={"noisy": "None"})
    logging.getLogger("some.library").warning("%s with hush-hush {braces}", "a line")
    logging.getLogger("noisy").error("x")
    logging.getLogger("socketio").info("emitting event with its payload")
    try:
        raise ValueError("no luck")
    except ValueError:
        logging.getLogger("some.library").exception("it failed")
    reported = [(record["level"], record["logger"], record["msg"]) for record in page.records]
    assert reported == [
        ("WARNING", "some.library", "a line with *** {braces}"),
        ("ERROR", "some.library", "it failed (ValueError: no luck)"),
    ]


# -- what can never be in a line -----------------------------------------------------------------------------------

EVIL = "a\nb\r\nc\x1b[31md\x00e\x85f\u2028g\u2029h\u202ei\u2066j\x7fk{0}{x}<red>%s"


@pytest.mark.parametrize("formatter", ["Simple", "Systemd", "Json"])
def test_value_with_control_characters_stays_within_its_line(page_of: Callable[..., Page], formatter: str) -> None:
    page, logs = page_of(formatter), Logs()
    job = a_claimed_job(EVIL, user_id=EVIL)
    logs(JobStarted(job))
    logs(settled(Failed(Failure(EVIL, EVIL, EVIL, "0123456789ab")), job))
    logs(LoopFailed(EVIL, ValueError(EVIL), 1.0))
    assert len(page.lines) == 3
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", "".join(page.lines))
    assert all("{0}{x}<red>%s" in line for line in page.lines)


@given(st.text())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_written_as_one_line(page_of: Callable[..., Page], text: str) -> None:
    for formatter in ("Simple", "Json"):
        page = page_of(formatter)
        Logs()(Warned(text))
        assert len(page.lines) == 1
    assert "msg" in page.records[0]


@pytest.mark.parametrize("formatter", ["Simple", "Json"])
def test_file_name_that_is_not_utf_8_is_written_escaped(page_of: Callable[..., Page], formatter: str) -> None:
    page = page_of(formatter)
    Logs()(JobStarted(a_claimed_job(user_id=os.fsdecode(b"\xa1\xa2"))))
    Logs()(Warned(os.fsdecode(b"no such file: \xa1\xa2.csv")))
    assert len(page.lines) == 2
    assert "\\udca1\\udca2.csv" in page.lines[1].replace("\\\\", "\\")


def test_thai_text_is_written_unchanged(page_of: Callable[..., Page]) -> None:
    text = "ที่นี่กำลังเสนอชื่อ ๒๕๖๙ ให้ผู้ใช้"
    assert printable(text) == text
    page = page_of("Json")
    Logs()(Warned(text))
    assert text in page.lines[0]


def test_ids_and_secrets_are_masked_in_text_and_bound_values(page_of: Callable[..., Page]) -> None:
    page = page_of("Json")
    Logs()(JobStarted(a_claimed_job("echo", user_id="1101700203451")))
    Logs()(Warned("hush-hush 1-1017-00203-45-1"))
    assert "1101700203451" not in page.stream.getvalue()
    assert page.records[0]["user_id"] == "x" * 13
    assert page.records[1]["msg"] == "*** xxxxxxxxxxxxx"


def test_secret_at_the_cut_of_a_long_text_is_masked_whole(page_of: Callable[..., Page]) -> None:
    for shift in range(12):
        page = page_of()
        Logs()(Warned("x" * (2048 - shift) + "hush-hush" + "y" * 50))
        assert "hush" not in page.lines[0]
        assert not re.search(r"x(h|hu|hus)…", page.lines[0])


def test_long_text_is_cut(page_of: Callable[..., Page]) -> None:
    page = page_of("Json")
    Logs()(Warned("ก" * 100_000))
    assert len(page.lines[0]) < 3000
    assert page.records[0]["msg"].endswith("…")


def test_lines_about_jobs_hold_no_payload_result_or_trace(page_of: Callable[..., Page]) -> None:
    page, logs = page_of("Json", levels={"Default": "Trace"}), Logs()
    job = a_claimed_job("echo", {"text": "private"})
    failure = Failure("ValueError", "ValueError: no luck", "Traceback: private", "0123456789ab")
    attempt = Attempt(job, 1.0, 2.0, 1.0, b'"private"', failure)
    for event in (
        JobStarted(job),
        JobSettled(attempt, Succeeded(b'"private"')),
        JobSettled(attempt, Retry(failure, 5.0)),
        JobSettled(attempt, Failed(failure)),
        JobSettled(attempt, CancelledOutcome(failure)),
        JobsReleased((job,)),
        JobRecovered(RecoveryDecision(job, attempt)),
        JobRecovered(RecoveryDecision(job, None)),
    ):
        logs(event)
    assert len(page.lines) == 8
    assert "private" not in page.stream.getvalue()


def test_each_outcome_of_a_job_has_its_own_emoji_and_level(page_of: Callable[..., Page]) -> None:
    page, logs = page_of("Json"), Logs()
    logs(JobStarted(a_claimed_job()))
    for outcome in (Succeeded(None), Retry(FAILURE, 106.0), Failed(FAILURE), CancelledOutcome(FAILURE)):
        logs(settled(outcome))
    assert [(record["emoji"], record["level"], record["event"]) for record in page.records] == [
        ("⚙️", "INFO", "job_started"),
        ("✅", "SUCCESS", "job_succeeded"),
        ("⚠️", "WARNING", "job_retried"),
        ("❌", "ERROR", "job_failed"),
        ("🛑", "INFO", "job_cancelled"),
    ]
    assert "next attempt in 5.0 s" in page.records[2]["msg"]


def test_line_of_a_blocked_loop_holds_the_stack(page_of: Callable[..., Page]) -> None:
    page = page_of()
    Logs()(LoopBlocked(1.25, '  File "x.py", line 1\n    sleep()'))
    assert page.lines[0].endswith('🐢 the event loop was blocked for 1.2 s at:\\n  File "x.py", line 1\\n    sleep()')


def test_event_outside_the_table_writes_nothing(page_of: Callable[..., Page]) -> None:
    page = page_of()
    Logs()(object())
    assert page.lines == []


# -- many jobs a second --------------------------------------------------------------------------------------------


class Watch:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def run(logs: Logs, count: int, outcome: Any = None, kind: str = "echo") -> None:
    for _ in range(count):
        job = a_claimed_job(kind)
        logs(JobStarted(job))
        logs(settled(outcome or Succeeded(None), job))


async def test_100_jobs_a_second_are_written_one_by_one(page_of: Callable[..., Page]) -> None:
    page, watch = page_of("Json"), Watch()
    logs = Logs(monotonic=watch)
    for _ in range(3):
        run(logs, 100)
        watch.seconds += 1
    assert len(page.lines) == 600


async def test_more_than_100_jobs_a_second_are_written_as_a_summary(page_of: Callable[..., Page]) -> None:
    page = page_of("Json")
    logs = Logs(monotonic=Watch())
    run(logs, 5000)
    run(logs, 5, kind="rare")
    assert len(page.lines) == 210
    async with asyncio.timeout(30):
        while len(page.lines) == 210:
            await asyncio.sleep(0.02)
    summary = page.records[-1]
    assert len(page.lines) == 211
    assert (summary["event"], summary["kind"], summary["level"]) == ("jobs_summary", "echo", "INFO")
    assert summary["msg"] == (
        "echo: 4900 jobs in one second: 4900 succeeded, 0 failed, 0 to retry, 0 cancelled; 12.50 ms on average"
    )


async def test_steady_stream_begins_no_second_with_single_lines(page_of: Callable[..., Page]) -> None:
    page, watch = page_of("Json"), Watch()
    logs = Logs(monotonic=watch)
    run(logs, 500)
    page.clear()
    for _ in range(5):
        watch.seconds += 1
        run(logs, 500)
    assert page.lines == []
    watch.seconds += 1
    run(logs, 50)  # it ebbs away
    watch.seconds += 1
    page.clear()
    run(logs, 50)
    assert len(page.lines) == 100
    logs(ServiceStopped(0, 0))


async def test_summary_has_the_level_of_its_worst_outcome_and_is_written_at_the_stop(
    page_of: Callable[..., Page],
) -> None:
    page = page_of("Json", levels={"Default": "Warning"})
    logs = Logs(info=False, monotonic=Watch())
    run(logs, 150, Failed(FAILURE))
    run(logs, 150, Retry(FAILURE, 106.0), kind="other")
    assert len(page.lines) == 200
    logs(ServiceStopped(0, 0))
    assert [(record["kind"], record["level"]) for record in page.records[200:]] == [
        ("echo", "ERROR"),
        ("other", "WARNING"),
    ]
    assert "50 failed" in page.records[200]["msg"]


async def test_deliveries_within_a_moment_are_written_as_one_count(page_of: Callable[..., Page]) -> None:
    page, logs = page_of("Json"), Logs()
    for number in range(5):
        logs(NotificationsDelivered(3, number))
    logs(ServiceStopped(1, 2))
    assert [record["msg"] for record in page.records] == [
        "15 notifications confirmed by the server",
        "stopped: 1 jobs released, 2 notifications wait for the next start",
    ]


def test_successful_jobs_with_info_off_write_nothing(page_of: Callable[..., Page]) -> None:
    page = page_of("Json")  # would write them
    run(Logs(info=False), 10)
    assert page.lines == []
