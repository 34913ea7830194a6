"""The change of a session from HTTP long-polling to WebSocket.

The client opens a WebSocket with the session's id, sends a probe, ends its polling once the probe is answered, and
confirms the change. Until then the session stays on polling, and a WebSocket that fails ends nothing but itself.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from worker.hub.close_codes import ABNORMAL, PROTOCOL_ERROR
from worker.hub.engineio import codec
from worker.hub.engineio.polling import PollingTransport
from worker.hub.engineio.session import EngineSession
from worker.hub.transports.connections import Connection, ConnectionListener, ConnectionRegistry
from worker.hub.transports.websocket import WebSocket, WebSocketServer

_UPGRADE_SECONDS: Final = 10.0
"""From the WebSocket to the confirmation of the change."""


class UpgradeProbe:
    """Serves the WebSockets of sessions that began on polling."""

    def __init__(
        self, endpoint: ConnectionListener[EngineSession], registry: ConnectionRegistry, websockets: WebSocketServer
    ) -> None:
        self._endpoint = endpoint
        self._registry = registry
        self._websockets = websockets

    async def serve(self, request: web.Request, session: EngineSession) -> web.StreamResponse:
        """Serve one WebSocket from the probe to its end. The request must have been admitted before."""
        transport = session.transport
        websocket = await self._websockets.accept(request)
        if not isinstance(websocket, WebSocket):
            return websocket
        probing = _Probing(self._endpoint, session, transport, websocket, self._endpoint.name)
        if not isinstance(transport, PollingTransport) or transport.upgrading or transport.is_lost:
            websocket.sender.close(PROTOCOL_ERROR, "the session is not on polling")
        timer = asyncio.get_running_loop().call_later(_UPGRADE_SECONDS, probing.give_up)
        code, reason = ABNORMAL, "transport lost"
        try:
            code, reason = await self._websockets.read(session, websocket, probing)
        finally:
            timer.cancel()
            if probing.is_done:
                self._registry.close(session, self._endpoint, code, reason)
            else:
                probing.release()
                websocket.sender.close_after_flush()
        return websocket.response


@dataclass(slots=True)
class _Probing:
    """Listens on the WebSocket: first to the probe, then for the session's endpoint."""

    endpoint: ConnectionListener[EngineSession]
    session: EngineSession
    transport: object
    """The session's transport when the WebSocket was opened."""
    websocket: WebSocket
    name: str
    is_done: bool = False
    is_probed: bool = False

    def on_open(self, _: web.Request, _connection: Connection) -> EngineSession:
        return self.session

    def is_requested(self, connection: EngineSession, data: bytes) -> bool:
        return self.endpoint.is_requested(connection, data)

    def on_message(self, connection: EngineSession, data: bytes, *, binary: bool) -> None:
        sender, transport = self.websocket.sender, self.transport
        if self.is_done:
            self.endpoint.on_message(connection, data, binary=binary)
        elif not isinstance(transport, PollingTransport) or transport.is_lost:
            sender.close(PROTOCOL_ERROR, "the session has ended")
        elif data == codec.PING_PROBE and not binary and not transport.upgrading:
            self.is_probed = True
            sender.send(codec.PONG_PROBE)
            sender.flush()
            transport.begin_upgrade()
        elif data == codec.UPGRADE and not binary and self.is_probed and transport.close_code is None:
            self.is_done = True
            sender.on_overflow = connection.close
            connection.transport = sender
            connection.repeat_confirmations(transport.hand_over(sender))
        else:
            sender.close(PROTOCOL_ERROR, "not a probe")

    def on_pong(self, connection: EngineSession) -> None:
        self.endpoint.on_pong(connection)

    def on_close(self, connection: EngineSession, code: int, reason: str) -> None:
        self.endpoint.on_close(connection, code, reason)

    def give_up(self) -> None:
        """Close the WebSocket if the client has not confirmed the change."""
        if not self.is_done:
            self.websocket.sender.close(PROTOCOL_ERROR, "no upgrade in time")

    def release(self) -> None:
        """Let the session go on with polling."""
        if self.is_probed and isinstance(self.transport, PollingTransport):
            self.transport.upgrading = False
