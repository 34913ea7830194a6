"""The hub as people see it: who is connected, which rooms there are, and a way to close a connection."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from aiohttp import web
from pydantic.alias_generators import to_camel

from worker.clock import rfc3339
from worker.door.answers import Answer, Requested, Timestamp
from worker.door.problems import json_response
from worker.door.routes import Route
from worker.errors import NotFound
from worker.hub.server import Hub
from worker.hub.stats import ClientFigures

_MOST: Final = 1000
"""Clients that are listed, and rooms."""


class ClientAnswer(Answer):
    client_id: str
    user_id: str | None
    """null: the worker in this process."""
    door: str
    address: str
    since: Timestamp
    last_pong: Timestamp | None
    queued: int
    """Bytes that wait for it."""
    dropped: int
    """Progress messages left out because it was behind."""
    rooms: list[str]
    messages: int
    """Sent to it and received from it."""


class RoomAnswer(Answer):
    name: str
    clients: int


class HubAnswer(Answer):
    """All null when there is no hub in this process."""

    clients: list[ClientAnswer] | None
    """The first 1000, those that came first; `totals` counts them all."""
    rooms: list[RoomAnswer] | None
    totals: dict[str, Any] | None


class HubRoutes:
    """`/api/v1/hub`."""

    def __init__(self, hub: Hub | None) -> None:
        self._hub = hub

    def routes(self) -> Sequence[Route]:
        path, show, close = (
            "/api/v1/hub",
            "Clients and rooms of the hub",
            "Close a client's connection; it may come back",
        )
        done: Mapping[int, type[Answer]] = {202: Requested}
        return (
            Route("GET", path, self.show, show, "read", answers={200: HubAnswer}),
            Route("POST", f"{path}/clients/{{id}}/close", self.close, close, "admin", answers=done),
        )

    async def show(self, _request: web.Request) -> web.Response:
        hub = self._hub
        if hub is None:
            return json_response({"clients": None, "rooms": None, "totals": None})
        figures = asdict(hub.figures(clients=False))
        figures.pop("clients")
        return json_response(
            {
                "clients": [_client(one) for one in hub.present(_MOST)],
                "rooms": [{"name": name, "clients": count} for name, count in hub.rooms(_MOST).items()],
                "totals": {to_camel(name): value for name, value in figures.items()},
            }
        )

    async def close(self, request: web.Request) -> web.Response:
        client_id = request.match_info["id"]
        if self._hub is None or not self._hub.dismiss(client_id):
            raise NotFound(f"no client {client_id} is connected to the hub of this process")
        return json_response({"status": "requested"}, 202)


def _client(figures: ClientFigures) -> Mapping[str, Any]:
    return {
        "clientId": figures.id,
        "userId": figures.user_id,
        "door": figures.door,
        "address": figures.address,
        "since": rfc3339(figures.since),
        "lastPong": None if figures.last_pong is None else rfc3339(figures.last_pong),
        "queued": figures.waiting_bytes,
        "dropped": figures.dropped,
        "rooms": list(figures.rooms),
        "messages": figures.sent + figures.received,
    }
