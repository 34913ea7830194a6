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
from tests.support.process import WorkerProcess, free_port, running_worker


def write(folder: Path, **sections: Any) -> None:
    known = {
        "Http": {"Url": f"http://127.0.0.1:{free_port()}"},
        "WebSocket": {"Url": "http://127.0.0.1:9"},
        "Worker": {"Handlers": ["tests.support.jobs"], "Concurrency": 1},
    }
    (folder / "appsettings.json").write_text(json.dumps({**known, **sections}), encoding="utf-8")


async def reload(worker: WorkerProcess, event: str) -> None:
    """Until the log has told one more such event."""
    told = worker.text().count(event)
    assert worker.process is not None
    worker.process.send_signal(signal.SIGHUP)
    await eventually(lambda: worker.text().count(event) > told, timeout=20)


async def ask(worker: WorkerProcess, method: str, target: str, body: Any = None) -> Any:
    return await asyncio.to_thread(worker.client.ask, method, target, body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


async def test_more_slots_are_filled_at_once_and_what_must_wait_is_named(folder: Path) -> None:
    url = json.loads((folder / "appsettings.json").read_text(encoding="utf-8"))["Http"]
    started = folder / "started"
    async with running_worker(folder) as worker:
        for _ in range(3):
            job = {"taskType": "sleep", "userId": "user-1", "payload": {"seconds": 600, "mark": str(started)}}
            await ask(worker, "POST", "/api/v1/jobs", job)
        await eventually(started.exists)
        handlers = {"Handlers": ["tests.support.jobs"], "Concurrency": 3, "MaxAttempts": 7}
        write(folder, Http=url, Worker=handlers, Queue={"MaxBytes": 2**30})
        await reload(worker, "settings read anew: Worker:Concurrency, Worker:MaxAttempts")
        await eventually(lambda: len(started.read_text(encoding="utf-8").splitlines()) == 3)
        assert "restart to apply: Queue:MaxBytes; until then the old values hold" in worker.text()
        health = (await ask(worker, "GET", "/health"))["entries"]["queue"]["data"]
        assert (health["concurrency"], health["maxBytes"]) == (3, 10 * 2**30)
        job = await ask(worker, "POST", "/api/v1/jobs", {"taskType": "noop", "userId": "user-1"})
        assert (await ask(worker, "GET", f"/api/v1/jobs/{job['jobId']}"))["maxAttempts"] == 7


async def test_an_unusable_file_changes_nothing_and_is_told_in_one_line(folder: Path) -> None:
    good = (folder / "appsettings.json").read_text(encoding="utf-8")
    async with running_worker(folder) as worker:
        (folder / "appsettings.json").write_text(good.replace('"Concurrency": 1', '"Concurency": 4'), encoding="utf-8")
        await reload(worker, "the settings were not reloaded, those from before hold: ")
        [line] = [line for line in worker.text().splitlines() if "the settings were not reloaded" in line]
        assert "unknown setting 'Worker:Concurency'; did you mean 'Worker:Concurrency'?" in line
        health = await ask(worker, "GET", "/health")
        assert health["entries"]["settings"]["status"] == "Degraded"
        assert "Worker:Concurency" in health["entries"]["settings"]["description"]
        assert health["entries"]["queue"]["data"]["concurrency"] == 1
        (folder / "appsettings.json").write_text(good, encoding="utf-8")
        await reload(worker, "settings read anew: nothing has changed")
        assert (await ask(worker, "GET", "/health"))["entries"]["settings"]["status"] == "Healthy"


async def test_a_key_that_is_taken_out_opens_nothing_more_and_ends_its_streams(folder: Path) -> None:
    url = json.loads((folder / "appsettings.json").read_text(encoding="utf-8"))["Http"]["Url"]
    keys = {name: {"Name": name, "Sha256": hashlib.sha256(name.encode()).hexdigest()} for name in ("old", "new")}
    write(folder, Http={"Url": url, "ApiKeys": [keys["old"]]})
    async with running_worker(folder) as worker, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/api/v1/live", headers={"X-Api-Key": "old"}) as stream:
            await stream.content.readuntil(b"event: stats")
            write(folder, Http={"Url": url, "ApiKeys": [keys["new"]], "RateLimit": 1000})
            await reload(worker, "settings read anew: Http:ApiKeys, Http:RateLimit")
            async with asyncio.timeout(10):
                await stream.content.read()
        for name, status in (("old", 401), ("new", 200)):
            async with session.get(f"{url}/api/v1/stats", headers={"X-Api-Key": name}) as answer:
                assert answer.status == status


async def test_log_levels_follow_and_secrets_stay_secret(folder: Path) -> None:
    url = json.loads((folder / "appsettings.json").read_text(encoding="utf-8"))["Http"]
    handlers = {"Handlers": ["tests.support.jobs"]}
    async with running_worker(folder) as worker:
        web_socket = {"Url": "http://127.0.0.1:9", "Token": "a-secret-of-length"}
        write(folder, Http=url, Worker=handlers, WebSocket=web_socket, Logging={"LogLevel": {"Default": "Debug"}})
        await reload(worker, "settings read anew: WebSocket:Token, Worker:Concurrency, Logging:LogLevel")
        text = {"text": "told a-secret-of-length"}
        job = {"taskType": "fail", "userId": "user-1", "payload": text, "maxAttempts": 1}
        accepted = await ask(worker, "POST", "/api/v1/jobs", job)
        await ask(worker, "GET", f"/api/v1/jobs/{accepted['jobId']}?wait=20")
        write(folder, Http=url, Worker=handlers, WebSocket=web_socket, Logging={"LogLevel": {"Default": "Critical"}})
        worker.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]  # it runs
        while (await ask(worker, "GET", "/health"))["entries"]["settings"]["data"]["reloads"] < 2:
            await asyncio.sleep(0.01)
        accepted = await ask(worker, "POST", "/api/v1/jobs", job)
        await ask(worker, "GET", f"/api/v1/jobs/{accepted['jobId']}?wait=20")
        assert worker.text().count("ValueError: told ***") == 1
        assert "a-secret-of-length" not in worker.text()


async def test_a_lone_hub_survives_a_reload_and_says_that_it_does_not_do_it(tmp_path: Path) -> None:
    write(tmp_path)
    async with running_worker(tmp_path, command="hub") as hub:
        await reload(hub, "the hub alone reads its settings at its start: restart")
        assert await hub.stop() == 0
