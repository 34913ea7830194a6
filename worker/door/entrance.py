"""The way in: who asks, whether he may, and whether the question makes sense; only then the route's handler."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from worker.door.access import CALLER, Caller
from worker.door.problems import Handler, problem
from worker.door.routes import QUERY, Handle, NoQuery, Route, checked_query

FindCaller = Callable[[web.Request], Caller | None]
"""None: nobody we know. HTTPException: he is to be told."""

API = "/api/"


def entrance(find: FindCaller, is_draining: Callable[[], bool]) -> Callable[[Route], Handle]:
    """What stands before each route's handler."""

    def guarded(route: Route) -> Handle:
        async def enter(request: web.Request) -> web.StreamResponse:
            if route.scope is not None:
                caller = find(request)
                if caller is None:
                    return unauthorized()
                if not caller.may(route.scope):
                    return problem(403, lacking(route.scope))
                request[CALLER] = caller
            if route.intake and is_draining():
                return problem(503, "the service is stopping", {"Retry-After": "5"})
            request[QUERY] = checked_query(route.query or NoQuery, request)
            return await route.handle(request)

        return enter

    return guarded


def lacking(scope: str) -> str:
    """Why a caller we know may not."""
    return "this route is for end users with a token of the hub" if scope == "user" else f"lacks the scope {scope!r}"


def unauthorized(detail: str = "send an API key: Authorization: Bearer KEY") -> web.Response:
    """The same answer whatever was wrong: nothing sent, an unknown key, a dead session."""
    return problem(401, detail, {"WWW-Authenticate": 'Bearer realm="insignia-worker"'})


def stray_middleware(find: FindCaller, open_paths: tuple[str, ...]) -> Any:
    """What fits no route: below /api/ only those we know are told so; OPTIONS says what there is."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        stray = request.match_info.http_exception
        if stray is None or request.path.rstrip("/") in open_paths:
            return await handler(request)
        if stray.status == 405 and request.method == "OPTIONS":
            return web.Response(status=204, headers={"Allow": stray.headers["Allow"]})
        if request.path.startswith(API) and find(request) is None:
            return unauthorized()
        return await handler(request)

    return middleware
