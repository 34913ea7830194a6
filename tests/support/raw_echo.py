"""The hub's WebSocket layer alone, with every message sent back and limits that nothing reaches.

For conformance tests. By hand: `python -m tests.support.raw_echo PORT`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from tests.support.web_server import serving
from worker.core.clock import Clock
from worker.hub.connection_limits import ConnectionLimiter, ConnectionLimits
from worker.hub.transports.connections import Connection, ConnectionRegistry, MessageLimits
from worker.hub.transports.transport import SendLimits
from worker.hub.transports.upgrade import invalid_upgrade
from worker.hub.transports.websocket import WebSocketServer

_PLENTY = 64 * 1024 * 1024


class RawEcho:
    """An endpoint that sends every message back."""

    name = "echo"

    def on_open(self, request: web.Request, connection: Connection) -> Connection:
        connection.message_bucket = None
        return connection

    def is_requested(self, connection: Connection, data: bytes) -> bool:
        return False

    def on_message(self, connection: Connection, data: bytes, *, binary: bool) -> None:
        if binary:
            connection.transport.send_binary(data)
        else:
            connection.transport.send(data)

    def on_pong(self, connection: Connection) -> None: ...

    def on_close(self, connection: Connection, code: int, reason: str) -> None: ...


@asynccontextmanager
async def raw_echo(port: int = 0, limits: ConnectionLimits | None = None) -> AsyncIterator[int]:
    """The port it listens on. Without `limits` there are none."""
    messages = MessageLimits(user=_PLENTY, publisher=_PLENTY, incomplete=4 * _PLENTY)
    unlimited = ConnectionLimits(control_frames_per_second=1e9, control_frame_burst=1e9)
    registry = ConnectionRegistry(
        ConnectionLimiter(limits or unlimited, Clock().monotonic),
        on_rejected=lambda endpoint, address, reason: None,
        on_error=_raise,
        wait_for_capacity=_at_once,
        message_limits=messages,
    )
    websockets, endpoint = WebSocketServer(registry, SendLimits(total=4 * _PLENTY)), RawEcho()

    async def handle(request: web.Request) -> web.StreamResponse:
        rejection = invalid_upgrade(request)
        if rejection is not None:
            return registry.reject(rejection, "echo", "")
        return await websockets.serve(request, endpoint)

    app = web.Application()
    app.router.add_route("*", "/", handle)
    async with serving(app, port) as served:
        try:
            yield served
        finally:
            registry.abort_all()


async def _at_once() -> None: ...


def _raise(error: BaseException) -> None:
    raise error


async def _serve() -> None:
    async with raw_echo(int(sys.argv[1])):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
