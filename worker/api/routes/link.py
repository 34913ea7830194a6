"""`/api/v1/connection`: the link to the org-socket server."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired

from aiohttp import web
from typing_extensions import TypedDict

from worker.api.errors import json_response
from worker.api.routing import Route
from worker.api.schemas import Requested, Timestamp, deprecated, response
from worker.core.clock import rfc3339
from worker.notifiers.socketio.event_log import LinkLogEntry


@response
class LinkEvent(TypedDict):
    at: Timestamp
    event: str
    code: int | None
    reason: str
    detail: str


@response
class AckTimes(TypedDict):
    """Milliseconds."""

    p50: float | None
    p99: float | None


class Sentence(TypedDict):
    en: str
    th: str


@response
class ConnectionAnswer(TypedDict):
    """State, figures and history; where no service runs, the state only."""

    state: Literal["connecting", "connected", "reconnecting", "disconnected", "failed"]
    description: NotRequired[Sentence]
    """The state in one sentence."""
    status: NotRequired[Annotated[Sentence, deprecated("description")]]
    mode: NotRequired[str]
    totalConnections: NotRequired[int]
    totalMessages: NotRequired[int]
    reconnectAttempts: NotRequired[int]
    lastPong: NotRequired[Annotated[float | None, deprecated("lastPongAt")]]
    lastPongAt: NotRequired[Timestamp | None]
    lastCloseCode: NotRequired[int | None]
    connectedSince: NotRequired[Annotated[float | None, deprecated("connectedAt")]]
    connectedAt: NotRequired[Timestamp | None]
    inFlight: NotRequired[int]
    ackMs: NotRequired[AckTimes]
    outboxDepth: NotRequired[int | None]
    oldestOutboxAgeSeconds: NotRequired[float | None]
    oldestOutboxAge: NotRequired[Annotated[float | None, deprecated("oldestOutboxAgeSeconds")]]
    history: NotRequired[list[LinkEvent]]
    """The last 200 events, newest first."""


class ConnectionRoutes:
    """`/api/v1/connection`."""

    def __init__(self, figures: Callable[[], Awaitable[Mapping[str, object]]], reconnect: Callable[[], None]) -> None:
        self._figures = figures
        self._reconnect = reconnect

    def routes(self) -> Sequence[Route]:
        path, shown = "/api/v1/connection", "The link to the org-socket server: state, figures, history"
        found: Mapping[int, type[Any]] = {200: ConnectionAnswer}
        requested: Mapping[int, type[Any]] = {202: Requested}
        again = "Reconnect now"
        return (
            Route("GET", path, self.show, shown, "read", answers=found),
            Route("POST", f"{path}/reconnect", self.reconnect, again, "admin", answers=requested),
        )

    async def show(self, _request: web.Request) -> web.Response:
        return json_response(await self._figures())

    async def reconnect(self, _request: web.Request) -> web.Response:
        self._reconnect()
        requested: Requested = {"status": "requested"}
        return json_response(requested, 202)


def link_event(entry: LinkLogEntry, redact: Callable[[str], str]) -> LinkEvent:
    """Return one event of the link. A server's reason is redacted: it may quote what we sent."""
    return {
        "at": rfc3339(entry.at),
        "event": entry.event,
        "code": entry.code,
        "reason": redact(entry.reason),
        "detail": redact(entry.detail),
    }
