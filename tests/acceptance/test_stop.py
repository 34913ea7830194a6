"""A stop of the real process is bounded whatever handlers do (P9), and its exit code does not depend on luck."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.needs import need_namespaces
from tests.support.ports import free_port
from tests.support.process import WorkerProcess, clean_environment, running_worker
from tests.support.processes import children_of, is_running
from worker.runtime.guard import FORCED_STOP, MARKER_FILE

HANDLERS = "--Worker:Handlers:0=tests.support.jobs"
TIMEOUT = 1.0
"""HostOptions:ShutdownTimeout of these services, in seconds."""
UNHURRIED = "--HostOptions:ShutdownTimeout=600"
"""For stops that nothing holds up: none of them is forced only because the machine is busy."""
TRIES = 3
"""Of a stop after a second signal: it is forced where the machine gives the service no time for the rest."""


def _settings(*more: str) -> list[str]:
    port = free_port()
    urls = [f"--Http:Url=http://127.0.0.1:{port}", f"--WebSocket:Url=http://127.0.0.1:{port}"]
    return [HANDLERS, *urls, f"--HostOptions:ShutdownTimeout={TIMEOUT:g}", *more]


async def _submit(worker: WorkerProcess, kind: str, **payload: object) -> str:
    job = {"taskType": kind, "userId": "u", "payload": payload}
    answer = await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs", job)
    return str(answer["jobId"])


async def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["block", "spin", "backtrack", "backtrack-thread"])
async def test_stop_with_a_handler_that_blocks_is_forced_and_its_job_is_not_charged(tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "mark"
    async with running_worker(tmp_path, *_settings()) as worker:
        job = await _submit(worker, kind, seconds=120, mark=str(mark))
        await _until(mark.exists)
        began = time.monotonic()
        assert await worker.stop() == FORCED_STOP
        assert time.monotonic() - began < 60  # half of what the handler would take
    assert (tmp_path / "state" / MARKER_FILE).exists()
    settings = _settings("--Worker:Concurrency=1", "--Worker:Execution:" + kind + "=process")
    mark.unlink()
    async with running_worker(tmp_path, *settings) as worker:
        shown = await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{job}")
        assert (shown["attempts"], shown["status"]) in (([], "queued"), ([], "running"))
        assert not (tmp_path / "state" / MARKER_FILE).exists()
        await _until(mark.exists)
        running = await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{job}")
        assert running["attempt"] == 1
        assert await worker.stop() in (0, FORCED_STOP)  # as fast as the machine lets it end the child


async def test_second_signal_shortens_a_forced_stop(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with running_worker(tmp_path, *_settings(UNHURRIED)) as worker:
        await _submit(worker, "backtrack-thread", mark=str(mark))
        await _until(mark.exists)
        assert worker.process is not None
        worker.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        # Another number: the kernel keeps one pending signal of each.
        assert await worker.stop(signal.SIGINT, seconds=120) == FORCED_STOP
        assert time.monotonic() - began < 60  # a tenth of the time without it


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_child_that_holds_its_interpreter_ends_with_the_service(tmp_path: Path, number: signal.Signals) -> None:
    mark = tmp_path / "mark"
    async with running_worker(tmp_path, *_settings()) as worker:
        await _submit(worker, "backtrack-child", mark=str(mark))
        await _until(mark.exists)
        assert worker.process is not None
        children, now = children_of(worker.pid), time.monotonic()
        assert len(children) >= 2  # the guard, and the child
        await worker.stop(number)
    await _until(lambda: not any(is_running(child, since=now) for child in children))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_daemon_of_a_child_ends_with_the_service(tmp_path: Path, number: signal.Signals) -> None:
    mark = tmp_path / "mark"
    # The last value of a setting counts.
    async with running_worker(tmp_path, *_settings("--Worker:Handlers:0=tests.support.handlers")) as worker:
        await _submit(worker, "waits-with-daemon", mark=str(mark), seconds=120)
        await _until(lambda: mark.exists() and mark.read_text(encoding="utf-8").endswith(" "))
        now = time.monotonic()
        await worker.stop(number)
    daemon = int(mark.read_text(encoding="utf-8"))
    await _until(lambda: not is_running(daemon, since=now))


async def test_stop_after_a_guard_was_killed_still_ends_in_order(tmp_path: Path) -> None:
    async with running_worker(tmp_path, *_settings(UNHURRIED)) as worker:
        (guard,) = children_of(worker.pid)
        os.kill(guard, signal.SIGKILL)
        assert await worker.stop() == 0


async def test_guard_that_was_killed_is_started_again_and_bounds_the_stop(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with running_worker(tmp_path, *_settings()) as worker:
        for times in (1, 2):
            (guard,) = children_of(worker.pid)
            os.kill(guard, signal.SIGKILL)
            await worker.until_logged("it was started again", times)
        await _submit(worker, "block", seconds=120, mark=str(mark))
        await _until(mark.exists)
        assert await worker.stop() == FORCED_STOP


async def test_handler_that_cancels_every_task_ends_the_service_with_one_line_and_70(tmp_path: Path) -> None:
    async with running_worker(tmp_path, *_settings()) as worker:
        await _submit(worker, "cancel-everything")
        assert worker.process is not None
        assert await asyncio.to_thread(worker.process.wait, 120) == 70
        lines = [line for line in worker.text().splitlines() if line.startswith("insignia-worker: ")]
        assert len(lines) == 1
        assert "cancelled all tasks" in lines[0]
        assert "Traceback" not in worker.text()


async def test_blocking_handler_is_named_once(tmp_path: Path) -> None:
    """For long enough that the thread which looks for it gets its turn; on a busy machine it also finds others."""
    async with running_worker(tmp_path, *_settings(UNHURRIED)) as worker:
        for _ in range(2):
            before = worker.text().count("the event loop was blocked")
            job = await _submit(worker, "block", seconds=3.0)
            await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{job}?waitSeconds=60")
            await worker.until_logged("the event loop was blocked", before + 1)
        assert await worker.stop() == 0
    assert worker.text().count("the handler of block blocks the event loop") == 1


@pytest.mark.parametrize("gap", [0.0, 0.005, 0.015, 0.03, 0.05, 0.1, 0.2])
async def test_two_signals_give_the_exit_code_of_one(tmp_path: Path, gap: float) -> None:
    for _ in range(TRIES):
        async with running_worker(tmp_path, *_settings(UNHURRIED)) as worker:
            assert worker.process is not None
            worker.process.send_signal(signal.SIGTERM)
            time.sleep(gap)
            code = await worker.stop()
        if code != FORCED_STOP:
            break
    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("delay", [0.15, 0.4, 0.8, 1.2])
def test_signal_during_the_start_ends_with_0(tmp_path: Path, number: signal.Signals, delay: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "run", "--contentRoot", str(tmp_path), *_settings(UNHURRIED)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
    )
    # Until the program is this one: before, the interpreter itself starts, where no program can act.
    _wait_for_handler(process.pid, number)
    time.sleep(delay)
    process.send_signal(number)
    assert process.wait(120) == 0


def _wait_for_handler(pid: int, number: signal.Signals) -> None:
    """Wait until the process has a handler for the signal of its own, by the mask in /proc."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        mask = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
        if mask >> (signal.SIGTERM - 1) & 1 and mask >> (number - 1) & 1:
            return
        time.sleep(0.001)
    raise AssertionError("the program installed no handler")


