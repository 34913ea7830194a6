"""The table of routes: what each route takes and returns, and which scope it needs.

The listeners, the scope check, the description at /openapi.json and the test of every route with every scope are all
derived from this table.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from aiohttp import web
from pydantic import BaseModel

Scope = Literal["enqueue", "read", "admin", "user", "any"]
"""What a caller needs. `user`: an end user with a token of the hub, and no API key. `any`: every known caller."""
SMALL_BODY = 16_384
"""Bytes: enough for a login or a few settings, whatever the escapes."""
Surface = Literal["public", "admin"]
RequestHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method and path."""

    method: str
    path: str
    """In aiohttp's notation: `/api/v1/jobs/{id}`."""
    handle: RequestHandler
    summary: str
    scope: Scope | None
    """None: open to any client (probes, login)."""
    query: type[BaseModel] | None = None
    """Checked before the handler runs: 422 names the parameter. The handler reads it with `query_of`."""
    body: type[BaseModel] | None = None
    """For the description only; the handler reads and checks the body itself."""
    answers: Mapping[int, type[Any] | None] = field(default_factory=lambda: {200: None})
    """The response type by status; None: text or a file. `openapi` adds the problem responses."""
    surface: Surface = "admin"
    """With Http:AdminUrl set, `admin` routes answer on that address only."""
    content: str = "application/json"
    """The media type of the response."""
    takes: str = "application/json"
    """The media type of the body."""
    intake: bool = False
    """Accepts jobs: rejected while the service stops."""
    bound: bool = False
    """Whether keys bound to users or organisations may call it; `auth.ownership` limits them to their own jobs."""
    max_body: int | None = None
    """Bytes of the body; None: Http:MaxBody."""
    example: Mapping[str, Any] | None = None
    """An example body, for the description."""
    detailed: bool = False
    """An open route that tells callers with the scope read more than others."""
    deprecated: bool = False
    """An old address that is answered until 1.0."""
    audited_as: str | None = None
    """The action in the audit trail, where it is not derived from the path."""

    @property
    def action(self) -> str | None:
        """Return the name of the action in the audit trail, such as `jobs.cancel`; None for routes that change nothing
        and for routes that accept jobs."""
        if self.method in ("GET", "HEAD") or self.intake or self.scope is None:
            return None
        if self.audited_as is not None:
            return self.audited_as
        words = [part for part in self.path.removeprefix("/api/v1/").split("/") if not part.startswith("{")]
        return ".".join(words if len(words) > 1 else [*words, self.method.lower()])

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names in braces."""
        return tuple(re.findall(r"{(\w+)", self.path))


class RouteSet(Protocol):
    """A group of routes."""

    def routes(self) -> Sequence[Route]: ...


def table_of(sets: Iterable[RouteSet]) -> tuple[Route, ...]:
    """Return the routes of all sets. Raises ValueError when two have the same method and path."""
    table: dict[tuple[str, str], Route] = {}
    for route in (route for each in sets for route in each.routes()):
        if table.setdefault((route.method, route.path), route) is not route:
            raise ValueError(f"two routes are {route.method} {route.path}")
    return tuple(table.values())


def add_routes(
    app: web.Application,
    routes: Sequence[Route],
    wrap: Callable[[Route], RequestHandler],
    among: Sequence[Route] = (),
) -> None:
    """Register the routes, each with the handler that `wrap` returns for it. GET routes answer HEAD as well.

    `among`: the whole table when `routes` is a part of it.
    """
    for route in routes:
        path = _without_fixed_words(route.path, among or routes)
        if route.method == "GET":
            app.router.add_get(path, wrap(route))
        else:
            app.router.add_route(route.method, path, wrap(route))


def _without_fixed_words(path: str, table: Iterable[Route]) -> str:
    """Return the path with a last parameter that matches no fixed path of the table: `jobs/bulk` is not a job's id."""
    match = re.fullmatch(r"(.*/){(\w+)}", path)
    if match is None:
        return path
    folder, name = match.groups()
    inner = {other.path.removeprefix(folder) for other in table if other.path.startswith(folder)}
    words = sorted(re.escape(word) for word in inner if re.fullmatch(r"[\w-]+", word))
    return f"{folder}{{{name}:(?!(?:{'|'.join(words)})$)[^/]+}}" if words else path
