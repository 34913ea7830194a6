"""Options of the connection: namespace, query, credentials in the Url, sub-paths, IPv6, proxies, certificates."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.bad_servers import BadServer, ScriptedConnection, acking, answering_server, bad_server, tls_server
from tests.support.certificates import made_for
from tests.support.message_source import ListSource, message
from tests.support.needs import skip_without
from tests.support.notifiers import fast_settings, running_notifier
from tests.support.web_server import serving
from worker.notifiers.socketio.address import address_of, proxy_for
from worker.notifiers.socketio.events import Connect, ConnectError, ServerError


@contextlib.asynccontextmanager
async def recording_server() -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A good server at every path, and the requests it received."""
    server, requests = BadServer(acking), list[web.Request]()

    async def answer(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        return await server.handle(request)

    async with answering_server(answer) as url:
        yield url, requests


async def test_query_is_sent_with_the_handshake() -> None:
    source = ListSource([message(1)])
    async with recording_server() as (url, requests):
        settings = fast_settings(url, query={"token": "a b&c", "หน่วย": "กพ"})
        async with running_notifier(settings, source):
            await source.until(1)
    assert dict(requests[0].query) == {"token": "a b&c", "หน่วย": "กพ", "EIO": "4", "transport": "websocket"}


async def test_credentials_of_the_url_travel_in_a_header_and_appear_nowhere_else() -> None:
    source = ListSource([message(1)])
    async with recording_server() as (url, requests):
        settings = fast_settings(url.replace("//", "//worker:p%40ss@"))
        async with running_notifier(settings, source) as link:
            await source.until(1)
            assert (await link.events.one(Connect)).url == url
            assert "p%40ss" not in link.notifier.status().status_en
    assert requests[0].headers["Authorization"] == "Basic " + base64.b64encode(b"worker:p@ss").decode()


async def test_configured_authorization_wins_over_the_credentials_of_the_url() -> None:
    source = ListSource([message(1)])
    async with recording_server() as (url, requests):
        settings = fast_settings(url.replace("//", "//worker:pass@"), headers={"authorization": "Bearer x"})
        async with running_notifier(settings, source):
            await source.until(1)
    assert requests[0].headers["Authorization"] == "Bearer x"


@pytest.mark.parametrize("path", ["/hr/socket.io", "hr/socket.io/", "/hr/socket.io/"])
async def test_sub_path_is_requested_with_one_trailing_slash(path: str) -> None:
    source = ListSource([message(1)])
    async with recording_server() as (url, requests), running_notifier(fast_settings(url, path=path), source):
        await source.until(1)
    assert requests[0].path == "/hr/socket.io/"


async def test_ipv6_address_is_reached() -> None:
    server, app = BadServer(acking), web.Application()
    app.router.add_get("/api/v1/org-socket/", server.handle)
    async with contextlib.AsyncExitStack() as stack:
        try:
            port = await stack.enter_async_context(serving(app, host="::1"))
        except OSError:
            skip_without("the IPv6 loopback", "enable IPv6 on this machine")
        source = ListSource([message(1)])
        async with running_notifier(fast_settings(f"http://[::1]:{port}"), source):
            await source.until(1)


# -- namespaces ------------------------------------------------------------------------------------------------------


async def in_namespace(stage: ScriptedConnection) -> None:
    """A server whose handlers are in /org; it knows no other namespace, and sends packets of others too."""
    await stage.send('0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}')
    assert (await stage.ws.receive()).data == "40/org,{}"
    await stage.send('40/org,{"sid":"s"}')
    await stage.send('42["error","of the main namespace"]')
    await stage.send("431[]")
    await stage.send("41/other,")
    async for frame in stage.ws:
        text = str(frame.data)
        if not text.startswith("42/org,"):
            stage.seen.append(-1)
            continue
        number = int(text[7 : text.index("[")])
        stage.seen.append(number)
        reply = f"43/org,{number}[]" if number % 2 else f'461-/org,{number}[{{"_placeholder":true,"num":0}}]'
        await stage.send(reply)
        if number % 2 == 0:
            await stage.ws.send_bytes(b"ok")


@pytest.mark.parametrize(("suffix", "namespace"), [("/org", None), ("/org/", None), ("", "/org"), ("/org", "/org")])
async def test_namespace_of_setting_or_url_carries_all_packets(suffix: str, namespace: str | None) -> None:
    source = ListSource([message(number) for number in range(1, 41)])
    async with bad_server(in_namespace) as server:
        settings = fast_settings(server.url + suffix, namespace=namespace)
        async with running_notifier(settings, source) as link:
            await source.until(40)
            assert link.events.of(ServerError) == []
    assert server.seen[:40] == list(range(1, 41))


async def test_missing_listener_raises_one_alarm_with_event_and_namespace() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.send('0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}')
        await stage.ws.receive()
        await stage.send('40/org,{"sid":"s"}')
        async for frame in stage.ws:
            if frame.type.name == "PING":
                await stage.ws.pong(frame.data)

    source = ListSource([message(number) for number in range(1, 11)])
    async with bad_server(script) as server:
        settings = fast_settings(server.url, namespace="/org", event="socket-notification", ack_timeout=3000)
        async with running_notifier(settings, source) as link:
            await source.until(10)
            source.add(message(11))
            await source.until(11)
            [alarm] = link.events.of(ServerError)
    assert alarm.alarm
    assert 'event "socket-notification" in namespace "/org"' in alarm.detail


# -- proxies -----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def connect_proxy() -> AsyncIterator[tuple[int, list[str]]]:
    """An HTTP proxy that tunnels CONNECT to localhost whatever the name; the heads of the requests it received."""
    seen: list[str] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(head)
        port = int(head.split()[1].rpartition(":")[2])
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while piece := await source.read(65536):
                    target.write(piece)
            target.close()

        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()


async def test_proxy_tunnels_the_connection(tmp_path: Path) -> None:
    certificate = made_for("localhost", tmp_path)
    source = ListSource([message(1)])
    async with tls_server(certificate) as url, connect_proxy() as (port, seen):
        settings = fast_settings(url, ca_file=str(certificate), proxy=f"http://user:word@127.0.0.1:{port}")
        async with running_notifier(settings, source):
            await source.until(1)
    assert seen[0].startswith(f"CONNECT {url.removeprefix('https://')} ")
    assert "Proxy-Authorization: Basic " + base64.b64encode(b"user:word").decode() in seen[0]


async def test_proxy_that_is_away_is_named(unused_tcp_port: int) -> None:
    settings = fast_settings("https://hub.example", proxy=f"http://127.0.0.1:{unused_tcp_port}")
    async with running_notifier(settings) as link:
        assert "ConnectionRefusedError" in (await link.events.one(ConnectError)).cause


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("https://hub.example", {"https": "http://proxy:1"}, "http://proxy:1"),
        ("wss://hub.example", {"https": "http://proxy:1"}, "http://proxy:1"),
        ("http://hub.example", {"https": "http://proxy:1"}, None),
        ("ws://hub.example", {"http": "http://proxy:2"}, "http://proxy:2"),
        ("https://hub.example", {"all": "http://proxy:3"}, "http://proxy:3"),
        ("https://hub.example", {"https": "http://proxy:1", "no": "other,.example"}, None),
        ("https://hub.example:8443", {"https": "http://proxy:1", "no": "*"}, None),
        ("http://127.0.0.1:8080", {"http": "http://proxy:2"}, None),
        ("http://[::1]:8080", {"http": "http://proxy:2"}, None),
        ("http://localhost", {"http": "http://proxy:2"}, None),
    ],
)
def test_proxy_for_follows_the_environment(url: str, environ: dict[str, str], expected: str | None) -> None:
    assert proxy_for(url, None, environ) == expected
    assert proxy_for(url, "http://own:9", environ) == "http://own:9"


