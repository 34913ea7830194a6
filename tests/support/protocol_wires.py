"""Engine.IO and Socket.IO frame by frame, over WebSocket and over HTTP long-polling, for the tests of the protocols."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from tests.support.echo_hub import ENGINE_PATH, PATH

PATIENCE = 120.0
QUERY = "EIO=4&transport=websocket"


class Wire:
    """One WebSocket."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, frame: str | bytes) -> None:
        await (self.socket.send_bytes(frame) if isinstance(frame, bytes) else self.socket.send_str(frame))

    async def any(self) -> Any:
        """The next frame's data, pings included; None when the server has closed."""
        return await received(self.socket)

    async def next(self) -> Any:
        """The next frame's data; pings are left out."""
        while (data := await self.any()) == "2":
            pass
        return data

    async def closed(self) -> int | None:
        while await self.any() is not None:
            pass
        return self.socket.close_code


@asynccontextmanager
async def wire(port: int, query: str = QUERY, path: str = PATH) -> AsyncIterator[Wire]:
    async with (
        ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}{path}?{query}") as socket,
    ):
        yield Wire(socket)


async def received(socket: ClientWebSocketResponse) -> Any:
    """The next frame's data; None when the server has closed."""
    async with asyncio.timeout(PATIENCE):
        frame = await socket.receive()
    return frame.data if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY) else None


class Polls:
    """One session over HTTP."""

    def __init__(self, session: ClientSession, url: str, handshake: dict[str, Any]) -> None:
        self.session = session
        self.url = f"{url}&sid={handshake['sid']}"
        self.handshake = handshake

    async def get(self) -> tuple[int, bytes]:
        """Status and body of a poll."""
        async with asyncio.timeout(PATIENCE), self.session.get(self.url) as answer:
            return answer.status, await answer.read()

    async def post(self, body: bytes, content_type: str = "text/plain;charset=UTF-8") -> tuple[int, str]:
        headers = {"Content-Type": content_type}
        async with asyncio.timeout(PATIENCE), self.session.post(self.url, data=body, headers=headers) as answer:
            return answer.status, await answer.text()

    def websocket(self) -> Any:
        return self.session.ws_connect(self.url.replace("polling", "websocket"))


def handshake_of(payload: bytes, eio: int) -> dict[str, Any]:
    """The first packet; in revision 3 the connection to `/` may follow it in the same payload."""
    packet = payload
    if eio == 3:
        length, _, packets = payload.partition(b":")
        packet = packets[: int(length)]
    assert packet[:1] == b"0"
    handshake: dict[str, Any] = orjson.loads(packet[1:])
    return handshake


@asynccontextmanager
async def polling(port: int, path: str = ENGINE_PATH, eio: int = 4, more: str = "") -> AsyncIterator[Polls]:
    url = f"http://127.0.0.1:{port}{path}?EIO={eio}&transport=polling{more}"
    async with ClientSession() as session:
        async with session.get(url) as answer:
            assert answer.status == 200
            payload = await answer.read()
        yield Polls(session, url, handshake_of(payload, eio))
