"""What has happened to the link, for people who ask later. A listener; keeps the last events only."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from worker.orgsocket.link import (
    Connect,
    ConnectError,
    Disconnect,
    Error,
    LinkEvent,
    Reconnect,
    ReconnectAttempt,
    ReconnectError,
    ReconnectFailed,
)

LENGTH: Final = 200
EVENTS: Final[tuple[type, ...]] = get_args(LinkEvent)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event, in the words of the contract."""

    at: float
    """Wall clock."""
    event: str
    code: int | None = None
    """The close code that ended a session."""
    reason: str = ""
    """Why, where something went wrong."""
    detail: str = ""


@dataclass(slots=True)
class History:
    """Give it every event of the link."""

    now: Callable[[], float]
    _entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=LENGTH))

    def __call__(self, event: LinkEvent) -> None:
        self._entries.append(Entry(self.now(), **_told(event)))

    def entries(self) -> list[Entry]:
        """The newest first."""
        return list(reversed(self._entries))


def _told(event: LinkEvent) -> dict[str, Any]:
    match event:
        case Connect():
            detail = f"session {event.session} with {event.url}, receipt by {event.mode}"
            return {"event": "connect", "detail": detail}
        case Disconnect():
            left = "closed by us" if event.ours else f"{event.unproven} notifications will be sent again"
            detail = f"after {event.uptime:.1f} s; {left}"
            return {"event": "disconnect", "code": event.code, "reason": event.reason, "detail": detail}
        case Error():
            return {"event": "error", "reason": event.detail, "detail": event.where}
        case ConnectError():
            return {"event": "connect_error", "reason": event.cause, "detail": f"attempt {event.attempt}"}
        case ReconnectAttempt():
            limit = f" of {event.of}" if event.of else ""
            return {"event": "reconnect_attempt", "detail": f"attempt {event.attempt}{limit}"}
        case Reconnect():
            return {"event": "reconnect", "detail": f"at attempt {event.attempt}"}
        case ReconnectError():
            return {"event": "reconnect_error", "reason": event.cause, "detail": f"attempt {event.attempt}"}
        case ReconnectFailed():
            detail = f"after {event.attempts} attempts; again in {event.pause:g} s"
            return {"event": "reconnect_failed", "detail": detail}