async def test_client_certificate_is_presented(tmp_path: Path) -> None:
    for folder in ("server", "client"):
        (tmp_path / folder).mkdir()
    server, client = made_for("localhost", tmp_path / "server"), made_for("worker", tmp_path / "client")
    source = ListSource([message(1)])
    async with tls_server(server, client=client) as url:
        settings = fast_settings(url, ca_file=str(server), certificate_file=str(client))
        async with running_notifier(settings, source):
            await source.until(1)


async def test_missing_client_certificate_fails_the_attempt(tmp_path: Path) -> None:
    certificate = made_for("localhost", tmp_path)
    async with tls_server(certificate) as url:
        settings = fast_settings(url, ca_file=str(certificate), certificate_file=str(tmp_path / "none.pem"))
        async with running_notifier(settings) as link:
            assert "FileNotFoundError" in (await link.events.one(ConnectError)).cause


@pytest.mark.parametrize(
    ("url", "namespace", "expected"),
    [
        ("http://hub:80", None, ("http://hub:80", "/")),
        ("http://hub/", None, ("http://hub", "/")),
        ("wss://u:p@hub:1/org/", None, ("wss://hub:1", "/org")),
        ("http://[::1]:80/a/b", None, ("http://[::1]:80", "/a/b")),
        ("http://hub", "/org", ("http://hub", "/org")),
    ],
)
def test_address_of_reads_the_path_as_namespace(url: str, namespace: str | None, expected: tuple[str, str]) -> None:
    address = address_of(url, namespace)
    assert (address.url, address.namespace) == expected
