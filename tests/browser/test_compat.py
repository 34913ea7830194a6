"""Code written for other hubs and clients, in Chromium with a real hub behind it."""

import pytest
from aiohttp import web

from config.hub_settings import HubSettings
from tests.support.chromium import until
from tests.support.hub import message, progress, running_hub
from worker.api.static_files import add_page

pytestmark = pytest.mark.asyncio(loop_scope="module")

SNIPPET = """
() => {
  window.got = [];
  const ws = (window.ws = new WebSocket(location.origin.replace("http", "ws") + "/ws"));
  ws.onmessage = (event) => window.got.push(JSON.parse(event.data));
  ws.onopen = () => {
    ws.send(JSON.stringify({ type: "ping" }));
    ws.send(JSON.stringify({ type: "echo", message: "Hello" }));
    ws.send(JSON.stringify({ type: "join-room", room: "lobby" }));
    ws.send(JSON.stringify({ type: "broadcast", message: "to all" }));
    ws.send(JSON.stringify({ type: "heartbeat", client_id: "c1", timestamp: new Date().toISOString() }));
    ws.send(JSON.stringify({ type: "leave-room", room: "lobby" }));
  };
}
"""


async def test_console_snippet_without_a_token_works_on_an_anonymous_hub(tmp_path, context):
    async with running_hub(tmp_path, settings=HubSettings(anonymous=True), mount=add_page) as running:
        page = await context.new_page()
        await page.goto(f"{running.url}/page/status.html")
        await page.evaluate(SNIPPET)
        await until(page, "() => window.got.some(({ type }) => type === 'room-left')")
        got = await page.evaluate("window.got")
        assert [one["type"] for one in got] == [
            "welcome",
            "pong",
            "echo",
            "room-joined",
            "broadcast",
            "pong",
            "room-left",
        ]
        assert got[0]["clientId"]
        assert got[2]["original"] == {"type": "echo", "message": "Hello"}
        assert (got[3]["room"], got[4]["message"], got[4]["from"]) == ("lobby", "to all", got[0]["clientId"])


async def test_client_with_the_names_of_others_receives_notifications_and_follows_a_job(running, context):
    page = await context.new_page()
    await page.goto(f"{running.url}/page/status.html")
    await page.evaluate(
        """async (token) => {
          const compat = await import("/page/resilient-websocket-compat.js");
          window.got = [];
          const options = { token, maxReconnectAttempts: 10, reconnectDelay: 50, maxQueueSize: 100 };
          const socket = new compat.ResilientWebSocket("/ws", options);
          socket.on("stateChange", ({ newState }) => window.got.push(newState));
          socket.subscribe("notification", ({ data }) => window.got.push(data.payload.notificationId));
          await socket.connect();
          window.figures = socket.getStatus();
          compat.createReconnectingWebSocket("job-7", { onMessage: ({ type }) => window.got.push(`job ${type}`),
            onOpen: () => window.got.push("job open") }, { token });
        }""",
        running.token(),
    )
    await until(page, "() => window.got.includes('job open')")
    publisher = await running.publisher()
    await publisher.publish(progress("job-7", 30.0))
    await until(page, "() => window.got.includes('job progress')")
    await publisher.publish(message(7))
    await until(page, "() => window.got.includes('news-7') && window.got.includes('job notification')")
    got = await page.evaluate("window.got")
    assert got[:2] == ["connecting", "connected"]
    assert got.count("news-7") == got.count("job notification") == 1
    figures = await page.evaluate("window.figures")
    assert (figures["connected"], figures["stats"]["totalConnections"]) == (True, 1)


async def test_page_of_an_allowed_origin_imports_the_client_and_connects(tmp_path, context):
    async def blank(_request: web.Request) -> web.Response:
        # Without the policy of the status page, which forbids other origins.
        return web.Response(text="<p>portal</p>", content_type="text/html")

    def mount_blank(app: web.Application) -> None:
        app.router.add_get("/", blank)

    async with running_hub(tmp_path / "portal", mount=mount_blank) as portal:
        origin = frozenset({portal.url})
        settings = HubSettings(allowed_origins=[portal.url])
        hub = running_hub(tmp_path / "hub", settings=settings, mount=lambda app: add_page(app, origin))
        async with hub as running:
            page = await context.new_page()
            await page.goto(portal.url)
            await page.evaluate(
                """async ([hub, token]) => {
                  const { ResilientWebSocket } = await import(`${hub}/page/resilient-websocket.js`);
                  window.socket = new ResilientWebSocket({ token });
                  window.socket.open();
                }""",
                [running.url, running.token()],
            )
            await until(page, "() => window.socket.state === 'connected'")
            assert await page.evaluate("window.socket.address") == f"{running.url}/ws"
            assert len(running.hub.hub.clients) == 1
