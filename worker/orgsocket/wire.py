"""One Socket.IO connection: the only module that knows python-socketio, aiohttp and their private names.

Every frame passes here strictly in order; what it says is read in frames.py, what follows from it is decided elsewhere.
The library keeps the handshake and the heartbeat; everything after CONNECT goes past it, because its own path makes a
task and a timer of every frame. `fast=False` sends and acknowledges through the library all the same.
"""

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
import orjson
import socketio
from aiohttp.typedefs import LooseHeaders

from worker.orgsocket.frames import Frames, Greeting, Reader, refusal
from worker.orgsocket.link import Ending

_TEXT = aiohttp.WSMsgType.TEXT
_LARGEST_INCOMING = 4 * 1024 * 1024
"""Bytes; a server that sends more to a publisher is broken, and closing with 1009 is survived."""

_CORKED = 64 * 1024
"""Bytes gathered at most before they go to the transport."""

_quiet = logging.getLogger("worker.orgsocket.library")
_quiet.setLevel(logging.CRITICAL)  # what the library would say, our events say better; and it logs payloads


class Refused(Exception):
    """The attempt failed in a way the server explained."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


@dataclass(frozen=True, slots=True)
class Terms:
    """What one attempt is made with."""

    url: str
    path: str
    headers: Mapping[str, str]
    auth: Mapping[str, Any] | None
    tls: ssl.SSLContext | None = None
    """None: the system's own trust."""


class _Json:
    """orjson in the clothes of the standard module."""

    @staticmethod
    def dumps(value: object, separators: object = None) -> str:  # noqa: ARG004 -- orjson writes no spaces anyway
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str) -> object:
        return orjson.loads(text)


class _Packet(socketio.packet.Packet):  # type: ignore[misc]  # the library ships no types
    """A packet with a json of its own: the client's `json=` would set it on the class, for the hub as well."""

    json = _Json


