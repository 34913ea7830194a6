"""Whatever is killed, no process of a job is left: not by the supervisor's end, nor after the next start."""

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson
import pytest

from config.handler_settings import HandlersSettings
from tests.support.attempts import pids_in
from tests.support.contexts import StandIn
from tests.support.eventually import eventually
from tests.support.process import WorkerProcess, running_worker
from tests.support.processes import children_of, is_running
from tests.support.programs import allowing, script
from worker.core.process_tag import SERVICE_TAG, SERVICE_VARIABLE, end_tagged, next_tag
from worker.errors import Crashed
from worker.handlers.command.handler import CommandPayload, run_program
from worker.runtime.left_processes import processes_registered

ESCAPES = """
    # A child, and a grandchild, in sessions of their own; {how}
    supervisor = os.getppid()
    pids = descendants(sys.argv[1], apart=True)
    mark(sys.argv[1], f"{{supervisor}} {{os.getpid()}} {{pids[0]}} {{pids[1]}}")
    {end}
    time.sleep(600)
"""


def escaping(folder: Path, end: str = "") -> str:
    return script(folder, ESCAPES.format(how=end or "nothing else", end=end))


async def until_ended(pids: Iterable[int]) -> None:
    """Wait until all of these processes, which exist by now, have ended; a killed one needs its turn to end."""
    known, before = list(pids), time.monotonic()
    await eventually(lambda: not any(is_running(pid, since=before) for pid in known))


async def run(settings: HandlersSettings, *args: str) -> None:
    context = StandIn()
    context.settings = settings
    await run_program.run(CommandPayload(command="it", args=list(args)), context)


async def test_program_that_kills_its_supervisor_leaves_nothing_running(tmp_path: Path) -> None:
    path = escaping(tmp_path, "os.kill(supervisor, signal.SIGKILL)")
    with pytest.raises(Crashed, match="the program with it"):
        await run(allowing(path), str(tmp_path / "mark"))
    await until_ended(pids_in(tmp_path / "mark"))


async def test_supervisor_that_is_killed_from_outside_leaves_nothing_running(tmp_path: Path) -> None:
    running = asyncio.ensure_future(run(allowing(escaping(tmp_path)), str(tmp_path / "mark")))
    await eventually((tmp_path / "mark").exists)
    supervisor, *others = pids_in(tmp_path / "mark")
    os.kill(supervisor, signal.SIGKILL)
    with pytest.raises(Crashed, match="the program with it"):
        await running
    await until_ended(others)


async def started_program(service: WorkerProcess) -> list[int]:
    """Run a job whose program escapes; return the ids of its supervisor and its processes."""
    mark = service.folder / "mark"
    job = {"taskType": "command", "userId": "user-1", "payload": {"command": "it", "args": [str(mark)]}}
    await asyncio.to_thread(service.client.request, "POST", "/api/v1/jobs", job)
    await eventually(mark.exists)
    return list(pids_in(mark))


def configure(folder: Path) -> None:
    program = {"Name": "it", "Path": escaping(folder), "Patterns": [".*"]}
    settings = {
        "Handlers": {"Command": {"Programs": [program], "Grace": 100}},
        "Worker": {"MaxAttempts": 1},
        "Http": {"Url": "http://127.0.0.1:0"},
        "Hub": {"Enabled": "false"},
    }
    (folder / "appsettings.json").write_bytes(orjson.dumps(settings))


async def test_guard_ends_what_is_left_when_service_and_supervisor_are_killed_at_once(tmp_path: Path) -> None:
    configure(tmp_path)
    async with running_worker(tmp_path) as service:
        supervisor, *others = await started_program(service)
        os.kill(service.pid, signal.SIGSTOP)  # so that it does not see the end of the supervisor
        os.kill(supervisor, signal.SIGKILL)
        service.kill()
    await until_ended(others)


async def test_start_ends_what_is_left_when_everything_that_could_end_it_was_killed(tmp_path: Path) -> None:
    configure(tmp_path)
    with sleeper(f"{SERVICE_VARIABLE}={'0' * 32}") as innocent:
        async with running_worker(tmp_path) as service:
            supervisor, _, *escaped = await started_program(service)
            helpers = list(children_of(service.pid))
            for pid in (service.pid, *helpers, supervisor):
                os.kill(pid, signal.SIGSTOP)
            for pid in (*helpers, supervisor):
                os.kill(pid, signal.SIGKILL)
            service.kill()
        assert all(is_running(pid) for pid in escaped)
        [record] = (tmp_path / "state").glob("processes-*")
        assert record.stat().st_mode & 0o777 == 0o600
        async with running_worker(tmp_path):
            await until_ended(escaped)
            assert not record.exists()
        assert innocent.poll() is None


@contextlib.contextmanager
def sleeper(tag: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a process with this tag in its environment until the end of the block."""
    name, _, value = tag.partition("=")
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
        env={name: value},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_process_of_a_living_service_is_left_alone(tmp_path: Path) -> None:
    alive, dead = (f"{SERVICE_VARIABLE}={digit * 32}" for digit in "ab")
    with sleeper(f"{alive}.1.") as kept, sleeper(f"{dead}.1.") as ended:
        for name, tag in (("processes-a", alive), ("processes-b", dead)):
            (tmp_path / name).write_text(f"{tag}\n", encoding="ascii")
        with (tmp_path / "processes-a").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with processes_registered(tmp_path):
                assert ended.wait(30) == -signal.SIGKILL
                assert kept.poll() is None
                own = f"processes-{SERVICE_TAG.rpartition('=')[2]}"
                assert {path.name for path in tmp_path.iterdir()} == {"processes-a", own}
    assert [path.name for path in tmp_path.iterdir()] == ["processes-a"]


@pytest.mark.parametrize("text", ["", "1", "INSIGNIA_WORKER_CHILD_OF=", "PATH=/bin", "=", "x" * 5000])
def test_record_that_is_damaged_kills_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "processes-x").write_text(text, encoding="ascii")
    with sleeper("PATH=/bin") as other, processes_registered(tmp_path):
        assert other.poll() is None


def test_tag_of_one_job_ends_no_process_of_another() -> None:
    first, second = next_tag(), next_tag()
    with sleeper(first) as ended, sleeper(second) as kept:
        end_tagged(first)
        assert ended.wait(30) == -signal.SIGKILL
        assert kept.poll() is None
