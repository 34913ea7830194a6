"""The static files at /page/: what is served, with which headers, and what is not."""

import gzip
import re

import aiohttp
import pytest
from aiohttp import web

from tests.support.hub import running_hub
from worker.api.static_files import add_dashboard, add_page

FILES = {
    "icon.svg": "image/svg+xml",
    "resilience.js": "text/javascript",
    "resilient-websocket.d.ts": "text/plain",
    "resilient-websocket.js": "text/javascript",
    "status-words.js": "text/javascript",
    "status.css": "text/css",
    "status.html": "text/html",
    "status.js": "text/javascript",
    "websocket-status.d.ts": "text/plain",
    "websocket-status.js": "text/javascript",
}


DASHBOARD = {
    "": "text/html",
    "page/dashboard/app.js": "text/javascript",
    "page/dashboard/base.css": "text/css",
    "page/dashboard/i18n/words-th.js": "text/javascript",
    "page/dashboard/views/overview.js": "text/javascript",
}
FIRST_PAINT = 100_000
"""Bytes, packed: all that the dashboard's first page loads, and room to grow."""


def both(app: web.Application) -> None:
    add_dashboard(app)
    add_page(app)


@pytest.fixture
async def session(tmp_path):
    async with running_hub(tmp_path, mount=both) as running, aiohttp.ClientSession(running.url) as session:
        yield session


@pytest.mark.parametrize(("name", "kind"), FILES.items())
async def test_static_files_have_their_type_and_strict_headers(session, name, kind):
    async with session.get(f"/page/{name}") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-cache"


async def test_static_file_with_a_known_etag_returns_304(session):
    async with session.get("/page/status.js") as answer:
        etag = answer.headers["ETag"]
    async with session.get("/page/status.js", headers={"If-None-Match": etag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
        assert answer.headers["ETag"] == etag
    async with session.get("/page/status.js", headers={"If-None-Match": '"other"'}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nothing.js",
        "..%2Fpages.py",
        "%2e%2e%2fpages.py",
        "..%5cpages.py",
        "../pages.py",
        "%00",
        "status.html/",
        ".",
        "dashboard",
        "dashboard/",
        "dashboard/index.html",
        "dashboard/../../pages.py",
        "dashboard/%2e%2e/%2e%2e/pages.py",
        "dashboard/views/",
        "dashboard/views/nothing.js",
    ],
)
async def test_unknown_static_file_returns_404(session, name):
    from yarl import URL

    async with session.get(URL(f"/page/{name}", encoded=True)) as answer:
        assert answer.status == 404


async def test_pages_have_no_inline_script_or_style(session):
    """What a strict Content-Security-Policy would refuse is not there."""
    async with session.get("/page/status.html") as answer:
        page = await answer.text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)


@pytest.mark.parametrize(("path", "kind"), DASHBOARD.items())
async def test_dashboard_files_have_the_same_headers(session, path, kind):
    async with session.get(f"/{path}") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert "require-trusted-types-for 'script'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        page = await answer.text()
    if kind == "text/html":
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)


async def test_hub_alone_serves_no_dashboard(tmp_path):
    async with running_hub(tmp_path, mount=add_page) as running, aiohttp.ClientSession(running.url) as session:
        for path in ("/", "/page/dashboard/app.js", "/page/dashboard/index.html"):
            async with session.get(path) as answer:
                assert answer.status == 404


async def test_gzipped_files_have_their_own_etag(session):
    path = "/page/dashboard/app.js"
    async with session.get(path, headers={"Accept-Encoding": "identity"}) as answer:
        plain, tag = await answer.read(), answer.headers["ETag"]
        assert "Content-Encoding" not in answer.headers
    async with session.get(path, headers={"Accept-Encoding": "gzip"}, auto_decompress=False) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert gzip.decompress(await answer.read()) == plain
        assert answer.headers["ETag"] != tag
    async with session.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": tag}) as answer:
        assert answer.status == 200


async def test_first_page_loads_few_bytes(session):
    """The page, and whatever it names, and what that imports, and so on; later pages load theirs when opened."""
    wanted, total = ["/"], 0
    for path in wanted:
        async with session.get(path, headers={"Accept-Encoding": "gzip"}, auto_decompress=False) as answer:
            assert answer.status == 200, path
            body = await answer.read()
        total += len(body)
        text = gzip.decompress(body).decode()
        named = _links(text) if path == "/" else _imports(path, text)
        wanted += [one for one in dict.fromkeys(named) if one not in wanted]
    assert "/page/dashboard/views/overview.js" in wanted
    assert "/page/dashboard/views/settings.js" not in wanted
    assert len(wanted) > 20
    assert total < FIRST_PAINT


def _links(text):
    """The files that the page names; its addresses are relative, so that it can be served below a prefix."""
    return [f"/{path}" for path in re.findall(r'(?:href|src)="(page/[^"]+)"', text)]


def _imports(path, text):
    from posixpath import dirname, normpath

    found = re.findall(r'(?:from|^import) "(\.[^"]+)"', text, re.MULTILINE)
    if path.endswith("dashboard/app.js"):
        found.append("./views/overview.js")
    return [normpath(f"{dirname(path)}/{one}") for one in found]
