"""The command line as a new user tries it: right things work, a wrong thing gets one clear line and its exit code."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import clean_environment, command, free_port, running_worker

HANDLERS = "--Worker:Handlers:0=tests.support.jobs"


def _one_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    return lines[0]


def test_a_job_is_durable_before_enqueue_returns_and_the_store_says_where_it_lies(tmp_path: Path) -> None:
    done = command(tmp_path, "enqueue", "noop", "--user", "อาทิตย์", HANDLERS)
    assert done.returncode == 0
    assert "state/queue.db" in _one_line(done.stderr)
    job_id = _one_line(done.stdout)
    again = command(tmp_path, "jobs", "show", job_id, HANDLERS)
    shown = json.loads(again.stdout)
    assert shown["status"] == "queued"
    assert shown["userId"] == "อาทิตย์"
    assert "อาทิตย์" in again.stdout
    assert again.stderr == ""


def test_a_job_may_go_before_others(tmp_path: Path) -> None:
    done = command(tmp_path, "enqueue", "noop", "--user", "u", "--priority", "7", HANDLERS)
    shown = command(tmp_path, "jobs", "show", _one_line(done.stdout), HANDLERS)
    assert json.loads(shown.stdout)["priority"] == 7
    assert command(tmp_path, "enqueue", "noop", "--user", "u", "--priority", "101", HANDLERS).returncode == 64


def test_the_same_key_answers_with_the_first_job_and_another_payload_is_a_conflict(tmp_path: Path) -> None:
    first = command(tmp_path, "enqueue", "noop", "--user", "u", "--id", "k", "--payload", '{"number": 1}', HANDLERS)
    same = command(tmp_path, "enqueue", "noop", "--user", "u", "--id", "k", "--payload", '{"number":1}', HANDLERS)
    other = command(tmp_path, "enqueue", "noop", "--user", "u", "--id", "k", "--payload", '{"number": 2}', HANDLERS)
    assert first.stdout == same.stdout != ""
    assert other.returncode == 65
    assert first.stdout.strip() in _one_line(other.stderr)


def test_lines_from_stdin_give_one_id_each(tmp_path: Path) -> None:
    lines = "".join(f'{{"userId": "u{n}", "payload": {{"number": {n}}}, "id": "key-{n}"}}\n' for n in range(2500))
    done = command(tmp_path, "enqueue", "noop", "--stdin", HANDLERS, stdin=lines)
    assert done.returncode == 0, done.stderr
    ids = done.stdout.split()
    assert len(set(ids)) == 2500
    again = command(tmp_path, "enqueue", "noop", "--stdin", HANDLERS, stdin=lines)
    assert again.stdout.split() == ids


def test_a_bad_line_is_named_and_the_lines_before_it_are_kept(tmp_path: Path) -> None:
    lines = '{"userId": "u"}\n{"userId": "u"}\n{"userId": nobody}\n{"userId": "u"}\n'
    done = command(tmp_path, "enqueue", "noop", "--stdin", HANDLERS, stdin=lines)
    assert done.returncode == 65
    assert "line 3" in done.stderr
    assert len(done.stdout.split()) == 2


WRONG: dict[str, tuple[list[str], int, str]] = {
    "unknown kind": (["enqueue", "nope", "--user", "u"], 65, "insignia_background_processing"),
    "bad JSON": (["enqueue", "noop", "--user", "u", "--payload", "{number}"], 65, "not valid JSON"),
    "JSON that is no object": (["enqueue", "noop", "--user", "u", "--payload", "[1]"], 65, "must be a JSON object"),
    "payload that does not fit": (["enqueue", "noop", "--user", "u", "--payload", '{"number": "x"}'], 65, "number"),
    "payload file missing": (["enqueue", "noop", "--user", "u", "--payload", "@nope.json"], 65, "nope.json"),
    "no user": (["enqueue", "noop"], 65, "DefaultUserId"),
    "unknown command": (["nope"], 64, "nope"),
    "unknown option": (["enqueue", "noop", "--nope"], 64, "--nope"),
    "typo in a setting": (["config", "check", "--WebSocket:ReconectionDelay=5"], 78, "WebSocket:ReconnectionDelay"),
    "typo in a section": (["config", "check", "--WebSokcet:Url=http://h"], 78, "WebSocket"),
    "setting out of bounds": (["config", "check", "--Worker:Concurrency=0"], 78, "Worker:Concurrency"),
    "unknown job": (["jobs", "show", "nope"], 65, "nope"),
    "unknown notification": (["notifications", "resend", "nope"], 65, "nope"),
    "unknown state": (["jobs", "list", "--state", "lost"], 65, "queued"),
    "handlers that do not exist": (["config", "check", "--Worker:Handlers:1=nope.at_all"], 78, "nope.at_all"),
    "health without a service": (["health"], 69, "no service"),
    "missing roster": (["evaluate", "nope.csv", "--round", "2569"], 65, "nope.csv"),
    "a round of our era": (["evaluate", "nope.csv", "--round", "2026"], 65, "2569"),
    "no round": (["evaluate", "nope.csv"], 64, "--round"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gets_one_clear_line_and_the_right_exit_code(tmp_path: Path, case: str) -> None:
    arguments, code, hint = WRONG[case]
    done = command(tmp_path, *arguments, HANDLERS)
    lines = [line for line in done.stderr.splitlines() if "new store created" not in line]
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert hint in lines[0]
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_taken_port_ends_the_service_with_69(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command(tmp_path, "run", f"--Http:Url=http://127.0.0.1:{port}", "--Logging:LogLevel:Default=None")
    assert done.returncode == 69
    assert str(port) in _one_line(done.stderr)


def test_a_state_path_that_cannot_be_written_ends_with_73(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("I am no folder")
    done = command(tmp_path, "enqueue", "noop", "--user", "u", HANDLERS, f"--Queue:Path={tmp_path}/file/queue.db")
    assert done.returncode == 73
    assert "file" in _one_line(done.stderr)


def test_a_file_that_is_no_store_ends_with_74_and_is_left_as_it_is(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "queue.db").write_bytes(b"certainly no database" * 100)
    done = command(tmp_path, "enqueue", "noop", "--user", "u", HANDLERS)
    assert done.returncode == 74
    assert "queue.db" in _one_line(done.stderr)
    assert (state / "queue.db").read_bytes() == b"certainly no database" * 100


def test_recover_saves_what_is_in_a_store_and_keeps_the_old_file(tmp_path: Path) -> None:
    job_id = command(tmp_path, "enqueue", "noop", "--user", "u", HANDLERS).stdout.strip()
    saved = command(tmp_path, "db", "recover", HANDLERS)
    assert saved.returncode == 0, saved.stderr
    assert "1 jobs" in saved.stderr
    assert command(tmp_path, "db", "check", HANDLERS).returncode == 0
    assert json.loads(command(tmp_path, "jobs", "show", job_id, HANDLERS).stdout)["status"] == "queued"
    assert len(list((tmp_path / "state").glob("queue.db*"))) > 2


async def test_wait_follows_a_job_to_its_end_and_tells_by_its_exit_code(tmp_path: Path) -> None:
    port = free_port()
    settings = [HANDLERS, f"--Http:Url=http://127.0.0.1:{port}", f"--WebSocket:Url=http://127.0.0.1:{port}"]
    async with running_worker(tmp_path, *settings):
        good = command(
            tmp_path, "enqueue", "sleep", "--user", "u", "--payload", '{"seconds": 0.2}', "--wait", *settings
        )
        bad = command(
            tmp_path, "enqueue", "discard", "--user", "u", "--payload", '{"text": "ไม่พบ"}', "--wait", *settings
        )
    assert good.returncode == 0
    assert bad.returncode == 1
    assert "ไม่พบ" in bad.stderr


def test_the_entry_point_refuses_to_run_beside_another_package_called_config(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "__init__.py").write_text("")
    environ = clean_environment()
    environ["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{environ['PYTHONPATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "worker", "--version"], capture_output=True, text=True, env=environ, cwd=tmp_path
    )
    assert done.returncode == 70
    assert str(tmp_path / "config") in _one_line(done.stderr)


def test_config_show_tells_where_each_value_comes_from_and_masks_secrets(tmp_path: Path) -> None:
    (tmp_path / "appsettings.json").write_text('{ "Worker": { "Concurrency": 7 } // seven\n}')
    done = command(tmp_path, "config", "show", "--json", WebSocket__Token="very-secret-token")
    rows = {row["key"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["Worker:Concurrency"]["value"] in (7, "7")
    assert "appsettings.json" in rows["Worker:Concurrency"]["origin"]
    assert rows["WebSocket:Token"]["value"] == "***"
    assert "WebSocket__Token" in rows["WebSocket:Token"]["origin"]
    assert "very-secret" not in done.stdout + done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    shell = f"{sys.executable} -m worker config show --json --contentRoot {tmp_path} | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}"], capture_output=True, text=True, env=clean_environment()
    )
    assert done.stderr == ""
