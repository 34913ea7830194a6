"""The WebSocket client of the link (RFC 6455): handshake, frames in both directions, close. Knows no Socket.IO.

aiohttp makes the HTTP request; from its answer on, the frames are ours. They are read where their bytes arrive, without
a task and without a queue. This is the only module of the link that knows private names of aiohttp.
"""

import asyncio
import base64
import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

from worker.net.close_codes import ABNORMAL, NO_STATUS, NORMAL
from worker.net.frame_reader import BINARY, CLOSE, PING, PONG, TEXT, FrameError, FrameReader, close_code_of
from worker.net.frames import client_frame, close_payload, new_masks
from worker.net.websocket_key import accept_for

_WRITE_BATCH: Final = 64 * 1024
"""Bytes gathered at most before they go to the transport."""
_FRAMES_AT_ONCE: Final = 1000
"""Frames handled before the event loop gets its turn: a few milliseconds."""


class UpgradeRejected(Exception):
    """The server answered 101, but not as RFC 6455 asks for; the text says how."""


@dataclass(frozen=True, slots=True)
class WebSocketEnd:
    """How a WebSocket ended."""

    code: int
    """As RFC 6455, 7.4 defines it; 1005 and 1006 where no code was received."""
    reason: str
    """The server's own words in its close frame, or what was wrong."""
    kind: str
    """`closed`: by a close frame of the server; `violated`: the server broke RFC 6455; `lost`: without a close frame;
    `failed`: we could not go on."""


class FrameHandler(Protocol):
    """Receives what is read, in order; nothing follows `on_end`."""

    def on_text(self, text: str) -> None: ...

    def on_binary(self, data: bytes) -> None: ...

    def on_pong(self, payload: bytes) -> None: ...

    def on_end(self, end: WebSocketEnd) -> None: ...


class ClientWebSocket:
    """One WebSocket from its upgrade to its end. Nothing is read before `start`."""

    def __init__(self, response: aiohttp.ClientResponse, max_message_bytes: int) -> None:
        connection = response.connection
        assert connection is not None
        assert connection.transport is not None
        self.is_over = False
        """Whether nothing more is read."""
        self._response = response
        self._protocol = cast(ResponseHandler, connection.protocol)
        self._transport = connection.transport
        self._handler: FrameHandler | None = None
        self._reader = FrameReader(max_message_bytes, masked=False)
        self._loop = asyncio.get_running_loop()
        self._next_mask = new_masks().__next__
        self._pieces: list[bytes] = []
        self._size = 0
        self._closing = False  # whether a close frame of ours is sent
        self._paused = False
        self._late_pong: bytes | None = None
        self._pong_task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._lost = asyncio.Event()
        self._protocol.read_timeout = None

    def start(self, handler: FrameHandler) -> None:
        """Give the handler what is read, first what has arrived together with the server's answer."""
        self._handler = handler
        self._protocol.set_parser(self, None)

    # -- reading: aiohttp's protocol calls feed_data and feed_eof --------------------------------------------

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes from the connection."""
        if not self.is_over:
            self._reader.feed(data)
            if not self._paused:
                self._read()
        return False, b""

    def feed_eof(self) -> None:
        """Note that the connection is lost."""
        self._lost.set()
        # aiohttp sets the cause only after this call.
        self._loop.call_soon(self._on_lost)

    def _on_lost(self) -> None:
        while self._paused and not self.is_over:  # what was received before may hold acknowledgements
            self._read_on()
        cause = self._protocol.exception()
        words = "" if cause is None or isinstance(cause, aiohttp.ServerDisconnectedError) else _words(cause)
        self._end(WebSocketEnd(ABNORMAL, words, "lost"))

    def _read(self) -> None:
        try:
            self._read_frames()
        except FrameError as exc:
            self._violation(exc)
        except Exception as exc:  # noqa: BLE001 -- an unread connection must end, whatever stopped the reader
            self._end(WebSocketEnd(ABNORMAL, f"{type(exc).__name__}: {exc}", "failed"))

    def _read_frames(self) -> None:
        read, handler = self._reader.next, self._handler
        assert handler is not None
        for _ in range(_FRAMES_AT_ONCE):
            frame = read()
            if frame is None:
                return
            opcode, payload = frame
            if opcode == TEXT:
                handler.on_text(payload.decode())
            elif opcode == PONG:
                handler.on_pong(payload)
            elif opcode == PING:
                self._answer_ping(payload)
            elif opcode == BINARY:
                handler.on_binary(payload)
            elif opcode == CLOSE:
                self._on_close(payload)
            if self.is_over:
                return
        self._paused = True
        if not self._transport.is_closing():
            self._transport.pause_reading()
        self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if not self._paused:
            return
        self._paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
        if not self.is_over:
            self._read()

    def _on_close(self, payload: bytes) -> None:
        code = close_code_of(payload)
        self._send_close(None if code == NO_STATUS else code)
        self._end(WebSocketEnd(code, payload[2:].decode(), "closed"))

    def _violation(self, error: FrameError) -> None:
        self._send_close(error.code, error.reason)
        self._end(WebSocketEnd(error.code, error.reason, "violated"))

    def _end(self, end: WebSocketEnd) -> None:
        if not self.is_over:
            self.stop_reading()
            if self._handler is not None:
                self._handler.on_end(end)

    def stop_reading(self) -> None:
        """Let nothing more reach the handler."""
        self.is_over = True
        self._reader.discard()
        self._ended.set()

    # -- writing -------------------------------------------------------------------------------------------

    @property
    def is_blocked(self) -> bool:
        """Whether a writer must wait: the transport's buffer is full, or the connection is lost."""
        return self._protocol.writing_paused or self._transport.is_closing()

    def write_text(self, payload: bytes) -> None:
        self._write(TEXT, payload)

    def write_binary(self, payload: bytes) -> None:
        self._write(BINARY, payload)

    def write_ping(self, payload: bytes) -> None:
        self._write(PING, payload)

    async def send_text(self, text: str) -> None:
        """Send a message, and wait while the transport's buffer is full."""
        self.write_text(text.encode())
        if self.is_blocked:
            await self.drain()

    async def drain(self) -> None:
        """Wait while the transport's buffer is full. ConnectionResetError, once the reason is known: it is lost."""
        if self._protocol.writing_paused and not self._transport.is_closing():
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await self._protocol._drain_helper()
        if self._transport.is_closing():
            await self._ended.wait()
            raise ConnectionResetError("the connection is lost")

    def _write(self, opcode: int, payload: bytes) -> None:
        """Join the frames of one turn of the event loop into one write: with a full window, a system call for each
        frame is a third of all the work."""
        if self._closing:
            return
        frame = client_frame(opcode, payload, self._next_mask())
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(frame)
        self._size += len(frame)
        if self._size >= _WRITE_BATCH:
            self.flush()  # so that the transport's own flow control sees it in time

    def flush(self) -> None:
        """Write what was sent now, not at the end of this turn of the event loop."""
        if not self._pieces:
            return
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if not self._transport.is_closing():
            self._transport.write(data)

    def _answer_ping(self, payload: bytes) -> None:
        if not self._protocol.writing_paused:
            self._write(PONG, payload)
            return
        # The server does not read what we send: only its last ping needs an answer (5.5.3).
        self._late_pong = payload
        if self._pong_task is None:
            self._pong_task = asyncio.create_task(self._answer_late())

    async def _answer_late(self) -> None:
        try:
            await self.drain()
        except ConnectionResetError:
            return
        finally:
            self._pong_task = None
        assert self._late_pong is not None
        self._write(PONG, self._late_pong)

    # -- the end -------------------------------------------------------------------------------------------

    def _send_close(self, code: int | None, reason: str = "") -> None:
        if not self._closing:
            self._write(CLOSE, close_payload(code, reason))
            self._closing = True
            self.flush()

    async def close(self, code: int = NORMAL) -> None:
        """Send a close frame, and wait for the server's; the caller sets the timeout and calls `abort`."""
        self._send_close(code)
        await self._ended.wait()

    async def wait_lost(self) -> None:
        """Wait until the server has ended the TCP connection, as it should after a close (7.1.1)."""
        await self._lost.wait()

    async def abort(self) -> None:
        """Drop the connection without sending another byte."""
        self.stop_reading()
        if self._pong_task is not None:
            self._pong_task.cancel()
            await asyncio.gather(self._pong_task, return_exceptions=True)
        self._transport.abort()
        self._response.close()


