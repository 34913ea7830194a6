"""One Socket.IO connection: the only module that knows python-socketio, aiohttp and their private names.

It reads frames strictly in order and says what they are; what follows from them is decided elsewhere. The library
keeps the handshake and the heartbeat; everything after CONNECT goes past it, because its own path makes a task and
a timer of every frame. `fast=False` sends and acknowledges through the library all the same.
"""

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import aiohttp
import orjson
import socketio
from aiohttp.typedefs import LooseHeaders

from worker.orgsocket.link import Ending, refuses
from worker.orgsocket.proof import refusal

_TEXT = aiohttp.WSMsgType.TEXT
_LARGEST_INCOMING = 4 * 1024 * 1024
"""Bytes; a server that sends more to a publisher is broken, and closing with 1009 is survived."""

_CORKED = 64 * 1024
"""Bytes gathered at most before they go to the transport."""

_ACKNOWLEDGEMENT = re.compile(r"43(\d{1,15})(\[.*)", re.DOTALL)
_BINARY = re.compile(r"4([56])(\d{1,9})-(\d{0,15})\[")
_EVENT = re.compile(r"42(\d{0,15})(\[.*)", re.DOTALL)
_PLAINLY_YES = frozenset(("[]", "[true]", "[null]", '[{"ok":true}]', '["ok"]'))

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


@dataclass(frozen=True, slots=True)
class Greeting:
    """The server's OPEN packet; seconds and bytes."""

    ping_interval: float
    ping_timeout: float
    max_payload: int | None
    """None: it does not say, as servers before Engine.IO 6.2 do not."""


