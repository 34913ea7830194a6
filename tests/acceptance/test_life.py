"""The life of the real process: signals, deadlines, one instance, what it answers on its way out (P3, P6, P9)."""

import asyncio
import signal
import time
from pathlib import Path

from tests.support.process import WorkerProcess, command, free_port, running_worker
from tests.support.socketio_server import socketio_server

HANDLERS = "--Worker:Handlers:0=tests.support.jobs"


def _settings(port: int, *more: str) -> list[str]:
    return [HANDLERS, f"--Http:Url=http://127.0.0.1:{port}", f"--WebSocket:Url=http://127.0.0.1:{port}", *more]


async def _submit(worker: WorkerProcess, kind: str, **payload: object) -> str:
    job = {"taskType": kind, "userId": "u", "payload": payload}
    answer = await asyncio.to_thread(worker.client.ask, "POST", "/api/v1/jobs", job)
    return str(answer["jobId"])


async def _state(worker: WorkerProcess, job_id: str) -> dict[str, object]:
    answer: dict[str, object] = await asyncio.to_thread(worker.client.ask, "GET", f"/api/v1/jobs/{job_id}")
    return answer


async def _started(mark: Path) -> None:
    async with asyncio.timeout(20):
        while not mark.exists():
            await asyncio.sleep(0.01)


async def test_sigterm_lets_a_job_end_and_exits_with_0(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with running_worker(tmp_path, *_settings(free_port())) as worker:
        job = await _submit(worker, "sleep", seconds=0.5, mark=str(mark))
        await _started(mark)
        assert await worker.stop() == 0
        shown = command(tmp_path, "jobs", "show", job, HANDLERS)
    assert '"status":"succeeded"' in shown.stdout
    assert "🛑" in worker.text()


async def test_what_does_not_end_in_time_is_given_back_without_counting_the_attempt(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    settings = _settings(free_port(), "--HostOptions:ShutdownTimeout=0.2")
    async with running_worker(tmp_path, *settings) as worker:
        job = await _submit(worker, "sleep", seconds=60, mark=str(mark))
        await _started(mark)
        assert await worker.stop() == 0
    shown = command(tmp_path, "jobs", "show", job, HANDLERS)
    assert '"status":"queued"' in shown.stdout
    assert '"attempt":0' in shown.stdout


async def test_a_stop_takes_no_longer_than_its_deadline_whatever_handlers_do(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    settings = _settings(free_port(), "--HostOptions:ShutdownTimeout=1")
    async with running_worker(tmp_path, *settings) as worker:
        await _submit(worker, "stubborn", seconds=120, mark=str(mark))
        await _submit(worker, "child", seconds=120)
        await _started(mark)
        began = time.monotonic()
        assert await worker.stop() in (0, 70)
        assert time.monotonic() - began < 1 + 5


async def test_a_second_signal_skips_the_wait(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    settings = _settings(free_port(), "--HostOptions:ShutdownTimeout=60")
    async with running_worker(tmp_path, *settings) as worker:
        await _submit(worker, "sleep", seconds=120, mark=str(mark))
        await _started(mark)
        assert worker.process is not None
        worker.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            while "stopping" not in worker.text():
                await asyncio.sleep(0.02)
        assert await worker.stop(signal.SIGINT, seconds=20) == 0


async def test_while_it_drains_intake_is_refused_with_503(tmp_path: Path) -> None:
    mark, gone = tmp_path / "mark", tmp_path / "gone"
    settings = _settings(free_port(), "--HostOptions:ShutdownTimeout=60")
    async with running_worker(tmp_path, *settings) as worker:
        await _submit(worker, "hold", mark=str(mark), gone=str(gone))
        await _started(mark)
        assert worker.process is not None
        worker.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            while "stopping" not in worker.text():
                await asyncio.sleep(0.02)
        refused = await asyncio.to_thread(command, tmp_path, "enqueue", "noop", "--user", "u", HANDLERS)
        assert refused.returncode == 69
        assert "stopping" in refused.stderr
        gone.touch()
        assert await asyncio.to_thread(worker.process.wait, 30) == 0


async def test_a_second_service_on_the_same_store_ends_with_75(tmp_path: Path) -> None:
    async with running_worker(tmp_path, *_settings(free_port())) as worker:
        second = command(tmp_path, "run", *_settings(free_port()))
        assert second.returncode == 75
        assert str(worker.pid) in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1


async def test_a_hub_that_is_down_neither_blocks_nor_fails_a_job(tmp_path: Path) -> None:
    port, hub = free_port(), free_port()
    settings = [
        HANDLERS,
        f"--Http:Url=http://127.0.0.1:{port}",
        f"--WebSocket:Url=http://127.0.0.1:{hub}",
        "--WebSocket:ReconnectionDelay=50",
        "--WebSocket:ReconnectionAttempts=0",
    ]
    async with running_worker(tmp_path, *settings) as worker:
        jobs = [await _submit(worker, "noop") for _ in range(20)]
        for job in jobs:
            shown = await asyncio.to_thread(worker.client.ask, "GET", f"/api/v1/jobs/{job}?wait=20")
            assert shown["status"] == "succeeded"
        async with socketio_server(port=hub) as server:
            async with asyncio.timeout(30):
                while len(server.received) < 20:
                    await asyncio.sleep(0.02)
            assert server.numbers == list(range(1, 21))
            assert await worker.stop() == 0


async def test_a_running_job_can_be_cancelled_and_its_user_is_told(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with socketio_server() as server:
        settings = [HANDLERS, f"--Http:Url=http://127.0.0.1:{free_port()}", f"--WebSocket:Url={server.url}"]
        async with running_worker(tmp_path, *settings) as worker:
            job = await _submit(worker, "sleep", seconds=60, mark=str(mark))
            waiting = await _submit(worker, "sleep", seconds=0)
            await _started(mark)
            answer = await asyncio.to_thread(worker.client.ask, "POST", f"/api/v1/jobs/{job}/cancel")
            assert answer == {"status": "requested"}
            shown = await asyncio.to_thread(worker.client.ask, "GET", f"/api/v1/jobs/{job}?wait=20")
            assert shown["status"] == "cancelled"
            await asyncio.to_thread(worker.client.ask, "GET", f"/api/v1/jobs/{waiting}?wait=20")
            async with asyncio.timeout(20):
                while len(server.received) < 2:
                    await asyncio.sleep(0.02)
    told = {message["payload"]["jobId"]: message for message, _ in server.received}
    assert told[job]["message"] == "Task Failed"
    assert told[job]["payload"]["error"] == "Cancelled"
    assert told[job]["payload"]["attempt"] == 1
