"""SIGHUP on the real service: new settings hold at once, unusable ones change nothing, each in a line of the log."""

import asyncio
import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.process import WorkerProcess, running_worker


def write(folder: Path, **sections: Any) -> None:
    known = {
        "Http": {"Url": f"http://127.0.0.1:{free_port()}"},
        "WebSocket": {"Url": "http://127.0.0.1:9"},
        "Worker": {"Handlers": ["tests.support.jobs"], "Concurrency": 1},
        # Else the service may see the file before the signal, and would reload it twice.
        "HostOptions": {"ReloadOnChange": False},
    }
    (folder / "appsettings.json").write_text(json.dumps({**known, **sections}), encoding="utf-8")


async def reload(worker: WorkerProcess, event: str) -> None:
    """Until the log has told one more such event."""
    reported = worker.text().count(event)
    assert worker.process is not None
    worker.process.send_signal(signal.SIGHUP)
    await worker.until_logged(event, reported + 1)


async def ask(worker: WorkerProcess, method: str, target: str, body: Any = None) -> Any:
    return await asyncio.to_thread(worker.client.request, method, target, body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


async def test_reload_fills_new_slots_and_names_settings_that_need_a_restart(folder: Path) -> None:
    url = json.loads((folder / "appsettings.json").read_text(encoding="utf-8"))["Http"]
    started = folder / "started"
    async with running_worker(folder) as worker:
        for _ in range(3):
            job = {"taskType": "sleep", "userId": "user-1", "payload": {"seconds": 600, "mark": str(started)}}
            await ask(worker, "POST", "/api/v1/jobs", job)
        await eventually(started.exists)
        handlers = {"Handlers": ["tests.support.jobs"], "Concurrency": 3, "MaxAttempts": 7}
        write(folder, Http=url, Worker=handlers, Queue={"MaxBytes": 2**30})
        await reload(worker, "settings reloaded: Worker:Concurrency, Worker:MaxAttempts")
        await eventually(lambda: len(started.read_text(encoding="utf-8").splitlines()) == 3)
        await worker.until_logged("restart to apply: Queue:MaxBytes; the old values stay in effect until then")
        health = (await worker.health())["queue"]["data"]
        assert (health["concurrency"], health["maxBytes"]) == (3, 10 * 2**30)
        job = await ask(worker, "POST", "/api/v1/jobs", {"taskType": "noop", "userId": "user-1"})
        assert (await ask(worker, "GET", f"/api/v1/jobs/{job['jobId']}"))["maxAttempts"] == 7


async def test_reload_of_an_invalid_file_changes_nothing_and_logs_one_line(folder: Path) -> None:
    good = (folder / "appsettings.json").read_text(encoding="utf-8")
    async with running_worker(folder) as worker:
        (folder / "appsettings.json").write_text(good.replace('"Concurrency": 1', '"Concurency": 4'), encoding="utf-8")
        await reload(worker, "settings not reloaded, the previous ones stay in effect: ")
        [line] = [line for line in worker.text().splitlines() if "settings not reloaded" in line]
        assert "unknown setting 'Worker:Concurency'; did you mean 'Worker:Concurrency'?" in line
        health = await worker.health()
        assert health["settings"]["status"] == "Degraded"
        assert "Worker:Concurency" in health["settings"]["description"]
        assert "config check" in health["settings"]["remedy"]
        again = await worker.health()
        assert again["settings"]["since"] == health["settings"]["since"]
        assert "since" not in again["queue"]
        assert health["queue"]["data"]["concurrency"] == 1
        (folder / "appsettings.json").write_text(good, encoding="utf-8")
        await reload(worker, "settings reloaded: nothing has changed")
        assert (await worker.health())["settings"]["status"] == "Healthy"


async def test_reload_without_an_api_key_rejects_it_and_ends_its_streams(folder: Path) -> None:
    url = json.loads((folder / "appsettings.json").read_text(encoding="utf-8"))["Http"]["Url"]
    keys = {name: {"Name": name, "Sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("old", "new")}
    write(folder, Http={"Url": url, "ApiKeys": [keys["old"]]})
    async with running_worker(folder) as worker, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/api/v1/live", headers={"X-Api-Key": "old"}) as stream:
            await stream.content.readuntil(b"event: stats")
            write(folder, Http={"Url": url, "ApiKeys": [keys["new"]], "RateLimit": 1000})
            await reload(worker, "settings reloaded: Http:ApiKeys, Http:RateLimit")
            async with asyncio.timeout(60):
                await stream.content.read()
        for name, status in (("old", 401), ("new", 200)):
            async with session.get(f"{url}/api/v1/stats", headers={"X-Api-Key": name}) as answer:
                assert answer.status == status


async def test_reload_changes_log_levels_and_masks_new_secrets(folder: Path) -> None:
    url = json.loads((folder / "appsettings.json").read_text(encoding="utf-8"))["Http"]
    handlers = {"Handlers": ["tests.support.jobs"]}
    async with running_worker(folder) as worker:
        web_socket = {"Url": "http://127.0.0.1:9", "Token": "a-secret-of-length"}
        write(folder, Http=url, Worker=handlers, WebSocket=web_socket, Logging={"LogLevel": {"Default": "Debug"}})
        await reload(worker, "settings reloaded: WebSocket:Token, Worker:Concurrency, Logging:LogLevel")
        text = {"text": "told a-secret-of-length"}
        job = {"taskType": "fail", "userId": "user-1", "payload": text, "maxAttempts": 1}
        accepted = await ask(worker, "POST", "/api/v1/jobs", job)
        await ask(worker, "GET", f"/api/v1/jobs/{accepted['jobId']}?wait=60")
        write(folder, Http=url, Worker=handlers, WebSocket=web_socket, Logging={"LogLevel": {"Default": "Critical"}})
        worker.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]  # it runs
        while (await worker.health())["settings"]["data"]["reloads"] < 2:
            await asyncio.sleep(0.01)
        accepted = await ask(worker, "POST", "/api/v1/jobs", job)
        await ask(worker, "GET", f"/api/v1/jobs/{accepted['jobId']}?wait=60")
        assert await worker.stop() == 0
    assert worker.text().count("ValueError: told ***") == 1
    assert "a-secret-of-length" not in worker.text()


async def test_sighup_to_a_hub_on_its_own_logs_that_a_restart_is_needed(tmp_path: Path) -> None:
    write(tmp_path)
    async with running_worker(tmp_path, command="hub") as hub:
        await reload(hub, "the hub on its own reads its settings at the start only: restart it")
        assert await hub.stop() == 0
