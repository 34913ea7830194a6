"""The hub is killed, stopped and disconnected at random during publishing: no client misses anything.

Real processes: the hub by its command, the receiver is socket.io-client 4 in Node.
"""

import asyncio
import random
import signal

import pytest

from tests.interop.test_hub_js import js_client
from tests.support.hub import EVENT
from tests.support.ports import free_port
from tests.support.process import WorkerProcess
from tests.support.publisher import Publisher
from worker.core.clock import Clock
from worker.hub.tokens import TokenService, load_key


async def _trouble(worker, publisher, ann, chance, count):
    """Kill, stop or disconnect it, then start it again, several times, until all is published."""
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


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("seed", "resume", "transports"),
    [
        (1, True, ["websocket"]),
        (2, False, ["websocket"]),
        (3, True, ["polling", "websocket"]),
        (4, False, ["polling", "websocket"]),
        (5, False, ["polling"]),
    ],
)
async def test_notifications_arrive_in_order_while_hub_and_link_are_killed(tmp_path, seed, resume, transports):
    """Also for a client that sends no position, and for one that polls."""
    count, port = 5000, free_port()
    settings = [f"--Http:Url=http://127.0.0.1:{port}", f"--WebSocket:Url=http://127.0.0.1:{port}"]
    worker = WorkerProcess(tmp_path, settings, command="hub")
    await worker.start()
    authority = TokenService(load_key(worker.state / "hub.key")[0], "insignia-worker", "org-socket", Clock())
    publisher = Publisher(port, authority.mint("publisher", publish=True))
    try:
        options = {"token": authority.mint("ann"), "resume": resume, "transports": transports}
        async with js_client(f"http://127.0.0.1:{port}", **options) as ann:
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
    """Ids in the order of their first arrival, until all have arrived."""
    seen: dict[str, None] = {}
    while len(seen) < count:
        # Since the last line: the whole takes as long as a dozen starts of the hub.
        line = await ann.next(seconds=60)
        if line[:2] == ["event", EVENT]:
            seen.setdefault(line[2]["payload"]["notificationId"])
    return list(seen)
