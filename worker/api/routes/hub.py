"""`/api/v1/hub`: the hub's clients and rooms, and a way to close a client's connection."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from worker.api.errors import json_response
from worker.api.routing import Route
from worker.api.schemas import Requested, Timestamp, deprecated, response
from worker.api.views import timestamp
from worker.core.clock import rfc3339
from worker.errors import NotFound
from worker.hub.server import HubServer
from worker.hub.stats import ClientStats

_MAX_LISTED: Final = 1000
"""Clients in one response, and rooms."""
_MAX_FIGURES: Final = 100
"""Clients in the response of `/health`, which is asked for often."""


@response
class ClientAnswer(TypedDict):
    clientId: str
    userId: str | None
    """null: the worker in this process."""
    protocol: str
    door: Annotated[str, deprecated("protocol")]
    address: str
    since: Timestamp
    lastPong: Timestamp | None
    queuedBytes: int
    """Bytes that wait to be sent to the client."""
    queued: Annotated[int, deprecated("queuedBytes")]
    dropped: int
    """Progress messages that were left out because the client reads too slowly."""
    rooms: list[str]
    messages: int
    """Sent to the client and received from it."""


@response
class RoomAnswer(TypedDict):
    name: str
    clients: int


@response
class HubAnswer(TypedDict):
    """All null when no hub runs in this process."""

    clients: list[ClientAnswer] | None
    """The first 1000, oldest first; `totals` counts them all."""
    rooms: list[RoomAnswer] | None
    totals: dict[str, Any] | None


class HubRoutes:
    """`/api/v1/hub`."""

    def __init__(self, hub: HubServer | None) -> None:
        self._hub = hub

    def routes(self) -> Sequence[Route]:
        path, shown = "/api/v1/hub", "Clients and rooms of the hub"
        close = "Close a client's connection; the client may reconnect"
        requested: Mapping[int, type[Any]] = {202: Requested}
        return (
            Route("GET", path, self.show, shown, "read", answers={200: HubAnswer}),
            Route("POST", f"{path}/clients/{{id}}/close", self.close, close, "admin", answers=requested),
        )

    async def show(self, _request: web.Request) -> web.Response:
        return json_response(_hub_answer(self._hub))

    async def close(self, request: web.Request) -> web.Response:
        client_id = request.match_info["id"]
        if self._hub is None or not self._hub.disconnect(client_id):
            raise NotFound(f"no client {client_id} is connected to the hub of this process")
        requested: Requested = {"status": "requested"}
        return json_response(requested, 202)


def _hub_answer(hub: HubServer | None) -> HubAnswer:
    if hub is None:
        return {"clients": None, "rooms": None, "totals": None}
    figures = hub.stats(clients=False)
    return {
        "clients": [_client(one) for one in hub.client_stats(_MAX_LISTED)],
        "rooms": [{"name": name, "clients": count} for name, count in hub.room_sizes(_MAX_LISTED).items()],
        "totals": {to_camel(name): value for name, value in asdict(figures).items() if name != "clients"},
    }


def hub_figures(hub: HubServer) -> dict[str, Any]:
    """Return the hub's figures for `/health`, in camelCase; the names before 1.0 are in snake_case.

    Anyone may read them: the clients are listed without their users, addresses and rooms.
    """
    figures = asdict(hub.stats(clients=False))
    clients = [_client_figures(one) for one in hub.client_stats(_MAX_FIGURES)]
    return {to_camel(name): value for name, value in figures.items()} | figures | {"clients": clients}


def _client_figures(figures: ClientStats) -> dict[str, Any]:
    return {
        "protocol": figures.endpoint,
        "since": rfc3339(figures.since),
        "lastPong": timestamp(figures.last_pong),
        "messagesOut": figures.sent,
        "messagesIn": figures.received,
        "dropped": figures.dropped,
        "queuedBytes": figures.waiting_bytes,
    }


def _client(figures: ClientStats) -> ClientAnswer:
    return {
        "clientId": figures.id,
        "userId": figures.user_id,
        "protocol": figures.endpoint,
        "door": figures.endpoint,
        "address": figures.address,
        "since": rfc3339(figures.since),
        "lastPong": timestamp(figures.last_pong),
        "queuedBytes": figures.waiting_bytes,
        "queued": figures.waiting_bytes,
        "dropped": figures.dropped,
        "rooms": list(figures.rooms),
        "messages": figures.sent + figures.received,
    }