async def open_websocket(
    http: aiohttp.ClientSession,
    url: str,
    headers: Mapping[str, str],
    *,
    max_message_bytes: int,
    proxy: str | None = None,
) -> ClientWebSocket | aiohttp.ClientResponse:
    """Make the opening handshake; return the response instead when the server does not switch protocols.

    UpgradeRejected: it switches, but not as it should.
    """
    key = base64.b64encode(os.urandom(16)).decode()
    needed = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
    }
    response = await http.get(url, headers={**headers, **needed}, proxy=proxy, read_until_eof=False)
    if response.status != 101:
        return response
    try:
        _check_upgrade(response, key)
        return ClientWebSocket(response, max_message_bytes)
    except BaseException:
        response.close()
        raise


def _check_upgrade(response: aiohttp.ClientResponse, key: str) -> None:
    """Check the answer as RFC 6455, 4.1 asks for. We offer neither extensions nor subprotocols."""
    headers = response.headers
    if [line.strip().lower() for line in headers.getall("Upgrade", [])] != ["websocket"]:
        raise UpgradeRejected("it has no Upgrade: websocket")
    if "upgrade" not in _tokens(headers.getall("Connection", [])):
        raise UpgradeRejected("it has no Connection: Upgrade")
    if [line.strip() for line in headers.getall("Sec-WebSocket-Accept", [])] != [accept_for(key)]:
        raise UpgradeRejected("its Sec-WebSocket-Accept does not belong to our Sec-WebSocket-Key")
    for name, what in (("Sec-WebSocket-Extensions", "an extension"), ("Sec-WebSocket-Protocol", "a subprotocol")):
        if _tokens(headers.getall(name, [])) - {""}:
            raise UpgradeRejected(f"it chooses {what} that we did not offer")


def _tokens(lines: Iterable[str]) -> set[str]:
    return {token.strip().lower() for line in lines for token in line.split(",")}


def _words(cause: Any) -> str:
    return " ".join((getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).split())
