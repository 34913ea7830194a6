"""Errors of the HTTP door: application/problem+json (RFC 9457), without internals."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from worker import errors
from worker.door.routes import BadQuery
from worker.failure import new_error_id

STATUS: tuple[tuple[type[errors.WorkerError], int], ...] = (
    (errors.NotFound, 404),
    (errors.KeyConflict, 409),
    (errors.NotPossible, 409),
    (errors.WrongContent, 415),
    (errors.TooLarge, 413),
    (errors.UnknownKind, 422),
    (errors.InvalidPayload, 422),
    (errors.MissingUser, 422),
    (errors.Discard, 422),
    (errors.StoreFull, 507),
    (errors.StoreError, 503),
    (errors.Unavailable, 503),
)
"""The first class that fits gives the status."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(status: int, detail: str | None = None, headers: dict[str, str] | None = None, **more: Any) -> web.Response:
    """A problem document; `title` is the status's own words."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        # What was sent may be no UTF-8, and is quoted; as lone surrogates it could not be answered at all.
        body["detail"] = detail.encode("utf-8", "backslashreplace").decode()
    return web.Response(
        body=orjson.dumps(body | more), status=status, content_type="application/problem+json", headers=headers
    )


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    # Figures count by close code: numbers as keys.
    body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def status_of(exc: errors.WorkerError) -> int:
    return next((status for kind, status in STATUS if isinstance(exc, kind)), 500)


def problems_middleware(on_error: Callable[[str, str, BaseException], None]) -> Any:
    """Turns every error below /api/ into a problem; `on_error(error id, route, exception)` hears of unexpected ones."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as exc:
            if exc.status < 400:
                raise
            headers = {name: exc.headers[name] for name in ("Allow", "Retry-After") if name in exc.headers}
            return problem(exc.status, _detail(exc), headers)
        except BadQuery as exc:
            return problem(422, str(exc), parameter=exc.parameter)
        except errors.WorkerError as exc:
            return problem(status_of(exc), str(exc))
        except (json.JSONDecodeError, UnicodeDecodeError) as exc:
            return problem(400, f"the body is not valid JSON: {exc}")
        except ConnectionError:
            raise
        except Exception as exc:  # noqa: BLE001 -- the caller gets an id, the log gets the rest
            error_id = new_error_id()
            on_error(error_id, request.path, exc)
            return problem(500, "unexpected error; the log has more under this id", errorId=error_id)

    return middleware


def _detail(exc: web.HTTPException) -> str | None:
    if exc.status == 413:
        return "the body is larger than Http:MaxBody allows"
    return exc.text if exc.text and not exc.text.startswith(f"{exc.status}:") else None
