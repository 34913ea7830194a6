"""The way in: who asks, whether he may, and whether the question makes sense; only then the route's handler."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from worker.door.access import ADDRESS, CALLER, Caller
from worker.door.problems import Handler, problem
from worker.door.routes import QUERY, Handle, NoQuery, Route, checked_query

FindCaller = Callable[[web.Request], Caller | None]
"""None: nobody we know. HTTPException: he is to be told."""
Audit = Callable[[str, str, str, Mapping[str, Any]], Awaitable[None]]
"""Actor, action, target and detail of something that was ordered; must not raise."""

API = "/api/"
STREAM = "text/event-stream"
AUDIT_DETAIL = web.RequestKey("audit_detail", dict)
"""What a handler wants the audit trail to know besides."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """What stands before each route's handler."""

    find: FindCaller
    is_draining: Callable[[], bool]
    audit: Audit
    recheck: float = 15.0
    """Seconds between two looks at who reads a stream."""

    def __call__(self, route: Route) -> Handle:
        async def enter(request: web.Request) -> web.StreamResponse:
            if route.scope is not None:
                caller = self.find(request)
                if caller is None:
                    return unauthorized()
                if (reason := _lacking(caller, route)) is not None:
                    return problem(403, reason)
                request[CALLER] = caller
            if route.intake and self.is_draining():
                return problem(503, "the service is stopping", {"Retry-After": "5"})
            if route.query is not None or request.query_string:
                request[QUERY] = checked_query(route.query or NoQuery, request)
            if route.content == STREAM:
                return await self._watched(route, request)
            if route.action is None:
                return await route.handle(request)
            return await self._audited(route, route.action, request)

        return enter

    async def _watched(self, route: Route, request: web.Request) -> web.StreamResponse:
        """An answer without an end ends when its caller may not ask for it any more: logged out, or the key is gone."""
        answering = asyncio.ensure_future(route.handle(request))
        try:
            while not (await asyncio.wait([answering], timeout=self.recheck))[0]:
                caller = self.find(request)
                if caller is None or _lacking(caller, route) is not None:
                    answering.cancel()
                    if request.transport is not None:
                        request.transport.abort()
            return await answering
        finally:
            answering.cancel()

    async def _audited(self, route: Route, action: str, request: web.Request) -> web.StreamResponse:
        """An order is written down once it is carried out; what was refused changed nothing."""
        response = await route.handle(request)
        if response.status < 400:
            target = "/".join(request.match_info[name] for name in route.parameters)
            detail = {
                "status": response.status,
                "address": request.get(ADDRESS, "unix"),
                **request.get(AUDIT_DETAIL, {}),
            }
            await self.audit(request[CALLER].actor, action, target, detail)
        return response


def _lacking(caller: Caller, route: Route) -> str | None:
    assert route.scope is not None
    if not caller.may(route.scope):
        if route.scope == "user":
            return "this route is for end users, with their token of the hub"
        return f"lacks the scope {route.scope!r}"
    if caller.is_bound and not route.bound:
        return "a key that is bound to users or organisations cannot ask for what concerns all"
    return None


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
