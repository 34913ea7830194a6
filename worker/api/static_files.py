"""Static files for browsers: the hub's modules and the dashboard. Independent of jobs and sockets."""

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import web

PREFIX: Final = "/page/"
DASHBOARD: Final = "dashboard/"
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
    # Requested each time and answered with 304: a page and its modules are always of one version.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, read and compressed once."""

    body: bytes
    gzipped: bytes
    content_type: str
    etag: str


def add_page(app: web.Application, origins: frozenset[str] = frozenset()) -> None:
    """Serve the hub's browser modules by name; pages of these other origins may import them."""
    _serve(app, PREFIX, {name: file for name, file in _files() if not name.startswith(DASHBOARD)}, origins)


def add_dashboard(app: web.Application, path_base: str = "") -> None:
    """Serve the dashboard at `/`. Its modules import those of `add_page`.

    `path_base` without a slash behind it leads to the dashboard, too, whose addresses are relative.
    """
    known = {name.removeprefix(DASHBOARD): file for name, file in _files() if name.startswith(DASHBOARD)}
    index = known.pop("index.html")

    async def start(request: web.Request) -> web.Response:
        return _response(request, index)

    async def to_start(_request: web.Request) -> web.Response:
        raise web.HTTPPermanentRedirect(path_base + "/")

    app.router.add_get("/", start)
    if path_base:
        app.router.add_get(path_base, to_start)
    _serve(app, PREFIX + DASHBOARD, known)


def _serve(
    app: web.Application, prefix: str, known: Mapping[str, StaticFile], origins: frozenset[str] = frozenset()
) -> None:
    async def serve(request: web.Request) -> web.Response:
        # A look-up among known names: no path can leave the folder.
        file = known.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        response = _response(request, file)
        if origins:
            response.headers["Vary"] = "Accept-Encoding, Origin"
            origin = request.headers.get("Origin", "")
            if origin.lower() in origins:
                response.headers["Access-Control-Allow-Origin"] = origin
        return response

    app.router.add_get(prefix + "{name:.*}", serve)


def _files() -> Iterator[tuple[str, StaticFile]]:
    """Yield every file below the folder, as `folder/name`."""
    yield from _below(files("worker.api").joinpath("static"), "")


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, StaticFile]]:
    for entry in folder.iterdir():
        kind = _TYPES.get("." + entry.name.rpartition(".")[2])
        if entry.is_dir():
            yield from _below(entry, f"{prefix}{entry.name}/")
        elif kind is not None:
            body = entry.read_bytes()
            gzipped = gzip.compress(body, mtime=0)
            yield prefix + entry.name, StaticFile(body, gzipped, kind, hashlib.sha256(body).hexdigest()[:32])


def _response(request: web.Request, file: StaticFile) -> web.Response:
    accepts_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
    etag = f"{file.etag}-gzip" if accepts_gzip else file.etag
    if any(tag.value in (etag, "*") for tag in request.if_none_match or ()):
        response = web.Response(status=304, headers=_HEADERS)
    else:
        body = file.gzipped if accepts_gzip else file.body
        response = web.Response(body=body, content_type=file.content_type, charset="utf-8", headers=_HEADERS)
        if accepts_gzip:
            response.headers["Content-Encoding"] = "gzip"
    response.etag = etag
    return response
