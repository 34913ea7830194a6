"""Two hundred clients come back at once after a restart: each receives what was sent to its user, once and in order."""

import asyncio
import contextlib
from functools import partial
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.process import WorkerProcess, command
from worker.cli.listener import Listener

CLIENTS = 200
USERS = 20


async def _receive(browser: Listener, numbers: list[int]) -> None:
    async with contextlib.aclosing(browser.messages()) as messages:
        async for received in messages:
            numbers.append(received.message["payload"]["sequence"])


async def _submit(worker: WorkerProcess, users: list[str]) -> None:
    jobs = [{"taskType": "noop", "userId": user} for user in users]
    await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs/batch", {"jobs": jobs})


async def _all_have(count: int, received: list[list[int]]) -> None:
    async with asyncio.timeout(300):
        while not all(len(numbers) == count for numbers in received):
            await asyncio.sleep(0.1)


@pytest.mark.kill
@pytest.mark.timeout(1200)
async def test_two_hundred_clients_come_back_after_a_restart_of_the_hub(tmp_path: Path) -> None:
    url, users = f"http://127.0.0.1:{free_port()}", [f"user-{n}" for n in range(USERS)]
    settings = ["--Worker:Handlers:0=tests.support.jobs", f"--Http:Url={url}", f"--WebSocket:Url={url}"]
    worker = WorkerProcess(tmp_path, settings)
    await worker.start()
    tokens = [(await asyncio.to_thread(command, tmp_path, "token", "--user", user)).stdout.strip() for user in users]
    received: list[list[int]] = [[] for _ in range(CLIENTS)]
    browsers = [
        Listener(url, "/api/v1/org-socket", "socket-notification", partial(str, tokens[n % USERS]))
        for n in range(CLIENTS)
    ]
    listening = [asyncio.create_task(_receive(*pair)) for pair in zip(browsers, received, strict=True)]
    try:
        await _submit(worker, users)
        await _all_have(1, received)
        for restart in range(2, 4):
            worker.kill()
            await worker.start()
            await _submit(worker, users)
            await _all_have(restart, received)
    finally:
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        worker.kill()
    assert [numbers for numbers in received if numbers != [1, 2, 3]] == []
