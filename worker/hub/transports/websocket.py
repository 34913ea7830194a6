"""WebSocket connections of all endpoints: upgrade, read in order, answer control frames. Knows no message.

Frames are read one after the other without a task for each, and no faster than the inbox writes. After some
time the event loop gets its turn, so that a client that sends nothing but tiny frames slows down only itself; those
that have not authenticated yet share a few short turns. What comes after the hub has closed the connection is dropped.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Final, Generic

from aiohttp import web

from worker.hub.close_codes import ABNORMAL, NO_STATUS, SLOW_CONSUMER, TOO_MANY_MESSAGES
from worker.hub.transports.connections import AnyConnection, ConnectionListener, ConnectionRegistry
from worker.hub.transports.frame_channel import FrameChannel
from worker.hub.transports.incomplete_messages import IncompleteMessages
from worker.hub.transports.sender import WebSocketSender, WriteBatcher
from worker.hub.transports.transport import SendLimits
from worker.hub.transports.upgrade import switch_protocols
from worker.net.frame_reader import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FrameError, close_code_of
from worker.net.frames import pong_frame
from worker.net.loop_share import LoopShare

_TURN_SECONDS: Final = 0.01
"""The frames of one client are handled for so long before the event loop gets its turn."""
_UNPROVEN_TURN_SECONDS: Final = 0.001
"""The same for a client that has not authenticated."""
_FRAMES_AFTER_CLOSE: Final = 1_000
"""Frames that are read in search of the client's close frame; a peer that sends more is not going to answer."""
_SMALL_FRAGMENT: Final = 128
"""Bytes. Fragments below this are limited like control frames: no client needs them."""
_MESSAGE_SECONDS: Final = 60.0
"""From the first byte of a message to its last."""


@dataclass(slots=True, eq=False)
class WebSocket:
    """Both directions of one upgraded connection."""

    response: web.StreamResponse
    channel: FrameChannel
    sender: WebSocketSender


class WebSocketServer:
    """Serves WebSockets for the endpoints of the hub."""

    def __init__(self, registry: ConnectionRegistry, send_limits: SendLimits) -> None:
        self._registry = registry
        self.send_limits = send_limits
        self._incomplete = IncompleteMessages(registry.message_limits.incomplete)
        self._share = LoopShare()
        self._batcher: WriteBatcher | None = None

    async def serve(self, request: web.Request, endpoint: ConnectionListener[AnyConnection]) -> web.StreamResponse:
        """Serve one WebSocket from its upgrade to its end. The request must have been admitted before."""
        websocket = await self.accept(request)
        if not isinstance(websocket, WebSocket):
            return websocket
        connection = self._registry.open(request, websocket.sender, endpoint)
        code, reason = ABNORMAL, "transport lost"
        try:
            code, reason = await self.read(connection, websocket, endpoint)
        finally:
            self._registry.close(connection, endpoint, code, reason)
        return websocket.response

    async def accept(self, request: web.Request) -> WebSocket | web.StreamResponse:
        """Upgrade the request; return the response alone if the client has left already."""
        response, writer = await switch_protocols(request)
        tcp = request.transport
        if writer is None or tcp is None:
            return response
        if self._batcher is None:
            self._batcher = WriteBatcher(asyncio.get_running_loop())
        channel = FrameChannel(request.protocol, self._registry.message_limits.user)
        return WebSocket(response, channel, WebSocketSender(tcp, writer, self._batcher, self.send_limits))

    async def read(
        self, connection: AnyConnection, websocket: WebSocket, endpoint: ConnectionListener[AnyConnection]
    ) -> tuple[int, str]:
        """Read messages until the connection ends; return the close code and the reason."""
        reading = _MessageReading(self._registry, self._incomplete, self._share, connection, websocket, endpoint)
        try:
            return await reading.run()
        finally:
            self._incomplete.release(id(websocket))


