"""Health, for people, systemd, containers and load balancers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from worker.door.answers import Grade, HealthAnswer, LinkHealth
from worker.door.problems import json_response
from worker.door.routes import Route

_ORDER: tuple[Grade, ...] = ("Healthy", "Degraded", "Unhealthy")


@dataclass(frozen=True, slots=True)
class Entry:
    """How one part is; `data` are its figures."""

    status: Grade
    description: str = ""
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the whole. Built by the service; the door only words it."""

    alive: bool
    ready: bool
    started: bool
    entries: Mapping[str, Entry]

    @property
    def status(self) -> Grade:
        grades = [entry.status for entry in self.entries.values()]
        return max(grades, key=_ORDER.index, default="Healthy")


class StatusRoutes:
    """The short probes answer a word; `/health` tells it all, in the form of ASP.NET's health checks."""

    def __init__(self, health: Callable[[], Awaitable[Health]]) -> None:
        self._health = health

    def routes(self) -> Sequence[Route]:
        probes = (
            ("/livez", "alive"),
            ("/health/live", "alive"),
            ("/readyz", "ready"),
            ("/health/ready", "ready"),
            ("/healthz", "ready"),
            ("/startupz", "started"),
        )
        return (
            *(self._probe_route(path, part) for path, part in probes),
            Route(
                "GET",
                "/health",
                self.health,
                "How every part is",
                None,
                answers={200: HealthAnswer, 503: HealthAnswer},
                surface="public",
            ),
            Route(
                "GET",
                "/health/websocket",
                self.websocket,
                "Figures of link and hub",
                None,
                answers={200: LinkHealth},
                surface="public",
            ),
        )

    def _probe_route(self, path: str, part: str) -> Route:
        return Route(
            "GET",
            path,
            self._probe(part),
            f"Whether the service is {part}",
            None,
            answers={200: None, 503: None},
            surface="public",
            content="text/plain",
        )

    def _probe(self, field: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def probe(_request: web.Request) -> web.Response:
            good = bool(getattr(await self._health(), field))
            return web.Response(text="ok\n" if good else "no\n", status=200 if good else 503)

        return probe

    async def health(self, _request: web.Request) -> web.Response:
        health = await self._health()
        entries = {
            name: {"status": entry.status, "description": entry.description, "data": dict(entry.data or {})}
            for name, entry in health.entries.items()
        }
        return json_response(
            {"status": health.status, "entries": entries}, 503 if health.status == "Unhealthy" else 200
        )

    async def websocket(self, _request: web.Request) -> web.Response:
        health = await self._health()
        parts = {name: dict(health.entries[name].data or {}) for name in ("link", "hub") if name in health.entries}
        return json_response(parts)
