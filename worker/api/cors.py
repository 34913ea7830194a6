"""Let pages of other origins (Http:CorsOrigins) read responses with a key or token of their own.

The session's cookie is never accepted from them: no response allows credentials, and the cookie is SameSite=Strict.
"""

from typing import Any

from aiohttp import web

from worker.api.routing import RequestHandler

_HEADERS = "Authorization, X-Api-Key, Content-Type, Idempotency-Key"
_EXPOSED = "Location, Retry-After, Allow"
_MAX_AGE = "600"
ANY = "*"


def allow_origins(app: web.Application, origins: frozenset[str]) -> None:
    """Let pages of these origins (`*`: all) read /api/ and /openapi.json; by default no other origin may."""
    if not origins:
        return

    async def mark(request: web.Request, response: web.StreamResponse) -> None:
        if _applies_to(request):
            # Also where nothing is allowed: a cache must not serve that response to an origin that is.
            response.headers["Vary"] = "Origin"
            if (allowed := _allowed(request, origins)) is not None:
                response.headers["Access-Control-Allow-Origin"] = allowed
                response.headers["Access-Control-Expose-Headers"] = _EXPOSED

    app.on_response_prepare.append(mark)
    app.middlewares.insert(0, _preflights(origins))


def _preflights(origins: frozenset[str]) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        """Answer without a key, since browsers send none; paths without a route get the same answer."""
        unmatched = request.match_info.http_exception
        is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not is_preflight or not _applies_to(request) or _allowed(request, origins) is None or unmatched is None:
            return await handler(request)
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": unmatched.headers.get("Allow", ""),
                "Access-Control-Allow-Headers": _HEADERS,
                "Access-Control-Max-Age": _MAX_AGE,
            },
        )

    return middleware


def _applies_to(request: web.Request) -> bool:
    return request.path.startswith("/api/") or request.path == "/openapi.json"


def _allowed(request: web.Request, origins: frozenset[str]) -> str | None:
    sent = request.headers.getall("Origin", [])
    if len(sent) != 1:
        return None
    return ANY if ANY in origins else sent[0] if sent[0].lower() in origins else None
