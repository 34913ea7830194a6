"""Serve an application below a prefix of the path (Http:PathBase): requests lose it, links in responses get it.

Requests without the prefix are served too: probes on this machine send none, and some proxies remove it.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import web
from yarl import URL

_PATH_BASE = web.RequestKey("path_base", str)


def below(base: str, new_request: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Return a factory of requests like `new_request` that removes the prefix `base`, such as `/worker`."""

    def create(message: Any, *arguments: Any) -> web.BaseRequest:
        path, url = message.path, message.url
        if path.startswith(base + "/") and not url.absolute:
            below_base = url.raw_path.removeprefix(base)
            message = message._replace(
                path=path.removeprefix(base),
                url=URL.build(path=below_base, query_string=url.raw_query_string, encoded=True),
            )
        request = new_request(message, *arguments)
        request[_PATH_BASE] = base
        return request

    return create


def link_to(request: web.BaseRequest, path: str) -> str:
    """Return the path as the client has to call it."""
    base: str = request.get(_PATH_BASE, "")
    return base + path
