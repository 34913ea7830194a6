"""What is known of servers between sessions, and between starts if there is a file."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson


@dataclass(slots=True)
class ServerCapabilities:
    """What is known of the server at one Url."""

    acks: bool = False
    """It has acknowledged at least once, ever: its silence is a fault, never a habit."""
    never_acks: bool = False
    """It has not acknowledged while fences passed: sessions begin in fence mode."""
    unauthorized_message: int | None = None
    """The message it last rejected as unauthorized, before it accepted any."""
    max_frame: int | None = None
    """Bytes of a frame that it accepts although it announced more: it has closed over larger ones."""
    unbelieved_limit: int | None = None
    """The limit that it announced last and that cannot be true; it has been reported."""
    engine_io: int | None = None
    """The version of Engine.IO that worked last."""
    keep_alive: float | None = None
    """Seconds between two pings, shorter than configured: the connection is cut after a longer silence."""
    last_silence: float | None = None
    """Seconds without a frame before the last session broke."""
    needs_polling: bool = False
    """No WebSocket got through. Kept until the next start only: proxies are repaired."""

    def as_json(self) -> dict[str, Any]:
        """Return what is kept between starts."""
        kept = {
            "acks": self.acks,
            "silent": self.never_acks,
            "engineIo": self.engine_io,
            "keepAlive": self.keep_alive,
        }
        return {name: value for name, value in kept.items() if value is not None}

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Self:
        """Return what a file says; a value that makes no sense counts as unknown."""
        version, keep_alive = known.get("engineIo"), known.get("keepAlive")
        return cls(
            acks=known.get("acks") is True,
            never_acks=known.get("silent") is True,
            engine_io=version if version in (3, 4) else None,
            keep_alive=float(keep_alive) if isinstance(keep_alive, int | float) and keep_alive > 0 else None,
        )


@dataclass(slots=True)
class ServerCapabilitiesStore:
    """By Url. Losing the file costs nothing but one AckTimeout at a server that never acknowledges."""

    file: Path | None = None
    _known: dict[str, ServerCapabilities] = field(default_factory=dict)
    _written: bytes = b""

    def of(self, url: str) -> ServerCapabilities:
        """Return what is known of the server; the same object for each call, to be changed by its sessions."""
        if url not in self._known:
            self._known[url] = self._read(url)
        return self._known[url]

    def save(self) -> None:
        """Write the file if something has changed. A file that cannot be written is ignored."""
        if self.file is None:
            return
        encoded = orjson.dumps({url: server.as_json() for url, server in self._known.items()})
        if encoded == self._written:
            return
        self._written = encoded
        with contextlib.suppress(OSError):
            self.file.write_bytes(encoded)

    def _read(self, url: str) -> ServerCapabilities:
        if self.file is None:
            return ServerCapabilities()
        with contextlib.suppress(OSError, orjson.JSONDecodeError, AttributeError, TypeError):
            return ServerCapabilities.from_json(orjson.loads(self.file.read_bytes()).get(url, {}))
        return ServerCapabilities()
