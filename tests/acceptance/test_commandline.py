"""The commands as processes: what they print, and one line and an exit code for wrong input."""

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.support.chosen_store import store_environment
from tests.support.ports import free_port
from tests.support.process import clean_environment, command, create_store, running_worker
from worker.api.routes.notifications import DeliveryStatus
from worker.cli import app
from worker.cli.commands.jobs import ListedDelivery, ListedState
from worker.core.job import JobState

HANDLERS = "--Worker:Handlers:0=tests.support.jobs"


def _one_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    return lines[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["enqueue", "noop", "--user", "u"],
        ["jobs", "list"],
        ["notifications", "list"],
        ["db", "check"],
        ["db", "recover"],
        ["db", "backup", "backup"],
        ["db", "restore"],
        ["token", "--user", "u"],
        ["listen", "--user", "u"],
        ["health"],
        ["config", "show"],
        ["config", "check"],
    ],
    ids=" ".join,
)
def test_command_without_a_store_creates_nothing_and_names_the_remedy(tmp_path: Path, arguments: list[str]) -> None:
    done = command(tmp_path, *arguments, HANDLERS)
    assert list(tmp_path.iterdir()) == []
    if arguments[0] == "config":
        assert done.returncode == 0
        return
    assert done.returncode == 69
    assert done.stdout == ""
    if arguments[0] not in ("db", "health"):
        assert "insignia-worker run" in _one_line(done.stderr)


def test_command_without_a_home_creates_nothing(tmp_path: Path) -> None:
    environ = clean_environment({"HOME": str(tmp_path / "missing")})
    done = subprocess.run(
        [sys.executable, "-m", "worker", "jobs", "list"], capture_output=True, text=True, env=environ, cwd=tmp_path
    )
    assert done.returncode == 69
    assert list(tmp_path.iterdir()) == []


def test_enqueue_without_a_service_stores_the_job(tmp_path: Path) -> None:
    create_store(tmp_path)
    done = command(tmp_path, "enqueue", "noop", "--user", "อาทิตย์", HANDLERS)
    assert done.returncode == 0
    assert done.stderr == ""
    job_id = _one_line(done.stdout)
    again = command(tmp_path, "jobs", "show", job_id, HANDLERS)
    shown = json.loads(again.stdout)
    assert shown["status"] == "queued"
    assert shown["userId"] == "อาทิตย์"
    assert "อาทิตย์" in again.stdout
    assert again.stderr == ""


def test_enqueue_with_a_priority_stores_it(tmp_path: Path) -> None:
    create_store(tmp_path)
    done = command(tmp_path, "enqueue", "noop", "--user", "u", "--priority", "7", HANDLERS)
    shown = command(tmp_path, "jobs", "show", _one_line(done.stdout), HANDLERS)
    assert json.loads(shown.stdout)["priority"] == 7
    assert command(tmp_path, "enqueue", "noop", "--user", "u", "--priority", "101", HANDLERS).returncode == 64


def test_enqueue_with_a_known_key_returns_the_first_job_or_a_conflict(tmp_path: Path) -> None:
    create_store(tmp_path)
    first = command(tmp_path, "enqueue", "noop", "--user", "u", "--id", "k", "--payload", '{"number": 1}', HANDLERS)
    same = command(tmp_path, "enqueue", "noop", "--user", "u", "--id", "k", "--payload", '{"number":1}', HANDLERS)
    other = command(tmp_path, "enqueue", "noop", "--user", "u", "--id", "k", "--payload", '{"number": 2}', HANDLERS)
    assert first.stdout == same.stdout != ""
    assert other.returncode == 65
    assert first.stdout.strip() in _one_line(other.stderr)


def test_enqueue_with_an_empty_key_or_user_is_rejected_and_not_taken_for_none(tmp_path: Path) -> None:
    create_store(tmp_path)
    user = "--WebSocket:DefaultUserId=u"
    for option, field in (("--id", "id"), ("--user", "userId")):
        done = command(tmp_path, "enqueue", "noop", option, "", HANDLERS, user)
        assert done.returncode == 65
        assert f"{field}: String should have at least 1 character" in _one_line(done.stderr)
        assert command(tmp_path, "enqueue", "noop", "--stdin", option, "", HANDLERS, user, stdin="{}\n").returncode != 0