def _unshare() -> list[str]:
    """Return the command that runs a program as process 1 of a namespace of its own."""
    return ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]


@pytest.fixture
def namespaces() -> None:
    """Skip a test that makes its service process 1 where that cannot be done."""
    need_namespaces(*_unshare()[1:])


@pytest.mark.usefixtures("namespaces")
async def test_process_1_that_is_stopped_early_ends_with_0(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*_unshare(), sys.executable, "-m", "worker", "run", "--contentRoot", str(tmp_path), *_settings(UNHURRIED)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
    )
    first = await _only_child(process.pid)
    _wait_for_handler(first, signal.SIGTERM)
    os.kill(first, signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 120) == 0


@pytest.mark.usefixtures("namespaces")
async def test_process_1_with_a_held_interpreter_is_stopped_by_force(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with running_worker(tmp_path, *_settings(), prefix=_unshare()) as worker:
        await _submit(worker, "backtrack-thread", mark=str(mark))
        await _until(mark.exists)
        os.kill(await _only_child(worker.pid), signal.SIGTERM)
        assert worker.process is not None
        assert await asyncio.to_thread(worker.process.wait, 120) == FORCED_STOP


async def _only_child(pid: int) -> int:
    await _until(lambda: bool(children_of(pid)))
    (child,) = children_of(pid)
    return child
