"""Hub, network and browser tab are restarted at random while 5,000 notifications are published: each arrives once."""

import asyncio
import contextlib
import random
import signal
from typing import Any

import pytest

from tests.support.chromium import IMPATIENT, a_profile, got, record, until
from tests.support.fault_proxy import fault_proxy
from tests.support.ports import free_port
from tests.support.process import WorkerProcess
from tests.support.publisher import Publisher
from worker.core.clock import Clock
from worker.hub.tokens import TokenService, load_key

LOAD_SECONDS = 3.0
"""A page that has not loaded by then waits on a dead connection, and its user reloads it: each time more patiently, as
the machine may only be slow."""


class Tab:
    """A tab that is opened again and again; what it has received is in the browser's localStorage."""

    def __init__(self, context, proxy, token):
        self._context = context
        self._proxy = proxy
        self._token = token
        self.page: Any = None
        self.faults = []

    async def open(self):
        """Open a new tab; the one before is closed whatever it is doing."""
        if self.page is not None:
            await self.page.close()
        self.page = await self._context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        await self._load()

    async def reload(self):
        await self._load()

    async def crash(self):
        """The page's process dies; the user opens another tab."""
        crashed = asyncio.Event()
        self.page.once("crash", lambda _: crashed.set())
        going = asyncio.ensure_future(self.page.goto("chrome://crash"))
        async with asyncio.timeout(120):
            await crashed.wait()
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        await self.open()

    async def _load(self):
        from playwright.async_api import Error

        patience = LOAD_SECONDS
        while True:
            with contextlib.suppress(Error):
                await self.page.goto(f"{self._proxy.url}/page/status.html", timeout=patience * 1000)
                await record(self.page, self._token, remember="local", **IMPATIENT)
                return
            patience *= 2
            self._proxy.reset()
            await asyncio.sleep(0.1)


class Trouble:
    """One fault after another while notifications are published, until all are."""

    def __init__(self, worker, proxy, tab, publisher, seed):
        self._worker = worker
        self._proxy = proxy
        self._tab = tab
        self._publisher = publisher
        self._chance = random.Random(seed)
        self.happened = []

    async def until(self, count):
        misfortunes = [
            self._kill,
            self._stop,
            self._cut,
            self._reset,
            self._hole,
            self._reload,
            self._new_tab,
            self._crash,
        ]
        # Each of them once, in any order, then by chance.
        self._chance.shuffle(misfortunes)
        coming = iter(misfortunes)
        while self._publisher.acknowledged < count:
            misfortune = next(coming, None) or self._chance.choice(misfortunes)
            start = self._publisher.acknowledged
            goal = min(count, start + self._chance.randrange(150, 350))
            # In rounds, or the publisher would be done during the first restart of the hub.
            await asyncio.gather(
                self._publisher.publish(goal), self._strike(misfortune, self._chance.randrange(start, goal))
            )

    async def _strike(self, misfortune, moment):
        while self._publisher.acknowledged < moment:
            await asyncio.sleep(0.002)
        self.happened.append(misfortune.__name__)
        await misfortune()

    async def _kill(self):
        self._worker.kill()
        await self._worker.start()

    async def _stop(self):
        assert await self._worker.stop(signal.SIGTERM) == 0
        await self._worker.start()

    async def _cut(self):
        self._proxy.cut()

    async def _reset(self):
        self._proxy.reset()

    async def _hole(self):
        self._proxy.hole()

    async def _reload(self):
        await self._tab.reload()

    async def _new_tab(self):
        await self._tab.open()

    async def _crash(self):
        await self._tab.crash()


def _gaps(received, count):
    """Return where the received numbers are not 0, 1, 2, …: (place, number before, number there)."""
    numbers = [int(each.removeprefix("news-")) for each in received]
    steps = enumerate(zip([-1, *numbers], [*numbers, count], strict=True))
    return [(place, before, there) for place, (before, there) in steps if there != before + 1]


@pytest.mark.kill
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
async def test_every_notification_arrives_once_and_in_order_across_restarts(tmp_path, chromium, seed):
    count, port = 5000, free_port()
    settings = [f"--Http:Url=http://127.0.0.1:{port}", f"--WebSocket:Url=http://127.0.0.1:{port}"]
    worker = WorkerProcess(tmp_path, settings)
    await worker.start()
    try:
        authority = TokenService(load_key(worker.state / "hub.key")[0], "insignia-worker", "org-socket", Clock())
        publisher = Publisher(port, authority.mint("publisher", publish=True))
        async with fault_proxy(port) as proxy, a_profile(chromium) as context:
            tab = Tab(context, proxy, authority.mint("ann"))
            await tab.open()
            await until(tab.page, "() => window.socket.state === 'connected'")
            trouble = Trouble(worker, proxy, tab, publisher, seed)
            await trouble.until(count)
            await until(tab.page, "(n) => window.count >= n", count)
            received = await got(tab.page, local=True)
            assert _gaps(received, count) == [], trouble.happened
            assert tab.faults == []
        assert len(set(trouble.happened)) == 8, trouble.happened
        assert "Traceback" not in worker.text()
    finally:
        worker.kill()