def test_enqueue_lines_from_stdin_prints_one_id_each(tmp_path: Path) -> None:
    create_store(tmp_path)
    lines = "".join(f'{{"userId": "u{n}", "payload": {{"number": {n}}}, "id": "key-{n}"}}\n' for n in range(2500))
    done = command(tmp_path, "enqueue", "noop", "--stdin", HANDLERS, stdin=lines)
    assert done.returncode == 0, done.stderr
    ids = done.stdout.split()
    assert len(set(ids)) == 2500
    again = command(tmp_path, "enqueue", "noop", "--stdin", HANDLERS, stdin=lines)
    assert again.stdout.split() == ids


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_enqueue_accepts_lines_and_payload_files_as_windows_tools_write_them(tmp_path: Path, encoding: str) -> None:
    create_store(tmp_path)
    lines = "".join(f'{{"userId": "ผู้ใช้{n}", "id": "key-{n}"}}\r\n' for n in range(3))
    done = command(tmp_path, "enqueue", "noop", "--stdin", HANDLERS, stdin=lines.encode(encoding))
    assert (done.returncode, len(done.stdout.split())) == (0, 3), done.stderr
    (tmp_path / "payload.json").write_bytes('{"number": 7}'.encode(encoding))
    done = command(tmp_path, "enqueue", "noop", "--user", "u", "--payload", "@payload.json", HANDLERS)
    assert done.returncode == 0, done.stderr


def test_enqueue_with_a_bad_line_names_it_and_stores_the_lines_before(tmp_path: Path) -> None:
    create_store(tmp_path)
    lines = '{"userId": "u"}\n{"userId": "u"}\n{"userId": unquoted}\n{"userId": "u"}\n'
    done = command(tmp_path, "enqueue", "noop", "--stdin", HANDLERS, stdin=lines)
    assert done.returncode == 65
    assert "line 3" in done.stderr
    assert len(done.stdout.split()) == 2


