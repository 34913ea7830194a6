"""Health checks for people, systemd, containers and load balancers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from worker.api.dispatch import KNOWN
from worker.api.errors import json_response
from worker.api.routing import RequestHandler, Route
from worker.api.schemas import Grade, HealthAnswer, HealthEntry, LinkHealth
from worker.core.clock import rfc3339

_PROBES: Final = {
    "/livez": "alive",
    "/health/live": "alive",
    "/readyz": "ready",
    "/health/ready": "ready",
    "/healthz": "ready",
    "/startupz": "started",
}
PROBE_PATHS: Final = frozenset(_PROBES)
_ORDER: tuple[Grade, ...] = ("Healthy", "Degraded", "Unhealthy")


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The state of one part; `data` are its figures."""

    status: Grade
    description: str = ""
    data: Mapping[str, Any] | None = None
    reason: str = ""
    """The kind of problem, without names and figures: all that unknown callers see of the description."""
    since: float | None = None
    """When it began, by the wall clock; None: it is healthy, or unknown."""
    remedy: str = ""
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The state of the whole service. The service builds it; the API only formats it."""

    alive: bool
    ready: bool
    started: bool
    entries: Mapping[str, HealthCheck]

    @property
    def status(self) -> Grade:
        """Return the worst grade of all parts."""
        grades = [entry.status for entry in self.entries.values()]
        return max(grades, key=_ORDER.index, default="Healthy")


class HealthRoutes:
    """Probes that answer one word, and `/health` with all parts in the format of ASP.NET's health checks."""

    def __init__(
        self,
        health: Callable[[], Awaitable[HealthReport]],
        shows_details: Callable[[web.Request], bool] = lambda request: request.get(KNOWN, False),
    ) -> None:
        self._health, self._shows_details = health, shows_details

    def routes(self) -> Sequence[Route]:
        report: Mapping[int, type[Any]] = {200: HealthAnswer, 503: HealthAnswer}
        link: Mapping[int, type[Any]] = {200: LinkHealth}
        return (
            *(self._probe_route(path, part) for path, part in _PROBES.items()),
            _open_route("/health", self.health, "The state of every part", report),
            _open_route("/health/websocket", self.websocket, "Figures of link and hub", link),
        )

    def _probe_route(self, path: str, part: str) -> Route:
        answers = {200: None, 503: None}
        return _open_route(path, self._probe(part), f"Whether the service is {part}", answers, "text/plain")

    def _probe(self, part: str) -> RequestHandler:
        async def probe(_request: web.Request) -> web.Response:
            good = bool(getattr(await self._health(), part))
            return web.Response(text="ok\n" if good else "no\n", status=200 if good else 503)

        return probe

    async def health(self, request: web.Request) -> web.Response:
        report, detailed = await self._health(), self._shows_details(request)
        answer: HealthAnswer = {
            "status": report.status,
            "entries": {name: _view(entry, detailed=detailed) for name, entry in report.entries.items()},
        }
        return json_response(answer, 503 if report.status == "Unhealthy" else 200)

    async def websocket(self, request: web.Request) -> web.Response:
        entries, detailed = (await self._health()).entries, self._shows_details(request)
        figures: LinkHealth = {}
        if "link" in entries:
            figures["link"] = _figures(entries["link"], detailed=detailed)
        if "hub" in entries:
            figures["hub"] = _figures(entries["hub"], detailed=detailed)
        return json_response(figures)


def _view(entry: HealthCheck, *, detailed: bool) -> HealthEntry:
    """Return a part as it is shown; since when it is not healthy, and the remedy, only for one that is not."""
    view: HealthEntry = {
        "status": entry.status,
        "description": entry.description if detailed else entry.reason,
        "data": dict(entry.data or {}) if detailed else {},
    }
    if entry.since is not None:
        view |= {"since": rfc3339(entry.since), "remedy": entry.remedy}
    return view


def _figures(entry: HealthCheck, *, detailed: bool) -> dict[str, Any]:
    """Return the figures; for unknown callers, the state alone."""
    data = dict(entry.data or {})
    return data if detailed else {name: value for name, value in data.items() if name == "state"}


def _open_route(
    path: str,
    handle: RequestHandler,
    summary: str,
    answers: Mapping[int, type[Any] | None],
    content: str = "application/json",
) -> Route:
    return Route(
        "GET",
        path,
        handle,
        summary,
        None,
        answers=answers,
        surface="public",
        content=content,
        detailed=not content.startswith("text"),
    )
