"""Lines: their three forms, who may write them, and what can never be in them."""

import asyncio
import io
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger

from tests.support.attempts import a_job
from worker.console import LogOptions, enabled, printable, start_logging
from worker.events import (
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
from worker.failure import Failure
from worker.job import Job
from worker.logs import Logs
from worker.outcome import Attempt, Cancelled, Failed, Retry, Succeeded, Verdict
from worker.redact import Redactor

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
    return JobSettled(Attempt(job or a_job(), 100.0, 101.0, duration_ms, None, failure), outcome)


# -- forms -------------------------------------------------------------------------------------------------------


def test_a_simple_line_is_time_level_emoji_and_words(page_of: Callable[..., Page]) -> None:
    page, job = page_of(), a_job()
    Logs()(settled(Succeeded(None), job))
    [line] = page.lines
    assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d\d\d SUCCESS  ✅ echo job {job.id} succeeded in 12\.50 ms", line)


def test_a_systemd_line_begins_with_its_priority(page_of: Callable[..., Page]) -> None:
    page, logs = page_of("Systemd"), Logs()
    for event in (Announced("a"), Warned("b"), settled(Succeeded(None)), settled(Failed(FAILURE))):
        logs(event)
    assert [line.split(" ")[0] for line in page.lines] == ["<6>🚀", "<4>⚠️", "<5>✅", "<3>❌"]


def test_a_json_line_has_its_ids_bound(page_of: Callable[..., Page]) -> None:
    page = page_of("Json", environment="Staging", version="1.2.3")
    job = a_job(user_id="สมชาย", attempt=3)
    Logs()(settled(Failed(FAILURE), job))
    [record] = page.records
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("ts"))
    assert record == {
        "level": "ERROR",
        "event": "job_failed",
        "emoji": "❌",
        "msg": f"echo job {job.id} failed for good after attempt 3: ValueError: no luck [error 0123456789ab]",
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
def test_the_emoji_can_be_left_out(page_of: Callable[..., Page], formatter: str) -> None:
    page = page_of(formatter, emoji=False)
    Logs()(settled(Succeeded(None)))
    assert "✅" not in page.lines[0]
    assert "succeeded in" in page.lines[0]


def test_the_journal_is_known_by_its_socket(page_of: Callable[..., Page], monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        page_of()  # for its restoring
        start_logging(LogOptions(formatter="auto"), Redactor(), stream)
        Logs()(Announced("here"))
        assert theirs.recv(4096).decode().startswith("<6>🚀 here")
    logger.remove()


def test_any_other_stream_gets_simple_lines(page_of: Callable[..., Page]) -> None:
    page = page_of("auto")
    Logs()(Announced("here"))
    assert page.lines[0].endswith("INFO     🚀 here")


def test_a_reader_that_has_gone_stops_nothing(page_of: Callable[..., Page], tmp_path: Path) -> None:
    page = page_of()
    page.stream.close()
    Logs()(Announced("nobody reads this"))


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
def test_levels_decide_what_is_written(page_of: Callable[..., Page], levels: dict[str, str], written: set[str]) -> None:
    page = page_of("Json", levels=levels)
    for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
        logger.bind(category="worker").log(level, "x")
    assert {record["level"] for record in page.records} == written


def test_the_longest_prefix_of_a_category_decides(page_of: Callable[..., Page]) -> None:
    page = page_of("Json", levels={"Default": "Error", "a": "None", "a.b": "Debug", "a.b.c": "Warning"})
    for category in ("a", "a.x", "a.b", "a.b.x.y", "a.b.c", "a.b.c.d", "a.bc", "z"):
        for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
            logger.bind(category=category).log(level, "x")
    lowest: dict[str, str] = {}
    for record in page.records:
        lowest.setdefault(record["logger"], record["level"])
    assert lowest == {"a.b": "DEBUG", "a.b.x.y": "DEBUG", "a.b.c": "WARNING", "a.b.c.d": "WARNING", "z": "ERROR"}


@pytest.mark.parametrize(("level", "is_on"), [("DEBUG", False), ("INFO", False), ("WARNING", True)])
def test_it_can_be_asked_whether_a_level_is_written(level: str, is_on: bool) -> None:
    assert enabled(level, {"Default": "Debug", "worker": "Warning"}) == is_on
    assert not enabled(level, {"worker": "None"})


def test_lines_of_libraries_go_the_same_way(page_of: Callable[..., Page]) -> None:
    page = page_of("Json", levels={"noisy": "None"})
    logging.getLogger("some.library").warning("%s with hush-hush {braces}", "a line")
    logging.getLogger("noisy").error("x")
    logging.getLogger("socketio").info("emitting event with its payload")
    try:
        raise ValueError("no luck")
    except ValueError:
        logging.getLogger("some.library").exception("it failed")
    told = [(record["level"], record["logger"], record["msg"]) for record in page.records]
    assert told == [
        ("WARNING", "some.library", "a line with *** {braces}"),
        ("ERROR", "some.library", "it failed (ValueError: no luck)"),
    ]


# -- what can never be in a line -----------------------------------------------------------------------------------

EVIL = "a\nb\r\nc\x1b[31md\x00e\x85f\u2028g\u2029h\u202ei\u2066j\x7fk{0}{x}<red>%s"


@pytest.mark.parametrize("formatter", ["Simple", "Systemd", "Json"])
def test_no_value_can_forge_a_line_or_paint_the_terminal(page_of: Callable[..., Page], formatter: str) -> None:
    page, logs = page_of(formatter), Logs()
    job = a_job(EVIL, user_id=EVIL)
    logs(JobStarted(job))
    logs(settled(Failed(Failure(EVIL, EVIL, EVIL, "0123456789ab")), job))
    logs(LoopFailed(EVIL, ValueError(EVIL), 1.0))
    assert len(page.lines) == 3
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", "".join(page.lines))
    assert all("{0}{x}<red>%s" in line for line in page.lines)


@given(st.text())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_text_is_one_line(page_of: Callable[..., Page], text: str) -> None:
    for formatter in ("Simple", "Json"):
        page = page_of(formatter)
        Logs()(Warned(text))
        assert len(page.lines) == 1
    assert "msg" in page.records[0]


@pytest.mark.parametrize("formatter", ["Simple", "Json"])
def test_a_file_name_that_is_no_utf_8_does_not_swallow_its_line(page_of: Callable[..., Page], formatter: str) -> None:
    page = page_of(formatter)
    Logs()(JobStarted(a_job(user_id=os.fsdecode(b"\xa1\xa2"))))
    Logs()(Warned(os.fsdecode(b"no such file: \xa1\xa2.csv")))
    assert len(page.lines) == 2
    assert "\\udca1\\udca2.csv" in page.lines[1].replace("\\\\", "\\")


def test_thai_stays_as_it_is(page_of: Callable[..., Page]) -> None:
    text = "ที่นี่กำลังเสนอชื่อ ๒๕๖๙ ให้ผู้ใช้"
    assert printable(text) == text
    page = page_of("Json")
    Logs()(Warned(text))
    assert text in page.lines[0]


def test_numbers_and_secrets_are_masked_in_words_and_in_bound_values(page_of: Callable[..., Page]) -> None:
    page = page_of("Json")
    Logs()(JobStarted(a_job("echo", user_id="1101700203451")))
    Logs()(Warned("hush-hush 1-1017-00203-45-1"))
    assert "1101700203451" not in page.stream.getvalue()
    assert page.records[0]["user_id"] == "x" * 13
    assert page.records[1]["msg"] == "*** xxxxxxxxxxxxx"


def test_a_secret_at_the_edge_of_a_long_text_leaves_nothing_behind(page_of: Callable[..., Page]) -> None:
    for shift in range(12):
        page = page_of()
        Logs()(Warned("x" * (2048 - shift) + "hush-hush" + "y" * 50))
        assert "hush" not in page.lines[0]
        assert not re.search(r"x(h|hu|hus)…", page.lines[0])


def test_a_long_text_is_cut(page_of: Callable[..., Page]) -> None:
    page = page_of("Json")
    Logs()(Warned("ก" * 100_000))
    assert len(page.lines[0]) < 3000
    assert page.records[0]["msg"].endswith("…")


def test_payload_result_and_trace_are_never_written(page_of: Callable[..., Page]) -> None:
    page, logs = page_of("Json", levels={"Default": "Trace"}), Logs()
    job = a_job("echo", {"text": "private"})
    failure = Failure("ValueError", "ValueError: no luck", "Traceback: private", "0123456789ab")
    attempt = Attempt(job, 1.0, 2.0, 1.0, b'"private"', failure)
    for event in (
        JobStarted(job),
        JobSettled(attempt, Succeeded(b'"private"')),
        JobSettled(attempt, Retry(failure, 5.0)),
        JobSettled(attempt, Failed(failure)),
        JobSettled(attempt, Cancelled(failure)),
        JobsReleased((job,)),
        JobRecovered(Verdict(job, attempt)),
        JobRecovered(Verdict(job, None)),
    ):
        logs(event)
    assert len(page.lines) == 8
    assert "private" not in page.stream.getvalue()


def test_each_end_of_a_job_has_its_sign(page_of: Callable[..., Page]) -> None:
    page, logs = page_of("Json"), Logs()
    logs(JobStarted(a_job()))
    for outcome in (Succeeded(None), Retry(FAILURE, 106.0), Failed(FAILURE), Cancelled(FAILURE)):
        logs(settled(outcome))
    assert [(record["emoji"], record["level"], record["event"]) for record in page.records] == [
        ("⚙️", "INFO", "job_started"),
        ("✅", "SUCCESS", "job_succeeded"),
        ("⚠️", "WARNING", "job_retried"),
        ("❌", "ERROR", "job_failed"),
        ("🛑", "INFO", "job_cancelled"),
    ]
    assert "again in 5.0 s" in page.records[2]["msg"]


def test_a_blocked_loop_says_where(page_of: Callable[..., Page]) -> None:
    page = page_of()
    Logs()(LoopBlocked(1.25, '  File "x.py", line 1\n    sleep()'))
    assert page.lines[0].endswith('🐢 the event loop stood still for 1.2 s at:\\n  File "x.py", line 1\\n    sleep()')


def test_an_event_without_words_is_for_others(page_of: Callable[..., Page]) -> None:
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
        job = a_job(kind)
        logs(JobStarted(job))
        logs(settled(outcome or Succeeded(None), job))


async def test_up_to_100_jobs_a_second_each_has_its_lines(page_of: Callable[..., Page]) -> None:
    page, watch = page_of("Json"), Watch()
    logs = Logs(monotonic=watch)
    for _ in range(3):
        run(logs, 100)
        watch.seconds += 1
    assert len(page.lines) == 600


async def test_above_that_there_is_one_line_a_second(page_of: Callable[..., Page]) -> None:
    page = page_of("Json")
    logs = Logs(monotonic=Watch())
    run(logs, 5000)
    run(logs, 5, kind="rare")
    assert len(page.lines) == 210
    async with asyncio.timeout(5):
        while len(page.lines) == 210:
            await asyncio.sleep(0.02)
    summary = page.records[-1]
    assert len(page.lines) == 211
    assert (summary["event"], summary["kind"], summary["level"]) == ("jobs_summary", "echo", "INFO")
    assert summary["msg"] == (
        "echo: 4900 jobs in a second: 4900 succeeded, 0 failed, 0 to retry, 0 cancelled; 12.50 ms on average"
    )


async def test_a_steady_stream_does_not_begin_each_second_with_single_lines(page_of: Callable[..., Page]) -> None:
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


async def test_a_summary_is_as_loud_as_its_worst_end_and_is_told_before_the_end(page_of: Callable[..., Page]) -> None:
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


async def test_deliveries_are_counted_together(page_of: Callable[..., Page]) -> None:
    page, logs = page_of("Json"), Logs()
    for number in range(5):
        logs(NotificationsDelivered(3, number))
    logs(ServiceStopped(1, 2))
    assert [record["msg"] for record in page.records] == [
        "15 notifications confirmed by the server",
        "stopped: 1 jobs given back, 2 notifications wait for the next start",
    ]


def test_below_info_jobs_that_go_well_cost_nothing(page_of: Callable[..., Page]) -> None:
    page = page_of("Json")  # would write them
    run(Logs(info=False), 10)
    assert page.lines == []
