"""Who comes in, in the real service: keys that go, sessions over restarts, administration on a port of its own."""

import hashlib
import json
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.process import WorkerProcess, clean_environment, free_port
from worker.errors import NotFound

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


async def test_a_session_survives_a_restart_and_dies_with_its_key(service: WorkerProcess) -> None:
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

    await eventually(lambda: "settings read anew: Http:ApiKeys" in service.text())
    assert await status(session, Cookie=cookie) == 401
    assert await status(session, X_Api_Key=KEY) == 401
    assert await status(session, X_Api_Key="another-key") == 200


async def test_without_keys_the_first_start_makes_one_and_says_where(service: WorkerProcess) -> None:
    await service.start()
    url = url_of(service)
    path = service.state / "admin.key"
    assert f"admin key for the HTTP API made at {path}" in service.text()
    key = path.read_text(encoding="ascii").strip()
    assert key not in service.text()
    assert await status(f"{url}/api/v1/jobs") == 401
    assert await status(f"{url}/api/v1/jobs", X_Api_Key=key) == 200
    await cookie_of(url, key)


async def test_the_token_in_a_session_listens_as_its_user_and_log_out_ends_it(service: WorkerProcess) -> None:
    keys(service, KEY)
    await service.start()
    url = url_of(service)
    cookie = await cookie_of(url, KEY)
    async with aiohttp.ClientSession(headers={"Cookie": cookie, "Origin": url}) as session:
        async with session.get(f"{url}/api/v1/session") as response:
            answer = await response.json()
        assert answer["userId"] == USER
        async with session.ws_connect(url + answer["hub"]["path"]) as socket:
            await socket.send_json({"type": "auth", "data": {"token": answer["hub"]["token"]}})
            welcome = await socket.receive_json(timeout=10)
            assert welcome["type"] == "welcome"
            async with session.delete(f"{url}/api/v1/session") as response:
                assert response.status == 204
            while (message := await socket.receive(timeout=10)).type != aiohttp.WSMsgType.CLOSE:
                assert message.type == aiohttp.WSMsgType.TEXT
            assert message.data == 4401
        assert await status(f"{url}/api/v1/me", Authorization=f"Bearer {answer['hub']['token']}") == 401


def _open(document: Any) -> Sequence[tuple[str, str, str]]:
    return [
        (method.upper(), path, operation["x-surface"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


async def test_administration_answers_on_its_own_port_alone(service: WorkerProcess) -> None:
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
        target = path.replace("{id}", "x").replace("{kind}", "http").replace("{name}", "x")
        expected = 405 if path in paths else 404
        assert await status(url + target, method, X_Api_Key=KEY) == expected, (method, path)
    assert await status(f"{admin}/api/v1/jobs", X_Api_Key=KEY) == 200
    assert await status(f"{admin}/api/v1/jobs") == 401
    assert await status(f"{url}/api/v1/jobs/x", X_Api_Key=KEY) == 404
    assert await status(f"{admin}/") == 200
    assert await status(f"{url}/") == 404
    assert await status(f"{url}/readyz") == 200
    with pytest.raises(NotFound):
        service.client.ask("GET", "/api/v1/jobs/x")


async def test_orders_on_the_socket_are_written_down_as_the_owners(service: WorkerProcess) -> None:
    keys(service, KEY)
    await service.start()
    body = {
        "taskType": "insignia_background_processing",
        "payload": {"round": 2569, "officers": []},
        "runAt": "2199-01-01T00:00:00Z",
    }
    job_id = service.client.ask("POST", "/api/v1/jobs", body)["jobId"]
    service.client.ask("POST", f"/api/v1/jobs/{job_id}/cancel")
    [entry] = service.client.ask("GET", "/api/v1/audit")["entries"]
    assert (entry["actor"], entry["action"], entry["target"]) == ("local", "jobs.cancel", job_id)
    assert f"local ordered jobs.cancel {job_id}" in service.text()


async def test_orders_given_while_no_service_runs_are_written_down_too(service: WorkerProcess) -> None:
    def ordered(*words: str) -> str:
        command = [sys.executable, "-m", "worker", *words, "--contentRoot", str(service.folder)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=clean_environment(), cwd=service.folder, timeout=60
        )
        return done.stdout.strip()

    job_id = ordered(
        "enqueue", "insignia_background_processing", "--user", USER, "--payload", '{"round": 2569, "officers": []}'
    )
    ordered("jobs", "cancel", job_id)
    await service.start()
    [entry] = service.client.ask("GET", "/api/v1/audit")["entries"]
    assert (entry["actor"], entry["action"], entry["target"]) == ("local", "jobs.cancel", job_id)
