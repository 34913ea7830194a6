"""Pages of other origins (Http:CorsOrigins): they may read answers, with a key or token of their own. Never with our
cookie: no answer allows credentials, and the cookie is SameSite=Strict besides."""

from typing import Any

from aiohttp import web

from worker.door.problems import Handler

_HEADERS = "Authorization, X-Api-Key, Content-Type, Idempotency-Key"
_EXPOSED = "Location, Retry-After, Allow"
_MAX_AGE = "600"
ANY = "*"


def allow_origins(app: web.Application, origins: frozenset[str]) -> None:
    """Let pages of these origins (`*`: all) read what is below /api/ and /openapi.json; by default there are none."""
    if not origins:
        return

    async def mark(request: web.Request, response: web.StreamResponse) -> None:
        if _concerns(request):
            # Also where nothing is allowed: a cache must not hand that answer to a page that may.
            response.headers["Vary"] = "Origin"
            if (allowed := _allowed(request, origins)) is not None:
                response.headers["Access-Control-Allow-Origin"] = allowed
                response.headers["Access-Control-Expose-Headers"] = _EXPOSED

    app.on_response_prepare.append(mark)
    app.middlewares.insert(0, _preflights(origins))


def _preflights(origins: frozenset[str]) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answered without a key: browsers send none along. A path there is not is told in the same way."""
        stray = request.match_info.http_exception
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not asks or not _concerns(request) or _allowed(request, origins) is None or stray is None:
            return await handler(request)
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": stray.headers.get("Allow", ""),
                "Access-Control-Allow-Headers": _HEADERS,
                "Access-Control-Max-Age": _MAX_AGE,
            },
        )

    return middleware


def _concerns(request: web.Request) -> bool:
    return request.path.startswith("/api/") or request.path == "/openapi.json"


def _allowed(request: web.Request, origins: frozenset[str]) -> str | None:
    sent = request.headers.getall("Origin", [])
    if len(sent) != 1:
        return None
    return ANY if ANY in origins else sent[0] if sent[0].lower() in origins else None
