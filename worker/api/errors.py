"""Errors of the HTTP API: application/problem+json (RFC 9457), without internals."""

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from worker import errors
from worker.api.request_body import MalformedJson
from worker.api.request_values import InvalidQuery
from worker.api.routing import RequestHandler
from worker.api.schemas import Problem
from worker.core.failure import new_error_id

STATUS: tuple[tuple[type[errors.WorkerError], int], ...] = (
    (MalformedJson, 400),
    (errors.NotFound, 404),
    (errors.KeyConflict, 409),
    (errors.NotPossible, 409),
    (errors.WrongContent, 415),
    (errors.TooLarge, 413),
    (errors.UnknownKind, 422),
    (errors.InvalidPayload, 422),
    (errors.MissingUser, 422),
    (errors.Discard, 422),
    (errors.LimitReached, 429),
    (errors.StoreFull, 507),
    (errors.StoreError, 503),
    (errors.Unavailable, 503),
)
"""The first class that matches gives the status."""


def problem(
    status: int,
    detail: str | None = None,
    headers: dict[str, str] | None = None,
    *,
    parameter: str | None = None,
    error_id: str | None = None,
    localized: tuple[str, str] | None = None,
) -> web.Response:
    """Return a problem document; its `title` is the status's own phrase."""
    body: Problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        # `detail` may quote input that is not UTF-8; JSON cannot hold lone surrogates.
        body["detail"] = detail.encode("utf-8", "backslashreplace").decode()
    if parameter is not None:
        body["parameter"] = parameter
    if error_id is not None:
        body["errorId"] = error_id
    if localized is not None and localized[0]:
        body["code"], body["detailTh"] = localized
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/problem+json", headers=headers
    )


_CLOSED = "Connection closed."
"""What aiohttp's RuntimeError says when a body is awaited whose connection is closed."""


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return the value as a JSON response."""
    # Counts by close code have numbers as keys.
    body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def status_of(exc: errors.WorkerError) -> int:
    """Return the HTTP status of an error."""
    return next((status for kind, status in STATUS if isinstance(exc, kind)), 500)


def problems_middleware(on_error: Callable[[str, str, BaseException], None]) -> Any:
    """Return a middleware that turns every error into a problem document.

    It calls `on_error(error id, path, exception)` for unexpected errors.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as exc:
            if exc.status < 400:
                raise
            headers = {name: exc.headers[name] for name in ("Allow", "Retry-After") if name in exc.headers}
            return problem(exc.status, _detail(exc), headers)
        except InvalidQuery as exc:
            return problem(422, str(exc), parameter=exc.parameter)
        except errors.LimitReached as exc:
            return problem(429, str(exc), {"Retry-After": str(math.ceil(exc.after))})
        except errors.WorkerError as exc:
            return problem(status_of(exc), str(exc), localized=(exc.code, exc.text_th))
        except ConnectionError:
            raise
        except Exception as exc:
            if request.transport is None and isinstance(exc, RuntimeError) and str(exc) == _CLOSED:
                raise ConnectionResetError("the connection was closed") from exc
            error_id = new_error_id()
            on_error(error_id, request.path, exc)
            return problem(500, "unexpected error; the log has the details under this id", error_id=error_id)

    return middleware


def _detail(exc: web.HTTPException) -> str | None:
    if exc.status == 413:
        return "the body is larger than Http:MaxBody allows"
    return exc.text if exc.text and not exc.text.startswith(f"{exc.status}:") else None
