"""Who comes in, in the real service: keys that go, sessions over restarts, administration on a port of its own."""

import hashlib
import json
import re
import signal
import stat
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.ports import free_port
from tests.support.process import WorkerProcess, command
from worker.errors import NotFound

pytestmark = pytest.mark.both_stores


KEY = "a-key-that-only-this-test-knows"
USER = "ann"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[WorkerProcess]:
    url = f"http://127.0.0.1:{free_port()}"
    running = WorkerProcess(
        tmp_path, [f"--Http:Url={url}", f"--WebSocket:Url={url}", f"--WebSocket:DefaultUserId={USER}"]
    )
    yield running
    if running.process is not None and running.process.poll() is None:
        assert await running.stop() == 0


def url_of(service: WorkerProcess) -> str:
    return service.settings[0].partition("=")[2]


def keys(service: WorkerProcess, *known: str) -> None:
    """Write the settings file: these keys, which may do everything."""
    entries = [{"Name": key, "Sha256": hashlib.sha256(key.encode()).hexdigest(), "Scopes": ["admin"]} for key in known]
    (service.folder / "appsettings.json").write_text(json.dumps({"Http": {"ApiKeys": entries}}), encoding="utf-8")


async def status(url: str, method: str = "GET", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=named) as response:
        return response.status


async def cookie_of(url: str, key: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/api/v1/session", json={"key": key}) as response,
    ):
        assert response.status == 200, await response.text()
        return response.headers["Set-Cookie"].partition(";")[0]


async def test_session_survives_a_restart_and_ends_with_its_key(service: WorkerProcess) -> None:
    url, session = url_of(service), f"{url_of(service)}/api/v1/session"
    keys(service, KEY)
    await service.start()
    cookie = await cookie_of(url, KEY)
    assert stat.S_IMODE((service.state / "session.key").stat().st_mode) == 0o600
    await service.stop()
    await service.start()
    assert await status(session, Cookie=cookie) == 200
    assert await status(session, X_Api_Key=KEY) == 200
    keys(service, "another-key")
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)

    await service.until_logged("settings reloaded: Http:ApiKeys")
    assert await status(session, Cookie=cookie) == 401
    assert await status(session, X_Api_Key=KEY) == 401
    assert await status(session, X_Api_Key="another-key") == 200


async def test_first_start_without_keys_creates_one_and_reports_its_path(service: WorkerProcess) -> None:
    await service.start()
    url = url_of(service)
    path = service.state / "admin.key"
    await service.until_logged(f"created an admin key for the HTTP API at {path}")
    key = path.read_text(encoding="ascii").strip()
    assert key not in service.text()
    assert await status(f"{url}/api/v1/jobs") == 401
    assert await status(f"{url}/api/v1/jobs", X_Api_Key=key) == 200
    await cookie_of(url, key)


async def test_session_token_listens_as_its_user_until_log_out(service: WorkerProcess) -> None:
    keys(service, KEY)
    await service.start()
    url = url_of(service)
    cookie = await cookie_of(url, KEY)
    async with aiohttp.ClientSession(headers={"Cookie": cookie, "Origin": url}) as session:
        async with session.get(f"{url}/api/v1/session") as response:
            answer = await response.json()
        assert (answer["userId"], answer["defaultUserId"]) == ("key:" + answer["name"], USER)
        async with session.ws_connect(url + answer["hub"]["path"]) as socket:
            await socket.send_json({"type": "auth", "data": {"token": answer["hub"]["token"]}})
            welcome = await socket.receive_json(timeout=30)
            assert welcome["type"] == "welcome"
            async with session.delete(f"{url}/api/v1/session") as response:
                assert response.status == 204
            while (message := await socket.receive(timeout=30)).type != aiohttp.WSMsgType.CLOSE:
                assert message.type == aiohttp.WSMsgType.TEXT
            assert message.data == 4401
        assert await status(f"{url}/api/v1/me", Authorization=f"Bearer {answer['hub']['token']}") == 401


def _open(document: Any) -> Sequence[tuple[str, str, str]]:
    return [
        (method.upper(), path, operation["x-surface"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


async def test_admin_routes_answer_on_the_admin_port_only(service: WorkerProcess) -> None:
    admin = f"http://127.0.0.1:{free_port()}"
    service.settings.append(f"--Http:AdminUrl={admin}")
    keys(service, KEY)
    await service.start()
    url = url_of(service)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{admin}/openapi.json") as response:
            everything = _open(await response.json())
        async with session.get(f"{url}/openapi.json") as response:
            public = _open(await response.json())
    assert set(public) == {route for route in everything if route[2] == "public"}
    paths = {path for _, path, _ in public}
    for method, path, _ in set(everything) - set(public):
        target = re.sub(r"{\w+}", "x", path)
        expected = 405 if path in paths else 404
        assert await status(url + target, method, X_Api_Key=KEY) == expected, (method, path)
    assert await status(f"{admin}/api/v1/jobs", X_Api_Key=KEY) == 200
    assert await status(f"{admin}/api/v1/jobs") == 401
    assert await status(f"{url}/api/v1/jobs/x", X_Api_Key=KEY) == 404
    assert await status(f"{admin}/") == 200
    assert await status(f"{url}/") == 404
    assert await status(f"{url}/readyz") in (200, 503)  # 503: its event loop has had no heartbeat for seconds
    with pytest.raises(NotFound):
        service.client.request("GET", "/api/v1/jobs/x")


async def test_changes_over_the_unix_socket_are_audited_as_local(service: WorkerProcess) -> None:
    keys(service, KEY)
    await service.start()
    body = {
        "taskType": "insignia_background_processing",
        "payload": {"round": 2569, "officers": []},
        "runAt": (datetime.now(UTC) + timedelta(days=365)).isoformat(),
    }
    job_id = service.client.request("POST", "/api/v1/jobs", body)["jobId"]
    service.client.request("POST", f"/api/v1/jobs/{job_id}/cancel")
    [entry] = service.client.request("GET", "/api/v1/audit")["entries"]
    assert (entry["actor"], entry["action"], entry["target"]) == ("local", "jobs.cancel", job_id)
    await service.until_logged(f"local requested jobs.cancel {job_id}")


async def test_changes_without_a_running_service_are_audited(service: WorkerProcess) -> None:
    def ordered(*words: str) -> str:
        done = command(service.folder, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    await service.start()  # only a service creates a store
    await service.stop()
    job_id = ordered(
        "enqueue", "insignia_background_processing", "--user", USER, "--payload", '{"round": 2569, "officers": []}'
    )
    ordered("jobs", "cancel", job_id)
    await service.start()
    [entry] = service.client.request("GET", "/api/v1/audit")["entries"]
    assert (entry["actor"], entry["action"], entry["target"]) == ("local", "jobs.cancel", job_id)
