"""The admin page's namespace with the real socket.io-client 4 in place of the page."""

import pytest
from pydantic import SecretStr

from config.hub_settings import AdminUiSettings, HubSettings
from tests.interop.test_hub_js import js_client
from tests.support.hub import running_hub
from worker.hub.events import ClientDisconnected

PASSWORD = "a-password-for-this-test"


@pytest.fixture
async def running(tmp_path):
    admin_ui = AdminUiSettings(enabled=True, password=SecretStr(PASSWORD), read_only=False)
    async with running_hub(tmp_path, settings=HubSettings(admin_ui=admin_ui)) as hub:
        yield hub


def a_page(running, **auth):
    return js_client(running.url, script="admin_client.js", **auth)


async def test_javascript_page_logs_in_sees_clients_and_disconnects_one(running):
    ann = await running.browser("ann")
    async with a_page(running, username="admin", password=PASSWORD) as page:
        await page.until("connect")
        assert (await page.until("event", "config"))[2]["supportedFeatures"][-1] == "MDISCONNECT"
        assert (await page.until("event", "server_stats"))[2]["namespaces"][0] == {"name": "/", "socketsCount": 1}
        (socket,) = (await page.until("event", "all_sockets"))[2]
        assert socket["rooms"][1:] == ["user:ann"]
        bob = await running.browser("bob")
        assert (await page.until("event", "socket_connected"))[2]["data"]["userId"] == "bob"
        assert (await page.until("event", "room_joined"))[2:4] == ["/", "user:bob"]
        await page.order(emit=["_disconnect", "/", False, ann.client.get_sid()])
        ended = await running.wait_for_event(ClientDisconnected)
        assert ended.user_id == "ann"
        assert (await page.until("event", "socket_disconnected"))[2:4] == ["/", ended.client_id]
        assert await bob.received_so_far() == []


async def test_javascript_page_reconnects_by_session_and_a_wrong_password_is_reported(running):
    async with a_page(running, username="admin", password=PASSWORD) as page:
        await page.until("event", "all_sockets")
        running.hub._registry.abort_all()
        # An error where something of the client was still unread: the system resets such a connection.
        assert (await page.until("disconnect"))[1] in ("transport close", "transport error")
        await page.until("event", "all_sockets")
    async with a_page(running, username="admin", password="wrong") as page:
        assert await page.next() == ["connect_error", "invalid credentials"]
