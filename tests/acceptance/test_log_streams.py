"""The service works on, and stops in time, whatever becomes of the streams it writes to."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.process import clean_environment, running_worker
from worker.cli.api_client import ApiClient, _UnixConnection

HANDLERS = "--Worker:Handlers:0=tests.support.jobs"


def _settings() -> list[str]:
    port = free_port()
    return [HANDLERS, f"--Http:Url=http://127.0.0.1:{port}", f"--WebSocket:Url=http://127.0.0.1:{port}"]


async def test_unread_log_pipe_delays_neither_jobs_nor_the_stop(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    try:
        async with running_worker(tmp_path, *_settings(), "--HostOptions:ShutdownTimeout=600", stderr=writer) as worker:
            jobs = [{"taskType": "noop", "userId": "u", "payload": {}} for _ in range(90)]
            answers = await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
            for answer in answers["jobs"]:
                target = f"/api/v1/jobs/{answer['jobId']}?waitSeconds=60"
                shown = await asyncio.to_thread(worker.client.request, "GET", target)
                assert shown["status"] == "succeeded"
            began = time.monotonic()
            assert await worker.stop(seconds=120) == 0
            assert time.monotonic() - began < 60  # a tenth of the time in which a stop is forced
    finally:
        os.close(reader)
        os.close(writer)


def _dropped_lines(client: ApiClient) -> float:
    """Return what the metrics say."""
    connection = _UnixConnection(client.path, 30.0)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    (line,) = [line for line in text.splitlines() if line.startswith("insignia_worker_log_lines_dropped_total ")]
    return float(line.split()[1])


@pytest.mark.parametrize("streams", [">&- 2>&- <&-", "2>/dev/full", ">/dev/full 2>&1", "2>&-"])
def test_service_runs_without_usable_standard_streams(tmp_path: Path, streams: str) -> None:
    # The shell is there to close the streams; the settings hold no characters that it interprets.
    line = " ".join(
        ["exec", sys.executable, "-m", "worker", "run", "--contentRoot", str(tmp_path), *_settings(), streams]
    )
    process = subprocess.Popen(["sh", "-c", line], env=clean_environment(), cwd=tmp_path)
    client = ApiClient.in_folder(tmp_path / "state")
    deadline = time.monotonic() + 240
    try:
        while not client.answers():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        job = client.request("POST", "/api/v1/jobs", {"taskType": "noop", "userId": "u", "payload": {}})["jobId"]
        assert client.request("GET", f"/api/v1/jobs/{job}?waitSeconds=60")["status"] == "succeeded"
        while "/dev/full" in streams and not _dropped_lines(client):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / "state" / "queue.db").read_bytes()[:15] == b"SQLite format 3"
