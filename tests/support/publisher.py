"""A publisher as the worker's link is one, made of a few lines: at least once, in order, whatever the hub does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import orjson

from tests.support.hub import EVENT, PATH, message

WINDOW = 64


class Publisher:
    """Everything unacknowledged is sent again on each new connection."""

    def __init__(self, port: int, token: str, *, user: str = "ann") -> None:
        self._url = f"http://127.0.0.1:{port}{PATH}/?EIO=4&transport=websocket"
        self._token = token
        self._user = user
        self.acknowledged = 0

    async def publish(self, count: int) -> None:
        """Messages 0 to count-1; returns once the hub has acknowledged them all."""
        while self.acknowledged < count:
            with contextlib.suppress(aiohttp.ClientError, OSError, EOFError):
                await self._session(count)
            await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Yield what publishes the next message on one lasting connection; it returns once it is acknowledged."""
        async with self._connection() as socket:

            async def publish_next() -> None:
                number = self.acknowledged
                await self._send(socket, number)
                while self.acknowledged == number:
                    self._answered(await self._receive(socket))

            yield publish_next

    async def _session(self, count: int) -> None:
        async with self._connection() as socket:
            sent = self.acknowledged
            while self.acknowledged < count:
                while sent < min(count, self.acknowledged + WINDOW):
                    await self._send(socket, sent)
                    sent += 1
                self._answered(await self._receive(socket))

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with aiohttp.ClientSession() as session, session.ws_connect(self._url) as socket:
            await self._receive(socket)
            await socket.send_str("40" + orjson.dumps({"token": self._token}).decode())
            answer = await self._receive(socket)
            assert answer.startswith("40"), answer
            yield socket

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, number: int) -> None:
        packet = [EVENT, message(number), {"userId": self._user}]
        await socket.send_str(f"42{number}{orjson.dumps(packet).decode()}")

    def _answered(self, answer: str) -> None:
        if answer.startswith("43"):
            assert answer == f'43{self.acknowledged}[{{"ok":true}}]'
            self.acknowledged += 1

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        while True:
            frame = await socket.receive()
            if frame.type is not aiohttp.WSMsgType.TEXT:
                raise EOFError
            if frame.data != "2":
                return str(frame.data)
            await socket.send_str("3")
