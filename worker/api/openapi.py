"""The description of the API (OpenAPI 3.1), generated from the table of routes and their types."""

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from worker import __version__
from worker.api.request_values import IDEMPOTENCY_KEY, KEY_SCHEMA
from worker.api.routing import Route
from worker.api.schemas import Problem
from worker.net.path_base import link_to

PATH: Final = "/openapi.json"
_REF: Final = "#/components/schemas/{model}"
_KEYS: Final[tuple[dict[str, list[str]], ...]] = ({"bearer": []}, {"apiKey": []}, {"session": []})
_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of Http:ApiKeys"},
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Api-Key",
        "description": "The same key in its own header; Authorization counts when both are sent",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "insignia-session",
        "description": "Set by POST /api/v1/session (its name ends in an id of the installation); changes must come "
        "from a page of the same origin",
    },
    "hubToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An end user's token of the hub (Hub:Jwt)",
    },
}
_PROBLEMS: Final = {
    400: "The body is not JSON; or, in plain text, the request is not HTTP or its first line is too long",
    401: "Unknown caller: no key, an unknown key, an expired or revoked token, an ended session",
    403: "Not allowed: the scope is missing, or the key is bound to other users or organisations",
    404: "It does not exist, or it belongs to another owner",
    405: "The path does not support the method; Allow names those it supports",
    408: "The body arrives too slowly",
    409: "Not possible in its present state; or the idempotency key belongs to another payload",
    413: "The body is larger than Http:MaxBody, or the files than Uploads:MaxBytes",
    415: "The body, or a part of it, has a Content-Encoding; or a file has the wrong content",
    421: "Http:AllowedHosts does not name the host of the request",
    422: "A value is not valid; `detail` names it, and `parameter` when it is in the query or a header",
    429: "Too many requests or unknown keys; Retry-After gives the seconds to wait",
    500: "Unexpected error; the log has the details under errorId",
    503: "The service is stopping, or its store is not available",
    507: "The store is full",
}
_WITHOUT_BODY: Final = {
    204: "Done",
    304: "Not changed since If-None-Match or If-Modified-Since",
    412: "Changed since If-Match or If-Unmodified-Since",
    416: "The Range is not within the file",
}
_NAMES: Final = {"id": "The job's id", "taskType": "The task type", "kind": "The task type", "name": "The file's name"}


def description_of(table: Sequence[Route]) -> Route:
    """Return the route that describes the others and itself."""

    @functools.cache
    def document(base: str) -> bytes:
        return orjson.dumps(openapi((*table, route), base))

    async def show(request: web.Request) -> web.Response:
        return web.Response(body=document(link_to(request, "")), content_type="application/json")

    route = Route("GET", PATH, show, "This description", None, surface="public")
    return route


def openapi(table: Iterable[Route], base: str = "") -> dict[str, Any]:
    """Return the document; parameters, bodies and responses are those of the routes' types. `base`: Http:PathBase."""
    routes = list(table)
    schemas = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = re.sub(r"{(\w+):[^}]*}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "insignia-worker",
            "version": __version__,
            "description": "Durable jobs and the notifications of their end. Errors are problem documents (RFC 9457).",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": base or "/"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": dict(_SCHEMES)},
    }


def _schemas(routes: Iterable[Route]) -> dict[str, Any]:
    bodies = [route.body for route in routes if route.body is not None]
    answers = [answer for route in routes for answer in route.answers.values() if answer is not None]
    types: dict[str, type[Any]] = {}
    shapes: list[type[Any]] = [Problem, *bodies, *answers]
    for shape in shapes:
        if types.setdefault(shape.__name__, shape) is not shape:
            raise ValueError(f"two types are called {shape.__name__}")
    inputs: list[tuple[str, Literal["validation", "serialization"], TypeAdapter[Any]]] = [
        (name, "validation", TypeAdapter(shape)) for name, shape in types.items()
    ]
    _, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    schemas: dict[str, Any] = definitions["$defs"]
    requested = _reachable([body.__name__ for body in bodies], schemas)
    for name in schemas.keys() - requested:
        schemas[name].pop("additionalProperties", None)  # responses may gain fields
    return schemas


