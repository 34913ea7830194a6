"""The life of the real process: signals, deadlines, one instance, what it answers on its way out (P3, P6, P9)."""

import asyncio
import gc
import signal
import socket
import sqlite3
import time
from pathlib import Path

import aiohttp
import pytest

from tests.support.ports import free_port
from tests.support.process import WorkerProcess, command, running_worker
from tests.support.socketio_server import socketio_server
from worker.cli.api_client import ApiClient, OutcomeUnknown
from worker.cli.commands.enqueue import _submit as _submit_job
from worker.errors import Unavailable
from worker.runtime.guard import FORCED_STOP

pytestmark = pytest.mark.both_stores


HANDLERS = "--Worker:Handlers:0=tests.support.jobs"
_TRIES = 3
"""Of a stop that must not wait for jobs: one is forced where the machine gives the service no time for the rest."""


def _settings(port: int, *more: str) -> list[str]:
    return [HANDLERS, f"--Http:Url=http://127.0.0.1:{port}", f"--WebSocket:Url=http://127.0.0.1:{port}", *more]


async def _submit(worker: WorkerProcess, kind: str, **payload: object) -> str:
    job = {"taskType": kind, "userId": "u", "payload": payload}
    answer = await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs", job)
    return str(answer["jobId"])


async def _state(worker: WorkerProcess, job_id: str) -> dict[str, object]:
    answer: dict[str, object] = await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{job_id}")
    return answer


async def _started(mark: Path) -> None:
    async with asyncio.timeout(60):
        while not mark.exists():
            await asyncio.sleep(0.01)


