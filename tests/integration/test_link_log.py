"""What operators read when the link fails: each line names a cause and what to do."""

import asyncio
import socket
import ssl
from unittest.mock import Mock

import aiohttp
import pytest

from tests.support.bad_servers import ScriptedConnection, acking, bad_server, http_server
from tests.support.link_log import assert_operators_can_act
from tests.support.notifiers import fast_settings, running_notifier
from worker.notifiers.socketio.events import ConnectError, Disconnect, ServerError
from worker.notifiers.socketio.network_faults import explain


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 407, 426, 429, 500, 502, 503])
async def test_http_answer_instead_of_the_upgrade_tells_what_to_do(status: int) -> None:
    async with http_server(status) as url, running_notifier(fast_settings(url)) as link:
        await link.events.one(ConnectError)
        assert_operators_can_act(link.events.events)


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1009, 1011, 4401, 4403, 4409, 4429])
async def test_close_code_tells_what_to_do(code: int) -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        await stage.ws.close(code=code)

    async with bad_server(script) as server, running_notifier(fast_settings(server.url)) as link:
        await link.events.one(Disconnect)
        if code in (1003, 1008) or code > 4000:
            await link.events.one(ServerError)
        assert_operators_can_act(link.events.events)


async def test_rejected_credentials_tell_what_to_do() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}')
        await stage.ws.receive()
        await stage.send('44{"message":"not authorized"}')
        await stage.hold()

    async with bad_server(script) as server, running_notifier(fast_settings(server.url)) as link:
        await link.events.one(ServerError)
        assert_operators_can_act(link.events.events)


async def test_missing_server_and_missing_file_tell_what_to_do(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with running_notifier(fast_settings(url)) as link:
        await link.events.one(ConnectError)
        assert_operators_can_act(link.events.events)
    async with (
        bad_server(acking) as server,
        running_notifier(fast_settings(server.url, token_file="/nowhere/token")) as link,
    ):
        await link.events.one(ConnectError)
        assert_operators_can_act(link.events.events)


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "start the server"),
        (ConnectionResetError(104, "Connection reset by peer"), "see the server's log"),
        (aiohttp.ServerDisconnectedError(), "see the server's log"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "correct the name in WebSocket:Url"),
        (ssl.SSLCertVerificationError("CERTIFICATE_VERIFY_FAILED"), "set WebSocket:CaFile"),
        (ssl.SSLError("WRONG_VERSION_NUMBER"), "check whether that port speaks TLS"),
        (PermissionError(13, "Permission denied", "token"), "the file's rights"),
        (OSError(113, "No route to host"), "check the network"),
    ],
)
def test_fault_of_the_network_is_explained_with_its_remedy(fault: Exception, remedy: str) -> None:
    outer = RuntimeError("outer")
    outer.__cause__ = fault
    for found in (explain(fault), explain(outer)):
        assert found.startswith(f"{type(fault).__name__}: ")
        assert remedy in found
        assert "\n" not in found


@pytest.mark.parametrize("status", [None, 407])
def test_fault_of_the_proxy_names_the_setting_of_the_proxy(status: int | None) -> None:
    fault: Exception
    if status is None:
        fault = aiohttp.ClientProxyConnectionError(
            Mock(host="proxy", port=3128, ssl=True), ConnectionRefusedError(111, "")
        )
        fault.__cause__ = ConnectionRefusedError(111, "Connection refused")
    else:
        fault = aiohttp.ClientHttpProxyError(Mock(), (), status=status, message="who are you")
    assert explain(fault).endswith("check WebSocket:Proxy")


def test_unknown_fault_is_named_without_a_guess() -> None:
    assert explain(ValueError("two\nlines")) == "ValueError: two lines"


async def test_text_instead_of_http_tells_what_to_do() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with running_notifier(fast_settings(url)) as link:
            await link.events.one(ConnectError)
            assert_operators_can_act(link.events.events)
