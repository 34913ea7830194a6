"""What is remembered of servers between sessions, and between starts if there is a file: whether they ever acked."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from worker.orgsocket.proof import Peer


@dataclass(slots=True)
class Peers:
    """By Url. Losing the file costs nothing but one AckTimeout at a server that never acks."""

    file: Path | None = None
    _known: dict[str, Peer] = field(default_factory=dict)
    _written: bytes = b""

    def of(self, url: str) -> Peer:
        if url not in self._known:
            self._known[url] = self._read(url)
        return self._known[url]

    def remember(self) -> None:
        """Write the file if something is new. A file that cannot be written is done without."""
        if self.file is None:
            return
        found = {url: {"acks": peer.acks, "silent": peer.silent} for url, peer in self._known.items()}
        encoded = orjson.dumps(found)
        if encoded == self._written:
            return
        self._written = encoded
        with contextlib.suppress(OSError):
            self.file.write_bytes(encoded)

    def _read(self, url: str) -> Peer:
        if self.file is None:
            return Peer()
        with contextlib.suppress(OSError, orjson.JSONDecodeError, AttributeError, TypeError):
            found = orjson.loads(self.file.read_bytes()).get(url, {})
            return Peer(acks=found.get("acks") is True, silent=found.get("silent") is True)
        return Peer()
