"""A publisher as the worker's link is one, made of a few lines: at least once, in order, whatever the hub does."""

import asyncio
import contextlib

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

    async def _session(self, count: int) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(self._url) as socket:
            await self._receive(socket)
            await socket.send_str("40" + orjson.dumps({"token": self._token}).decode())
            assert (await self._receive(socket)).startswith("40")
            sent = self.acknowledged
            while self.acknowledged < count:
                while sent < min(count, self.acknowledged + WINDOW):
                    packet = [EVENT, message(sent), {"userId": self._user}]
                    await socket.send_str(f"42{sent}{orjson.dumps(packet).decode()}")
                    sent += 1
                self._answered(await self._receive(socket))

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
