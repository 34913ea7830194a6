"""When a session of the link gives up waiting for acknowledgements. In simulated time."""

import asyncio
from typing import Any

import pytest

from tests.simulation.loop import SimulatedLoop, run_simulated
from tests.support.message_source import ListSource, message
from worker.core.clock import Clock
from worker.notifiers.socketio.confirmation_reporter import SessionStats
from worker.notifiers.socketio.handshake import ConnectOptions
from worker.notifiers.socketio.protocol import FrameListener, OpenPacket
from worker.notifiers.socketio.server_capabilities import ServerCapabilities
from worker.notifiers.socketio.session import LinkSession, SessionConfig
from worker.notifiers.socketio.state import CloseReason

ACK_SECONDS = 1.0


class _Connection:
    """Sends into the void; a test calls the listener."""

    stage = ""

    def __init__(self, listener: FrameListener) -> None:
        self.listener = listener
        self.written = 0
        self.close_reason: CloseReason | None = None
        self.sent = asyncio.Event()

    @property
    def over(self) -> bool:
        return self.close_reason is not None

    async def connect(self, _options: ConnectOptions) -> OpenPacket:
        return OpenPacket(25.0, 20.0, None)

    async def send(self, number: int, _body: bytes, *, ack: bool) -> None:
        self.written = number
        self.sent.set()

    def acknowledge(self) -> None:
        if not self.over:
            self.listener.on_ack(1, None)

    def flush(self) -> None: ...

    async def send_volatile(self, _body: bytes) -> None: ...

    async def ping(self, _payload: bytes) -> None: ...

    def end(self, reason: CloseReason) -> None:
        if self.close_reason is None:
            self.close_reason = reason
            self.listener.on_close(reason)

    async def close(self) -> None: ...

    async def abort(self) -> None: ...


class _Listener:
    def __init__(self) -> None:
        self.errors: list[str] = []

    def report_error(self, where: str, detail: str, *, alarm: bool = False) -> None:
        self.errors.append(f"{where}: {detail}")

    def on_mode_change(self, mode: str) -> None: ...

    def on_handshake(self, opened: OpenPacket) -> None: ...


def _watermark_after(pause_at: float, pause: float, *, answers: bool) -> int:
    """Return what is confirmed when the process stands still once, and reads what has arrived a moment after that."""

    async def run() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        config = SessionConfig("ack", 10, ACK_SECONDS, 1 << 20, keep_alive=60.0)
        clock = Clock(loop.time, loop.time, "boot")
        connections: list[_Connection] = []

        def new_connection(listener: FrameListener) -> Any:
            connections.append(_Connection(listener))
            return connections[0]

        session = LinkSession(config, ServerCapabilities(), clock, SessionStats(), _Listener(), new_connection)
        options: Any = None
        await session.open(options)
        source, stop = ListSource([message(1)]), asyncio.Event()
        running = asyncio.ensure_future(session.run(source, stop))
        await connections[0].sent.wait()

        def stand_still() -> None:
            loop.advance(pause)
            if answers:
                loop.call_later(0.01, connections[0].acknowledge)

        loop.call_later(pause_at, stand_still)
        await asyncio.sleep(pause_at + pause + 5 * ACK_SECONDS)
        stop.set()
        await running
        return source.watermark

    result: int = run_simulated(run)
    return result


@pytest.mark.parametrize("pause", [0.3, 2.0, 3600.0])
def test_acknowledgement_that_arrived_while_the_process_stood_still_counts(pause: float) -> None:
    assert _watermark_after(0.9, pause, answers=True) == 1


@pytest.mark.parametrize("pause", [0.0, 2.0])
def test_session_without_an_acknowledgement_ends_after_a_pause_too(pause: float) -> None:
    assert _watermark_after(0.9, pause, answers=False) == 0


def test_server_that_floods_the_link_with_errors_does_not_flood_the_log() -> None:
    async def run() -> list[str]:
        loop = asyncio.get_running_loop()
        listener = _Listener()
        config = SessionConfig("ack", 10, ACK_SECONDS, 1 << 20, keep_alive=60.0)
        clock = Clock(loop.time, loop.time, "boot")
        connection: Any = _Connection
        session = LinkSession(config, ServerCapabilities(), clock, SessionStats(), listener, connection)
        for number in range(40_000):
            session.on_event("error", [f"error {number}"])
        await asyncio.sleep(60)
        session.on_event("error", ["the last one"])
        return listener.errors

    errors = run_simulated(run)
    assert errors[0] == "the server: error 0"
    assert len(errors) == 11
    assert errors[-1] == "the server: the last one (after 39,990 more errors, which are not shown)"


class _SlowServer(_Connection):
    """Acknowledges each message a while after it was sent, and counts the bytes in flight."""

    def __init__(self, listener: FrameListener) -> None:
        super().__init__(listener)
        self.in_flight = self.most_in_flight = self.most_at_once = 0
        self._sizes: dict[int, int] = {}

    async def send(self, number: int, body: bytes, *, ack: bool) -> None:
        assert ack
        self.written = number
        self._sizes[number] = len(body)
        self.in_flight += len(body)
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.most_at_once = max(self.most_at_once, len(self._sizes))
        asyncio.get_running_loop().call_later(0.1, self._answer, number)

    def _answer(self, number: int) -> None:
        self.in_flight -= self._sizes.pop(number)
        self.listener.on_ack(number, None)


@pytest.mark.parametrize(("padding", "most_at_once"), [(30_000, 3), (900, 10), (300_000, 1)])
def test_session_bounds_what_is_in_flight_by_bytes_and_by_number(padding: int, most_at_once: int) -> None:
    most = 100_000

    async def run() -> tuple[int, int, int]:
        loop = asyncio.get_running_loop()
        config = SessionConfig("ack", 10, ACK_SECONDS, 1 << 20, keep_alive=60.0, window_bytes=most)
        servers: list[_SlowServer] = []

        def new_connection(listener: FrameListener) -> Any:
            servers.append(_SlowServer(listener))
            return servers[0]

        clock = Clock(loop.time, loop.time, "boot")
        session = LinkSession(config, ServerCapabilities(), clock, SessionStats(), _Listener(), new_connection)
        options: Any = None
        await session.open(options)
        source, stop = ListSource([message(number, padding=padding) for number in range(1, 31)]), asyncio.Event()
        running = asyncio.ensure_future(session.run(source, stop))
        await asyncio.sleep(60)
        stop.set()
        await running
        return source.watermark, servers[0].most_in_flight, servers[0].most_at_once

    watermark, in_flight, at_once = run_simulated(run)
    assert (watermark, at_once) == (30, most_at_once)
    assert in_flight <= max(most, len(message(1, padding=padding).body) + 100)
