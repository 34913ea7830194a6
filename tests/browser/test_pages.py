"""The static files at /page/: what is served, with which headers, and what is not."""

import re

import aiohttp
import pytest

from tests.support.hub import running_hub
from worker.door.pages import add_page

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


@pytest.fixture
async def session(tmp_path):
    async with running_hub(tmp_path, mount=add_page) as running, aiohttp.ClientSession(running.url) as session:
        yield session


@pytest.mark.parametrize(("name", "kind"), FILES.items())
async def test_every_file_comes_with_its_type_and_strict_headers(session, name, kind):
    async with session.get(f"/page/{name}") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-cache"


async def test_what_the_browser_has_already_is_not_sent_again(session):
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
    ],
)
async def test_nothing_else_is_served(session, name):
    from yarl import URL

    async with session.get(URL(f"/page/{name}", encoded=True)) as answer:
        assert answer.status == 404


async def test_the_page_needs_no_inline_script_or_style(session):
    """What a strict Content-Security-Policy would refuse is not there."""
    async with session.get("/page/status.html") as answer:
        page = await answer.text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)
