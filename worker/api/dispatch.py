"""What runs before a route's handler: find the caller, check the scope and the query, and record changes."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from worker.api.auth.authenticator import ADDRESS, CALLER, Caller
from worker.api.errors import problem
from worker.api.request_body import BODY_LIMITS, BodyLimits, LargeBodies
from worker.api.request_values import QUERY, NoQuery, checked_query
from worker.api.routing import RequestHandler, Route
from worker.net.loop_share import LoopShare

FindCaller = Callable[[web.Request], Caller | None]
"""Returns None for unknown callers. Raises HTTPException when the caller is to get another answer than 401."""
Audit = Callable[[str, str, str, Mapping[str, Any]], Awaitable[None]]
"""Takes actor, action, target and detail of a change; must not raise."""

API = "/api/"
STREAM = "text/event-stream"
UNCHANGED = web.RequestKey("unchanged", bool)
"""Set by a handler that had nothing to change, so that the audit trail has no entry."""
KNOWN = web.RequestKey("known", bool)
"""Whether the caller of an open route with details may see them."""
AUDIT_DETAIL = web.RequestKey("audit_detail", dict)
"""Details that a handler adds to the entry in the audit trail."""


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Wraps each route's handler."""

    find_caller: FindCaller
    is_draining: Callable[[], bool]
    audit: Audit
    recheck: float = 15.0
    """Seconds between two checks that a stream's caller is still allowed."""
    max_body: int = 16 * 1024 * 1024
    """Bytes of a body, where the route has no limit of its own."""
    large_bodies: LargeBodies = field(default_factory=LargeBodies)

    def __call__(self, route: Route) -> RequestHandler:
        async def dispatch(request: web.Request) -> web.StreamResponse:
            if route.scope is None:
                request[KNOWN] = self._knows_reader(request) if route.detailed else False
            else:
                caller = self.find_caller(request)
                if caller is None:
                    return unauthorized()
                if (reason := _missing_right(caller, route)) is not None:
                    return problem(403, reason)
                request[CALLER] = caller
            if route.intake and self.is_draining():
                return problem(503, "the service is stopping", {"Retry-After": "5"})
            request[BODY_LIMITS] = self._body_limits(route)
            if route.query is not None or request.query_string:
                request[QUERY] = checked_query(route.query or NoQuery, request)
            if route.content == STREAM:
                return await self._stream(route, request)
            if route.action is None:
                return await route.handle(request)
            return await self._audited(route, route.action, request)

        return dispatch

    def _knows_reader(self, request: web.Request) -> bool:
        """Return whether the caller of an open route may read everything; an unknown one is not rejected here."""
        try:
            caller = self.find_caller(request)
        except web.HTTPException:
            return False
        return caller is not None and caller.may("read") and not caller.is_bound

    def _body_limits(self, route: Route) -> BodyLimits:
        if route.max_body is None or route.max_body >= self.max_body:
            return BodyLimits(self.max_body, setting="Http:MaxBody", large=self.large_bodies)
        return BodyLimits(route.max_body, large=self.large_bodies)

    async def _stream(self, route: Route, request: web.Request) -> web.StreamResponse:
        """Answer with a stream, and end it once its caller is no longer allowed: logged out, or the key is gone."""
        answering = asyncio.ensure_future(route.handle(request))
        try:
            while not (await asyncio.wait([answering], timeout=self.recheck))[0]:
                caller = self.find_caller(request)
                if caller is None or _missing_right(caller, route) is not None:
                    answering.cancel()
                    if request.transport is not None:
                        request.transport.abort()
            return await answering
        finally:
            answering.cancel()

    async def _audited(self, route: Route, action: str, request: web.Request) -> web.StreamResponse:
        """Record a change once it has been made; rejected requests changed nothing."""
        response = await route.handle(request)
        if response.status < 400 and not request.get(UNCHANGED, False):
            target = "/".join(request.match_info[name] for name in route.parameters)
            detail = {
                "status": response.status,
                "address": request.get(ADDRESS, "unix"),
                **request.get(AUDIT_DETAIL, {}),
            }
            await self.audit(request[CALLER].actor, action, target, detail)
        return response


def _missing_right(caller: Caller, route: Route) -> str | None:
    assert route.scope is not None
    if not caller.may(route.scope):
        if route.scope == "user":
            return "this route is for end users with a token of the hub"
        return f"the scope {route.scope!r} is missing"
    if caller.is_read_only and route.method not in ("GET", "HEAD"):
        return "this token may only read: it was issued to a key without the scope 'admin'"
    if caller.is_bound and not route.bound:
        return "this route concerns all users and organisations: a key bound to some of them may not use it"
    return None


def unauthorized(detail: str = "send an API key: Authorization: Bearer KEY") -> web.Response:
    """Return the same answer for a missing key, an unknown key and an ended session."""
    return problem(401, detail, {"WWW-Authenticate": 'Bearer realm="insignia-worker"'})


def fair_turns_middleware(probe_paths: Collection[str]) -> Any:
    """Return a middleware that lets requests share the turns of the event loop; probes do not wait for others."""
    share = LoopShare()

    @web.middleware
    async def middleware(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        if request.path not in probe_paths:
            await share.turn()
        return await handler(request)

    return middleware


@web.middleware
async def plain_bodies_middleware(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
    """Reject compressed bodies on every path: a few bytes of them can become gigabytes.

    A coding of the content makes a request that we do not take (RFC 9110, 8.4). One of the transfer is not understood
    (RFC 9112, 6.1): what a proxy before us takes the body for is unknown then, so the connection ends with it.
    """
    if _codings(request, "Transfer-Encoding") - {"", "chunked"}:
        response = problem(501, "send the body without a Transfer-Encoding other than chunked")
        response.force_close()
        return response
    if _codings(request, "Content-Encoding") - {"", "identity"}:
        return problem(415, "send the body without Content-Encoding", {"Accept-Encoding": "identity"})
    return await handler(request)


def _codings(request: web.Request, header: str) -> set[str]:
    """Return the codings that all lines of a header name."""
    return {coding.strip().lower() for line in request.headers.getall(header, []) for coding in line.split(",")}


def host_middleware(check_host: Callable[[web.Request], None], open_paths: Collection[str]) -> Any:
    """Return a middleware that checks the host of every request but those of probes: of the pages and the hub as well.

    A page of another site whose name was made to point here is then not of the service's own origin.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        if request.path not in open_paths:
            check_host(request)
        return await handler(request)

    return middleware


def unmatched_middleware(find_caller: FindCaller, open_paths: tuple[str, ...]) -> Any:
    """Return a middleware for requests that match no route: below /api/ only known callers get 404 and 405, and
    OPTIONS answers with the allowed methods."""

    @web.middleware
    async def middleware(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        unmatched = request.match_info.http_exception
        if unmatched is None or request.path.rstrip("/") in open_paths:
            return await handler(request)
        if unmatched.status == 405 and request.method == "OPTIONS":
            return web.Response(status=204, headers={"Allow": unmatched.headers["Allow"]})
        if request.path.startswith(API) and find_caller(request) is None:
            return unauthorized()
        return await handler(request)

    return middleware
