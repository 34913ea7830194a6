"""What unknown callers see: health without figures, no page under a foreign host name, no response that can be kept."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.api_site import ADMIN, ANN, OFFICE, PRODUCER, READER, ApiSite, api_site, logged_in
from tests.support.ports import free_port
from tests.support.process import running_worker
from worker.api.routes.health import HealthCheck, HealthReport

DETAIL = "appsettings.json:7: WebSocket:Timeout = 1x at db-7.internal"
REPORT = HealthReport(
    alive=True,
    ready=True,
    started=True,
    entries={
        "settings": HealthCheck("Degraded", DETAIL, {"reloads": 41}, "the settings could not be reloaded"),
        "link": HealthCheck("Degraded", data={"state": "reconnecting", "url": "http://10.1.2.3:8080", "user": "ann"}),
        "hub": HealthCheck("Healthy", data={"clients": 12}),
    },
)


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiSite]:
    async def health() -> HealthReport:
        return REPORT

    monkeypatch.setattr("tests.support.api_site._healthy", health)
    async with api_site(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("key", [None, "a-guess", "eyJ.a.b", PRODUCER, ANN, OFFICE])
async def test_health_tells_others_state_and_kind_of_problem_alone(site: ApiSite, key: str | None) -> None:
    status, answer, _ = await site.ask("GET", "/health", key=key)
    assert status == 200
    assert answer["status"] == "Degraded"
    problem = "the settings could not be reloaded"
    assert answer["entries"] == {
        "settings": {"status": "Degraded", "description": problem, "data": {}},
        "link": {"status": "Degraded", "description": "", "data": {}},
        "hub": {"status": "Healthy", "description": "", "data": {}},
    }
    _, figures, _ = await site.ask("GET", "/health/websocket", key=key)
    assert figures == {"link": {"state": "reconnecting"}, "hub": {}}


async def test_health_shows_details_to_a_key_that_reads_everything_and_to_its_session(site: ApiSite) -> None:
    session = await logged_in(site, READER)
    for key, cookie in ((READER, ""), (ADMIN, ""), (None, session)):
        _, answer, _ = await site.ask("GET", "/health", key=key, Cookie=cookie)
        assert answer["entries"]["settings"] == {"status": "Degraded", "description": DETAIL, "data": {"reloads": 41}}
        _, figures, _ = await site.ask("GET", "/health/websocket", key=key, Cookie=cookie)
        assert figures["hub"] == {"clients": 12}


async def test_too_many_unknown_keys_do_not_hide_the_health(site: ApiSite) -> None:
    for number in range(30):
        assert (await site.ask("GET", "/health", key=f"guess-{number}"))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "EVIL.example:8080", "hr.example.evil.example", ""])
async def test_page_under_another_host_name_returns_421(site: ApiSite, host: str) -> None:
    site.authenticator.allowed_hosts = frozenset({"hr.example"})
    for path in ("/", "/page/resilience.js", "/page/dashboard/app.js", "/openapi.json", "/api/v1/jobs"):
        expected = 200 if path == "/openapi.json" else 421
        assert (await site.ask("GET", path, Host=host))[0] == expected, path
    for path in ("/livez", "/health", "/health/ready"):
        assert (await site.ask("GET", path, key=None, Host=host))[0] == 200, path
    for allowed in ("hr.example", "HR.example:443", "localhost:8080"):
        assert (await site.ask("GET", "/", key=None, Host=allowed))[0] == 200, allowed


async def test_hub_under_another_host_name_returns_421(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    settings = (f"--Http:Url={url}", f"--WebSocket:Url={url}", "--Http:AllowedHosts:0=hr.example")
    for command in ("run", "hub"):
        folder = tmp_path / command
        folder.mkdir()
        async with running_worker(folder, *settings, command=command):
            port = int(url.rpartition(":")[2])
            for path in (
                "/ws",
                "/api/v1/org-socket/?EIO=4&transport=websocket",
                "/api/v1/org-socket/?EIO=4&transport=polling",
            ):
                assert b" 421 " in await first_line(port, path, "evil.example"), (command, path)
                assert b" 421 " not in await first_line(port, path, "hr.example"), (command, path)
            assert b" 200 " in await first_line(port, "/livez", "evil.example")


async def first_line(port: int, path: str, host: str) -> bytes:
    """Ask for a WebSocket or a page with this Host header; return the first line of the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    upgrade = "" if "polling" in path or path == "/livez" else "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n{upgrade}{key}\r\n".encode())
    line = await reader.readline()
    writer.close()
    return line


@pytest.mark.parametrize(
    "path", ["/health", "/health/websocket", "/livez", "/openapi.json", "/api/v1/jobs", "/nothing"]
)
async def test_response_may_not_be_kept_and_its_type_not_guessed(site: ApiSite, path: str) -> None:
    _, _, headers = await site.ask("GET", path)
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


async def test_page_is_asked_for_again_each_time(site: ApiSite) -> None:
    _, _, headers = await site.ask("GET", "/", key=None)
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-cache", "nosniff")
