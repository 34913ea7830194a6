"""The last events of the link, for operators. A listener of the event bus."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from worker.notifiers.socketio.events import (
    Connect,
    ConnectError,
    Disconnect,
    LinkEvent,
    Reconnect,
    ReconnectAttempt,
    ReconnectError,
    ReconnectFailed,
    ServerError,
)

LENGTH: Final = 200
EVENTS: Final[tuple[type, ...]] = get_args(LinkEvent)


@dataclass(frozen=True, slots=True)
class LinkLogEntry:
    """One event, under the name that docs/link.md gives it."""

    at: float
    """Wall clock."""
    event: str
    code: int | None = None
    """The close code that ended a session."""
    reason: str = ""
    """Why, where something went wrong."""
    detail: str = ""


@dataclass(slots=True)
class LinkEventLog:
    """Call it with every event of the link."""

    now: Callable[[], float]
    _entries: deque[LinkLogEntry] = field(default_factory=lambda: deque(maxlen=LENGTH))

    def __call__(self, event: LinkEvent) -> None:
        self._entries.append(LinkLogEntry(self.now(), **_fields(event)))

    def entries(self) -> list[LinkLogEntry]:
        """Return the entries, the newest first."""
        return list(reversed(self._entries))


def _fields(event: LinkEvent) -> dict[str, Any]:
    match event:
        case Connect():
            dialect = f"{event.dialect}, " if event.dialect else ""
            detail = f"session {event.session} with {event.url}, {dialect}confirmation by {event.mode}"
            return {"event": "connect", "detail": detail}
        case Disconnect():
            rest = "closed by us" if event.ours else f"{event.unconfirmed} notifications will be sent again"
            detail = f"after {event.uptime:.1f} s; {rest}"
            return {"event": "disconnect", "code": event.code, "reason": event.reason, "detail": detail}
        case ServerError():
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
