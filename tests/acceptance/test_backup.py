"""A backup that was made while the service worked is a whole service on another machine (another folder)."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.process import WorkerProcess, command, running_worker

HANDLERS = "--Worker:Handlers:0=tests.support.jobs"


def _settings() -> list[str]:
    url = f"http://127.0.0.1:{free_port()}"
    return [HANDLERS, f"--Http:Url={url}", f"--WebSocket:Url={url}"]


def _request(worker: WorkerProcess) -> Callable[..., Awaitable[Any]]:
    return lambda *argv: asyncio.to_thread(worker.client.request, *argv)


@pytest.mark.alters_store
async def test_backup_of_a_working_service_serves_in_another_folder(tmp_path: Path) -> None:
    here, there, backup = tmp_path / "here", tmp_path / "there", tmp_path / "backup"
    here.mkdir()
    there.mkdir()
    submitted: list[str] = []
    async with running_worker(here, *_settings()) as worker:
        ask = _request(worker)
        (worker.state / "rosters").mkdir(exist_ok=True)
        (worker.state / "rosters" / "roster.csv").write_text("เลขประจำตัวประชาชน\n", encoding="utf-8")
        later = {"taskType": "noop", "userId": "u", "runAt": "2030-01-01T00:00:00Z"}
        submitted.append((await ask("POST", "/api/v1/jobs", later))["jobId"])
        stop = asyncio.Event()

        async def keep_busy() -> None:
            while not stop.is_set():
                await ask("POST", "/api/v1/jobs", {"taskType": "noop", "userId": "u"})

        busy = asyncio.ensure_future(keep_busy())
        for _ in range(20):
            submitted.append((await ask("POST", "/api/v1/jobs", {"taskType": "noop", "userId": "u"}))["jobId"])
        done = await asyncio.to_thread(command, here, "db", "backup", str(backup))
        stop.set()
        await busy
    assert done.returncode == 0, done.stderr
    assert "2 databases" in done.stderr
    assert {file.stat().st_mode & 0o077 for file in backup.rglob("*") if file.name.endswith((".db", ".key"))} == {0}

    shutil.copytree(backup, there / "state")
    async with running_worker(there, *_settings()) as worker:
        ask = _request(worker)
        for job in submitted:
            assert (await ask("GET", f"/api/v1/jobs/{job}"))["jobId"] == job
        assert (await ask("GET", f"/api/v1/jobs/{submitted[0]}"))["status"] == "queued"
        for name in ("admin.key", "hub.key", "session.key", "rosters/roster.csv"):
            assert (worker.state / name).read_bytes() == (here / "state" / name).read_bytes()
        again = (await ask("POST", "/api/v1/jobs", {"taskType": "noop", "userId": "u"}))["jobId"]
        while (await ask("GET", f"/api/v1/jobs/{again}?wait=30"))["status"] != "succeeded":
            pass
    assert command(there, "db", "check").returncode == 0


@pytest.mark.alters_store
async def test_database_of_a_backup_replaces_a_store(tmp_path: Path) -> None:
    settings = _settings()
    async with running_worker(tmp_path, *settings) as worker:
        kept = (await _request(worker)("POST", "/api/v1/jobs", {"taskType": "noop", "userId": "u"}))["jobId"]
        done = await asyncio.to_thread(command, tmp_path, "db", "backup", str(tmp_path / "backup"))
        assert done.returncode == 0, done.stderr
        lost = (await _request(worker)("POST", "/api/v1/jobs", {"taskType": "noop", "userId": "u"}))["jobId"]
        await worker.stop()

    restored = command(tmp_path, "db", "restore", str(tmp_path / "backup" / "queue.db"))
    assert restored.returncode == 0, restored.stderr

    shown = command(tmp_path, "jobs", "show", kept, HANDLERS)
    assert json.loads(shown.stdout)["jobId"] == kept
    assert command(tmp_path, "jobs", "show", lost, HANDLERS).returncode == 65


def test_backup_says_what_is_missing_or_in_the_way(tmp_path: Path) -> None:
    done = command(tmp_path, "db", "backup", str(tmp_path / "backup"))
    assert (done.returncode, "there is no store" in done.stderr) == (69, True)
    assert not (tmp_path / "backup").exists()


async def test_backup_does_not_write_into_a_folder_that_exists(tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    async with running_worker(tmp_path, *_settings()):
        done = await asyncio.to_thread(command, tmp_path, "db", "backup", str(tmp_path / "backup"))
    assert (done.returncode, "name a new folder" in done.stderr) == (73, True)
    assert list((tmp_path / "backup").iterdir()) == []
