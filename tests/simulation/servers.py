"""What receives the notifications: a server of others, or the real hub with clients that resume."""

import asyncio
import contextvars
import random
from collections.abc import Callable
from typing import Any, cast

import orjson

from tests.simulation.disk import SimulatedDisk
from tests.simulation.loop import SimulatedProcess
from tests.simulation.network import SimulatedConnection
from tests.support.history.events import Event, Received
from worker.core.clock import Clock
from worker.hub.client import Client
from worker.hub.hub import Hub
from worker.hub.inbox import InboxPage, ResumePoint
from worker.hub.inboxes.sqlite import SqliteInbox
from worker.hub.messages import read_message
from worker.hub.socketio.org_namespace import SocketIoEncoder
from worker.hub.tokens import Identity
from worker.hub.transports.transport import SharedMessage
from worker.notifiers.socketio.state import CloseReason

Record = Callable[[Event], None]
_HANDLING_SECONDS = 0.002
_APART = 1e-6
"""Seconds between two packets: timers of the same moment have no order."""


class ForeignServer:
    """Acknowledges what it has handled; its faults are those of real servers."""

    def __init__(self, chance: random.Random, record: Record) -> None:
        self.is_up = True
        self.crashes = 0
        self.acknowledges = True
        self.poison: set[str] = set()
        """Jobs whose notification makes its handler fail, so that no acknowledgement is sent."""
        self._chance = chance
        self._record = record

    def crash(self) -> None:
        self.is_up = False
        self.crashes += 1

    def on_event(self, connection: SimulatedConnection, number: int | None, body: bytes) -> None:
        if not self.is_up:
            return
        self._record(Received("server", body.decode(), connection=connection.name))
        job: str = orjson.loads(body)[1]["payload"]["jobId"]
        if number is None or not self.acknowledges or job in self.poison:
            return
        seconds = _HANDLING_SECONDS * self._chance.random()
        asyncio.get_running_loop().call_later(
            seconds, self._acknowledge, connection, number, context=contextvars.Context()
        )

    def _acknowledge(self, connection: SimulatedConnection, number: int) -> None:
        if self.is_up:
            connection.answer(lambda: connection.listener.on_ack(number, None))

    def on_end(self, connection: SimulatedConnection) -> None:
        """It keeps nothing of connections."""


class HubOfRun:
    """The real hub and its inbox in a process that can be killed."""

    def __init__(self, disk: SimulatedDisk, clock: Clock) -> None:
        self.is_up = False
        self.crashes = 0
        self.hub: Hub
        self.process = SimulatedProcess(0)
        self._closed: set[str] = set()
        """Connections of publishers that it has closed."""
        self._disk = disk
        self._clock = clock

    async def start(self, number: int) -> None:
        self.process = SimulatedProcess(number)
        await self.process.run(self._start())
        self.is_up = True

    async def _start(self) -> None:
        self.hub = Hub(self._clock, lambda _event: None)
        self.hub.inbox = SqliteInbox(None, self._clock)
        await self.hub.inbox.start()

    async def kill(self) -> None:
        self.is_up = False
        self.crashes += 1
        self.process.is_alive = False
        self._disk.crash(self.process)
        await self.process.kill()

    async def prune(self) -> None:
        await self.process.run(self.hub.inbox.prune())

    def on_event(self, connection: SimulatedConnection, number: int | None, body: bytes) -> None:
        if not self.is_up:
            return
        if connection.name in self._closed:
            return
        hub = self.hub
        message = read_message(orjson.loads(body), body)

        def done(result: str) -> None:
            if result == "failed":  # as the namespace of publishers does
                self._closed.add(connection.name)
                connection.answer(lambda: connection.drop(CloseReason("the server closed the connection (1011)", 1011)))
            elif number is not None and hub is self.hub and self.is_up:
                connection.answer(lambda: connection.listener.on_ack(number, None))

        hub.publish(message, done)

    def on_end(self, connection: SimulatedConnection) -> None:
        """It keeps nothing of publishers."""


