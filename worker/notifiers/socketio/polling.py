"""One Socket.IO connection over HTTP long-polling, for servers and proxies that let no WebSocket through.

Packets are read and written by the same protocols as over a WebSocket. A request with packets is answered once the
server has read them, so its answer stands in for the pong of a WebSocket ping.
"""

import asyncio
import contextlib
import itertools
import json
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from worker.core.uncancellable import uncancellable
from worker.net.close_codes import TOO_BIG
from worker.notifiers.socketio.handshake import (
    MAX_ANSWER,
    ConnectOptions,
    ConnectRejected,
    handshake_url,
    message_of,
    new_http_session,
    refusal,
    request_headers,
)
from worker.notifiers.socketio.payloads import join_packets, split_packets
from worker.notifiers.socketio.protocol import (
    MAX_INCOMING,
    ConnectionEvents,
    FrameListener,
    OpenPacket,
    SocketIoProtocol,
)
from worker.notifiers.socketio.quote import quoted_body
from worker.notifiers.socketio.state import CloseReason

_MAX_BODY = 64 * 1024
"""Bytes of packets in one request, unless a single one is larger."""
_MAX_PACKETS = 16
"""Packets in one request: python-socketio drops a request with more of them, and answers it with 200."""
_MAX_QUEUED = 1024 * 1024
"""Bytes that wait to be sent before `send` waits as well."""
_PACKETS_AT_ONCE = 1000
"""Packets that are read before the event loop gets its turn: a few milliseconds."""
_TOO_LONG = CloseReason(
    f"the server sent more than {MAX_INCOMING:,} bytes in an answer, which ends the session: look for what answers, "
    "the server or a proxy before it",
    TOO_BIG,
)
_PROBES = {3: "2", 4: "3"}
"""A packet that any server reads and no handler sees, by version: a heartbeat."""


@dataclass(slots=True)
class _Outgoing:
    """Packets for the next requests, and what follows from each request's answer."""

    packets: list[str] = field(default_factory=list)
    written: int = 0
    """The number of the last message among them."""
    pongs: list[bytes] = field(default_factory=list)
    size: int = 0