async def test_sigterm_lets_a_running_job_end_and_exits_with_0(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with running_worker(tmp_path, *_settings(free_port())) as worker:
        job = await _submit(worker, "sleep", seconds=0.5, mark=str(mark))
        await _started(mark)
        assert await worker.stop() == 0
        shown = command(tmp_path, "jobs", "show", job, HANDLERS)
    assert '"status":"succeeded"' in shown.stdout
    assert "🛑" in worker.text()


async def test_what_does_not_end_in_time_is_given_back_without_counting_the_attempt(tmp_path: Path) -> None:
    for number in range(_TRIES):
        folder = tmp_path / str(number)
        folder.mkdir()
        mark, settings = folder / "mark", _settings(free_port(), "--HostOptions:ShutdownTimeout=0.2")
        async with running_worker(folder, *settings) as worker:
            job = await _submit(worker, "sleep", seconds=600, mark=str(mark))
            await _started(mark)
            code = await worker.stop()
        if code != FORCED_STOP:
            break
    assert code == 0
    shown = command(folder, "jobs", "show", job, HANDLERS)
    assert '"status":"queued"' in shown.stdout
    assert '"attempt":0' in shown.stdout


async def test_stop_ends_at_its_deadline_whatever_handlers_do(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    settings = _settings(free_port(), "--HostOptions:ShutdownTimeout=1")
    async with running_worker(tmp_path, *settings) as worker:
        await _submit(worker, "stubborn", seconds=120, mark=str(mark))
        await _submit(worker, "child", seconds=120)
        await _started(mark)
        began = time.monotonic()
        assert await worker.stop() in (0, FORCED_STOP, 70)
        assert time.monotonic() - began < 60  # half of what the handlers would take


async def test_second_signal_skips_the_wait(tmp_path: Path) -> None:
    for number in range(_TRIES):
        folder = tmp_path / str(number)
        folder.mkdir()
        mark, settings = folder / "mark", _settings(free_port(), "--HostOptions:ShutdownTimeout=600")
        async with running_worker(folder, *settings) as worker:
            await _submit(worker, "sleep", seconds=1200, mark=str(mark))
            await _started(mark)
            assert worker.process is not None
            worker.process.send_signal(signal.SIGINT)
            await worker.until_logged("stopping")
            code = await worker.stop(signal.SIGINT)
        if code != FORCED_STOP:
            break
    assert code == 0


async def test_enqueue_during_a_stop_is_rejected_with_503(tmp_path: Path) -> None:
    mark, gone = tmp_path / "mark", tmp_path / "gone"
    settings = _settings(free_port(), "--HostOptions:ShutdownTimeout=600")
    async with running_worker(tmp_path, *settings) as worker:
        await _submit(worker, "hold", mark=str(mark), gone=str(gone))
        await _started(mark)
        assert worker.process is not None
        worker.process.send_signal(signal.SIGTERM)
        await worker.until_logged("stopping")
        refused = await asyncio.to_thread(command, tmp_path, "enqueue", "noop", "--user", "u", HANDLERS)
        assert refused.returncode == 69
        assert "stopping" in refused.stderr
        gone.touch()
        assert await asyncio.to_thread(worker.process.wait, 120) == 0


@pytest.mark.sqlite_only("the file")
async def test_second_service_on_the_same_store_exits_with_75(tmp_path: Path) -> None:
    async with running_worker(tmp_path, *_settings(free_port())) as worker:
        second = command(tmp_path, "run", *_settings(free_port()))
        assert second.returncode == 75
        assert str(worker.pid) in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1


@pytest.mark.sqlite_only("the file")
async def test_service_whose_store_is_removed_exits_with_74(tmp_path: Path) -> None:
    async with running_worker(tmp_path, *_settings(free_port())) as worker:
        kept = (worker.state / "queue.db").rename(tmp_path / "kept.db")
        assert worker.process is not None
        assert await asyncio.to_thread(worker.process.wait, 60) == 74
        assert "removed or replaced while it was open: restore a backup" in worker.text()
        kept.rename(worker.state / "queue.db")


@pytest.mark.parametrize("command", ["run", "hub"])
async def test_service_whose_inbox_is_removed_exits_with_74(tmp_path: Path, command: str) -> None:
    """SQLite would write to the removed file, and what was confirmed would be lost."""
    async with running_worker(tmp_path, *_settings(free_port()), command=command) as worker:
        (worker.state / "hub.db").rename(tmp_path / "kept.db")
        assert worker.process is not None
        assert await asyncio.to_thread(worker.process.wait, 60) == 74
        assert "hub.db was removed or replaced while it was open: restore a backup" in worker.text()


async def test_task_that_a_handler_left_does_not_delay_the_stop(tmp_path: Path) -> None:
    async with running_worker(tmp_path, *_settings(free_port()), "--HostOptions:ShutdownTimeout=600") as worker:
        job = await _submit(worker, "leave")
        shown = await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{job}?waitSeconds=60")
        assert shown["status"] == "succeeded"
        assert await worker.stop(seconds=120) == 0


async def test_jobs_succeed_while_the_hub_is_down(tmp_path: Path) -> None:
    port, hub = free_port(), free_port()
    settings = [
        HANDLERS,
        f"--Http:Url=http://127.0.0.1:{port}",
        f"--WebSocket:Url=http://127.0.0.1:{hub}",
        "--WebSocket:ReconnectionDelay=50",
        "--WebSocket:MaxReconnectionDelay=500",
        "--WebSocket:ReconnectionAttempts=0",
    ]
    async with running_worker(tmp_path, *settings) as worker:
        jobs = [await _submit(worker, "noop") for _ in range(20)]
        for job in jobs:
            shown = await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{job}?wait=60")
            assert shown["status"] == "succeeded"
        async with socketio_server(port=hub) as server:
            async with asyncio.timeout(120):
                while len(server.payloads) < 20:
                    await asyncio.sleep(0.02)
            assert server.numbers == list(range(1, 21))
            assert await worker.stop() == 0


async def test_cancel_of_a_running_job_notifies_its_user(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with socketio_server() as server:
        settings = [HANDLERS, f"--Http:Url=http://127.0.0.1:{free_port()}", f"--WebSocket:Url={server.url}"]
        async with running_worker(tmp_path, *settings) as worker:
            job = await _submit(worker, "sleep", seconds=60, mark=str(mark))
            waiting = await _submit(worker, "sleep", seconds=0)
            await _started(mark)
            answer = await asyncio.to_thread(worker.client.request, "POST", f"/api/v1/jobs/{job}/cancel")
            assert answer == {"status": "requested"}
            shown = await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{job}?wait=60")
            assert shown["status"] == "cancelled"
            await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{waiting}?wait=60")
            async with asyncio.timeout(60):
                while len(server.payloads) < 2:
                    await asyncio.sleep(0.02)
    reported = {message["payload"]["jobId"]: message for message, _ in server.received}
    assert reported[job]["message"] == "Task Failed"
    assert reported[job]["payload"]["error"] == "Cancelled"
    assert reported[job]["payload"]["attempt"] == 1


@pytest.mark.sqlite_only("the file")
async def test_readiness_follows_a_foreign_lock_on_the_store(tmp_path: Path) -> None:
    async with running_worker(tmp_path, *_settings(port := free_port())) as worker:
        async with asyncio.timeout(60):
            while await _ready(port) != 200:
                await asyncio.sleep(0.1)
        foreign = sqlite3.connect(worker.state / "queue.db", timeout=60, isolation_level=None)
        try:
            foreign.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(60):
                while await _ready(port) != 503 or "is locked by another program" not in worker.text():
                    await asyncio.sleep(0.1)
            foreign.execute("ROLLBACK")
        finally:
            foreign.close()
        async with asyncio.timeout(60):
            while await _ready(port) != 200 or "works again" not in worker.text():
                await asyncio.sleep(0.1)
        assert await worker.stop() == 0
        assert worker.text().count("is locked by another program") == 1
        assert worker.text().count("works again") == 1


@pytest.mark.sqlite_only("the file")
async def test_stop_that_cannot_write_the_end_of_a_job_says_so_with_its_exit_code(tmp_path: Path) -> None:
    """It ended with 0, although the job will run again."""
    end = tmp_path / "end"
    async with running_worker(tmp_path, *_settings(free_port()), "--HostOptions:ShutdownTimeout=1") as worker:
        job = await _submit(worker, "hold", mark=str(tmp_path / "mark"), gone=str(end))
        foreign = sqlite3.connect(worker.state / "queue.db", timeout=60, isolation_level=None)
        try:
            async with asyncio.timeout(60):
                while foreign.execute("SELECT state FROM jobs").fetchone() != ("running",):
                    await asyncio.sleep(0.1)
            foreign.execute("BEGIN IMMEDIATE")
            end.touch()
            async with asyncio.timeout(120):
                while "settling jobs" not in worker.text():
                    await asyncio.sleep(0.1)
            code = await worker.stop()
        finally:
            foreign.close()
        assert code == 75
        assert "is locked by another program" in worker.text().splitlines()[-1]
        await worker.start()
        answer = await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{job}?wait=60")
        assert answer["status"] == "succeeded"


async def _ready(port: int) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
        return answer.status


async def test_time_while_the_process_is_stopped_does_not_count_against_the_timeout(tmp_path: Path) -> None:
    mark, gone = tmp_path / "mark", tmp_path / "gone"
    async with running_worker(tmp_path, *_settings(free_port(), "--Worker:Timeout=12000")) as worker:
        job = await _submit(worker, "hold", mark=str(mark), gone=str(gone))
        await _started(mark)
        assert worker.process is not None
        worker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(16)  # longer than the timeout: what is tested is the time itself
        worker.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(1)
        gone.touch()
        shown = await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{job}?waitSeconds=60")
        assert (shown["status"], shown["attempt"]) == ("succeeded", 1)
        assert await worker.stop() == 0


@pytest.mark.sqlite_only("no store")
@pytest.mark.parametrize(
    ("job", "hint"),
    [({"id": "key-1"}, "--id key-1 gives the same job"), ({}, "give jobs an --id, with which repeating is safe")],
)
def test_enqueue_that_gets_no_answer_says_that_the_job_may_be_accepted(
    tmp_path: Path, job: dict[str, str], hint: str
) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(OutcomeUnknown) as raised:
            _submit_job(ApiClient(path, timeout=0.2), {"taskType": "noop", **job}, {})
    assert "may have been accepted" in str(raised.value)
    assert hint in str(raised.value)
    assert raised.value.exit_code == 69


@pytest.mark.sqlite_only("no store")
@pytest.mark.parametrize("exists", [False, True])
def test_client_without_a_service_closes_its_socket(tmp_path: Path, exists: bool) -> None:
    """An unclosed one would be a ResourceWarning, and so an error."""
    path = tmp_path / "socket"
    if exists:
        with socket.socket(socket.AF_UNIX) as closed:
            closed.bind(str(path))
    with pytest.raises(Unavailable, match=r"no service runs with its state in .*systemctl start"):
        ApiClient(path).request("POST", "/api/v1/jobs", {})
    gc.collect()


@pytest.mark.sqlite_only("no store")
async def test_crash_leaves_the_stack_in_the_log(tmp_path: Path) -> None:
    """systemd's watchdog ends a blocked service with SIGABRT: the log has to name what blocked."""
    mark = tmp_path / "mark"
    async with running_worker(tmp_path, *_settings(free_port())) as worker:
        await _submit(worker, "sleep", seconds=60, mark=str(mark))
        await _started(mark)
        assert await worker.stop(signal.SIGABRT) == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in worker.text()
    assert 'cli/event_loop.py", line' in worker.text()
