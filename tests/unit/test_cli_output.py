"""Tables on a terminal: ids are never cut, times are local, durations have units, states have colours."""

import io
import os
import socket
import sys

import pytest

from worker.cli.commands.jobs import JOB_COLUMNS
from worker.cli.output import Column, duration_text, fitting_widths, local_time, print_error, print_rows, print_warning

JOB = {
    "jobId": "01a2259e-d63d-7f35-9ca3-85872a83ecb8",
    "status": "failed",
    "createdAt": "2026-11-29T04:44:53.879Z",
    "durationMs": 65_000,
    "taskType": "insignia_background_processing",
    "error": "ไม่พบรายชื่อ " * 20,
    "userId": "u",
    "attempt": 3,
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def printed(monkeypatch):
    """Return a function that prints jobs on a terminal of some width and returns the lines."""

    def on(width, **environ):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        for name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"COLUMNS": str(width), "TERM": "xterm", "TZ": "UTC", **environ}.items():
            monkeypatch.setenv(name, value)
        print_rows([JOB], JOB_COLUMNS, as_json=False)
        return terminal.getvalue().splitlines()

    return on


@pytest.mark.parametrize(
    ("value", "shown"), [(True, "true"), (None, ""), ("a", "a"), (5.0, "5.0"), (1000, "1000"), ([], "[]"), ({}, "{}")]
)
def test_value_of_a_table_is_shown_as_a_settings_file_has_it(value, shown):
    assert Column("value", "value").format(value) == shown


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_job_list_shows_ids_whole_in_one_line_each_at_every_width(printed, width):
    lines = printed(width)
    assert len(lines) == 2
    assert JOB["jobId"] in lines[1]


def test_job_list_at_80_columns_shows_state_times_and_the_beginning_of_the_kind(printed):
    heading, row = printed(80, NO_COLOR="1")
    assert "error" not in heading
    assert row.split("  ")[0].split()[:2] == [JOB["jobId"], "failed"]
    assert "1 min 5 s" in row
    assert "insign" in row


def test_job_list_at_200_columns_shows_every_column(printed):
    heading, row = printed(200, NO_COLOR="1")
    assert all(column.heading in heading for column in JOB_COLUMNS)
    assert JOB["taskType"] in row


def test_job_list_colours_states_unless_no_color_is_set(printed):
    assert "\x1b[31mfailed" in printed(120)[1]
    assert "\x1b[31m" not in printed(120, NO_COLOR="1")[1]


def test_shortened_columns_share_what_the_others_leave():
    columns = [Column("a", "a"), Column("b", "b", overflow="ellipsis"), Column("c", "c", overflow="ellipsis")]
    assert fitting_widths(columns, [10, 5, 100], 40) == {0: 10, 1: 5, 2: 22}
    assert fitting_widths(columns, [10, 100, 100], 25) == {0: 10, 1: 13}
    assert fitting_widths(columns, [10, 100, 100], 12) == {0: 10}


def test_local_time_is_in_the_time_zone_of_the_machine(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Asia/Bangkok")
    time.tzset()
    try:
        assert local_time("2026-11-29T20:44:53.879Z") == "30 Nov 03:44"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert local_time(None) == ""


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, ""),
        (0, "0 ms"),
        (999, "999 ms"),
        (1240, "1.2 s"),
        (125_000, "2 min 5 s"),
        (59_999, "60.0 s"),
        (11_520_000, "3 h 12 min"),
    ],
)
def test_duration_text_has_units(milliseconds, text):
    assert duration_text(milliseconds) == text


def test_message_to_the_journal_has_its_level(monkeypatch):
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setattr(sys, "stderr", stream)
        print_error("elsewhere")
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        print_error("it does not start")
        print_warning("it is old")
        assert theirs.recv(4096).decode().splitlines() == [
            "insignia-worker: elsewhere",
            "<3>insignia-worker: it does not start",
            "<4>insignia-worker: warning: it is old",
        ]
