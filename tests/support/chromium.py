"""Debian's Chromium, driven by Playwright: pages of our own, and what they hear kept across reloads."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.support.needs import skip_without

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAST = {"reconnectionDelay": 50, "maxReconnectionDelay": 250}
"""Options of a client that connects again soon."""
IMPATIENT = {"pingInterval": 500, "pongTimeout": 500, "timeout": 2000}
"""Options of a client that soon gives up a silent connection. On a busy machine it also gives up one that is only slow,
so they are for tests of such connections alone."""

_COUNT = """
const countIn = (storage) => Math.max(0, ...Object.keys(storage)
  .filter((key) => key.startsWith("org-socket:") && !key.endsWith(":ids"))
  .map((key) => JSON.parse(storage.getItem(key)).count ?? 0));
"""
# The count is written together with the place, in one write: a process may be killed between two, and then a page
# that keeps its own books in another place sees one notification twice.
_RECORDER = """
async ({ token, options }) => {
  const { ResilientWebSocket } = await import("/page/resilient-websocket.js");
  const storage = options.remember === "local" ? localStorage : sessionStorage;
  const remember = {
    getItem: (key) => storage.getItem(key),
    setItem: (key, value) => {
      const kept = JSON.parse(value);
      storage.setItem(key, key.endsWith(":ids") ? value : JSON.stringify({ ...kept, count: window.count }));
    },
  };
  const socket = (window.socket = new ResilientWebSocket({ token, ...options, remember }));
  window.heard = [];
  for (const name of ["statuschange", "open", "reconnecting", "reconnected", "closed", "failed", "gap", "queue",
                      "error", "progress", "message"]) {
    socket.addEventListener(name, ({ detail }) => window.heard.push([name, detail]));
  }
  COUNT
  window.count = countIn(storage);
  socket.addEventListener("notification", ({ detail }) => {
    storage.setItem(`got:${window.count}`, detail.payload.notificationId);
    window.count += 1;
  });
  socket.open();
}
""".replace("COUNT\n", _COUNT)
_GOT = """
(local) => {
  const storage = local ? localStorage : sessionStorage;
  COUNT
  return Array.from({ length: countIn(storage) }, (_, n) => storage.getItem(`got:${n}`));
}
""".replace("COUNT\n", _COUNT)


def chromium_or_skip() -> str:
    """Chromium's path. Without it, or without Playwright, the test is skipped; in CI it fails."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(path).exists():
        skip_without("chromium", "apt install chromium, or CHROMIUM=/path/to/it")
    try:
        import playwright  # noqa: F401 -- whether it is installed
    except ImportError:
        skip_without("Playwright", "make test installs it into .venv/")
    return path


@contextlib.asynccontextmanager
async def a_chromium() -> AsyncIterator[Any]:
    """Playwright's Browser; it takes a second to start, so tests share one."""
    path = chromium_or_skip()
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def a_profile(chromium: Any, **options: Any) -> AsyncIterator[Any]:
    """An empty profile: Playwright's BrowserContext."""
    context = await chromium.new_context(**{"locale": "en-GB", **options})
    context.set_default_timeout(60_000)
    try:
        yield context
    finally:
        await context.close()


async def record(page: Any, token: str, **options: Any) -> None:
    """Open a client in this page that keeps what it is notified of in the browser's storage."""
    await page.evaluate(_RECORDER, {"token": token, "options": {**FAST, **options}})


_HANG = """
async (token) => {
  const { ResilientWebSocket } = await import("/page/resilient-websocket.js");
  class Hanging extends WebSocket {
    send(text) {
      super.send(text);
      for (;;);
    }
  }
  const socket = new ResilientWebSocket({ token, remember: "local" }, { WebSocket: Hanging });
  setTimeout(() => socket.open());
}
"""


@contextlib.asynccontextmanager
async def a_doomed_page(context: Any, url: str, token: str) -> AsyncIterator[None]:
    """A page that connects and then hangs, so that it handles no message; at the end it is killed."""
    page = await context.new_page()
    await page.goto(f"{url}/page/status.html")
    crashed = asyncio.Event()
    page.once("crash", lambda _: crashed.set())
    tools = await context.new_cdp_session(page)
    await page.evaluate(_HANG, token)
    yield
    # The thread that answers this is not the one that hangs; the answer itself never comes.
    ending = asyncio.ensure_future(tools.send("Page.crash"))
    async with asyncio.timeout(120):
        await crashed.wait()
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)


async def got(page: Any, *, local: bool = False) -> list[str]:
    """Return the notification ids that this tab has received, in order, over all its pages."""
    ids: list[str] = await page.evaluate(_GOT, local)
    return ids


async def until(page: Any, expression: str, argument: Any = None) -> None:
    """Until a JavaScript expression holds in the page. By a timer: a headless page need not draw frames."""
    await page.wait_for_function(expression, arg=argument, polling=20)