class Reader(Protocol):
    """Who is told of the frames, in the order they were read; nothing follows after `ended`."""

    def acknowledged(self, number: int, refusal: str | None) -> None: ...

    def ponged(self, payload: bytes) -> None: ...

    def heartbeat(self) -> None:
        """An Engine.IO PING was read."""
        ...

    def heartbeat_answered(self, written: int) -> None:
        """Our PONG goes out after `written` messages."""
        ...

    def wrote(self, number: int) -> None:
        """The transport has taken all messages up to `number`."""
        ...

    def told(self, event: str, arguments: Sequence[Any]) -> None:
        """The server sent an event."""
        ...

    def puzzled(self, detail: str) -> None:
        """A frame made no sense and was skipped."""
        ...

    def ended(self, ending: Ending) -> None: ...


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
                if not self._is_over() and self.wire.read(message.data):
                    return message
            elif message.type is aiohttp.WSMsgType.PONG:
                self.wire.reader.ponged(bytes(message.data))
            elif message.type is aiohttp.WSMsgType.PING:
                await self.pong(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                self.wire.read_attachment()
            else:
                self.wire.end(_ending(message, self.close_code, self.exception()))
        return _CLOSED

    def _is_over(self) -> bool:
        ending = self.wire.ending
        if ending is not None and self.wire.greeting is None:
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
        self.greeting: Greeting | None = None
        self.ending: Ending | None = None
        self._fast = fast
        self._line: _Line | None = None
        self._cork: _Cork | None = None
        self._http: aiohttp.ClientSession | None = None
        self._client: Any = None
        self._connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._attachments = 0

    @property
    def over(self) -> bool:
        return self.ending is not None

    @property
    def stage(self) -> str:
        """What the attempt waits for."""
        if self._line is None:
            return "TCP, TLS and the WebSocket upgrade"
        return "the OPEN packet" if self.greeting is None else "the CONNECT packet"

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
        assert self.greeting is not None
        return self.greeting

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

    # -- reading -------------------------------------------------------------------------------------------

    def read(self, text: str) -> bool:
        """One text frame; True: the library is to see it as well."""
        kind = text[:2]
        if kind == "43":
            return self._read_acknowledgement(text)
        if kind == "42":
            self._read_event(text)
        elif kind in ("45", "46"):
            self._read_binary(text)
        elif kind == "40":
            return self._read_connect(text)
        elif kind == "41":
            if not text.startswith("41/"):
                self.end(Ending("the server disconnected us from the namespace"))
        elif kind == "44":
            if not text.startswith("44/"):
                self._read_connect_error(text)
        else:
            return self._read_engine(text)
        return False

    def read_attachment(self) -> None:
        """A binary frame: it belongs to a packet announced before, or to nothing."""
        if self._attachments:
            self._attachments -= 1
        else:
            self.reader.puzzled("a binary frame that no packet announced")

    def _read_acknowledgement(self, text: str) -> bool:
        match = _ACKNOWLEDGEMENT.fullmatch(text)
        if match is None:
            self.reader.puzzled(f"an acknowledgement without number: {text[:80]!r}")
            return False
        number, arguments = match.groups()
        if self._fast and arguments in _PLAINLY_YES:
            self.reader.acknowledged(int(number), None)
            return False
        parsed = self._parsed(arguments)
        if parsed is None:
            return False
        if self._fast:
            self.reader.acknowledged(int(number), refusal(parsed))
        return not self._fast

    def _read_event(self, text: str) -> None:
        match = _EVENT.fullmatch(text)
        parsed = self._parsed(match[2]) if match else None
        if parsed and isinstance(parsed[0], str):
            # Servers with connection state recovery append an offset: whatever follows is just more arguments.
            self.reader.told(parsed[0], parsed[1:])
        elif match is None or parsed == []:
            self.reader.puzzled(f"an event without name: {text[:80]!r}")

    def _read_binary(self, text: str) -> None:
        match = _BINARY.match(text)
        if match is None:
            self.reader.puzzled(f"a binary packet that cannot be read: {text[:80]!r}")
            return
        kind, attachments, number = match.groups()
        self._attachments = int(attachments)
        if kind == "6" and number:
            self.reader.acknowledged(int(number), None)

    def _read_connect(self, text: str) -> bool:
        if text.startswith("40/"):
            return False
        with contextlib.suppress(orjson.JSONDecodeError):
            data = orjson.loads(text[2:] or "null")
            if isinstance(data, dict) and data.get("sid"):
                return True
        self.end(
            Ending(
                "the server speaks Engine.IO 3 (Socket.IO 2 or older); this worker needs Engine.IO 4, "
                "that is Socket.IO 3 or newer: upgrade the server",
                refused=True,
            )
        )
        return False

    def _read_connect_error(self, text: str) -> None:
        with contextlib.suppress(orjson.JSONDecodeError):
            data = orjson.loads(text[2:] or "null")
            message = data.get("message") if isinstance(data, dict) else data
            self.end(Ending(f"CONNECT_ERROR: {str(message)[:300]}", refused=refuses(data)))
            return
        self.end(Ending(f"CONNECT_ERROR: {text[2:80]}"))

    def _read_engine(self, text: str) -> bool:
        match text[:1]:
            case "2":
                self.reader.heartbeat()
                return True
            case "0":
                return self._read_open(text)
            case "1":
                self.end(Ending("the server closed the Engine.IO session"))
            case "6":
                return True
            case _:
                self.end(Ending(f"the server sent what is no Engine.IO packet: {text[:40]!r}"))
        return False

    def _read_open(self, text: str) -> bool:
        if self.greeting is not None:
            self.reader.puzzled("a second OPEN packet")
            return False
        with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            data = orjson.loads(text[1:])
            largest = data.get("maxPayload")
            interval, patience = int(data["pingInterval"]) / 1000, int(data["pingTimeout"]) / 1000
            if data["sid"] and interval + patience > 0:
                self.greeting = Greeting(interval, patience, int(largest) if largest else None)
                return True
        self.end(Ending(f"the server's OPEN packet cannot be read: {text[:80]!r}"))
        return False

    def _parsed(self, arguments: str) -> list[Any] | None:
        try:
            parsed = orjson.loads(arguments)
        except orjson.JSONDecodeError as exc:
            self.reader.puzzled(f"not valid JSON: {exc}")
            return None
        return parsed if isinstance(parsed, list) else None

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
