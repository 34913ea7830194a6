"""The hook of docs/clients.md as it stands there, in React's strict mode in Chromium, with a real hub behind it."""

import asyncio
import re
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.chromium import until
from tests.support.hub import message, running_hub
from tests.support.js import INTEROP, node_or_skip
from worker.door.pages import add_page
from worker.hub.events import ClientDisconnected

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROOT = Path(__file__).parents[2]
MODULES = INTEROP / "node_modules"
# React 18 has builds for pages without a bundler; `react` is one of them, under the name the hook imports.
PAGE = """<!doctype html><meta charset="utf-8"><title>React</title>
<script type="importmap">{"imports": {"react": "/app/react.js"}}</script>
<script src="/umd/react/umd/react.development.js"></script>
<script src="/umd/react-dom/umd/react-dom.development.js"></script>
<main></main>
"""
REACT = """
export const { useCallback, useEffect, useRef, useState, useSyncExternalStore } = window.React;
"""
BELL = """
async (token) => {
  const { useNotifications } = await import("/page/hook.js");
  const { createElement: h, StrictMode, useState } = window.React;
  window.renders = 0;
  function Bell() {
    const [news, setNews] = useState([]);
    const { status, state, socket } = useNotifications(() => token, (one) => setNews((all) => [one, ...all]));
    window.socket = socket;
    window.renders += 1;
    const ids = news.map((one) => one.payload.notificationId).join(" ");
    return h("p", { role: "status", title: ids, lang: state }, `${status.text} · ${news.length}`);
  }
  const place = document.querySelector("main");
  window.root = window.ReactDOM.createRoot(place);
  window.show = (bell) => window.root.render(h(StrictMode, null, bell ? h(Bell) : null));
  window.show(true);
}
"""
TOLD = "(end) => document.querySelector('[role=status]')?.textContent.endsWith(end)"


def the_hook():
    """The first block of the section, word for word."""
    section = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8").split("## React", 1)[1]
    found = re.search(r"```jsx\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


def mount(app):
    def serve(path, text, kind):
        async def give(_request):
            return web.Response(text=text, content_type=kind)

        app.router.add_get(path, give)

    serve("/", PAGE, "text/html")
    serve("/app/react.js", REACT, "text/javascript")
    serve("/page/hook.js", the_hook(), "text/javascript")
    for name in ("react", "react-dom"):
        app.router.add_static(f"/umd/{name}", MODULES / name)
    add_page(app)


async def test_the_hook_tells_each_notification_once_and_leaves_with_its_component(tmp_path, context):
    await asyncio.to_thread(node_or_skip)
    async with running_hub(tmp_path, mount=mount) as running:
        page, faults = await context.new_page(), []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        publisher = await running.publisher()
        await publisher.publish(message(1))
        await page.goto(running.url)
        await page.evaluate(BELL, running.token())
        await until(page, TOLD, " · 1")
        await publisher.publish(message(2))
        await publisher.publish(message(2))
        await publisher.publish(message(3))
        await until(page, TOLD, " · 3")
        bell = page.get_by_role("status")
        assert await bell.get_attribute("title") == "news-3 news-2 news-1"
        assert await bell.get_attribute("lang") == "connected"
        assert (await bell.text_content()).startswith("เชื่อมต่อแล้ว")
        # Strict mode mounts, unmounts and mounts: one connection is left.
        (client,) = running.hub._core.clients_of("ann")
        await page.evaluate("() => window.socket.reconnect()")
        await running.happened(ClientDisconnected, lambda event: event.client_id == client.id)
        await publisher.publish(message(4))
        await until(page, TOLD, " · 4")
        (client,) = running.hub._core.clients_of("ann")
        await page.evaluate("() => window.show(false)")
        gone = await running.happened(ClientDisconnected, lambda event: event.client_id == client.id)
        assert gone.code == 1000
        await publisher.publish(message(5))
        await page.evaluate("() => window.show(true)")
        await until(page, TOLD, " · 1")
        assert await bell.get_attribute("title") == "news-5"
        faults = [fault for fault in faults if "favicon" not in fault and "404" not in fault]
        assert faults == []
