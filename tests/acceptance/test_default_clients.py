"""Socket.IO clients with their default options, while the service is reloaded and killed: 1,000 notifications each."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_reload import reload
from tests.support.chromium import a_chromium
from tests.support.default_clients import Place, Receivers, default_clients
from tests.support.history.runs import judge_complete
from tests.support.nginx import plain_nginx
from tests.support.ports import free_port
from tests.support.process import WorkerProcess, running_worker
from worker.core.clock import Clock
from worker.hub.tokens import TokenService, load_key

COUNT = 1_000
ROUND = 250
LINKS = (["polling", "websocket"], ["websocket"])
"""The transports of the link, which the reloads change by turns: the link connects again while it delivers."""

pytestmark = [
    pytest.mark.kill,
    # Longer than all waits of `Receivers.until` together, which tell which client lacks what.
    pytest.mark.timeout(900),
    # python-engineio leaves the WebSockets of lost connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


def _write(folder: Path, port: int, transports: Sequence[str]) -> None:
    url = f"http://127.0.0.1:{port}"
    settings = {
        "Http": {"Url": url, "PathBase": "/hr"},
        "WebSocket": {"Url": url, "ReconnectionDelay": 50, "Transports": transports},
        "Hub": {"Enabled": True, "AllowEio3": True},
        "Worker": {"Handlers": ["tests.support.jobs"]},
        "HostOptions": {"ReloadOnChange": False},  # else a file may be reloaded before the signal
    }
    (folder / "appsettings.json").write_text(json.dumps(settings), encoding="utf-8")


async def _submit(worker: WorkerProcess, users: Sequence[str]) -> None:
    for user in users:
        jobs = [{"taskType": "noop", "userId": user, "payload": {"number": number}} for number in range(ROUND)]
        await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs/batch", {"jobs": jobs})


async def _deliver(worker: WorkerProcess, receivers: Receivers, port: int) -> None:
    """Submit all jobs in rounds; in the middle of each, reload the settings, or kill the service and start it again."""
    for number in range(COUNT // ROUND):
        await _submit(worker, tuple(receivers.by_name))
        await receivers.until_handled(number * ROUND + ROUND // 5)
        if number % 2:
            worker.kill()
            await worker.start()
        else:
            _write(worker.folder, port, LINKS[number // 2 % 2])
            await reload(worker, "settings reloaded: WebSocket:Transports")
    await receivers.until_handled(COUNT)
    await worker.until_idle()


async def _run(folder: Path, url: str, port: int, *, base: str = "", chromium: Any = None) -> None:
    async with running_worker(folder) as worker:
        authority = TokenService(load_key(worker.state / "hub.key")[0], "insignia-worker", "org-socket", Clock())
        async with default_clients(Place(url, authority.mint, base), chromium) as receivers:
            await _deliver(worker, receivers, port)
            assert await worker.stop() == 0
        verdict = judge_complete(worker, receivers.history())
        assert verdict.is_clean, str(verdict)
        assert [len(one.shown) for one in receivers.by_name.values()] == [COUNT] * len(receivers.by_name)
        assert "Traceback" not in worker.text()


async def test_default_clients_get_each_notification_once_over_reloads_and_kills(tmp_path: Path) -> None:
    port = free_port()
    _write(tmp_path, port, LINKS[1])
    await _run(tmp_path, f"http://127.0.0.1:{port}", port)


async def test_default_clients_behind_nginx_below_a_path_get_each_notification_once_over_reloads_and_kills(
    tmp_path: Path,
) -> None:
    """With one in a page of Chromium."""
    port = free_port()
    _write(tmp_path, port, LINKS[1])
    with plain_nginx(tmp_path / "nginx", port, idle_seconds=75) as url:
        async with a_chromium() as chromium:
            await _run(tmp_path, url, port, base="/hr", chromium=chromium)
