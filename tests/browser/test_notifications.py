"""The dashboard's page of notifications in Chromium: what waits is set aside, and sent again, by its buttons."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.chromium import a_profile, until
from tests.support.dashboard import Service, a_service, dashboard
from tests.support.ports import free_port
from tests.support.socketio_server import SocketIoServer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900), pytest.mark.both_stores]

ROW = "main .notification-table tbody tr"
STATE = """async (id) => {
  const found = await (await fetch(`/api/v1/notifications?jobId=${id}`)).json();
  return found.notifications[0]?.status;
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def org_socket(store_provider: str) -> AsyncIterator[SocketIoServer]:
    """A server for each store that is not started yet; its port is reserved by its number alone."""
    del store_provider
    server = SocketIoServer(port=free_port())
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory, org_socket: SocketIoServer, store_provider: str
) -> AsyncIterator[Service]:
    folder: Path = tmp_path_factory.mktemp(f"notifications-{store_provider}")
    link = (
        f"--WebSocket:Url={org_socket.url}",
        "--WebSocket:ReconnectionDelay=200",
        "--WebSocket:MaxReconnectionDelay=500",
    )
    async with a_service(folder, *link) as service:
        yield service


async def test_waiting_notification_is_set_aside_and_sent_again_by_the_buttons(
    chromium: Any, service: Service, org_socket: SocketIoServer
) -> None:
    async with a_profile(chromium) as context:
        tab = await dashboard(context, service.url)
        page = tab.page
        await tab.sign_in(service.key)
        first, second = [await service.submit("letters.send", text=text) for text in ("one", "two")]
        for job_id in (first, second):
            await service.ended(job_id)
        await tab.open(f"/notifications?jobId={first}")
        await page.click(f"{ROW} [data-act=set-aside]")
        await page.locator(".toast.is-good").wait_for()
        await page.wait_for_selector(f"{ROW} .chip.is-dead")
        assert await page.evaluate(STATE, first) == "dead"
        assert await page.evaluate(STATE, second) == "pending", "only the one that was clicked is set aside"
        assert await page.locator(f"{ROW} [data-act=set-aside]").count() == 0

        await org_socket.start()
        await until(page, f"async (id) => (await ({STATE})(id)) === 'delivered'", second)
        assert await page.evaluate(STATE, first) == "dead", "what is set aside is not sent when the server comes"

        await page.click(f"{ROW} [data-act=resend]")
        await until(page, f"async (id) => (await ({STATE})(id)) === 'delivered'", first)
        await page.mouse.move(0, 0)  # rows do not change under the pointer
        await page.evaluate("document.activeElement.blur()")
        await page.wait_for_selector(f"{ROW} .chip.is-delivered")
        sent = [message["payload"]["jobId"] for message, _ in org_socket.received if "jobId" in message["payload"]]
        assert list(dict.fromkeys(sent)) == [second, first]
        assert (tab.faults, await tab.violations()) == ([], [])
