"""The static files of the browser side: the hub's modules and the dashboard. Knows no job and no socket."""

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
    # Asked for each time and answered by 304: a page and its modules are always of one version.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, read and packed once."""

    body: bytes
    packed: bytes
    """By gzip."""
    content_type: str
    etag: str


def add_page(app: web.Application) -> None:
    """Serve the hub's browser modules, those of the package's folder `page`, by name."""
    _serve(app, PREFIX, {name: file for name, file in _files() if not name.startswith(DASHBOARD)})


def add_dashboard(app: web.Application) -> None:
    """Serve the dashboard at `/`. Its modules need those of `add_page` beside them."""
    known = {name.removeprefix(DASHBOARD): file for name, file in _files() if name.startswith(DASHBOARD)}
    index = known.pop("index.html")

    async def start(request: web.Request) -> web.Response:
        return _response(request, index)

    app.router.add_get("/", start)
    _serve(app, PREFIX + DASHBOARD, known)


def _serve(app: web.Application, prefix: str, known: Mapping[str, StaticFile]) -> None:
    async def serve(request: web.Request) -> web.Response:
        # A look-up among known names: there is no path to climb out of.
        file = known.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        return _response(request, file)

    app.router.add_get(prefix + "{name:.*}", serve)


def _files() -> Iterator[tuple[str, StaticFile]]:
    """Every file below the folder, as `folder/name`."""
    yield from _below(files("worker.door").joinpath("page"), "")


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, StaticFile]]:
    for entry in folder.iterdir():
        kind = _TYPES.get("." + entry.name.rpartition(".")[2])
        if entry.is_dir():
            yield from _below(entry, f"{prefix}{entry.name}/")
        elif kind is not None:
            body = entry.read_bytes()
            packed = gzip.compress(body, mtime=0)
            yield prefix + entry.name, StaticFile(body, packed, kind, hashlib.sha256(body).hexdigest()[:32])


def _response(request: web.Request, file: StaticFile) -> web.Response:
    is_packed = "gzip" in request.headers.get("Accept-Encoding", "")
    etag = f"{file.etag}-gzip" if is_packed else file.etag
    if any(tag.value in (etag, "*") for tag in request.if_none_match or ()):
        response = web.Response(status=304, headers=_HEADERS)
    else:
        body = file.packed if is_packed else file.body
        response = web.Response(body=body, content_type=file.content_type, charset="utf-8", headers=_HEADERS)
        if is_packed:
            response.headers["Content-Encoding"] = "gzip"
    response.etag = etag
    return response
