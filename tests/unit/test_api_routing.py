"""The table of routes: names, words, and what is made from it."""

from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pydantic import BaseModel

from worker.api.openapi import description_of, openapi
from worker.api.request_values import InvalidQuery, Limit, NoQuery, Query, Text, checked_query
from worker.api.routing import Route, add_routes, table_of


async def nothing(_request: web.Request) -> web.Response:
    return web.Response()


def a_route(method: str = "GET", path: str = "/api/v1/things", **more: Any) -> Route:
    return Route(method, path, nothing, "Things", more.pop("scope", "read"), **more)


class Things:
    def __init__(self, *routes: Route) -> None:
        self._routes = routes

    def routes(self) -> Sequence[Route]:
        return self._routes


def test_table_of_rejects_two_routes_with_the_same_method_and_path() -> None:
    table_of([Things(a_route()), Things(a_route("POST"))])
    with pytest.raises(ValueError, match="two routes are GET /api/v1/things"):
        table_of([Things(a_route()), Things(a_route())])


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/api/v1/jobs/{id}", None),
        ("POST", "/api/v1/jobs/{id}/cancel", "jobs.cancel"),
        ("POST", "/api/v1/me/jobs/{id}/cancel", "me.jobs.cancel"),
        ("PATCH", "/api/v1/workers", "workers.patch"),
        ("DELETE", "/api/v1/session", "session.delete"),
        ("POST", "/api/v1/hub/clients/{id}/close", "hub.clients.close"),
    ],
)
def test_route_action_is_derived_from_its_path(method: str, path: str, action: str | None) -> None:
    assert a_route(method, path).action == action


def test_route_action_is_none_for_intake_and_login() -> None:
    assert a_route("POST", "/api/v1/jobs", intake=True).action is None
    assert a_route("POST", "/api/v1/session", scope=None).action is None


class Asked(Query):
    name: Text | None = None
    kind: tuple[Text, ...] | None = None
    limit: Limit = 50


def asked(query: str) -> web.Request:
    return make_mocked_request("GET", f"/api/v1/things?{query}")


def test_checked_query_returns_the_routes_model() -> None:
    found = checked_query(Asked, asked("name=%E0%B8%81&kind=a&kind=b&limit=9999"))
    assert (found.name, found.kind, found.limit) == ("ก", ("a", "b"), 500)
    assert checked_query(Asked, asked("")) == Asked()


@pytest.mark.parametrize(
    ("query", "parameter", "text"),
    [
        ("naem=x", "naem", "naem: unknown parameter; known are: name, kind, limit"),
        ("name=a&name=b", "name", "name is given 2 times; send it once"),
        ("limit=x", "limit", "limit: is not a whole number"),
        ("kind=a&kind=", "kind", "kind: String should have at least 1 character"),
        ("name=%00", "name", "name: must not contain the character NUL"),
    ],
)
def test_checked_query_names_the_parameter_that_is_wrong(query: str, parameter: str, text: str) -> None:
    with pytest.raises(InvalidQuery) as raised:
        checked_query(Asked, asked(query))
    assert (raised.value.parameter, str(raised.value)) == (parameter, text)


def test_checked_query_rejects_parameters_of_a_route_without_any() -> None:
    with pytest.raises(InvalidQuery, match="x: this route takes no parameters"):
        checked_query(NoQuery, asked("x=1"))


async def test_path_parameter_does_not_match_a_fixed_path_of_the_table() -> None:
    routes = [
        a_route("GET", "/api/v1/things/{id}"),
        a_route("POST", "/api/v1/things/bulk"),
        a_route("POST", "/api/v1/things/{id}/open"),
    ]
    app = web.Application()
    add_routes(app, routes, lambda route: route.handle)
    app.freeze()

    async def status(method: str, path: str) -> int:
        match = await app.router.resolve(make_mocked_request(method, path))
        return 200 if match.http_exception is None else match.http_exception.status

    assert await status("GET", "/api/v1/things/bulk") == 405
    assert await status("POST", "/api/v1/things/bulk") == 200
    assert await status("GET", "/api/v1/things/bulky") == await status("HEAD", "/api/v1/things/x") == 200
    assert await status("POST", "/api/v1/things/bulk/open") == 200


# -- the description -------------------------------------------------------------------------------------------


class Thing(BaseModel):
    name: str


def test_openapi_describes_parameters_responses_and_security_of_a_route() -> None:
    route = a_route("POST", "/api/v1/things/{id}", query=Asked, body=Thing, answers={200: Thing}, scope="admin")
    document = openapi([route, description_of([route])])
    operation = document["paths"]["/api/v1/things/{id}"]["post"]
    assert [(each["name"], each["in"]) for each in operation["parameters"]] == [
        ("id", "path"),
        ("name", "query"),
        ("kind", "query"),
        ("limit", "query"),
    ]
    assert operation["parameters"][1]["schema"] == {"maxLength": 1000, "minLength": 1, "type": "string"}
    assert {"200", "400", "401", "403", "404", "409", "413", "422", "429", "500", "507"} <= set(operation["responses"])
    assert operation["security"] == [{"bearer": []}, {"apiKey": []}, {"session": []}]
    assert document["components"]["schemas"]["Thing"]["required"] == ["name"]
    assert document["paths"]["/openapi.json"]["get"]["security"] == []


def test_openapi_rejects_two_types_with_the_same_name() -> None:
    class Other(BaseModel):
        word: str

    Other.__name__ = "Thing"
    with pytest.raises(ValueError, match="two types are called Thing"):
        openapi([a_route(answers={200: Thing}), a_route("POST", answers={200: Other})])