class _ClientConnection:
    """Stands in for worker.hub.transports.connections.Connection, and for its transport."""

    name = "simulated"
    dropped = 0
    waiting_bytes = 0
    close_code: int | None = None

    def __init__(self, receive: Callable[[bytes], None], ended: Callable[[], None], delay: Callable[[], float]) -> None:
        self._receive = receive
        self._ended = ended
        self._delay = delay
        self._last = 0.0
        self.transport = self

    @property
    def closing(self) -> bool:
        return self.close_code is not None

    def send(self, message: bytes) -> None:
        if self.close_code is not None:
            return
        loop = asyncio.get_running_loop()
        self._last = max(self._last + _APART, loop.time() + self._delay())
        loop.call_at(self._last, self._arrive, message, context=contextvars.Context())

    def _arrive(self, message: bytes) -> None:
        if self.close_code is None:
            self._receive(message)

    def share(self, message: bytes) -> SharedMessage:
        return SharedMessage(message)

    def send_shared(self, message: SharedMessage) -> None:
        self.send(message.text)

    async def send_when_ready(self, message: bytes) -> None:
        self.send(message)

    def close(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code = code
            self._ended()


class ResumingClient:
    """A client of one user that continues at its position after each interruption, as browsers do."""

    def __init__(self, user: str, server: HubOfRun, clock: Clock, chance: random.Random, record: Record) -> None:
        self.user = user
        self.highest = 0
        self._server = server
        self._clock = clock
        self._chance = chance
        self._record = record
        self._position: ResumePoint | None = None
        self._connections = 0
        self._client: Client | None = None
        self._hub: Hub | None = None

    @property
    def is_connected(self) -> bool:
        return self._client is not None and self._hub is self._server.hub and self._server.is_up

    def connect(self) -> None:
        if not self._server.is_up or self.is_connected:
            return
        self._connections += 1
        hub = self._hub = self._server.hub
        connection = _ClientConnection(self._receive, self._lost, lambda: 0.001 * self._chance.uniform(0.5, 4.0))
        now = self._clock.now()
        client = self._client = Client(
            id=f"{self.user}-{self._connections}",
            identity=Identity(self.user, frozenset(), now + 1e9),
            endpoint="socket.io",
            address="",
            connection=cast("Any", connection),
            encoder=SocketIoEncoder("/", stack_trace=False, numbered=True),
            send_ping=None,
            since=now,
            since_monotonic=self._clock.monotonic(),
            clock=self._clock,
        )
        hub.add_client(client)

        def welcome(page: InboxPage) -> None:
            after = self._position.seq if self._position is not None and page.recovered else page.after
            self._position = ResumePoint(page.epoch, after)

        # As the hub's own task: what it starts ends with the hub.
        context = contextvars.Context()
        context.run(self._server_process_is_current)
        context.run(hub.start_replay, client, self._position, welcome)

    def _server_process_is_current(self) -> None:
        from tests.simulation.loop import current_process

        current_process.set(self._server.process)

    def cut(self) -> None:
        """The connection breaks; what is on its way is lost."""
        client, hub = self._client, self._hub
        self._client = None
        if client is not None and hub is not None:
            client.connection.close(1006, "the connection broke")
            hub.remove_client(client, 1006, "the connection broke")

    def _lost(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._hub is not None:
            self._hub.remove_client(client, 1006, "closed by the hub")

    def _receive(self, packet: bytes) -> None:
        body = orjson.loads(packet[packet.index(b"[") :])
        if body[0] != "socket-notification":
            return
        epoch, seq = body[2]["epoch"], body[2]["seq"]
        self._position = ResumePoint(epoch, seq)
        self.highest = max(self.highest, body[1]["payload"]["sequence"])
        text = orjson.dumps(body).decode()
        name = str(self._connections)
        self._record(Received(f"client-{self.user}", text, self.user, connection=name, drops_repeats=True))