class PollingConnection:
    """One connection, from the first byte to the last. Good for one attempt; make a new one for the next."""

    def __init__(
        self, listener: FrameListener, new_protocol: Callable[[FrameListener, ConnectionEvents], SocketIoProtocol]
    ) -> None:
        self.written = 0
        """Messages queued."""
        self.close_reason: CloseReason | None = None
        self._listener = listener
        self._protocol = new_protocol(listener, self)
        self._http: aiohttp.ClientSession | None = None
        self._options: ConnectOptions | None = None
        self._sid = ""
        self._outgoing = _Outgoing()
        self._queued = asyncio.Event()
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._connected = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def over(self) -> bool:
        return self.close_reason is not None

    @property
    def stage(self) -> str:
        """What the attempt waits for."""
        return "TCP, TLS and the OPEN packet" if self._protocol.open_packet is None else "the CONNECT packet"

    # -- life ----------------------------------------------------------------------------------------------

    async def connect(self, options: ConnectOptions) -> OpenPacket:
        """TCP, TLS, OPEN, CONNECT. Raises ConnectRejected, or what the network raised; the caller sets the timeout and
        calls `abort` after a failure."""
        self._options = options
        self._protocol.quote = options.quote()
        # A load balancer finds the server of a session by its cookie.
        self._http = new_http_session(options, cookies=True)
        self._sid, packets = await open_by_polling(self._http, options, self._protocol.version)
        await read_each(packets, self._protocol.read)
        self._raise_if_over()
        self._start(self._write_loop(), self._read_loop(), self._keep_alive())
        connect_packet = self._protocol.connect_packet(options.auth)
        if connect_packet is not None:
            await self._queue(connect_packet)
        await self._connected
        assert self._protocol.open_packet is not None
        return self._protocol.open_packet

    def _raise_if_over(self) -> None:
        if self.close_reason is not None:
            raise ConnectRejected(self.close_reason)

    def _start(self, *loops: Coroutine[Any, Any, None]) -> None:
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def close(self, seconds: float = 1.0) -> None:
        """Say that we leave, then let go."""
        self.close_reason = self.close_reason or CloseReason("closed by us", 1000, final=True)
        try:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(seconds):
                    for packet in self._protocol.closing_packets:
                        await self._queue(packet)
                    await self._idle.wait()
        finally:
            await self.abort()

    async def abort(self) -> None:
        """End everything that depends on the connection."""
        self.close_reason = self.close_reason or CloseReason("dropped", None)
        self._connected.cancel()
        await uncancellable(self._release())

    async def _release(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    # -- ConnectionEvents ------------------------------------------------------------------------------------

    def on_open(self) -> None:
        """See ConnectionEvents."""

    def on_connect(self) -> None:
        """See ConnectionEvents."""
        if not self._connected.done():
            self._connected.set_result(None)

    def end(self, reason: CloseReason) -> None:
        """What is read after this counts for nothing."""
        if self.close_reason is not None:
            return
        self.close_reason = reason
        if not self._connected.done():
            self._connected.set_exception(ConnectRejected(reason))
            self._connected.exception()  # marks it as seen, in case nothing awaits it
        self._listener.on_close(reason)

    # -- loops -----------------------------------------------------------------------------------------------

    async def _read_loop(self) -> None:
        await self._until_over(self._poll)

    async def _write_loop(self) -> None:
        await self._until_over(self._flush_queue)

    async def _until_over(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            while self.close_reason is None or step == self._flush_queue:
                await step()
        except Exception as exc:  # noqa: BLE001 -- an unread connection must end, whatever stopped the reader
            self.end(CloseReason(f"long-polling failed: {type(exc).__name__}: {exc}", 1006))

    async def _keep_alive(self) -> None:
        await self._protocol.keep_alive(self._queue, lambda: self.written)
        self.end(CloseReason("the server has fallen silent", 1006))

    async def _poll(self) -> None:
        await read_each(split_packets(await self._ask("GET"), self._protocol.version), self._read_packet)

    def _read_packet(self, packet: str) -> None:
        if self.close_reason is not None:
            return
        if packet[:1] == "b":  # a binary attachment, in Base64
            self._protocol.read_attachment()
        else:
            self._protocol.read(packet)

    async def _flush_queue(self) -> None:
        self._queued.clear()
        if not self._outgoing.packets:
            self._idle.set()
            await self._queued.wait()
            return
        batch, self._outgoing = self._next_batch(self._outgoing)
        await self._ask("POST", join_packets(batch.packets, self._protocol.version))
        if self._outgoing.size < _MAX_QUEUED:
            self._room.set()
        if batch.written:
            self._listener.on_written(batch.written)
        for payload in batch.pongs:
            self._listener.on_pong(payload)

    def _next_batch(self, queued: _Outgoing) -> tuple[_Outgoing, _Outgoing]:
        """Return what goes into the next request, and what is left."""
        opened = self._protocol.open_packet
        limit = min(_MAX_BODY, (opened.max_payload if opened else None) or _MAX_BODY)
        size = 0
        for count, packet in enumerate(queued.packets):
            size += len(packet.encode()) + 16
            if count == _MAX_PACKETS or (count and size > limit):
                rest = queued.packets[count:]
                left = _Outgoing(rest, queued.written, queued.pongs, sum(map(len, rest)))
                return _Outgoing(queued.packets[:count]), left
        return queued, _Outgoing()

    async def _ask(self, method: str, body: str | None = None) -> str:
        assert self._http is not None
        assert self._options is not None
        version = self._protocol.version
        text = await ask(self._http, self._options, version, method=method, sid=self._sid, body=body)
        if isinstance(text, CloseReason):
            self.end(text)
            raise ConnectionError(text.reason)
        return text

    # -- sending -------------------------------------------------------------------------------------------

    async def send(self, number: int, body: bytes, *, ack: bool) -> None:
        """Queue one message; numbers count 1, 2, 3 …. Waits only while much is queued."""
        self.written = self._outgoing.written = number
        await self._queue(self._encode(body, number if ack else None))

    def flush(self) -> None:
        """Nothing to do: the write loop sends what is queued."""

    async def send_volatile(self, body: bytes) -> None:
        """Queue a message that may be lost."""
        if not self.over:
            await self._queue(self._encode(body, None))

    async def ping(self, payload: bytes) -> None:
        """Ask for a sign that the server has read everything queued: the answer to the request that carries it."""
        self._outgoing.pongs.append(payload)
        await self._queue(_PROBES[self._protocol.version])

    def _encode(self, body: bytes, number: int | None) -> str:
        if self._protocol.version == 3:
            # Servers of Socket.IO 1 and 2 encode other characters differently over long-polling.
            body = json.dumps(orjson.loads(body), separators=(",", ":")).encode()
        return self._protocol.encode_event(body, number).decode()

    async def _queue(self, packet: str) -> None:
        outgoing = self._outgoing
        outgoing.packets.append(packet)
        outgoing.size += len(packet)
        self._idle.clear()
        self._queued.set()
        while self._outgoing.size >= _MAX_QUEUED and not self.over:
            self._room.clear()
            await self._room.wait()


async def read_each(packets: Iterable[str], read: Callable[[str], None]) -> None:
    """Read the packets of an answer in order; the event loop gets its turns."""
    for count, packet in enumerate(packets, 1):
        read(packet)
        if count % _PACKETS_AT_ONCE == 0:
            await asyncio.sleep(0)


async def open_by_polling(
    http: aiohttp.ClientSession, options: ConnectOptions, version: int
) -> tuple[str, Iterable[str]]:
    """Open a session; return its id, and the OPEN packet with those that came along. Raises ConnectRejected."""
    text = await ask(http, options, version)
    if isinstance(text, CloseReason):
        raise ConnectRejected(text)
    try:
        packets = split_packets(text, version)
        opening = next(packets, "")
        return str(orjson.loads(opening[1:])["sid"]), itertools.chain([opening], packets)
    except (ValueError, LookupError, TypeError):
        other = 7 - version
        reason = CloseReason(
            f"the answer to the handshake is not an OPEN packet: {options.quote()(text, 60)!r}", speaks=other
        )
        raise ConnectRejected(reason) from None


async def ask(
    http: aiohttp.ClientSession,
    options: ConnectOptions,
    version: int,
    *,
    method: str = "GET",
    sid: str | None = None,
    body: str | None = None,
) -> str | CloseReason:
    """Make one request of a session, or its first; return the answer's text, or why there is none."""
    # b64: servers of Socket.IO 1 answer with binary framing without it.
    more = {"t": secrets.token_hex(4), "b64": "1"} | ({} if sid is None else {"sid": sid})
    headers = request_headers(options, version) | ({"Content-Type": "text/plain;charset=UTF-8"} if body else {})
    url = handshake_url(options, version, "polling", **more).replace("ws", "http", 1 if options.url[:2] == "ws" else 0)
    async with http.request(method, url, headers=headers, data=body and body.encode(), proxy=options.proxy) as response:
        if response.status == 200:
            text = await _text_of(response)
            if text is None:
                response.close()
                return _TOO_LONG
            return text if method == "GET" else _answer_to_packets(text, response.method, options)
        said = await quoted_body(response.content, options.quote(), MAX_ANSWER)
        response.close()
        if sid is None:
            return refusal(response.status, said, version, options.path, polling=True)
        message = message_of(said)
        words = f" ({message})" if message else ""
        return CloseReason(
            f"the server ended the session: HTTP {response.status}{words}", too_large=response.status == 413
        )


async def _text_of(response: aiohttp.ClientResponse) -> str | None:
    """Return the whole text of an answer; None: it has more than MAX_INCOMING bytes."""
    received = bytearray()
    async for piece in response.content.iter_any():
        received += piece
        if len(received) > MAX_INCOMING:
            return None
    return received.decode(errors="replace")


def _answer_to_packets(text: str, method: str, options: ConnectOptions) -> str | CloseReason:
    """Return the answer to a POST; why the session ends, if the answer does not show that the packets were read.

    `method` is that of the last request: HTTP clients turn a POST into a GET when it is redirected by 301, 302 or 303.
    """
    if method != "POST":
        return CloseReason(
            "the server redirects requests with packets, which drops the packets: set WebSocket:Url and WebSocket:Path "
            "to where it redirects, or let it answer 307 or 308"
        )
    if text.strip().lower() in ("ok", ""):
        return text
    said = options.quote()(" ".join(text.split()), 60)
    return CloseReason(
        f'the answer to a request with packets is not "ok" but {said!r}: a proxy may answer for the server'
    )
