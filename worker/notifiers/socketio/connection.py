"""One Socket.IO connection over a WebSocket.

Every frame passes here strictly in order. What it says is read by the protocol; what follows from it is decided by
the session.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp
from yarl import URL

from worker.core.uncancellable import uncancellable
from worker.net.close_codes import NO_STATUS, TOO_BIG
from worker.notifiers.socketio.handshake import (
    MAX_ANSWER,
    ConnectOptions,
    ConnectRejected,
    handshake_url,
    invalid_upgrade,
    new_http_session,
    refusal,
    request_headers,
)
from worker.notifiers.socketio.polling import open_by_polling, read_each
from worker.notifiers.socketio.protocol import (
    MAX_INCOMING,
    ConnectionEvents,
    FrameListener,
    OpenPacket,
    SocketIoProtocol,
)
from worker.notifiers.socketio.quote import quoted_body, quoted_close
from worker.notifiers.socketio.state import CloseReason, speaks_other_version
from worker.notifiers.socketio.websocket import ClientWebSocket, UpgradeRejected, WebSocketEnd, open_websocket

NewProtocol = Callable[[FrameListener, ConnectionEvents], SocketIoProtocol]


class SocketIoConnection:
    """One connection, from the first byte to the last. Good for one attempt; make a new one for the next."""

    def __init__(self, listener: FrameListener, new_protocol: NewProtocol, *, by_polling: bool = False) -> None:
        """`by_polling`: open the session by HTTP long-polling first, then upgrade it."""
        self._by_polling = by_polling
        self.written = 0
        """Messages handed to the transport."""
        self.close_reason: CloseReason | None = None
        """None while the connection lives."""
        self._listener = listener
        self._protocol = new_protocol(listener, self)
        self._websocket: ClientWebSocket | None = None
        self._http: aiohttp.ClientSession | None = None
        loop = asyncio.get_running_loop()
        self._probed: asyncio.Future[str] = loop.create_future()
        self._opened: asyncio.Future[None] = loop.create_future()
        self._connected: asyncio.Future[None] = loop.create_future()
        self._read = self._on_probe if by_polling else self._protocol.read
        self._keep_alive_task: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        return self.close_reason is not None

    @property
    def stage(self) -> str:
        """What the attempt waits for."""
        if self._websocket is None:
            return "TCP, TLS and the WebSocket upgrade"
        return "the OPEN packet" if self._protocol.open_packet is None else "the CONNECT packet"

    # -- life ----------------------------------------------------------------------------------------------

    async def connect(self, options: ConnectOptions) -> OpenPacket:
        """TCP, TLS, upgrade, OPEN, CONNECT. Raises ConnectRejected, or what the network raised; the caller sets the
        timeout and calls `abort` after a failure."""
        self._protocol.quote = options.quote()
        websocket = await (self._upgrade_session(options) if self._by_polling else self._upgrade(options))
        await self._opened
        self._keep_alive_task = asyncio.create_task(self._keep_alive(websocket))
        packet = self._protocol.connect_packet(options.auth)
        if packet is not None:
            await websocket.send_text(packet)
        await self._connected
        assert self._protocol.open_packet is not None
        return self._protocol.open_packet

    async def _upgrade_session(self, options: ConnectOptions) -> ClientWebSocket:
        """Open a session by long-polling, and move it to a WebSocket."""
        async with new_http_session(options, cookies=True) as http:
            sid, packets = await open_by_polling(http, options, self._protocol.version)
            cookies = http.cookie_jar.filter_cookies(URL(handshake_url(options, self._protocol.version)))
        if cookies:
            names = "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())
            options = replace(options, headers={"Cookie": names, **options.headers})
        websocket = await self._upgrade(options, sid=sid)
        await websocket.send_text("2probe")
        websocket.flush()
        with contextlib.suppress(ConnectRejected):
            await self._probed
        if self._probed.exception() is not None or self._probed.result() != "3probe":
            reason = CloseReason("the server does not upgrade the session to a WebSocket", needs_polling=True)
            raise ConnectRejected(reason)
        await websocket.send_text("5")
        await read_each(packets, self._protocol.read)
        return websocket

    async def _upgrade(self, options: ConnectOptions, **query: str) -> ClientWebSocket:
        self._http = new_http_session(options)
        version = self._protocol.version
        try:
            opened = await open_websocket(
                self._http,
                handshake_url(options, version, **query),
                request_headers(options, version),
                max_message_bytes=MAX_INCOMING,
                proxy=options.proxy,
            )
        except UpgradeRejected as exc:
            raise ConnectRejected(invalid_upgrade(options.path, str(exc))) from exc
        if isinstance(opened, aiohttp.ClientResponse):
            answer = await quoted_body(opened.content, self._protocol.quote, MAX_ANSWER)
            opened.close()
            raise ConnectRejected(refusal(opened.status, answer, version, options.path))
        self._websocket = opened
        opened.start(self)
        return opened

    async def close(self, seconds: float = 1.0) -> None:
        """Say that we leave, then let go. Only when everything is confirmed: a DISCONNECT may overtake messages at
        the server."""
        self.close_reason = self.close_reason or CloseReason("closed by us", 1000, final=True)
        try:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(seconds):
                    await self._send_close()
        finally:
            await self.abort()

    async def _send_close(self) -> None:
        assert self._websocket is not None
        for packet in self._protocol.closing_packets:
            await self._websocket.send_text(packet)
        await self._websocket.close()

    async def abort(self) -> None:
        """Drop the transport without sending another byte, and end everything that depends on it. Runs to its end
        when it is cancelled in the meantime."""
        self.close_reason = self.close_reason or CloseReason("dropped", None)
        await uncancellable(self._release())

    async def _release(self) -> None:
        for future in (self._probed, self._opened, self._connected):
            future.cancel()
        if self._websocket is not None:
            await self._websocket.abort()
        if self._keep_alive_task is not None:
            self._keep_alive_task.cancel()
            await asyncio.gather(self._keep_alive_task, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    # -- what frames mean for the connection (ConnectionEvents) --------------------------------------------

    def on_open(self) -> None:
        _resolve(self._opened)

    def on_connect(self) -> None:
        _resolve(self._connected)

    def end(self, reason: CloseReason) -> None:
        """What is read after this counts for nothing."""
        if self.close_reason is not None:
            return
        self.close_reason = reason
        futures: tuple[asyncio.Future[Any], ...] = (self._probed, self._opened, self._connected)
        for future in futures:
            if not future.done():
                future.set_exception(ConnectRejected(reason))
                future.exception()  # marks it as seen, in case nothing awaits it
        self._listener.on_close(reason)

    # -- reading (FrameHandler) ----------------------------------------------------------------------------

    def on_text(self, text: str) -> None:
        if self.close_reason is None:
            self._read(text)

    def on_binary(self, data: bytes) -> None:  # noqa: ARG002 -- as the interface says
        if self.close_reason is None:
            self._protocol.read_attachment()

    def on_pong(self, payload: bytes) -> None:
        if self.close_reason is None:
            self._listener.on_pong(payload)

    def on_end(self, end: WebSocketEnd) -> None:
        self.end(self._reason_of(end))

    def _on_probe(self, text: str) -> None:
        """Read the answer to the probe; what follows belongs to the protocol."""
        self._read = self._protocol.read
        if not self._probed.done():  # its waiter may have been cancelled in this turn of the event loop
            self._probed.set_result(text)

    def _reason_of(self, end: WebSocketEnd) -> CloseReason:
        protocol = self._protocol
        words = end.reason if end.kind != "closed" else quoted_close(end.reason, protocol.quote)
        reason = _reason_of(replace(end, reason=words))
        if end.kind == "violated" and protocol.version == 3 and protocol.open_packet is None:
            # socket.io 4 writes its HTTP 400 into the upgraded connection when the version is not allowed.
            return speaks_other_version(4, f"; it broke the connection off before OPEN, {reason.reason}")
        return reason

    async def _keep_alive(self, websocket: ClientWebSocket) -> None:
        with contextlib.suppress(OSError):  # the reader notices a connection that broke
            await self._protocol.keep_alive(websocket.send_text, lambda: self.written)
            self.end(CloseReason("the server has fallen silent", 1006))

    # -- sending -------------------------------------------------------------------------------------------

    async def send(self, number: int, body: bytes, *, ack: bool) -> None:
        """Send one message; numbers count 1, 2, 3 …. Waits only while the transport's buffer is full."""
        websocket = self._websocket
        assert websocket is not None
        self.written = number
        websocket.write_text(self._protocol.encode_event(body, number if ack else None))
        if websocket.is_blocked:
            await websocket.drain()
        self._listener.on_written(number)

    def flush(self) -> None:
        """Write what was sent now, not at the end of this turn of the event loop."""
        if self._websocket is not None:
            self._websocket.flush()

    async def send_volatile(self, body: bytes) -> None:
        """Send a message that may be lost."""
        if self._websocket is not None and not self.over:
            self._websocket.write_text(self._protocol.encode_event(body, None))
            if self._websocket.is_blocked:
                await self._websocket.drain()

    async def ping(self, payload: bytes) -> None:
        """Send a WebSocket ping."""
        assert self._websocket is not None
        self._websocket.write_ping(payload)
        if self._websocket.is_blocked:
            await self._websocket.drain()


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _reason_of(end: WebSocketEnd) -> CloseReason:
    words = " ".join(end.reason.split())
    if end.kind == "closed":
        detail = f"{end.code}, without a code" if end.code == NO_STATUS else str(end.code)
        text = f"the server closed the connection ({detail}{f', {words}' if words else ''})"
        return CloseReason(text, end.code, too_large=end.code == TOO_BIG)
    if end.kind == "violated":
        what = f"sent more than {MAX_INCOMING:,} bytes in a message" if end.code == TOO_BIG else f"sent {words}"
        remedy = "look for what writes into the connection: the server, or a proxy before it"
        return CloseReason(f"the server {what}, which ends a WebSocket ({end.code}): {remedy}", end.code)
    if end.kind == "failed":
        return CloseReason(f"reading failed: {words}", end.code)
    return CloseReason(f"the connection broke{f': {words}' if words else ' without a close frame'}", end.code)
