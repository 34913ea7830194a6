"""The header timeout of a port: silent, slow and too many connections are closed; others are not affected."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from tests.support.loop_time import pass_time
from worker.net.client_address import networks_of
from worker.net.header_timeout import HeaderLimits, HeaderTimeout
from worker.net.loop_share import LoopShare
from worker.net.reserve import Reserve


async def _hello(request):
    return web.Response(text="hello " + (await request.text())[:5])


async def _echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for frame in socket:
        await socket.send_str(frame.data)
    return socket


@asynccontextmanager
async def port_with(share=None, **limits):
    """A port, and the reports about what it rejected; `share`: who decides whose turn it is."""
    refused = []
    app = web.Application(client_max_size=10**7)
    for path in ("/", "/livez"):
        app.router.add_route("*", path, _hello)
    app.router.add_get("/ws", _echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    loop = asyncio.get_running_loop()
    assert runner.server is not None
    header_timeout = HeaderTimeout(
        HeaderLimits(**limits), lambda address, reason: refused.append((address, reason)), share=share or LoopShare()
    )
    server = await loop.create_server(header_timeout.guard(runner.server), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], refused
    finally:
        server.close()
        header_timeout.close()
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
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                pass


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"GET / HTTP/1.1\r\n"])
async def test_connection_without_complete_headers_is_closed_in_time(beginning):
    async with port_with(header_seconds=0.2) as (port, refused):
        began = asyncio.get_running_loop().time()  # before the service counts
        async with dialled(port) as (reader, writer):
            writer.write(beginning)
            await _until_closed(reader)
        assert asyncio.get_running_loop().time() - began > 0.15
        assert refused == [("127.0.0.1", "no request in time")]


async def test_connection_that_sends_headers_slowly_is_closed_in_time():
    async with port_with(header_seconds=0.3) as (port, refused), dialled(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        closed = asyncio.create_task(_until_closed(reader))
        while not closed.done():
            writer.write(b"X")
            await asyncio.sleep(0.02)
        await closed
        assert refused


async def test_end_of_headers_split_between_reads_is_recognised(monkeypatch):
    async with port_with(header_seconds=60) as (port, refused), dialled(port) as (reader, writer):
        for piece in (b"GET / HTTP/1.1\r\nHost: x\r", b"\n\r", b"\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert b"200 OK" in await reader.readuntil(b"hello ")
        # Longer than the deadline, which no longer applies.
        pass_time(monkeypatch, 61)
        await asyncio.sleep(0.01)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert not refused


async def test_large_bodies_and_websockets_are_not_interrupted(monkeypatch):
    async with port_with(header_seconds=60) as (port, refused), ClientSession() as session:
        async with session.post(f"http://127.0.0.1:{port}/", data="x" * 500_000) as answer:
            assert await answer.text() == "hello xxxxx"
        async with session.ws_connect(f"http://127.0.0.1:{port}/ws") as socket:
            pass_time(monkeypatch, 61)
            await asyncio.sleep(0.01)
            await socket.send_str("still here")
            assert await socket.receive_str() == "still here"
        assert not refused


HELLO = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Turns:
    """Lets a test decide when it is the next connection's turn."""

    def __init__(self):
        self.waiting: asyncio.Queue[Callable[[], bool]] = asyncio.Queue()

    def call(self, work):
        self.waiting.put_nowait(work)


@pytest.mark.parametrize("beginning", [b"", HELLO])
async def test_connection_without_a_served_request_is_closed_with_the_port(beginning):
    """One that is silent, and one whose request waits for its turn, which comes too late."""
    turns = Turns()
    async with contextlib.AsyncExitStack() as opened:
        port = port_with(share=turns, header_seconds=3600)
        number, _ = await port.__aenter__()
        reader, writer = await opened.enter_async_context(dialled(number))
        busy, to_busy = await opened.enter_async_context(dialled(number))
        to_busy.write(HELLO)
        assert (await asyncio.wait_for(turns.waiting.get(), 30))()
        assert b"200 OK" in await busy.readuntil(b"hello ")
        writer.write(beginning)
        turn = await asyncio.wait_for(turns.waiting.get(), 30) if beginning else None
        await port.__aexit__(None, None, None)
        assert turn is None or not turn()
        assert await asyncio.wait_for(_all_of(reader), 30) == b""


async def _all_of(reader):
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


GOODBYE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def test_connection_above_the_cap_of_its_address_is_closed_until_another_ends():
    async with port_with(per_address=2) as (port, refused), dialled(port) as (first, writer), dialled(port):
        async with dialled(port) as (third, _):
            await _until_closed(third)
        assert len(refused) == 1
        writer.write(GOODBYE)
        await _until_closed(first)
        async with dialled(port) as (again, writer):
            writer.write(GOODBYE)
            assert b"200 OK" in await again.read(1000)


