"""Anonymous clients that do their worst: `python -m tests.support.hostile_clients KIND PORT SECONDS`.

Each sends at most 5 MB/s and runs in a process of its own, on another core than the service where there is one.
"""

import asyncio
import contextlib
import gzip
import os
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

RATE = 5_000_000
"""Bytes a second."""
_DRAIN_SECONDS, _ANSWER_SECONDS = 5.0, 1.0
"""After these, an attack gives up a connection that does not read, or does not answer."""
_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_EMPTY_PING = b"\x89\x80\x00\x00\x00\x00"
_LOGIN = b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\n"


class Client:
    """Sends at a bounded rate."""

    def __init__(self, port: int, until: float) -> None:
        self.port, self.until = port, until
        self._began, self._sent = time.monotonic(), 0

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.until

    async def send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        for start in range(0, len(data), 1 << 16):
            piece = data[start : start + (1 << 16)]
            ahead = (self._sent + len(piece)) / RATE - (time.monotonic() - self._began)
            if ahead > 0:
                await asyncio.sleep(ahead)
            self._sent += len(piece)
            writer.write(piece)
            await asyncio.wait_for(writer.drain(), _DRAIN_SECONDS)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def forever(self, attack: Callable[[], Awaitable[None]]) -> None:
        """Repeat the attack whatever happens to it."""
        while self.goes_on:
            try:
                async with asyncio.timeout(max(0.01, self.until - time.monotonic())):
                    await attack()
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.005)


async def bodies(client: Client) -> None:
    """Logins with many names, many objects, much depth, and compressed ones, with and without a length."""
    names = b'{"key":"x",' + b",".join(b'"k%d":1' % number for number in range(300_000)) + b"}"
    objects = b"[" + b"{}," * 1_000_000 + b"{}]"
    bomb = gzip.compress(b"[" + b"0," * 20_000_000 + b"0]")
    bodies = [(names, b""), (objects, b""), (b"[" * 500_000, b""), (bomb, b"Content-Encoding: gzip\r\n")]

    async def attack() -> None:
        for body, header in bodies:
            async with client.connection() as (reader, writer):
                await client.send(writer, _LOGIN + header + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                await asyncio.wait_for(reader.read(1), _ANSWER_SECONDS)

    await client.forever(attack)


async def slow(client: Client) -> None:
    """Hundreds of connections with half a head, half a body, or nothing."""
    beginnings = [b"", b"G", b"GET / HTTP/1.1\r\nX-A: b\r\n", _LOGIN + b"Content-Length: 999\r\n\r\n{"]

    async def hold(number: int) -> None:
        async with client.connection() as (reader, writer):
            await client.send(writer, beginnings[number % len(beginnings)])
            await reader.read()

    await asyncio.gather(*(client.forever(lambda number=number: hold(number)) for number in range(400)))  # type: ignore[misc]  # mypy infers no default


async def frames(client: Client) -> None:
    """Empty pings on sockets that never authenticate: all on one, or a few on each of many."""

    async def attack(flood: bytes) -> None:
        async with client.connection() as (reader, writer):
            await client.send(writer, _UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            while client.goes_on:
                await client.send(writer, flood)
                if len(flood) < 10_000:
                    await asyncio.sleep(1)

    floods = [_EMPTY_PING * 10_000, *[_EMPTY_PING * 190] * 50]
    await asyncio.gather(*(client.forever(lambda flood=flood: attack(flood)) for flood in floods))  # type: ignore[misc]  # mypy infers no default


async def halves(client: Client) -> None:
    """Messages that never end, on many sockets."""
    half = b"\x01" + b"\xff" + struct.pack(">Q", 1_000_000) + b"\0\0\0\0" + b"x" * 900_000

    async def attack() -> None:
        async with client.connection() as (reader, writer):
            await client.send(writer, _UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            await client.send(writer, half)
            await reader.read()

    await asyncio.gather(*(client.forever(attack) for _ in range(100)))


async def guesses(client: Client) -> None:
    """Wrong keys, wrong tokens, many requests at once, bytes that are not HTTP, and connections that say nothing."""
    requests = [
        b"GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000,
        b"GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nX-Api-Key: wrong\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer eyJ\xff.a.b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header\r\n\r\n",
    ]

    async def attack() -> None:
        for request in requests:
            async with client.connection() as (reader, writer):
                await client.send(writer, request)
                await reader.read(1)
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(20):
                await stack.enter_async_context(client.connection())

    await asyncio.gather(*(client.forever(attack) for _ in range(8)))


KINDS: dict[str, Callable[[Client], Coroutine[None, None, None]]] = {
    "bodies": bodies,
    "slow": slow,
    "frames": frames,
    "halves": halves,
    "guesses": guesses,
}


def cores() -> tuple[set[int], set[int]]:
    """Return the cores for the service and for its clients."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, set(others) or {first}


def main(arguments: Iterator[str]) -> None:
    kind, port, seconds = next(arguments), int(next(arguments)), float(next(arguments))
    os.sched_setaffinity(0, cores()[1])
    asyncio.run(KINDS[kind](Client(port, time.monotonic() + seconds)))


if __name__ == "__main__":
    main(iter(sys.argv[1:]))
