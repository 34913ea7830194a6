"""What one native client wants to hear, and how its progress is gathered. Knows no message."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from worker.hub.packets import Malformed
from worker.hub.peer import Peer

BATCH: Final = 0.1
"""Seconds in which only the newest progress of each job is kept."""
_MAX_TOPICS: Final = 50
_EVERYTHING: Final = "*"


@dataclass(slots=True)
class Topics:
    """Which types a client wants; at first all."""

    everything: bool = True
    wanted: set[str] = field(default_factory=set)
    unwanted: set[str] = field(default_factory=set)

    def __contains__(self, topic: object) -> bool:
        return topic in self.wanted or (self.everything and topic not in self.unwanted)

    def add(self, topic: str) -> None:
        if topic == _EVERYTHING:
            self.everything = True
            self.unwanted.clear()
            return
        self.unwanted.discard(topic)
        self.wanted.add(topic)
        _bounded(self.wanted)

    def remove(self, topic: str) -> None:
        if topic == _EVERYTHING:
            self.everything = False
            self.wanted.clear()
            return
        self.wanted.discard(topic)
        self.unwanted.add(topic)
        _bounded(self.unwanted)


@dataclass(slots=True)
class ProgressBatch:
    """The newest progress of each job, sent together."""

    peer: Peer
    pending: dict[str | None, bytes] = field(default_factory=dict)

    def put(self, job_id: str | None, frame: bytes) -> None:
        if not self.pending:
            asyncio.get_running_loop().call_later(BATCH, self.send)
        self.pending[job_id] = frame

    def send(self) -> None:
        frames, self.pending = self.pending, {}
        for frame in frames.values():
            self.peer.write_volatile(frame)


def _bounded(names: set[str]) -> None:
    if len(names) > _MAX_TOPICS:
        names.pop()
        raise Malformed(f"more than {_MAX_TOPICS} types")
