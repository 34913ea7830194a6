"""The link's WebSocket without a network: what arrives in one read, and what a lost connection leaves behind."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from worker.net.frames import close_frame, ping_frame, text_frame
from worker.notifiers.socketio.websocket import ClientWebSocket, WebSocketEnd


@dataclass
class Tcp:
    """A transport and aiohttp's protocol in one."""

    writing_paused: bool = False
    read_timeout: float | None = 5.0
    closing: bool = False
    reading: bool = True
    cause: Exception | None = None
    written: bytes = b""

    def set_parser(self, parser: Any, payload: Any) -> None: ...

    def exception(self) -> Exception | None:
        return self.cause

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        assert not self.closing
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.closing
        self.reading = True


@dataclass
class Handler:
    texts: list[str] = field(default_factory=list)
    ends: list[WebSocketEnd] = field(default_factory=list)
    fault: Exception | None = None

    def on_text(self, text: str) -> None:
        if self.fault is not None:
            raise self.fault
        self.texts.append(text)

    def on_binary(self, data: bytes) -> None: ...

    def on_pong(self, payload: bytes) -> None: ...

    def on_end(self, end: WebSocketEnd) -> None:
        self.ends.append(end)


def opened() -> tuple[ClientWebSocket, Tcp, Handler]:
    tcp, handler = Tcp(), Handler()
    connection = SimpleNamespace(transport=tcp, protocol=tcp)
    response = cast(aiohttp.ClientResponse, SimpleNamespace(connection=connection))
    websocket = ClientWebSocket(response, 1000)
    websocket.start(handler)
    return websocket, tcp, handler


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_many_frames_of_one_read_leave_the_event_loop_its_turns() -> None:
    websocket, tcp, handler = opened()
    websocket.feed_data(b"".join(text_frame(b"%d" % number) for number in range(2500)))
    assert len(handler.texts) == 1000
    assert not tcp.reading
    await turns(3)
    assert handler.texts == [str(number) for number in range(2500)]
    assert tcp.reading


async def test_lost_connection_ends_after_what_was_received_before() -> None:
    websocket, tcp, handler = opened()
    websocket.feed_data(b"".join(text_frame(b"%d" % number) for number in range(4500)))
    tcp.closing, tcp.cause = True, aiohttp.ClientOSError(104, "Connection reset by peer")
    websocket.feed_eof()
    await turns(1)
    assert len(handler.texts) == 4500
    await turns(10)
    assert handler.ends == [WebSocketEnd(1006, "Connection reset by peer", "lost")]


async def test_nothing_is_read_after_a_close_frame() -> None:
    websocket, _, handler = opened()
    websocket.feed_data(close_frame(1001, "bye") + text_frame(b"late") + b"\xff\xff")
    websocket.feed_data(text_frame(b"later"))
    websocket.feed_eof()
    await turns(3)
    assert handler.texts == []
    assert handler.ends == [WebSocketEnd(1001, "bye", "closed")]


async def test_fault_of_the_handler_ends_the_connection() -> None:
    websocket, _, handler = opened()
    handler.fault = RuntimeError("broken")
    websocket.feed_data(text_frame(b"x"))
    assert handler.ends == [WebSocketEnd(1006, "RuntimeError: broken", "failed")]


async def test_writer_on_a_lost_connection_learns_it_after_its_reason() -> None:
    websocket, tcp, handler = opened()
    tcp.closing = True
    writing = asyncio.create_task(websocket.send_text("x"))
    await turns(3)
    assert not writing.done()
    websocket.feed_eof()
    with pytest.raises(ConnectionResetError):
        await writing
    assert [end.kind for end in handler.ends] == ["lost"]
    assert tcp.written == b""


async def test_nothing_is_written_after_our_close_frame() -> None:
    websocket, tcp, handler = opened()
    closing = asyncio.create_task(websocket.close(1000))
    await turns(2)
    sent = tcp.written
    websocket.write_text(b"late")
    websocket.feed_data(ping_frame() + close_frame(1000))
    await closing
    await turns(2)
    assert tcp.written == sent
    assert handler.ends == [WebSocketEnd(1000, "", "closed")]
