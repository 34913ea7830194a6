"""What happens to pages in real life, with the client's default options: each notification once, in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import until
from tests.support.fault_proxy import fault_proxy
from tests.support.hub import RunningHub, message, running_hub
from tests.support.nginx import plain_nginx
from worker.api.static_files import add_page

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

OPEN = """
async (token) => {
  const { ResilientWebSocket } = await import("/page/resilient-websocket.js");
  window.got = [];
  window.closes = [];
  const socket = (window.socket = new ResilientWebSocket({ token: token ?? (() => window.nextToken()) }));
  socket.addEventListener("notification", ({ detail }) => window.got.push(detail.payload.notificationId));
  socket.addEventListener("closed", ({ detail }) => window.closes.push(detail.code));
  socket.open();
}
"""
OFFLINE_SECONDS = 60.0
CONNECTED = "() => window.socket.state === 'connected'"


class Tab:
    """A page with a client, and the notifications that were published for it."""

    def __init__(self, page: Any, publisher: Any) -> None:
        self.page = page
        self._publisher = publisher
        self.published: list[str] = []

    async def publish(self, count: int) -> None:
        for _ in range(count):
            number = len(self.published)
            await self._publisher.publish(message(number))
            self.published.append(f"news-{number}")

    async def has_all(self) -> None:
        """Wait for everything; nothing may have come twice, or in another order."""
        await until(self.page, "(n) => window.got.length >= n", len(self.published))
        assert await self.page.evaluate("window.got") == self.published

    async def statistics(self) -> dict[str, Any]:
        figures: dict[str, Any] = await self.page.evaluate("window.socket.statistics")
        return figures


async def a_tab(context: Any, running: RunningHub, url: str, token: str | None) -> Tab:
    page = await context.new_page()
    page.set_default_timeout(90_000)
    await page.goto(f"{url}/page/status.html")
    await page.evaluate(OPEN, token)
    await until(page, CONNECTED)
    return Tab(page, await running.publisher())


async def test_frozen_tab_gets_what_it_missed_when_it_is_resumed(running: RunningHub, context: Any) -> None:
    tab = await a_tab(context, running, running.url, running.token())
    tools = await context.new_cdp_session(tab.page)
    await tab.publish(3)
    await tab.has_all()
    await tools.send("Page.setWebLifecycleState", {"state": "frozen"})
    await tab.publish(20)
    await tools.send("Page.setWebLifecycleState", {"state": "active"})
    await tab.publish(2)
    await tab.has_all()


async def test_two_tabs_of_a_user_get_each_notification_once(running: RunningHub, context: Any) -> None:
    first = await a_tab(context, running, running.url, running.token())
    await first.publish(3)
    await first.has_all()
    second = await a_tab(context, running, running.url, running.token())
    await first.publish(20)
    await first.has_all()
    # The second one began when the first had not yet reported what it had read, or later: it has an end of the list.
    await until(second.page, "(id) => window.got.at(-1) === id", first.published[-1])
    seen = await second.page.evaluate("window.got")
    assert seen == first.published[-len(seen) :]
    assert len(seen) >= 20


@pytest.mark.matrix
async def test_pages_behind_a_bad_network_and_with_short_tokens_get_each_notification_once(
    tmp_path: Path, context: Any
) -> None:
    async with a_hub(tmp_path / "idle") as idle, a_hub(tmp_path / "away") as away, a_hub(tmp_path / "token") as token:
        # Less than the pings of either side.
        with plain_nginx(tmp_path / "nginx", idle.port, idle_seconds=10) as url:
            async with asyncio.TaskGroup() as scenarios:
                scenarios.create_task(_proxy_that_cuts_idle_connections(context, idle, url))
                scenarios.create_task(_offline_for_a_while(context, away))
                scenarios.create_task(_token_that_is_renewed(context, token))


@contextlib.asynccontextmanager
async def a_hub(folder: Path) -> AsyncIterator[RunningHub]:
    folder.mkdir()
    async with running_hub(folder, mount=add_page) as running:
        yield running


async def _proxy_that_cuts_idle_connections(context: Any, running: RunningHub, url: str) -> None:
    tab = await a_tab(context, running, url, running.token())
    for cuts in (1, 2):
        await tab.publish(5)
        await tab.has_all()
        await until(tab.page, "(n) => window.closes.length >= n", cuts)
        await tab.publish(5)
    await tab.has_all()
    assert (await tab.statistics())["gaps"] == 0


async def _offline_for_a_while(context: Any, running: RunningHub) -> None:
    """The network is gone for a minute, and attempts to connect fail. All other pages of the context stay online."""
    async with fault_proxy(running.port) as proxy:
        tab = await a_tab(context, running, proxy.url, running.token())
        tools = await context.new_cdp_session(tab.page)
        await tab.publish(5)
        await tab.has_all()
        network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await tools.send("Network.emulateNetworkConditions", {"offline": True, **network})
        proxy.hole()
        proxy.refusing = True
        minute = asyncio.create_task(asyncio.sleep(OFFLINE_SECONDS))
        await tab.publish(10)
        await until(tab.page, "() => window.socket.state === 'reconnecting'")
        await tab.publish(10)
        await minute
        proxy.refusing = False
        await tools.send("Network.emulateNetworkConditions", {"offline": False, **network})
        await tab.publish(5)
        await tab.has_all()
        assert (await tab.statistics())["gaps"] == 0
        proxy.reset()


async def _token_that_is_renewed(context: Any, running: RunningHub) -> None:
    """Tokens live for 8 s; the page asks for another one in time, and the connection stays."""
    issued = 0

    async def next_token() -> str:
        nonlocal issued
        issued += 1
        return running.hub.tokens.mint("ann", days=8 / 86400)

    await context.expose_function("nextToken", next_token)
    tab = await a_tab(context, running, running.url, None)
    while issued < 4:
        await tab.publish(1)
        await tab.has_all()
        await asyncio.sleep(0.5)
    await tab.has_all()
    # On a machine that is busy for seconds a token may end before it is renewed: then it costs a reconnect, no message.
    assert set(await tab.page.evaluate("window.closes")) <= {4401}
