"""The hub is killed, stopped and cut off at random while it is published to: nobody misses anything.

Real processes: the hub by its command, the receiver is socket.io-client 4 in Node.
"""

import asyncio
import contextlib
import random
import signal

import aiohttp
import orjson
import pytest

from tests.interop.test_hub_js import js_client
from tests.interop.test_hub_js import pytestmark as needs_node
from tests.support.hub import EVENT, PATH, message
from tests.support.process import WorkerProcess, free_port
from worker.clock import Clock
from worker.hub.auth import Authority, load_key

pytestmark = needs_node
WINDOW = 64


class Publisher:
    """At least once, in order: everything unacknowledged is sent again on each new connection."""

    def __init__(self, port, token):
        self._url = f"http://127.0.0.1:{port}{PATH}/?EIO=4&transport=websocket"
        self._token = token
        self.acknowledged = 0

    async def publish(self, count):
        while self.acknowledged < count:
            with contextlib.suppress(aiohttp.ClientError, OSError, EOFError):
                await self._session(count)
            await asyncio.sleep(0.02)

    async def _session(self, count):
        async with aiohttp.ClientSession() as session, session.ws_connect(self._url) as socket:
            await self._receive(socket)
            await socket.send_str("40" + orjson.dumps({"token": self._token}).decode())
            assert (await self._receive(socket)).startswith("40")
            sent = self.acknowledged
            while self.acknowledged < count:
                while sent < min(count, self.acknowledged + WINDOW):
                    packet = [EVENT, message(sent), {"userId": "ann"}]
                    await socket.send_str(f"42{sent}{orjson.dumps(packet).decode()}")
                    sent += 1
                answer = await self._receive(socket)
                if answer.startswith("43"):
                    assert answer == f'43{self.acknowledged}[{{"ok":true}}]'
                    self.acknowledged += 1
                elif answer == "2":
                    await socket.send_str("3")

    async def _receive(self, socket):
        frame = await socket.receive()
        if frame.type is not aiohttp.WSMsgType.TEXT:
            raise EOFError
        return frame.data


async def _trouble(worker, publisher, ann, chance, count):
    """Kill, stop or cut, then start again, each time some way on, until all is published."""
    while publisher.acknowledged < count:
        goal = publisher.acknowledged + chance.randrange(200, 500)
        while publisher.acknowledged < min(goal, count):
            await asyncio.sleep(0.01)
        if chance.random() < 0.4:
            await ann.order(kick=True)
            continue
        if chance.random() < 0.5:
            worker.kill()
        else:
            assert await worker.stop(signal.SIGTERM) == 0
        await worker.start()


@pytest.mark.parametrize(("seed", "resume"), [(1, True), (2, False)])
async def test_every_notification_arrives_in_order_whatever_happens_to_hub_and_link(tmp_path, seed, resume):
    """Also for a client of today, which says nothing of where it was."""
    count, port = 2500, free_port()
    settings = [f"--Http:Url=http://127.0.0.1:{port}", f"--WebSocket:Url=http://127.0.0.1:{port}"]
    worker = WorkerProcess(tmp_path, settings, command="hub")
    await worker.start()
    authority = Authority(load_key(worker.state / "hub.key")[0], "insignia-worker", "org-socket", Clock())
    publisher = Publisher(port, authority.mint("publisher", publish=True))
    try:
        async with js_client(f"http://127.0.0.1:{port}", token=authority.mint("ann"), resume=resume) as ann:
            await ann.until("connect")
            publishing = asyncio.create_task(publisher.publish(count))
            trouble = asyncio.create_task(_trouble(worker, publisher, ann, random.Random(seed), count))
            seen = await _first_arrivals(ann, count)
            await asyncio.gather(publishing, trouble)
        assert seen == [f"news-{n}" for n in range(count)]
        assert "Traceback" not in worker.text()
    finally:
        worker.kill()


async def _first_arrivals(ann, count):
    """Ids in the order of their first arrival, until all of them have come."""
    seen = {}
    async with asyncio.timeout(60):
        while len(seen) < count:
            line = await ann.next()
            if line[:2] == ["event", EVENT]:
                seen.setdefault(line[2]["payload"]["notificationId"])
    return list(seen)