WRONG: dict[str, tuple[list[str], int, str]] = {
    "unknown kind": (["enqueue", "nope", "--user", "u"], 65, "insignia_background_processing"),
    "bad JSON": (["enqueue", "noop", "--user", "u", "--payload", "{number}"], 65, "not valid JSON"),
    "JSON that is not an object": (["enqueue", "noop", "--user", "u", "--payload", "[1]"], 65, "must be a JSON object"),
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
    "unknown notification to set aside": (["notifications", "set-aside", "nope"], 65, "nope"),
    "unknown state": (["jobs", "list", "--state", "lost"], 64, "queued"),
    "handlers that do not exist": (["config", "check", "--Worker:Handlers:1=nope.at_all"], 78, "nope.at_all"),
    "health without a service": (["health"], 69, "no service"),
    "missing roster": (["evaluate", "nope.csv", "--round", "2569"], 65, "nope.csv"),
    "a round of our era": (["evaluate", "nope.csv", "--round", "2026"], 65, "2569"),
    "no round": (["evaluate", "nope.csv"], 64, "--round"),
}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["jobs", "list", "--state", "lost"], "queued"),
        (["notifications", "list", "--state", "lost"], "pending"),
        (["enqueue", "noop", "--user", "u", "--run-at", "tomorrow"], "--run-at tomorrow"),
        (["enqueue", "noop", "--user", "u", "--run-at", "2026-12-05T08:00:00"], "with its offset"),
        (["doctor", "bundle", "there.zip"], "name a new file"),
    ],
)
def test_arguments_are_checked_before_anything_is_contacted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], hint: str
) -> None:
    """There is neither a service nor a store, and the settings are faulty."""
    (tmp_path / "there.zip").touch()
    (tmp_path / "appsettings.json").write_text("{", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert app.run([*arguments, "--contentRoot", str(tmp_path)]) == 64
    assert hint in _one_line(capsys.readouterr().err)


def test_states_of_lists_are_those_of_the_api() -> None:
    assert [state.value for state in ListedState] == [state.value for state in JobState]
    assert tuple(state.value for state in ListedDelivery) == get_args(DeliveryStatus)


@pytest.mark.parametrize("case", WRONG)
def test_command_with_wrong_input_prints_one_line_and_its_exit_code(tmp_path: Path, case: str) -> None:
    create_store(tmp_path)
    arguments, code, hint = WRONG[case]
    done = command(tmp_path, *arguments, HANDLERS)
    assert done.returncode == code, done.stderr
    assert hint in _one_line(done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_run_with_a_port_in_use_exits_with_69(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command(tmp_path, "run", f"--Http:Url=http://127.0.0.1:{port}", "--Logging:LogLevel:Default=None")
    assert done.returncode == 69
    assert str(port) in _one_line(done.stderr)


def test_enqueue_with_an_unwritable_store_path_exits_with_73(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = command(tmp_path, "enqueue", "noop", "--user", "u", HANDLERS, f"--Queue:Path={tmp_path}/file/queue.db")
    assert done.returncode == 73
    assert "file" in _one_line(done.stderr)


def test_enqueue_with_a_file_that_is_not_a_store_exits_with_74_and_keeps_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "queue.db").write_bytes(b"not a database at all" * 100)
    done = command(tmp_path, "enqueue", "noop", "--user", "u", HANDLERS)
    assert done.returncode == 74
    assert "queue.db" in _one_line(done.stderr)
    assert (state / "queue.db").read_bytes() == b"not a database at all" * 100


def test_commands_report_a_store_whose_file_is_gone_as_damage(tmp_path: Path) -> None:
    create_store(tmp_path)
    assert command(tmp_path, "enqueue", "noop", "--user", "u", HANDLERS).returncode == 0
    (tmp_path / "state" / "queue.db").unlink()
    for arguments in (["db", "check"], ["jobs", "list"]):
        done = command(tmp_path, *arguments, HANDLERS)
        assert (done.returncode, "queue.db is missing" in _one_line(done.stderr)) == (74, True), done.stderr
    assert not (tmp_path / "state" / "queue.db").exists()


def test_recover_copies_the_store_and_keeps_the_old_file(tmp_path: Path) -> None:
    create_store(tmp_path)
    job_id = command(tmp_path, "enqueue", "noop", "--user", "u", HANDLERS).stdout.strip()
    saved = command(tmp_path, "db", "recover", HANDLERS)
    assert saved.returncode == 0, saved.stderr
    assert "1 jobs" in saved.stderr
    assert command(tmp_path, "db", "check", HANDLERS).returncode == 0
    assert json.loads(command(tmp_path, "jobs", "show", job_id, HANDLERS).stdout)["status"] == "queued"
    assert len(list((tmp_path / "state").glob("queue.db*"))) > 2


async def test_enqueue_with_wait_exits_with_the_outcome_of_the_job(tmp_path: Path) -> None:
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


def test_start_with_another_package_called_config_exits_with_70(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "__init__.py").write_text("")
    environ = clean_environment()
    environ["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{environ['PYTHONPATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "worker", "--version"], capture_output=True, text=True, env=environ, cwd=tmp_path
    )
    assert done.returncode == 70
    assert str(tmp_path / "config") in _one_line(done.stderr)


def test_config_show_prints_origins_and_masks_secrets(tmp_path: Path) -> None:
    (tmp_path / "appsettings.json").write_text('{ "Worker": { "Concurrency": 7 } // seven\n}')
    done = command(tmp_path, "config", "show", "--json", WebSocket__Token="very-secret-token")
    rows = {row["key"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["Worker:Concurrency"]["value"] in (7, "7")
    assert "appsettings.json" in rows["Worker:Concurrency"]["origin"]
    assert rows["WebSocket:Token"]["value"] == "***"
    assert "WebSocket__Token" in rows["WebSocket:Token"]["origin"]
    assert "very-secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["config", "show"], 74), (["jobs", "list"], 74), (["--help"], 74), (["enqueue", "noop", "--user", "u"], 74)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_command_whose_output_finds_no_room_says_so_in_one_line(
    tmp_path: Path, arguments: list[str], code: int, unbuffered: str
) -> None:
    """The first of them writes more than a buffer holds."""
    create_store(tmp_path)
    if arguments[0] == "jobs":
        command(tmp_path, "enqueue", "noop", "--user", "u", HANDLERS)
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = _run_with(tmp_path, arguments, unbuffered=unbuffered, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == code
    assert "the output cannot be written: No space left on device" in _one_line(done.stderr)


def test_other_file_that_finds_no_room_is_not_taken_for_the_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors of writes and syncs name no file, whichever it was."""

    def write(_arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(app, "_dispatch", write)
    assert app.run([]) == app.INTERNAL
    assert "No space left on device" in _one_line(capsys.readouterr().err)


def test_exit_code_is_the_same_where_messages_find_no_room(tmp_path: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        assert _run_with(tmp_path, ["jobs", "list"], stdout=full, stderr=full).returncode == 69


def _run_with(
    folder: Path, arguments: list[str], unbuffered: str = "1", **streams: Any
) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "worker", *arguments, "--contentRoot", str(folder), HANDLERS]
    return subprocess.run(
        line,
        text=True,
        timeout=300,
        check=False,
        env=clean_environment({**store_environment(folder), "PYTHONUNBUFFERED": unbuffered}),
        cwd=folder,
        **streams,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_config_show_into_a_closed_pipe_ends_quietly(tmp_path: Path, unbuffered: str) -> None:
    environ = clean_environment({"PYTHONUNBUFFERED": unbuffered})
    shell = f"{sys.executable} -m worker config show --json --contentRoot {tmp_path} | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {shell}"], capture_output=True, text=True, env=environ)
    assert (done.returncode, done.stderr) == (0, "")
