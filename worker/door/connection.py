"""The link to the org-socket server, as people see it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from worker.clock import rfc3339
from worker.door.answers import Requested
from worker.door.problems import json_response
from worker.door.routes import Route
from worker.orgsocket.history import Entry


class ConnectionAnswer(BaseModel):
    """State, figures and history; where no service runs, the state alone."""

    state: Literal["connecting", "connected", "reconnecting", "disconnected", "failed"]
    history: list[dict[str, Any]] = Field(default_factory=list)
    """The last 200 events, the oldest first."""


class ConnectionRoutes:
    """`/api/v1/connection`."""

    def __init__(self, figures: Callable[[], Awaitable[Mapping[str, object]]], reconnect: Callable[[], None]) -> None:
        self._figures = figures
        self._reconnect = reconnect

    def routes(self) -> Sequence[Route]:
        path = "/api/v1/connection"
        return (
            Route(
                "GET",
                path,
                self.show,
                "The link to the org-socket server: state, figures, history",
                "read",
                answers={200: ConnectionAnswer},
            ),
            Route(
                "POST", f"{path}/reconnect", self.reconnect, "Connect anew, at once", "admin", answers={202: Requested}
            ),
        )

    async def show(self, _request: web.Request) -> web.Response:
        return json_response(await self._figures())

    async def reconnect(self, _request: web.Request) -> web.Response:
        self._reconnect()
        return json_response({"status": "requested"}, 202)


def history_view(entry: Entry, redact: Callable[[str], str]) -> dict[str, Any]:
    """One event of the link as JSON. What a server gives as its reason may hold what we have sent it."""
    return {
        "at": rfc3339(entry.at),
        "event": entry.event,
        "code": entry.code,
        "reason": redact(entry.reason),
        "detail": redact(entry.detail),
    }
