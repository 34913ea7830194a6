"""The table of routes: what each takes and answers, and who may call it. The doors, the access check, the
description at /openapi.json and the test of every route with every scope are made from it."""

import re
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol, TypeVar

import orjson
from aiohttp import web
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from worker.errors import InvalidPayload, WorkerError
from worker.handler import explain

Scope = Literal["enqueue", "read", "admin", "user", "any"]
"""What a caller must be allowed. `user`: an end user with the hub's token, and nobody else. `any`: whoever is known."""
Surface = Literal["public", "admin"]


class Query(BaseModel):
    """What a route takes in the query of its address: camelCase, nothing unknown, a field that is no tuple once."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, hide_input_in_errors=True)


QUERY = web.RequestKey("query", BaseModel)
"""Where a request keeps its query, as the route's model."""

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One way in."""

    method: str
    path: str
    """As aiohttp writes it: `/api/v1/jobs/{id}`."""
    handle: Handle
    summary: str
    scope: Scope | None
    """None: open to everybody (probes, login)."""
    query: type[BaseModel] | None = None
    """Checked before the handler: 422 names the parameter. `query_of` gives it."""
    body: type[BaseModel] | None = None
    """For the description; the handler reads and checks it itself."""
    answers: Mapping[int, type[BaseModel] | None] = field(default_factory=lambda: {200: None})
    """By status; None: a text or file. The problems are added by whoever describes the route."""
    surface: Surface = "admin"
    """With Http:AdminUrl set, what is `admin` answers there alone."""
    content: str = "application/json"
    """The media type of what it answers."""
    takes: str = "application/json"
    """The media type of the body."""
    intake: bool = False
    """Takes jobs in: refused while the service stops."""
    bound: bool = False
    """Keys that are bound to users or organisations may call it, for it keeps their bounds (`worker.door.bounds`)."""
    example: Mapping[str, Any] | None = None
    """A body, for the description."""

    @property
    def action(self) -> str | None:
        """The name under which the audit trail keeps it; None: it orders nothing. `jobs.cancel`, `workers.patch`."""
        if self.method in ("GET", "HEAD") or self.intake or self.scope is None:
            return None
        words = [part for part in self.path.removeprefix("/api/v1/").split("/") if not part.startswith("{")]
        return ".".join(words if len(words) > 1 else [*words, self.method.lower()])

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in braces."""
        return tuple(re.findall(r"{(\w+)", self.path))


class RouteSet(Protocol):
    """A room's routes."""

    def routes(self) -> Sequence[Route]: ...


def table_of(sets: Iterable[RouteSet]) -> tuple[Route, ...]:
    """All routes. ValueError: two have the same method and path."""
    table: dict[tuple[str, str], Route] = {}
    for route in (route for each in sets for route in each.routes()):
        if table.setdefault((route.method, route.path), route) is not route:
            raise ValueError(f"two routes are {route.method} {route.path}")
    return tuple(table.values())


def add_routes(
    app: web.Application, routes: Sequence[Route], enter: Callable[[Route], Handle], among: Sequence[Route] = ()
) -> None:
    """Register the routes, each behind what `enter` makes of it. GET answers HEAD as well. `among`: all there are, of
    which these are some."""
    for route in routes:
        path = _apart(route.path, among or routes)
        if route.method == "GET":
            app.router.add_get(path, enter(route))
        else:
            app.router.add_route(route.method, path, enter(route))


def _apart(path: str, table: Iterable[Route]) -> str:
    """A name in braces at the end stands for no word that is a route of its own: `jobs/bulk` is no job."""
    match = re.fullmatch(r"(.*/){(\w+)}", path)
    if match is None:
        return path
    folder, name = match.groups()
    inner = {other.path.removeprefix(folder) for other in table if other.path.startswith(folder)}
    words = sorted(re.escape(word) for word in inner if re.fullmatch(r"[\w-]+", word))
    return f"{folder}{{{name}:(?!(?:{'|'.join(words)})$)[^/]+}}" if words else path


# -- queries ---------------------------------------------------------------------------------------------------------


class BadQuery(WorkerError):
    """A query that the route's model refuses. `parameter` is the first that is wrong."""

    exit_code = 65

    def __init__(self, parameter: str, text: str) -> None:
        super().__init__(text)
        self.parameter = parameter


_Model = TypeVar("_Model", bound=BaseModel)


def query_of(request: web.Request, model: type[_Model]) -> _Model:
    """The request's query, which is of this model: the route's."""
    query = request[QUERY]
    assert isinstance(query, model), f"the route of {request.path} names another model of its query"
    return query


def checked_query(model: type[_Model], request: web.Request) -> _Model:
    """BadQuery names the parameter that is unknown, given twice, or makes no sense."""
    several = _repeatable(model)
    values: dict[str, Any] = {}
    for name in request.query:
        given = request.query.getall(name)
        if len(given) > 1 and name not in several:
            raise BadQuery(_printable(name), f"{_printable(name)} is given {len(given)} times; once is enough")
        values[name] = given if name in several else given[0]
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        name = _printable(str(fault["loc"][0])) if fault["loc"] else "query"
        raise BadQuery(name, f"{name}: {_words(fault['type'], fault['msg'], model)}") from None


async def read_body(request: web.Request, model: type[_Model]) -> _Model:
    """The body as this model; InvalidPayload names every fault, JSONDecodeError says that it is no JSON."""
    try:
        return model.model_validate(orjson.loads(await request.read()))
    except ValidationError as exc:
        raise InvalidPayload(f"body: {explain(exc)}") from None


def _words(kind: str, message: str, model: type[BaseModel]) -> str:
    if kind != "extra_forbidden":
        return message.removeprefix("Value error, ")
    names = [info.alias or name for name, info in model.model_fields.items()]
    return f"there is no such parameter; there are: {', '.join(names)}" if names else "this route takes no parameters"


def _printable(name: str) -> str:
    return name[:60].encode("utf-8", "backslashreplace").decode()


def _repeatable(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(info.alias or name for name, info in model.model_fields.items() if _is_tuple(info.annotation))


def _is_tuple(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        return any(_is_tuple(part) for part in typing.get_args(annotation))
    return origin is tuple


class NoQuery(Query):
    """A route without parameters."""


def _digits(value: Any) -> Any:
    """No more than 64 bits hold, and none of the spellings that only Python knows."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,18}", value):
        raise ValueError("is no whole number")
    return value


def _speakable(text: str) -> str:
    """Bytes that are no UTF-8 arrive as surrogates, which no store can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is no UTF-8") from None
    if "\0" in text:
        raise ValueError("must not hold the character NUL")
    return text


LONGEST_PAGE = 500

Number = Annotated[int, BeforeValidator(_digits)]
"""A whole number, not negative, of 18 digits at most."""
Limit = Annotated[Number, Field(ge=0), AfterValidator(lambda number: max(1, min(LONGEST_PAGE, number)))]
"""How many on a page; more than 500 means 500."""
Text = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_speakable)]
"""Any words that can be stored."""
