"""A TCP proxy that does to a connection what networks do: cut, reset, stall, swallow, delay, refuse."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class FaultProxy:
    """Forwards 127.0.0.1:port to a target. Faults hit the connections open now; `refusing` those to come."""

    target: int
    port: int = 0
    delay: float = 0.0
    """Seconds added to each piece, both ways."""
    refusing: bool = False
    connections: int = 0
    _flows: set["_Flow"] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """FIN to both sides; what is in the proxy is lost."""
        for flow in list(self._flows):
            flow.close()

    def reset(self) -> None:
        """RST to both sides."""
        for flow in list(self._flows):
            flow.reset()

    def stall(self) -> None:
        """Nothing is read any more: buffers fill, backwards."""
        for flow in self._flows:
            flow.open.clear()

    def resume(self) -> None:
        for flow in self._flows:
            flow.open.set()
            flow.swallow = False

    def hole(self) -> None:
        """Half open: both sides write happily into nothing."""
        for flow in self._flows:
            flow.swallow = True

    async def misbehave(self, chance: random.Random, pause: float) -> None:
        """One fault after another until cancelled."""
        faults = (self.cut, self.reset, self.stall, self.hole, self._refuse_for_a_while)
        while True:
            await asyncio.sleep(pause * (0.5 + chance.random()))
            self.refusing = False
            self.delay = chance.choice((0.0, 0.0, 0.002))
            chance.choice(faults)()

    def _refuse_for_a_while(self) -> None:
        self.refusing = True
        self.cut()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusing:
            writer.transport.abort()
            return
        try:
            onward = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        flow = _Flow(self, writer, onward[1])
        self._flows.add(flow)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(flow.forward(reader, onward[1]))
                group.create_task(flow.forward(onward[0], writer))
        except* (OSError, _Closed):
            pass
        finally:
            self._flows.discard(flow)
            flow.close()


class _Closed(Exception):
    pass


class _Flow:
    def __init__(self, proxy: FaultProxy, *writers: asyncio.StreamWriter) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.swallow = False
        self._proxy = proxy
        self._writers = writers

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            if self._proxy.delay:
                await asyncio.sleep(self._proxy.delay)
            await self.open.wait()
            if not self.swallow:
                writer.write(piece)
                await writer.drain()
        raise _Closed

    def close(self) -> None:
        self.open.set()
        for writer in self._writers:
            writer.transport.abort() if self.swallow else writer.close()

    def reset(self) -> None:
        self.open.set()  # whoever stands in a stall must notice
        for writer in self._writers:
            plain = writer.get_extra_info("socket")
            if plain is not None and plain.fileno() >= 0:
                # SO_LINGER with zero seconds: close() sends RST instead of FIN.
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@contextlib.asynccontextmanager
async def fault_proxy(target: int) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(target)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.reset()
        while proxy._flows:
            await asyncio.sleep(0.005)
