"""One connection of the native door. Knows no order."""

from dataclasses import dataclass, field
from typing import Any, Final

from worker.clock import Clock
from worker.hub.acceptor import Line
from worker.hub.client import Client
from worker.hub.native_words import worded
from worker.hub.topics import Topics

DOOR: Final = "websocket"


@dataclass(slots=True, eq=False)
class NativeLine(Line):
    """One native connection."""

    id: str = ""
    since: float = 0.0
    """Monotonic."""
    next_heartbeat: float = 0.0
    job_id: str | None = None
    """The job of /ws/tasks/{jobId}."""
    header: str | None = None
    """The token of the Authorization header."""
    position: dict[str, Any] = field(default_factory=dict)
    client: Client | None = None
    topics: Topics = field(default_factory=Topics)
    rooms: set[str] = field(default_factory=set)

    def say(self, kind: str, data: Any, clock: Clock) -> None:
        self.peer.send(worded(kind, data, clock))
