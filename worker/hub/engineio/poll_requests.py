"""The requests of HTTP long-polling: GET fetches packets, POST brings them. Knows no packet's meaning."""

import asyncio
import time
from typing import TYPE_CHECKING, Final

from aiohttp import ClientPayloadError, web

from worker.hub.close_codes import ABNORMAL, PROTOCOL_ERROR, TOO_BIG
from worker.hub.connection_limits import Rejection
from worker.hub.engineio.polling import PollingTransport
from worker.hub.engineio.session import EngineSession
from worker.hub.errors import MalformedPacket
from worker.hub.transports.connections import ConnectionListener, ConnectionRegistry
from worker.hub.transports.transport import SendLimits

if TYPE_CHECKING:
    from worker.hub.engineio.codec import EnginePacket

_BODY_SECONDS: Final = 20.0
"""From the headers of a POST to the end of its body."""
_BODY_FACTOR: Final = 4
"""A body may hold several messages: so many times the bytes of one."""
_PACKETS_PER_TURN: Final = 64
"""Packets of one client that are handled before the event loop gets its turn."""
_FEW_PACKETS: Final = 16
"""In one response to a client that may be python-engineio: it ends the connection when there are more."""
_READ_ANY_NUMBER: Final = ("Mozilla/", "node-XMLHttpRequest")
"""The User-Agent of browsers, and of socket.io-client in Node, begins so. They read any number of packets."""
_PYTHON: Final = "python"
"""The User-Agent of python-engineio begins so, whatever the case. After a CLOSE packet it never connects again."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_BAD_REQUEST: Final = Rejection(400, 3, "Bad request", "a bad polling request")


class PollRequests:
    """Serves the polling requests of one endpoint."""

    def __init__(
        self, endpoint: ConnectionListener[EngineSession], registry: ConnectionRegistry, limits: SendLimits
    ) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._limits = limits
        self._posting: set[str] = set()
        """The sessions of which a POST is being read."""

    async def open(self, request: web.Request) -> web.Response:
        """Start a session; return its handshake."""
        opened: list[EngineSession] = []
        agent = request.headers.get("User-Agent", "")
        transport = PollingTransport(
            self._limits,
            on_end=lambda code, reason: self._registry.close(opened[0], self._endpoint, code, reason),
            on_pong=lambda: self._endpoint.on_pong(opened[0]),
            max_packets=None if agent.startswith(_READ_ANY_NUMBER) else _FEW_PACKETS,
            reads_close=not agent.lower().startswith(_PYTHON),
        )
        session = self._registry.open(request, transport, self._endpoint)
        opened.append(session)
        return _payload(session, await transport.fetch())

    async def serve(self, request: web.Request, session: EngineSession) -> web.Response:
        """Serve a GET or a POST of a session that is on polling."""
        transport = session.transport
        assert isinstance(transport, PollingTransport)
        if request.method == "POST":
            return await self._post(request, session, transport)
        if transport.is_polled:
            # Two GETs at the same time would lose the order of the packets.
            transport.abort(PROTOCOL_ERROR, "overlapping polls")
            return self._reject(_BAD_REQUEST, session)
        packets = await transport.fetch()
        if request.transport is None or request.transport.is_closing():
            # The packets are lost; the client connects again and gets them from its inbox.
            transport.abort(ABNORMAL, "transport lost")
        return _payload(session, packets)

    async def _post(self, request: web.Request, session: EngineSession, transport: PollingTransport) -> web.Response:
        if session.id in self._posting:
            transport.abort(PROTOCOL_ERROR, "overlapping posts")
            return self._reject(_BAD_REQUEST, session)
        self._posting.add(session.id)
        try:
            body = await self._body(request, session, transport)
            if isinstance(body, Rejection):
                return self._reject(body, session)
            await self._receive(session, body, request.content_type)
        except MalformedPacket as exc:
            session.close(PROTOCOL_ERROR, str(exc))
        finally:
            self._posting.discard(session.id)
        if transport.close_code == PROTOCOL_ERROR:
            transport.abort()
            return self._reject(_BAD_REQUEST, session)
        return web.Response(text="ok", headers=_HEADERS)

    async def _body(
        self, request: web.Request, session: EngineSession, transport: PollingTransport
    ) -> bytes | Rejection:
        """Return the request's body, or why it is rejected; then the session has ended."""
        limit = min(session.max_message_bytes * _BODY_FACTOR, self._registry.message_limits.publisher)
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while len(body) <= limit and (chunk := await request.content.readany()):
                    body += chunk
        except TimeoutError:
            transport.abort(ABNORMAL, "a body that did not arrive in time")
            return Rejection(408, 3, "Request timeout", "a body that did not arrive in time")
        except (ConnectionError, ClientPayloadError):
            transport.abort(ABNORMAL, "transport lost")
            return _BAD_REQUEST
        if len(body) > limit:
            session.close(TOO_BIG, "too big")
            return Rejection(413, 3, "Payload too large", "a body that is too large")
        return bytes(body)

    async def _receive(self, session: EngineSession, body: bytes, content_type: str) -> None:
        """Handle the packets of a body, no faster than the inbox writes. MalformedPacket: it is not a payload."""
        session.last_received = time.monotonic()
        for number, packet in enumerate(session.payload_codec.decode(body, content_type), 1):
            self._registry.receive(session, self._endpoint, packet.data, binary=packet.binary)
            if session.closing:
                return
            await self._registry.wait_for_capacity()
            if number % _PACKETS_PER_TURN == 0:
                await asyncio.sleep(0)

    def _reject(self, rejection: Rejection, session: EngineSession) -> web.Response:
        return self._registry.reject(rejection, self._endpoint.name, session.address)


def _payload(session: EngineSession, packets: "list[EnginePacket]") -> web.Response:
    body, content_type = session.payload_codec.encode(packets)
    return web.Response(body=body, headers={"Content-Type": content_type, **_HEADERS})
