"""The hub behind a real nginx with the shipped configuration: TLS, both endpoints, forwarded addresses."""

import asyncio
import contextlib
import io

import aiohttp
import pytest
import socketio

from tests.support.hub import EVENT, PATH, Browser, message, running_hub
from tests.support.nginx import running_nginx
from worker.cli import doctor_connection, doctor_socketio
from worker.cli.doctor import Doctor, Target
from worker.hub.engineio.session import Timing
from worker.hub.events import ClientConnected

OPEN_PATH = f"{PATH}/?EIO=4&transport=websocket"


@contextlib.asynccontextmanager
async def behind_nginx(tmp_path, **options):
    async with running_hub(tmp_path / "state", timing=Timing(ping_interval=1.0, ping_timeout=120.0), **options) as hub:
        with running_nginx(tmp_path / "nginx", hub.port) as nginx:
            yield hub, nginx


def over_tls(nginx):
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=nginx.trust))


async def test_doctor_passes_every_check_through_nginx(tmp_path, monkeypatch):
    # Each answer comes through two servers, one of them in a process of its own.
    monkeypatch.setattr(doctor_connection, "_CLOSE_SECONDS", 60.0)
    monkeypatch.setattr(doctor_socketio, "_NAMESPACE_SECONDS", 60.0)
    monkeypatch.setattr(doctor_socketio, "_COMMAND_SECONDS", 60.0)
    async with behind_nginx(tmp_path, trusted_proxies=["127.0.0.1"]) as (hub, nginx):
        target = Target(nginx.url, PATH, EVENT, hub.token("link", publish=True), tls=nginx.trust)
        checks = await Doctor(target, lambda _: None).examine()
        assert [check for check in checks if check.verdict != "ok"] == []
        assert {"tls", "receipt", "ping", "native"} <= {check.name for check in checks}


async def test_python_client_publishes_and_receives_through_nginx(tmp_path):
    async with behind_nginx(tmp_path) as (hub, nginx), over_tls(nginx) as session:
        browser = Browser()
        browser.client = socketio.AsyncClient(reconnection=False, handle_sigint=False, http_session=session)
        browser.client.on("*", browser._keep)
        await browser.connect(nginx.url, {"token": hub.token("ann", publish=True)})
        large = message(1, note="ก" * 100_000)
        assert await browser.publish(large) == {"ok": True}
        assert (await browser.next())[1] == large
        await browser.close()


@pytest.mark.parametrize(
    ("proxies", "seen"), [(["127.0.0.1"], "127.0.0.2"), ([], "127.0.0.1"), (["10.0.0.0/8"], "127.0.0.1")]
)
async def test_forwarded_address_counts_only_from_a_trusted_proxy(tmp_path, proxies, seen):
    async with behind_nginx(tmp_path, trusted_proxies=proxies) as (hub, nginx):
        assert await _address_of(hub, nginx.url, nginx.trust, {}, "127.0.0.2") == seen


async def test_forged_forwarded_address_is_ignored_through_nginx(tmp_path):
    forged = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"}
    async with behind_nginx(tmp_path, trusted_proxies=["127.0.0.1"]) as (hub, nginx):
        assert await _address_of(hub, nginx.url, nginx.trust, forged, "127.0.0.2") == "127.0.0.2"
        assert await _address_of(hub, hub.url, None, forged, "127.0.0.3") == "127.0.0.3"


async def test_own_page_connects_through_nginx_and_a_foreign_one_does_not(tmp_path):
    trusted = behind_nginx(tmp_path, trusted_proxies=["127.0.0.1"])
    async with trusted as (_, nginx), over_tls(nginx) as session:
        ws = await session.ws_connect(nginx.url + OPEN_PATH, headers={"Origin": nginx.url})
        assert (await ws.receive_str()).startswith("0{")
        await ws.close()
        for origin in ("https://evil.example", nginx.url.replace("https", "http")):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await session.ws_connect(nginx.url + OPEN_PATH, headers={"Origin": origin})


async def test_request_without_tls_is_redirected_to_it(tmp_path):
    async with behind_nginx(tmp_path) as (_, nginx), aiohttp.ClientSession() as session:
        answer = await session.get(f"http://127.0.0.1:{nginx.plain_port}/a?b=c", allow_redirects=False)
        assert answer.status == 308
        assert answer.headers["Location"] == "https://127.0.0.1/a?b=c"


async def _address_of(hub, url, trust, headers, source):
    """The address that the hub reports for a client at `source`."""
    connector = aiohttp.TCPConnector(ssl=trust or True, local_addr=(source, 0))
    session = aiohttp.ClientSession(connector=connector)
    async with session, session.ws_connect(f"{url}/ws", headers=headers) as ws:
        await ws.send_json({"type": "auth", "data": {"token": hub.token(source)}})
        identity = (await ws.receive_json())["data"]["clientId"]
        return (await hub.wait_for_event(ClientConnected, lambda event: event.client_id == identity)).address


@pytest.mark.parametrize(
    ("path", "size", "is_passed_on"),
    [
        ("/api/v1/jobs/upload", 20_000_000, True),
        ("/api/v1/jobs/upload", 70_000_000, False),
        ("/api/v1/jobs", 15_000_000, True),
        ("/api/v1/jobs", 18_000_000, False),
        ("/api/v1/session", 10_000, True),
        ("/api/v1/session", 20_000, False),
    ],
)
async def test_body_is_passed_on_up_to_the_size_of_its_location(tmp_path, path, size, is_passed_on):
    async with behind_nginx(tmp_path) as (_, nginx), over_tls(nginx) as session:
        answer = await session.post(nginx.url + path, data=io.BytesIO(b"x" * size))
        if is_passed_on:
            assert answer.status == 404  # the hub alone has no such route
        else:
            assert (answer.status, answer.content_type) == (413, "application/problem+json")
            assert (await answer.json())["status"] == 413


async def test_logins_beyond_the_rate_of_an_address_are_answered_by_the_proxy(tmp_path):
    async with behind_nginx(tmp_path) as (_, nginx), over_tls(nginx) as session:
        answers = [await session.post(f"{nginx.url}/api/v1/session", data=b"{}") for _ in range(40)]
        assert {answer.status for answer in answers} == {404}
        many = await asyncio.gather(*(session.post(f"{nginx.url}/api/v1/session", data=b"{}") for _ in range(300)))
        refused = [answer for answer in many if answer.status == 429]
        assert refused
        assert (await refused[0].json())["title"] == "Too Many Requests"
        assert refused[0].headers["Retry-After"] == "1"
