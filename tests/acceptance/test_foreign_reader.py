"""Another program reads the store and does not stop: the service says so while its log grows, and recovers alone."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.ports import free_port
from tests.support.process import WorkerProcess, clean_environment, running_worker
from worker.net.unix_socket import SOCKET_NAME

_READER = """
import sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM jobs").fetchall()
print("reading", flush=True)
sys.stdin.read()
"""
_JOB = {"taskType": "noop", "userId": "user-1", "payload": {"filler": "x" * 100_000}}


async def _log_entry(worker: WorkerProcess) -> dict[str, Any]:
    entry: dict[str, Any] = (await worker.health())["storeLog"]
    return entry


async def _is_kept(worker: WorkerProcess) -> bool:
    connector = aiohttp.UnixConnector(str(worker.state / SOCKET_NAME))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get("http://localhost/metrics") as answer,
    ):
        return "insignia_worker_store_log_kept 1.0" in await answer.text()


@pytest.mark.timeout(600)
async def test_reader_that_does_not_stop_is_named_until_it_ends(tmp_path: Path) -> None:
    settings = [f"--Http:Url=http://127.0.0.1:{free_port()}", "--Hub:Enabled=false"]
    settings += ["--Queue:MaxBytes=100000000", "--Worker:Handlers:0=tests.support.jobs"]
    async with running_worker(tmp_path, *settings) as worker:
        assert (await _log_entry(worker))["status"] == "Healthy"
        arguments = [sys.executable, "-c", _READER, str(worker.state / "queue.db")]
        reader = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment(), text=True
        )
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"
            async with asyncio.timeout(120):
                while (entry := await _log_entry(worker))["status"] == "Healthy":
                    await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs/batch", {"jobs": [_JOB] * 20})
            assert entry["status"] == "Degraded"
            assert f"process {reader.pid} (python" in entry["description"]
            assert entry["since"]
            assert "end the program" in entry["remedy"]
            assert await _is_kept(worker)
            async with asyncio.timeout(60):
                while "storeLog is not healthy" not in worker.text():
                    await asyncio.sleep(0.1)
        finally:
            reader.kill()
            reader.communicate()
        async with asyncio.timeout(120):
            while (await _log_entry(worker))["status"] != "Healthy":
                await asyncio.sleep(0.1)
        assert not await _is_kept(worker)
        async with asyncio.timeout(60):
            while "storeLog is healthy again" not in worker.text():
                await asyncio.sleep(0.1)
        assert worker.text().count("storeLog is not healthy") == 1
        assert await worker.stop() == 0