def _reachable(names: Iterable[str], schemas: dict[str, Any]) -> set[str]:
    """Return these schemas and all that they refer to."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += re.findall(r'"#/components/schemas/(\w+)"', orjson.dumps(schemas[name]).decode())
    return found


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [_tag(route)],
        "responses": {**_answers(route), **_problems(route)},
        "security": [] if route.scope is None else _security(route),
        "x-surface": route.surface,
    }
    if route.deprecated:
        operation["deprecated"] = True
    if route.scope is not None:
        operation |= {"x-scope": route.scope, "x-bound": route.bound}
    parameters = [*_path_parameters(route), *_query_parameters(route, schemas), *_header_parameters(route)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = _body(route, route.body)
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"\w+", route.path.removeprefix("/api/v1"))
    return "_".join([route.method.lower(), *words])


def _tag(route: Route) -> str:
    inner = route.path.removeprefix("/api/v1/")
    return inner.split("/")[0] if inner != route.path else "status"


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.scope == "user":
        return [{"hubToken": []}]
    return [*_KEYS, {"hubToken": []}] if route.scope == "any" else list(_KEYS)


def _answers(route: Route) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, model in route.answers.items():
        answer: dict[str, Any] = {"description": _WITHOUT_BODY.get(status, route.summary)}
        if status not in _WITHOUT_BODY:
            schema = {} if model is None else {"$ref": _REF.format(model=model.__name__)}
            answer["content"] = {route.content: {"schema": schema}}
        answers[str(status)] = answer
    return answers


def _problems(route: Route) -> dict[str, Any]:
    return {
        str(status): {"description": _PROBLEMS[status], "content": _problem(status)} | _problem_headers(status)
        for status in sorted(_possible(route))
        if status not in route.answers
    }


def _problem(status: int) -> dict[str, Any]:
    content: dict[str, Any] = {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}
    # A request that the parser rejects never reaches a route.
    return content | {"text/plain": {"schema": {"type": "string"}}} if status == 400 else content


def _problem_headers(status: int) -> dict[str, Any]:
    names = {401: "WWW-Authenticate", 429: "Retry-After"}
    return {"headers": {names[status]: {"schema": {"type": "string"}}}} if status in names else {}


def _possible(route: Route) -> Iterator[int]:
    yield from (400, 422, 500)
    if route.path.startswith("/api/"):
        yield from (503, 421)
    if route.scope is not None:
        yield from (401, 403, 421, 429)
    if route.path.endswith("/session"):
        yield from (401, 403, 429)
    if route.parameters:
        yield 404
    if route.body is not None:
        yield from (408, 413, 415)
    if route.method != "GET":
        yield from (409, 507)


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in route.parameters:
        schema = {"type": "string", "minLength": 1}
        described = "The notification's id" if "/notifications/" in route.path else _NAMES.get(name, name)
        yield {"name": name, "in": "path", "required": True, "description": described, "schema": schema}


def _query_parameters(route: Route, schemas: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if route.query is None:
        return
    schema = route.query.model_json_schema(ref_template=_REF)
    schemas |= schema.get("$defs", {})
    for name, described in schema["properties"].items():
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ())}
        for key in ("description", "deprecated"):
            if key in described:
                parameter[key] = described.pop(key)
        yield parameter | {"schema": _without_null(described)}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without null, which a model allows for an absent parameter: a query cannot send it."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "title")}
    if rest.get("default", ...) is None:
        del rest["default"]
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


def _header_parameters(route: Route) -> Iterator[dict[str, Any]]:
    if route.intake and not route.path.endswith("/batch"):
        described = (
            "Unique for the caller, task type and user: the same key with the same payload returns the first job"
        )
        key = {"name": IDEMPOTENCY_KEY, "in": "header", "required": False, "description": described}
        yield key | {"schema": KEY_SCHEMA}


def _body(route: Route, model: type[BaseModel]) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": _REF.format(model=model.__name__)}}
    if route.example is not None:
        content["example"] = dict(route.example)
    return {"required": True, "content": {route.takes: content}}
