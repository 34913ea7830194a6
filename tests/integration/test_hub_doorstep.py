"""The doorstep of the port: the silent, the slow and the many are sent away; the others notice nothing."""

import asyncio
import contextlib
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from worker.hub.doorstep import Limits, guarded


async def _hello(request):
    return web.Response(text="hello " + (await request.text())[:5])


async def _echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for frame in socket:
        await socket.send_str(frame.data)
    return socket


@asynccontextmanager
async def port_with(**limits):
    refused = []
    app = web.Application(client_max_size=10**7)
    app.router.add_route("*", "/", _hello)
    app.router.add_get("/ws", _echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    loop = asyncio.get_running_loop()
    factory = guarded(runner.server, Limits(**limits), lambda address, reason: refused.append((address, reason)))
    server = await loop.create_server(factory, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], refused
    finally:
        server.close()
        await runner.cleanup()


@asynccontextmanager
async def dialled(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _until_closed(reader):
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                pass


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"GET / HTTP/1.1\r\n"])
async def test_one_who_does_not_finish_his_headers_is_sent_away(beginning):
    async with port_with(header_seconds=0.2) as (port, refused), dialled(port) as (reader, writer):
        writer.write(beginning)
        began = asyncio.get_running_loop().time()
        await _until_closed(reader)
        assert 0.15 < asyncio.get_running_loop().time() - began < 2
        assert refused == [("127.0.0.1", "no request in time")]


async def test_dripping_letters_gain_no_time():
    async with port_with(header_seconds=0.3) as (port, refused), dialled(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        closed = asyncio.create_task(_until_closed(reader))
        while not closed.done():
            writer.write(b"X")
            await asyncio.sleep(0.02)
        await closed
        assert refused


async def test_an_end_of_headers_in_pieces_is_an_end():
    async with port_with(header_seconds=0.3) as (port, refused), dialled(port) as (reader, writer):
        for piece in (b"GET / HTTP/1.1\r\nHost: x\r", b"\n\r", b"\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert b"200 OK" in await reader.readuntil(b"hello ")
        # Longer than the deadline: it has stopped.
        await asyncio.sleep(0.4)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert not refused


async def test_large_bodies_and_websockets_are_left_alone():
    async with port_with(header_seconds=0.2) as (port, refused), ClientSession() as session:
        async with session.post(f"http://127.0.0.1:{port}/", data="x" * 500_000) as answer:
            assert await answer.text() == "hello xxxxx"
        async with session.ws_connect(f"http://127.0.0.1:{port}/ws") as socket:
            await asyncio.sleep(0.3)
            await socket.send_str("still here")
            assert await socket.receive_str() == "still here"
        assert not refused


@pytest.mark.parametrize("cap", ["total", "per_address"])
async def test_connections_beyond_the_cap_are_sent_away_until_one_leaves(cap):
    goodbye = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with port_with(**{cap: 2}) as (port, refused), dialled(port) as (first, writer), dialled(port):
        async with dialled(port) as (third, _):
            await _until_closed(third)
        assert len(refused) == 1
        writer.write(goodbye)
        await _until_closed(first)
        async with dialled(port) as (again, writer):
            writer.write(goodbye)
            assert b"200 OK" in await again.read(1000)
