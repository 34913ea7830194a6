"""A network between the link and a server: delays, cuts, silence; and the link's connection over it."""

import asyncio
import contextvars
import random
from collections.abc import Callable
from typing import Protocol

from tests.simulation.loop import current_process
from worker.notifiers.socketio.handshake import ConnectOptions
from worker.notifiers.socketio.protocol import FrameListener, OpenPacket
from worker.notifiers.socketio.state import CloseReason

_APART = 1e-6
"""Seconds between two pieces: timers of the same moment have no order."""
_BACKGROUND = contextvars.Context()
"""What happens on the network belongs to no process."""


class NotificationServer(Protocol):
    """What connects at the other end."""

    is_up: bool
    crashes: int
    """How often it went down: what was on its way to it then does not reach it when it is up again."""

    def on_event(self, connection: "SimulatedConnection", number: int | None, body: bytes) -> None: ...

    def on_end(self, connection: "SimulatedConnection") -> None: ...


class Pipe:
    """One direction of a connection: in order, each piece after its delay."""

    def __init__(self, network: "SimulatedNetwork") -> None:
        self._network = network
        self._last = 0.0
        self._on_the_way: dict[asyncio.TimerHandle, None] = {}

    def carry(self, arrive: Callable[[], None]) -> None:
        network = self._network
        if network.is_silent:
            return
        loop = asyncio.get_running_loop()
        self._last = max(self._last + _APART, loop.time() + network.delay * network.chance.uniform(0.5, 1.5))

        def arrived() -> None:
            self._on_the_way.pop(handle, None)
            if not network.is_silent:
                arrive()

        handle = loop.call_at(self._last, arrived, context=_BACKGROUND)
        self._on_the_way[handle] = None

    def cut(self) -> None:
        """Lose what is on the way, from some piece on."""
        pieces = list(self._on_the_way)
        for handle in pieces[self._network.chance.randint(0, len(pieces)) :]:
            handle.cancel()
            del self._on_the_way[handle]


class SimulatedNetwork:
    """Between one service and one server."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.delay = 0.001
        self.is_silent = False
        """Half open: whatever is sent is swallowed."""
        self.is_refusing = False
        self.server: NotificationServer
        self.connections: dict[SimulatedConnection, None] = {}

    def cut(self) -> None:
        """End every connection; both sides notice."""
        for connection in list(self.connections):
            connection.drop(CloseReason("the connection broke", 1006))


class SimulatedConnection:
    """Implements worker.notifiers.socketio.link_connection.LinkConnection."""

    def __init__(self, listener: FrameListener, network: SimulatedNetwork) -> None:
        self.written = 0
        self.close_reason: CloseReason | None = None
        self.listener = listener
        self.name = ""
        self._network = network
        self._process = current_process.get()
        self._crashes = 0
        self._to_server = Pipe(network)
        self._to_client = Pipe(network)

    @property
    def over(self) -> bool:
        return self.close_reason is not None

    @property
    def stage(self) -> str:
        return "the CONNECT packet"

    async def connect(self, options: ConnectOptions) -> OpenPacket:
        network = self._network
        await asyncio.sleep(3 * network.delay)
        if network.is_silent:
            await asyncio.Event().wait()
        if network.is_refusing or not network.server.is_up:
            raise ConnectionRefusedError("connection refused")
        self.name = f"{len(network.connections)}-{asyncio.get_running_loop().time():.6f}"
        self._crashes = network.server.crashes
        network.connections[self] = None
        return OpenPacket(25.0, 20.0, 1_000_000)

    async def send(self, number: int, body: bytes, *, ack: bool) -> None:
        self.written = number
        if not self.over:
            self._to_server.carry(lambda: self._arrive(number if ack else None, body))
        self.listener.on_written(number)

    def _arrive(self, number: int | None, body: bytes) -> None:
        server = self._network.server
        if server.crashes == self._crashes:
            server.on_event(self, number, body)

    def flush(self) -> None:
        """Everything is on its way."""

    async def send_volatile(self, body: bytes) -> None:
        """Progress is not simulated."""

    async def ping(self, payload: bytes) -> None:
        if not self.over and self._network.server.is_up:
            self._to_server.carry(lambda: self.answer(lambda: self.listener.on_pong(payload)))

    def answer(self, deliver: Callable[[], None]) -> None:
        """Carry something from the server to the link."""

        def arrive() -> None:
            if not self.over and (self._process is None or self._process.is_alive):
                contextvars.Context().run(self._as_process, deliver)

        self._to_client.carry(arrive)

    def _as_process(self, deliver: Callable[[], None]) -> None:
        current_process.set(self._process)
        deliver()

    def drop(self, reason: CloseReason) -> None:
        """The connection breaks: what is on its way may be lost."""
        self._to_server.cut()
        self._to_client.cut()
        self._leave()
        if self._process is None or self._process.is_alive:
            contextvars.Context().run(self._as_process, lambda: self.end(reason))

    def end(self, reason: CloseReason) -> None:
        if self.close_reason is None:
            self.close_reason = reason
            self.listener.on_close(reason)

    async def close(self) -> None:
        self.close_reason = self.close_reason or CloseReason("closed by us", 1000, final=True)
        self._leave()

    async def abort(self) -> None:
        self.close_reason = self.close_reason or CloseReason("dropped", None)
        self._to_server.cut()
        self._leave()

    def _leave(self) -> None:
        if self._network.connections.pop(self, 0) is None:
            self._network.server.on_end(self)
