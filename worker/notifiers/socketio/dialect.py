"""Which version of Engine.IO and which transport the next handshake uses. Knows no socket.

A failed handshake often says what the server wants instead; the next one follows within the same attempt. What worked
is remembered by Url, so that each start begins with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from worker.notifiers.socketio.server_capabilities import ServerCapabilities
from worker.notifiers.socketio.state import CloseReason

Transport = Literal["websocket", "polling", "upgrade"]
"""upgrade: the session is opened by long-polling, and moved to a WebSocket."""
TransportSetting = Literal["websocket", "polling"]
EngineIoSetting = Literal["auto", "3", "4"]


class Dialect(NamedTuple):
    """How a server is spoken to."""

    version: int
    transport: Transport

    def __str__(self) -> str:
        return f"Engine.IO {self.version} over {'long-polling' if self.transport == 'polling' else 'WebSocket'}"


@dataclass(frozen=True, slots=True)
class DialectConfig:
    """What the settings allow."""

    engine_io: EngineIoSetting = "auto"
    transports: Sequence[TransportSetting] = ("websocket",)

    @property
    def preferred(self) -> Transport:
        """The transport of the first handshake."""
        if self.transports[0] == "polling" and "websocket" in self.transports:
            return "upgrade"
        return self.transports[0]

    def allows(self, dialect: Dialect) -> bool:
        """Return whether the settings permit this dialect."""
        wanted = "polling" if dialect.transport == "upgrade" else dialect.transport
        return self.engine_io in ("auto", str(dialect.version)) and wanted in self.transports


class DialectChoice:
    """Chooses the dialect of each handshake with one server."""

    def __init__(self, config: DialectConfig, server: ServerCapabilities) -> None:
        self._config = config
        self._server = server
        self._tried: set[Dialect] = set()
        self.current = self._first()

    def begin(self) -> None:
        """A new attempt begins: with what worked before, or with what the settings prefer."""
        self.current = self._first()
        self._tried = {self.current}

    def try_alternative(self, reason: CloseReason) -> bool:
        """Choose another dialect if this failure suggests one that was not tried in this attempt; return whether."""
        version = reason.speaks or self.current.version
        transport: Transport = "polling" if reason.needs_polling else self.current.transport
        for candidate in (Dialect(version, transport), Dialect(self.current.version, transport)):
            if candidate not in self._tried and self._config.allows(candidate):
                self.current = candidate
                self._tried.add(candidate)
                return True
        return False

    def succeeded(self, max_payload: int | None) -> None:
        """Remember what worked. An Engine.IO 3 server does not announce maxPayload: one that does was upgraded, and
        is asked for Engine.IO 4 next time."""
        upgraded = self.current.version == 3 and max_payload is not None and Dialect(4, self.current.transport)
        self._server.engine_io = 4 if upgraded and upgraded not in self._tried else self.current.version
        self._server.needs_polling = self.current.transport == "polling"

    def on_timeout(self) -> None:
        """A handshake was not answered: something on the way may swallow upgrades, so the next attempt goes without."""
        self._server.needs_polling = self.current.transport != "polling"

    def _first(self) -> Dialect:
        known, config = self._server, self._config
        version = known.engine_io or 4 if config.engine_io == "auto" else int(config.engine_io)
        if known.needs_polling and "polling" in config.transports:
            return Dialect(version, "polling")
        return Dialect(version, config.preferred)
