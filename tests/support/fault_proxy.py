"""A TCP proxy that injects faults: cut, reset, stall, swallow, delay, refuse."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

_TURNS = 5
"""Turns of the event loop within which a connection that was accepted is handed over."""


@dataclass
class FaultProxy:
    """Forwards 127.0.0.1:port to a target. Faults apply to open connections; `refusing` to new ones.

    A connection that is still being made to the target is cut or reset as well.
    """

    target: int
    port: int = 0
    delay: float = 0.0
    """Seconds added to each piece, both ways."""
    refusing: bool = False
    connections: int = 0
    on_client_bytes: Callable[[object, bytes], None] | None = None
    """Called with what a client sends, as it is passed on, and with something that stands for its connection."""
    _flows: set["_Flow"] = field(default_factory=set)
    _accepted: set["asyncio.Task[None]"] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _ends: int = 0
    """How often all connections were cut or reset."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """FIN to both sides; what is in the proxy is lost."""
        self._ends += 1
        for flow in list(self._flows):
            flow.close()

    def reset(self) -> None:
        """RST to both sides."""
        self._ends += 1
        for flow in list(self._flows):
            flow.reset()

    def stall(self) -> None:
        """Stop reading, so that buffers fill."""
        for flow in self._flows:
            flow.open.clear()

    def resume(self) -> None:
        for flow in self._flows:
            flow.open.set()
            flow.swallow = False

    def hole(self) -> None:
        """Half open: what both sides write is dropped."""
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

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusing:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._forward(reader, writer))
        self._accepted.add(task)
        task.add_done_callback(self._accepted.discard)

    async def close(self) -> None:
        """Reset every connection, those included that are still being made to the target."""
        self.refusing = True
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        for task in self._accepted:
            task.cancel()
        self.reset()
        await asyncio.gather(*self._accepted, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = self._ends
        try:
            onward = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        if ends != self._ends:
            onward[1].transport.abort()
            writer.transport.abort()
            return
        flow = _Flow(self, writer, onward[1])
        self._flows.add(flow)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(flow.forward(reader, onward[1], self.on_client_bytes))
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

    async def forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        observe: Callable[[object, bytes], None] | None = None,
    ) -> None:
        while piece := await reader.read(65536):
            if self._proxy.delay:
                await asyncio.sleep(self._proxy.delay)
            await self.open.wait()
            if observe is not None and not writer.is_closing():
                observe(self, piece)
            if not self.swallow:
                writer.write(piece)
                await writer.drain()
        raise _Closed

    def close(self) -> None:
        self.open.set()
        for writer in self._writers:
            writer.transport.abort() if self.swallow else writer.close()

    def reset(self) -> None:
        self.open.set()  # a stalled `forward` must notice
        for writer in self._writers:
            plain = writer.get_extra_info("socket")
            if plain is not None and plain.fileno() >= 0:
                # SO_LINGER with zero seconds: close() sends RST instead of FIN.
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@contextlib.asynccontextmanager
async def fault_proxy(target: int, host: str = "127.0.0.1") -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(target)
    server = await asyncio.start_server(proxy.accept, host, 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
