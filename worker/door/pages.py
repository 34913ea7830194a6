"""The static files of the browser side, from the package to `/page/...`. Knows no job and no socket."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from aiohttp import web

PREFIX: Final = "/page/"
_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".ts": "text/plain",
    ".svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Asked for each time and answered by 304: a page and its modules are always of one version.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, read once."""

    body: bytes
    content_type: str
    etag: str


def add_page(app: web.Application) -> None:
    """Serve the files of the package's folder `page`, by name."""
    known = dict(_files())

    async def serve(request: web.Request) -> web.Response:
        # A look-up among known names: there is no path to climb out of.
        file = known.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        return _response(request, file)

    app.router.add_get(PREFIX + "{name}", serve)


def _files() -> Iterator[tuple[str, StaticFile]]:
    for entry in files("worker.door").joinpath("page").iterdir():
        kind = _TYPES.get("." + entry.name.rpartition(".")[2])
        if kind is not None and entry.is_file():
            body = entry.read_bytes()
            yield entry.name, StaticFile(body, kind, hashlib.sha256(body).hexdigest()[:32])


def _response(request: web.Request, file: StaticFile) -> web.Response:
    if any(tag.value in (file.etag, "*") for tag in request.if_none_match or ()):
        response = web.Response(status=304, headers=_HEADERS)
    else:
        response = web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=_HEADERS)
    response.etag = file.etag
    return response