@dataclass(slots=True)
class _MessageReading(Generic[AnyConnection]):
    """Reads one connection."""

    registry: ConnectionRegistry
    incomplete: IncompleteMessages
    share: LoopShare
    connection: AnyConnection
    websocket: WebSocket
    endpoint: ConnectionListener[AnyConnection]
    message_deadline: float | None = None
    """When the message that has begun must be complete, by the loop's clock; None: none has begun."""
    frames_after_close: int = 0

    async def run(self) -> tuple[int, str]:
        connection, channel, sender = self.connection, self.websocket.channel, self.websocket.sender
        reader, turn_ends_at = channel.reader, 0.0
        while True:
            reader.max_message_bytes = connection.max_message_bytes
            try:
                frame = reader.next()
                if frame is not None and frame[0] == CLOSE:
                    return self._answer_close(close_code_of(frame[1]))
            except FrameError as exc:
                return await self._fail(exc)
            if frame is None:
                if channel.at_eof:
                    return ABNORMAL, "transport lost"
                if channel.is_behind:
                    self._expect_more()
                await self._wait_for_more()
                turn_ends_at = await self._begin_turn()
                continue
            now = time.monotonic()
            if sender.close_code is None:
                connection.last_received = now
                self._handle(*frame)
                await self.registry.wait_for_capacity()
            else:
                self.frames_after_close += 1
                if self.frames_after_close > _FRAMES_AFTER_CLOSE:
                    return await self._drop_rest(sender.close_code, sender.close_reason)
            if now >= turn_ends_at:
                self._expect_more()
                await asyncio.sleep(0)
                turn_ends_at = await self._begin_turn()

    def _expect_more(self) -> None:
        if self.connection.is_proven:
            self.websocket.sender.batcher.expect_more()

    async def _begin_turn(self) -> float:
        """Return when the turn of this client ends, once it has begun."""
        if self.connection.is_proven:
            return time.monotonic() + _TURN_SECONDS
        await self.share.turn()
        return time.monotonic() + _UNPROVEN_TURN_SECONDS

    def _handle(self, opcode: int, payload: bytes) -> None:
        sender = self.websocket.sender
        if opcode in (TEXT, BINARY):
            self.message_deadline = None
            self.registry.receive(self.connection, self.endpoint, payload, binary=opcode == BINARY)
        elif opcode == PONG and sender.unanswered_pings:
            sender.unanswered_pings -= 1
            self.endpoint.on_pong(self.connection)
        elif opcode == CONTINUATION and len(payload) >= _SMALL_FRAGMENT:
            return
        elif not self.connection.control_bucket.take(self.connection.last_received):
            self._close(TOO_MANY_MESSAGES, "too many control frames or small fragments")
            self.frames_after_close = _FRAMES_AFTER_CLOSE
        elif opcode == PING:
            sender.write(pong_frame(payload))

    async def _wait_for_more(self) -> None:
        """Wait for more bytes; close the connection if its message is not completed in time."""
        channel, loop = self.websocket.channel, asyncio.get_running_loop()
        if not channel.reader.is_incomplete:
            self.incomplete.release(id(self.websocket))
            await channel.wait()
            return
        if self.message_deadline is None:
            self.message_deadline = loop.time() + _MESSAGE_SECONDS
        self.incomplete.hold(id(self.websocket), channel.reader.held_bytes, self._give_up)
        try:
            async with asyncio.timeout_at(self.message_deadline):
                await channel.wait()
        except TimeoutError:
            self._give_up()

    def _give_up(self) -> None:
        self._close(SLOW_CONSUMER, "a message that was not completed in time")
        self.message_deadline = None
        self.websocket.channel.discard()

    def _close(self, code: int, reason: str) -> None:
        """Close this WebSocket; an upgrade that is not finished leaves its session on the transport it has."""
        sender = self.websocket.sender
        if sender.close_code is not None:
            return
        self.registry.on_rejected(self.endpoint.name, self.connection.address, reason)
        if self.connection.transport is sender:
            self.connection.close(code, reason)
        else:
            sender.close(code, reason)

    async def _fail(self, error: FrameError) -> tuple[int, str]:
        """Close after a violation of the protocol, and read nothing more."""
        self._close(error.code, error.reason)
        return await self._drop_rest(error.code, error.reason)

    async def _drop_rest(self, code: int, reason: str) -> tuple[int, str]:
        """Drop what still comes, unparsed, until the client or the hub's time limit ends the connection."""
        self.websocket.sender.end_writing()
        self.websocket.channel.discard()
        await self.websocket.channel.wait_eof()
        return code, reason

    def _answer_close(self, code: int) -> tuple[int, str]:
        self.websocket.sender.answer_close(None if code == NO_STATUS else code)
        return code, "closed by the client"
