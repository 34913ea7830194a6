"""A server that sends interim responses without end costs the HTTP clients a bounded amount of work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest

from tests.support.ports import free_port
from worker.net.client_protocol import MOST_INTERIM, BoundedResponseHandler, TooManyInterimResponses, new_connector
from worker.notifiers.socketio.handshake import ConnectOptions, new_http_session

INTERIM = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
    b"HTTP/1.1 102 \r\n\r\n",
    b"HTTP/1.1 199 Whatever\r\nContent-Length: 0\r\n\r\n",
]
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@asynccontextmanager
async def a_server(interim: bytes, count: int | None) -> AsyncIterator[str]:
    """Sends so many interim responses before each response; None: without end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            while count is None:
                writer.write(interim * 1000)
                await writer.drain()
            writer.write(interim * count + RESPONSE)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    port = free_port()
    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield f"http://127.0.0.1:{port}/"


@pytest.mark.parametrize("interim", INTERIM)
async def test_few_interim_responses_are_skipped(interim: bytes) -> None:
    async with a_server(interim, 3) as url, aiohttp.ClientSession(connector=new_connector()) as session:
        for _ in range(2):
            async with session.get(url) as response:
                assert await response.text() == "ok"


@pytest.mark.parametrize("interim", INTERIM)
@pytest.mark.parametrize("count", [MOST_INTERIM + 1, 300_000, None])
async def test_server_that_sends_interim_responses_only_is_left(interim: bytes, count: int | None) -> None:
    async with a_server(interim, count) as url, aiohttp.ClientSession(connector=new_connector()) as session:
        with pytest.raises(TooManyInterimResponses, match=str(MOST_INTERIM)):
            await session.get(url)


@pytest.mark.parametrize("interim", INTERIM)
async def test_chunk_full_of_interim_responses_is_not_parsed_to_its_end(interim: bytes) -> None:
    handler = BoundedResponseHandler(asyncio.get_running_loop())
    transport = Mock(spec=asyncio.Transport)
    handler.connection_made(transport)
    handler.set_response_params()
    parsed = [0]
    real: Any = handler._parser

    class CountingParser:
        def feed_data(self, data: bytes) -> object:
            parsed[0] += len(data)
            return real.feed_data(data)

    private: Any = handler
    private._parser = CountingParser()
    for _ in range(3):
        handler.data_received(interim * 10_000)
    assert parsed[0] <= 4096
    transport.abort.assert_called()


async def test_link_and_doctor_leave_a_server_that_sends_interim_responses_only() -> None:
    options = ConnectOptions("http://127.0.0.1:1", "/socket.io/", {}, None)
    async with a_server(INTERIM[0], None) as url, new_http_session(options) as session:
        with pytest.raises(TooManyInterimResponses):
            await session.get(url)
