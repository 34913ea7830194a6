"""From the version before to this one and back: nothing is lost, and an older program refuses a newer store."""

import asyncio
import contextlib
import io
import json
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.needs import skip_without
from tests.support.ports import free_port
from tests.support.process import WorkerProcess, command, running_worker
from tests.support.repository import ROOT

BEFORE = "3b25806"
"""The commit of the version before."""
HANDLERS = "--Worker:Handlers:0=older_handlers"
_OLDER_HANDLERS = """
from pydantic import BaseModel
from worker.handler import handler

class Nothing(BaseModel):
    pass

@handler("noop")
async def noop(payload: Nothing) -> str:
    return "done"
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of the version before, from its wheel."""
    archive = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True)
    if archive.returncode != 0:
        skip_without("the history of the repository", "clone it with its history")
    sources, packages = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(sources, filter="data")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(sources / "dist")]
    subprocess.run(build, cwd=sources, check=True, capture_output=True)
    [wheel] = (sources / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(packages)
    (packages / "older_handlers.py").write_text(_OLDER_HANDLERS, encoding="utf-8")
    return packages


def _settings() -> list[str]:
    url = f"http://127.0.0.1:{free_port()}"
    return [HANDLERS, f"--Http:Url={url}", f"--WebSocket:Url={url}"]


async def _submit(worker: WorkerProcess, **more: Any) -> str:
    job = {"taskType": "noop", "userId": "u", **more}
    return str((await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs", job))["jobId"])


async def _job(worker: WorkerProcess, job: str) -> Any:
    return await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{job}?wait=60")


@pytest.mark.alters_store
async def test_upgrade_keeps_every_job_and_rollback_needs_the_backup(before: Path, tmp_path: Path) -> None:
    older = {"PYTHONPATH": str(before)}
    async with running_worker(tmp_path, *_settings(), environ=older) as worker:
        done = await _submit(worker)
        assert (await _job(worker, done))["status"] == "succeeded"
        waiting = await _submit(worker, runAt="2030-01-01T00:00:00Z", payload={})
        await worker.stop()
    backup = tmp_path / "backup"
    backup.mkdir()
    for name in ("queue.db", "hub.db"):  # the version before has no `db backup`
        with contextlib.closing(sqlite3.connect(tmp_path / "state" / name)) as database:
            database.execute("VACUUM INTO ?", (str(backup / name),))
    newer = {"PYTHONPATH": f"{ROOT}:{before}"}
    async with running_worker(tmp_path, *_settings(), environ=newer) as worker:
        assert (await _job(worker, done))["status"] == "succeeded"
        assert (await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{waiting}"))["status"] == "queued"
        assert (await _job(worker, await _submit(worker)))["status"] == "succeeded"
        await worker.stop()

    refused = WorkerProcess(tmp_path, _settings(), environ=older)
    with pytest.raises(AssertionError, match="ended with 78"):
        await refused.start()
    assert "newer" in refused.text()

    restored = command(tmp_path, "db", "restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    async with running_worker(tmp_path, *_settings(), environ=older) as worker:
        assert (await _job(worker, done))["status"] == "succeeded"
        found = await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{waiting}")
        assert (found["jobId"], found["status"]) == (waiting, "queued")
    assert json.loads(command(tmp_path, "jobs", "show", waiting, PYTHONPATH=newer["PYTHONPATH"]).stdout)