class _Cork:
    """Stands before the transport and gathers the frames of one turn of the event loop into one write: with a full
    window, a system call for each frame is a third of all the work."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._pieces: list[bytes] = []
        self._size = 0
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= _CORKED:
            self.flush()  # so that the transport's own flow control sees it in time

    def flush(self) -> None:
        if not self._pieces:
            return
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if not self._transport.is_closing():
            self._transport.write(data)

    def is_closing(self) -> bool:
        return bool(self._transport.is_closing())


class _Line(aiohttp.ClientWebSocketResponse[Literal[True]]):
    """The WebSocket as the library sees it; every frame passes here first, read or written."""

    wire: "Wire"

    async def receive(self, timeout: float | None = None) -> Any:
        while not self._is_over():
            message = await super().receive(timeout)
            if message.type is _TEXT:
                if not self._is_over() and self.wire.frames.read(message.data):
                    return message
            elif message.type is aiohttp.WSMsgType.PONG:
                self.wire.reader.ponged(bytes(message.data))
            elif message.type is aiohttp.WSMsgType.PING:
                await self.pong(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                self.wire.frames.read_attachment()
            else:
                self.wire.end(_ending(message, self.close_code, self.exception()))
        return _CLOSED

    def _is_over(self) -> bool:
        ending = self.wire.ending
        if ending is not None and self.wire.frames.greeting is None:
            # The library awaits the OPEN packet: it would take a close code for one, and fall over it.
            raise ConnectionResetError(ending.reason)
        return ending is not None

    async def send_str(self, data: str, compress: int | None = None) -> None:
        if data.startswith("3"):
            self.wire.reader.heartbeat_answered(self.wire.written)
        numbered = data.startswith("42")
        if numbered:
            self.wire.written += 1
        await super().send_str(data, compress)
        if numbered:
            self.wire.reader.wrote(self.wire.written)


_CLOSED = aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None)


def _ending(message: Any, code: int | None, exception: BaseException | None) -> Ending:
    if message.type is aiohttp.WSMsgType.CLOSE:
        told = code or 1005  # RFC 6455, 7.1.5: a close frame without a code
        words = f", {message.extra}" if message.extra else ""
        return Ending(f"the server closed the connection ({told}{words})", told, too_large=told == 1009)
    cause = exception or message.data
    if message.type is aiohttp.WSMsgType.ERROR and isinstance(cause, BaseException):
        return Ending(f"{type(cause).__name__}: {cause}", code or 1006)
    # aiohttp calls a TCP connection that just ends 1000; nobody said goodbye, though.
    return Ending(f"the connection broke: {exception}" if exception else "the connection broke", 1006)


class Wire:
    """One connection, from the first byte to the last. Good for one attempt; make a fresh one for the next."""

    def __init__(self, reader: Reader, *, fast: bool = True) -> None:
        self.reader = reader
        self.written = 0
        """Messages handed to the transport."""
        self.ending: Ending | None = None
        self.frames = Frames(reader, self.end, fast=fast)
        self._fast = fast
        self._line: _Line | None = None
        self._cork: _Cork | None = None
        self._http: aiohttp.ClientSession | None = None
        self._client: Any = None
        self._connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def over(self) -> bool:
        return self.ending is not None

    @property
    def stage(self) -> str:
        """What the attempt waits for."""
        if self._line is None:
            return "TCP, TLS and the WebSocket upgrade"
        return "the OPEN packet" if self.frames.greeting is None else "the CONNECT packet"

    # -- life ----------------------------------------------------------------------------------------------

    async def connect(self, terms: Terms) -> Greeting:
        """TCP, TLS, upgrade, OPEN, CONNECT. Raises whatever went wrong; the caller holds the clock."""
        self._http = self._session(terms)
        self._client = self._make_client()
        try:
            await self._client.connect(
                terms.url,
                headers=dict(terms.headers),
                auth=terms.auth,
                transports=["websocket"],
                namespaces=["/"],
                socketio_path=terms.path,
                wait=False,
            )
        except Exception as exc:
            explained = await self._explained(exc, terms)
            if explained is None:
                raise
            raise Refused(explained) from exc
        await self._connected
        assert self.frames.greeting is not None
        return self.frames.greeting

    def _session(self, terms: Terms) -> aiohttp.ClientSession:
        def line(*args: Any, **kwargs: Any) -> _Line:
            self._cork = _corked(args[1])
            self._line = _Line(*args, **kwargs)
            self._line.wire = self
            return self._line

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=terms.tls or True),
            # A Cookie header travels through the jar; addresses without a name are hosts like any other.
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            ws_response_class=line,  # type: ignore[arg-type]  # any callable does
        )

    def _make_client(self) -> Any:
        client = socketio.AsyncClient(
            reconnection=False,
            handle_sigint=False,
            http_session=self._http,
            serializer=_Packet,
            logger=_quiet,
            engineio_logger=_quiet,
            websocket_extra_options={"autoping": False, "max_msg_size": _LARGEST_INCOMING},
        )
        client.on("connect", self._up)
        client.on("disconnect", self._down)
        return client

    def _up(self) -> None:
        if not self._connected.done():
            self._connected.set_result(None)

    def _down(self, _reason: str) -> None:
        """The library gave up on a line that has not closed: the server's heartbeat stayed away."""
        self.end(Ending("the server has fallen silent", 1006))

    def end(self, ending: Ending) -> None:
        """What is read after this counts for nothing."""
        if self.ending is not None:
            return
        self.ending = ending
        if not self._connected.done():
            self._connected.set_exception(Refused(ending))
            self._connected.exception()  # seen, even if nobody waits any more
        self.reader.ended(ending)

    async def goodbye(self, seconds: float = 1.0) -> None:
        """Leave politely. Only when everything is proven: a DISCONNECT may overtake messages at the server."""
        self.ending = self.ending or Ending("we are done", 1000, final=True)
        try:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(seconds):
                    await self._client.disconnect()
        finally:
            await self.drop()

    async def drop(self) -> None:
        """Let go of the transport without another byte, and of all that hangs on it; also when cancelled meanwhile."""
        self.ending = self.ending or Ending("dropped", None)
        letting_go = asyncio.create_task(self._let_go())
        try:
            await asyncio.shield(letting_go)
        except asyncio.CancelledError:
            await letting_go
            raise

    async def _let_go(self) -> None:
        if not self._connected.done():
            self._connected.cancel()
        if self._line is not None:
            _abort(self._line)
        if self._client is not None:
            await _library_ended(self._client)
        if self._http is not None:
            await self._http.close()

    # -- sending -------------------------------------------------------------------------------------------

    async def send(self, number: int, body: bytes, *, ack: bool) -> None:
        """One message; numbers count 1, 2, 3 …. Waits only while the transport's buffer is full."""
        if not self._fast:
            await self._send_through_library(number, body, ack=ack)
            return
        assert self._line is not None
        self.written = number
        await self._line.send_frame(b"42%d%b" % (number, body) if ack else b"42" + body, _TEXT)
        self.reader.wrote(number)

    def flush(self) -> None:
        """What was sent goes out now, not at the end of this turn of the event loop."""
        if self._cork is not None:
            self._cork.flush()

    async def _send_through_library(self, number: int, body: bytes, *, ack: bool) -> None:
        def acknowledged(*arguments: Any) -> None:
            if not self.over:
                self.reader.acknowledged(number, refusal(arguments))

        event, *arguments = orjson.loads(body)
        await self._client.emit(event, tuple(arguments), callback=acknowledged if ack else None)

    async def whisper(self, body: bytes) -> None:
        """A message nobody counts on."""
        if self._line is not None and not self.over:
            await self._line.send_frame(b"42" + body, _TEXT)

    async def ping(self, payload: bytes) -> None:
        assert self._line is not None
        await self._line.ping(payload)

    # -- why an attempt failed -----------------------------------------------------------------------------

    async def _explained(self, exc: Exception, terms: Terms) -> Ending | None:
        """None: the exception says all there is."""
        cause = innermost(exc)
        if self.ending is not None or not isinstance(cause, aiohttp.WSServerHandshakeError):
            return self.ending
        if cause.status == 400 and await self._is_engine_io_3(terms):
            return Ending("the server speaks Engine.IO 3 only (HTTP 400): upgrade it", refused=True)
        reason = f"HTTP {cause.status} instead of the WebSocket upgrade at {terms.path}"
        return Ending(reason, refused=cause.status in (401, 403, 429))

    async def _is_engine_io_3(self, terms: Terms) -> bool:
        """Ask in the old protocol's words; a server that opens a session understands them."""
        assert self._http is not None
        url = re.sub("^ws", "http", terms.url.rstrip("/")) + "/" + terms.path.strip("/") + "/"
        headers: LooseHeaders = dict(terms.headers)
        with contextlib.suppress(aiohttp.ClientError, UnicodeDecodeError):
            query = {"EIO": "3", "transport": "polling"}
            async with self._http.get(url, params=query, headers=headers) as response:
                return re.match(r"\d+:0\{", (await response.content.read(200)).decode()) is not None
        return False


def innermost(exc: BaseException) -> BaseException:
    """What it all began with."""
    seen = {exc}  # a careless `raise` can tie a chain into a ring
    while (deeper := exc.__cause__ or exc.__context__) is not None and deeper not in seen:
        seen.add(exc := deeper)
    return exc


# -- private names of aiohttp and python-engineio: a test fails when they change ---------------------------------------


def _corked(writer: Any) -> _Cork:
    writer.transport = cork = _Cork(writer.transport)
    return cork


def _abort(line: _Line) -> None:
    """`close` would first write what is buffered, to a peer that may not read."""
    connection = line._response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    line._response.close()


async def _library_ended(client: Any) -> None:
    """Its loops end by themselves once the transport is gone; a loop that does not is cancelled."""
    loops = {task for task in (client.eio.read_loop_task, client.eio.write_loop_task) if task is not None}
    if not loops:
        return
    _, left = await asyncio.wait(loops, timeout=1.0)
    for task in left:
        task.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