async def test_connection_above_the_total_takes_the_place_of_the_oldest_silent_one():
    async with port_with(total=3) as (port, refused), dialled(port) as (busy, to_busy):
        to_busy.write(HELLO)
        await busy.readuntil(b"hello ")
        async with dialled(port) as (silent, _), dialled(port) as (later, _), dialled(port) as (probe, to_probe):
            await _until_closed(silent)
            assert refused == [("127.0.0.1", "too many connections")]
            to_probe.write(GOODBYE)
            assert b"200 OK" in await probe.read(1000)
            to_busy.write(HELLO)
            assert b"200 OK" in await busy.readuntil(b"hello ")
            assert not later.at_eof()


async def test_connection_above_the_total_is_closed_when_all_others_have_sent_requests():
    async with port_with(total=2) as (port, refused), dialled(port) as first, dialled(port) as second:
        for reader, writer in (first, second):
            writer.write(HELLO)
            await reader.readuntil(b"hello ")
        async with dialled(port) as (third, _):
            await _until_closed(third)
        assert refused == [("127.0.0.1", "too many connections")]
        first[1].write(GOODBYE)
        await _until_closed(first[0])
        async with dialled(port) as (again, writer):
            writer.write(GOODBYE)
            assert b"200 OK" in await again.read(1000)


async def test_connections_of_a_trusted_proxy_are_not_capped_by_its_address():
    proxies = networks_of(["127.0.0.1"])
    async with port_with(per_address=1, proxies=proxies) as (port, refused), contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            reader, writer = await stack.enter_async_context(dialled(port))
            writer.write(HELLO)
            assert b"200 OK" in await reader.readuntil(b"hello ")
        assert refused == []


def a_reserve(probes=2, silent=2):
    return Reserve(frozenset({"/livez"}), lambda key: key == "secret", probes, silent)


FULL = [{"total": 1}, {"per_address": 1}, {"per_second": 0.001, "burst": 1}]
SERVED = [
    b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /livez?verbose HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-Api-Key: secret\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nauthorization:bearer  secret\r\n\r\n",
]
NOT_SERVED = [
    HELLO,
    b"GET /livez2 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-Api-Key: wrong\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic secret\r\n\r\n",
    b"\x16\x03\x01\xff\r\n\r\n",
]


@contextlib.asynccontextmanager
async def full_port(**limits):
    """A port at this cap, whose only connection has sent a request."""
    async with port_with(**limits) as (port, refused), dialled(port) as (reader, writer):
        writer.write(HELLO)
        await reader.readuntil(b"hello ")
        yield port, refused


@pytest.mark.parametrize("cap", FULL)
@pytest.mark.parametrize("request_bytes", SERVED)
async def test_probe_and_the_administrators_key_are_served_beyond_every_cap(cap, request_bytes):
    async with full_port(**cap, reserve=a_reserve()) as (port, refused):
        for _ in range(5):
            async with dialled(port) as (reader, writer):
                for byte in (request_bytes[:7], request_bytes[7:]):
                    writer.write(byte)
                    await writer.drain()
                assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert refused == []


@pytest.mark.parametrize("cap", FULL)
@pytest.mark.parametrize("request_bytes", NOT_SERVED)
async def test_other_request_beyond_a_cap_returns_429_and_creates_nothing(cap, request_bytes):
    async with full_port(**cap, reserve=a_reserve()) as (port, refused), dialled(port) as (reader, writer):
        writer.write(request_bytes)
        assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert len(refused) == 1


async def test_silent_connections_beyond_the_caps_keep_no_probe_out():
    full = full_port(per_address=1, reserve=a_reserve())
    async with full as (port, _), dialled(port) as (oldest, _), dialled(port), dialled(port):
        await _until_closed(oldest)
        async with dialled(port) as (reader, writer):
            writer.write(SERVED[0])
            assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)


async def test_endless_headers_beyond_the_caps_close_the_connection():
    async with full_port(per_address=1, reserve=a_reserve()) as (port, refused), dialled(port) as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\nX: " + b"x" * 100_000)
        await _until_closed(reader)
        assert refused == [("127.0.0.1", "too many connections from this address")]


async def test_probe_is_answered_although_many_silent_connections_are_accepted_with_it():
    """A busy loop accepts them all in one turn, and has read nothing of the probe yet."""
    async with full_port(per_address=1, reserve=a_reserve()) as (port, _), contextlib.AsyncExitStack() as stack:
        # The loop does not turn in here: the operating system takes the connections.
        probe = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        probe.sendall(SERVED[0])
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        probe.setblocking(False)
        async with asyncio.timeout(30):
            answer = await asyncio.get_running_loop().sock_recv(probe, 4096)
    assert b"200 OK" in answer


async def test_probe_that_is_slow_to_send_its_request_keeps_its_place_among_many_silent_connections():
    full = full_port(per_address=1, reserve=a_reserve(silent=20))
    async with full as (port, _), dialled(port) as (reader, writer), contextlib.AsyncExitStack() as stack:
        others = [(await stack.enter_async_context(dialled(port)))[0] for _ in range(19)]
        writer.write(SERVED[0])
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        # The probe no longer counts among the silent ones: only the second of these makes the oldest leave.
        for _ in range(2):
            await stack.enter_async_context(dialled(port))
        await _until_closed(others[0])
