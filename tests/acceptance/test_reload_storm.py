"""A thousand changes of the settings file, most of them bad, while jobs run: only good ones change something."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.process import running_worker

CHANGES = 1000
HANDLERS = "--Worker:Handlers:0=tests.support.jobs"


def _good(concurrency: int) -> str:
    return json.dumps({"Worker": {"Concurrency": concurrency}, "Logging": {"LogLevel": {"Default": "Error"}}})


def _damages() -> list[Callable[[str], str | None]]:
    return [
        lambda _text: None,  # vanished
        lambda text: text[: len(text) // 2],
        lambda _text: "",
        lambda text: text.replace("Concurrency", "Concurency"),
        lambda text: text.replace('"Worker"', '"Worker", "Worker"'),
        lambda _text: '{"Worker": {"Concurrency": -5}}',
        lambda _text: '{"Http": {"RateLimit": "many"}}',
        lambda _text: "\0\0\0\0",
    ]


def _write(file: Path, text: str | None) -> None:
    if text is None:
        file.unlink(missing_ok=True)
        return
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.timeout(1800)
@pytest.mark.kill
async def test_thousand_reloads_under_load_change_only_what_a_good_one_says(tmp_path: Path) -> None:
    file, url, luck = tmp_path / "appsettings.json", f"http://127.0.0.1:{free_port()}", random.Random(7)
    _write(file, _good(4))
    settings = (HANDLERS, f"--Http:Url={url}", f"--WebSocket:Url={url}", "--HostOptions:ReloadOnChange=false")
    async with running_worker(tmp_path, *settings) as worker:

        async def ask(method: str, target: str, body: Any = None) -> Any:
            return await asyncio.to_thread(worker.client.request, method, target, body)

        async def reloaded(wanted: int, before: dict[str, Any]) -> dict[str, Any]:
            """Request a reload, wait for its end, and return the health."""
            assert worker.process is not None
            worker.process.send_signal(1)
            total = before["reloads"] + before["failedReloads"]
            async with asyncio.timeout(60):
                while True:
                    entries: dict[str, Any] = await worker.health()
                    data = entries["settings"]["data"]
                    if data["reloads"] + data["failedReloads"] > total:
                        assert entries["queue"]["data"]["concurrency"] == wanted
                        return entries

        stop = asyncio.Event()
        submitted: list[str] = []

        async def load() -> None:
            while not stop.is_set():
                submitted.append((await ask("POST", "/api/v1/jobs", {"taskType": "noop", "userId": "u"}))["jobId"])

        loading = asyncio.ensure_future(load())
        entries = await reloaded(4, {"reloads": 0, "failedReloads": 0})
        open_files, concurrency, good, bad = 0, 4, 1, 0
        for number in range(CHANGES):
            before = entries["settings"]["data"]
            if luck.random() < 0.3:
                concurrency, good = 2 + number % 7, good + 1
                _write(file, _good(concurrency))
            else:
                bad += 1
                _write(file, luck.choice(_damages())(_good(9)))
            entries = await reloaded(concurrency, before)
            if number == CHANGES // 10:  # by now the service has opened what its first jobs need
                open_files = _descriptors(worker.pid)
        assert (entries["settings"]["data"]["reloads"], entries["settings"]["data"]["failedReloads"]) == (good, bad)
        stop.set()
        await loading
        await worker.until_idle()
        for job in (submitted[0], submitted[-1]):
            assert (await ask("GET", f"/api/v1/jobs/{job}"))["status"] == "succeeded"
        assert (await ask("GET", "/api/v1/stats"))["jobs"]["failed"] == 0
        await eventually(lambda: _descriptors(worker.pid) <= open_files + 4)
        assert await worker.stop() == 0
    assert worker.text().count("settings not reloaded") == bad, "one line for each"
