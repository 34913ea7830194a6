"""The page of @socket.io/admin-ui itself, in Chromium, looking at a hub of ours."""

import asyncio
import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.hub_settings import AdminUiSettings, HubSettings
from tests.support.hub import PATH, message, running_hub
from tests.support.js import INTEROP, node_or_skip
from worker.hub.events import ClientDisconnected

pytestmark = pytest.mark.asyncio(loop_scope="module")
PASSWORD = "a-password-for-this-test"
UI = INTEROP / "node_modules" / "@socket.io" / "admin-ui" / "ui" / "dist"


async def a_page(context):
    await asyncio.to_thread(node_or_skip)
    page = await context.new_page()
    # Its fonts lie elsewhere; nothing of a test leaves this machine.
    await page.route(lambda url: not url.startswith("http://127.0.0.1:"), lambda route: route.abort())
    return page


async def picture(page, name):
    """Kept where SCREENSHOTS says, to be looked at."""
    if folder := os.environ.get("SCREENSHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def test_admin_ui_shows_clients_and_disconnects_one(tmp_path, context):
    page = await a_page(context)
    settings = HubSettings(admin_ui=AdminUiSettings(enabled=True, password=SecretStr(PASSWORD), read_only=False))

    def mount(app):
        app.router.add_static("/admin-ui/", UI)

    async with running_hub(tmp_path, settings=settings, mount=mount) as running:
        ann, phone = await running.browser("ann"), await running.native("สมชาย")
        await phone.send_native("join-room", {"room": "lobby"})
        await (await running.publisher()).publish(message(1))
        await page.goto(f"{running.url}/admin-ui/index.html")
        await page.evaluate(
            "(kept) => Object.entries(kept).forEach(([key, value]) => localStorage.setItem(key, value))",
            {"server_url": running.url, "path": PATH, "ws_only": "true", "namespace": "/admin"},
        )
        await page.reload()
        # It tries without a session, is rejected, and shows the login form.
        await page.get_by_label("Username").fill("admin")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Connect").click()
        await page.get_by_label("Password").wait_for(state="hidden")
        await page.goto(f"{running.url}/admin-ui/index.html#/sockets/")
        await page.get_by_text(ann.client.get_sid()).first.wait_for()
        await picture(page, "admin-ui-sockets")
        await page.goto(f"{running.url}/admin-ui/index.html#/n/%2F/sockets/{ann.client.get_sid()}")
        await picture(page, "admin-ui-socket")
        await page.goto(f"{running.url}/admin-ui/index.html#/rooms/")
        await page.get_by_text("user:ann").first.wait_for()
        await picture(page, "admin-ui-rooms")
        await page.goto(f"{running.url}/admin-ui/index.html#/")
        await picture(page, "admin-ui")
        await page.goto(f"{running.url}/admin-ui/index.html#/sockets/")
        row = page.get_by_role("row").filter(has_text=ann.client.get_sid())
        await row.get_by_role("button").first.click()
        ended = await running.wait_for_event(ClientDisconnected, lambda event: event.user_id == "ann")
        assert ended.reason == "ended by admin (admin-ui)"
