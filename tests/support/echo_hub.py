"""The protocol layer of the hub with an echo in place of the org-socket: for conformance tests.

Behaves as the server that the official Socket.IO protocol suite expects: namespaces `/` and `/custom`, an
`auth` event on connecting, `message` answered by `message-back`, `message-with-ack` by its arguments. At `/engine.io/`
it is the plain echo that the official Engine.IO suite expects.
Run by hand: `python -m tests.support.echo_hub PORT`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from worker.clock import Clock
from worker.hub.acceptor import Acceptor, Sizes
from worker.hub.engine import Connection, Seat, SocketIoDoor, Timing
from worker.hub.guard import Caps, Guard
from worker.hub.packets import Kind, Packet
from worker.hub.peer import Bounds

PATH = "/socket.io/"
ENGINE_PATH = "/engine.io/"
TIMING = Timing(ping_interval=0.3, ping_timeout=0.2, handshake=1.0)


class EchoSpace:
    def connect(self, seat: Seat, auth: Any) -> None:
        seat.accept()
        # In a later turn, as in the hub, where the inbox is asked first: the official suite listens for one
        # message at a time and overlooks a second that comes in the same read.
        asyncio.get_running_loop().call_later(0.02, seat.emit, "auth", auth or {})

    def event(self, seat: Seat, packet: Packet) -> None:
        name, *arguments = packet.data
        binary = packet.kind is Kind.BINARY_EVENT
        if name == "message" and binary:
            seat.emit_binary("message-back", *arguments)
        elif name == "message":
            seat.emit("message-back", *arguments)
        elif name == "message-with-ack" and packet.id is not None and binary:
            seat.acknowledge_binary(packet.id, arguments)
        elif name == "message-with-ack" and packet.id is not None:
            seat.acknowledge(packet.id, orjson.dumps(arguments))

    def left(self, seat: Seat, code: int, reason: str) -> None: ...

    def pinged(self, seat: Seat) -> None: ...

    def ponged(self, seat: Seat) -> None: ...


class EngineEcho(SocketIoDoor):
    """Engine.IO without Socket.IO on it: messages are sent back, everything else is the hub's own."""

    def heard(self, line: Connection, data: bytes, *, binary: bool) -> None:
        if binary:
            line.peer.send_binary(data)
        elif data[:1] == b"4":
            line.peer.send(data)
        else:
            super().heard(line, data, binary=binary)


@asynccontextmanager
async def echo_hub(port: int = 0) -> AsyncIterator[int]:
    """The port it listens on."""
    acceptor = Acceptor(
        Guard(Caps(), Clock().monotonic),
        refused=lambda door, address, reason: None,
        failed=_raise,
        pause=_at_once,
        sizes=Sizes(),
        bounds=Bounds(farewell=0.2),
    )
    door = SocketIoDoor({"/": EchoSpace(), "/custom": EchoSpace()}, acceptor, TIMING)
    app = web.Application()
    engine = EngineEcho({}, acceptor, TIMING)
    app.router.add_route("*", PATH, door.handle)
    app.router.add_route("*", ENGINE_PATH, engine.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    beating = asyncio.create_task(_beat(door, engine))
    try:
        yield runner.addresses[0][1]
    finally:
        beating.cancel()
        await runner.cleanup()


async def _at_once() -> None: ...


def _raise(error: BaseException) -> None:
    raise error


async def _beat(*doors: SocketIoDoor) -> None:
    while True:
        await asyncio.sleep(0.02)
        for door in doors:
            door.beat(asyncio.get_running_loop().time())


async def _for_ever() -> None:
    async with echo_hub(int(sys.argv[1])):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_for_ever())
