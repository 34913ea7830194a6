"""The hub is killed, stopped and cut off at random while it is published to: nobody misses anything.

Real processes: the hub by its command, the receiver is socket.io-client 4 in Node.
"""

import asyncio
import random
import signal

import pytest

from tests.interop.test_hub_js import js_client
from tests.support.hub import EVENT
from tests.support.process import WorkerProcess, free_port
from tests.support.publisher import Publisher
from worker.clock import Clock
from worker.hub.auth import Authority, load_key


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
    count, port = 5000, free_port()
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
