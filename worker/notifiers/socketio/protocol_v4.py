"""Socket.IO 5 on Engine.IO 4: we ask for the namespace, the server sends the heartbeats."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import orjson

from worker.notifiers.socketio.protocol import ConnectionEvents, FrameListener, SendText, SocketIoProtocol
from worker.notifiers.socketio.server_words import refusal_of
from worker.notifiers.socketio.state import CloseReason, speaks_other_version


class ProtocolV4(SocketIoProtocol):
    """Servers of Socket.IO 3 and newer."""

    version: ClassVar[int] = 4

    def __init__(self, listener: FrameListener, connection: ConnectionEvents, namespace: str = "/") -> None:
        super().__init__(listener, connection, namespace)
        self._pinged = asyncio.Event()

    def connect_packet(self, auth: Mapping[str, Any] | None) -> str:
        return f"40{self._prefix}{orjson.dumps(auth or {}).decode()}"

    async def keep_alive(self, send: SendText, written: Callable[[], int]) -> None:
        assert self.open_packet is not None
        while True:
            try:
                async with asyncio.timeout(self.open_packet.ping_interval + self.open_packet.ping_timeout):
                    await self._pinged.wait()
            except TimeoutError:
                return
            self._pinged.clear()
            self._listener.on_heartbeat_answered(written())
            await send("3")

    def _read_heartbeat(self, text: str) -> None:
        if text[:1] == "3":
            self._connection.end(
                CloseReason(f"the server sent a frame that is not Engine.IO 4: {self.quote(text, 40)!r}")
            )
            return
        self._pinged.set()
        self._listener.on_heartbeat()

    def _read_connect(self, text: str) -> None:
        with contextlib.suppress(orjson.JSONDecodeError):
            data = orjson.loads(text[2:] or "null")
            if isinstance(data, dict) and data.get("sid"):
                self._connection.on_connect()
                return
        self._connection.end(speaks_other_version(3))

    def _read_connect_error(self, text: str) -> None:
        data, words = refusal_of(text[2:])
        # Engine.IO 3: a bare text, before any CONNECT.
        speaks = 3 if isinstance(data, str) and self._announces_no_limit() else None
        self._connection.end(self._refused(data, words, speaks))

    def _announces_no_limit(self) -> bool:
        """Return whether OPEN lacks maxPayload, as it does in Engine.IO 3."""
        return self.open_packet is not None and self.open_packet.max_payload is None
