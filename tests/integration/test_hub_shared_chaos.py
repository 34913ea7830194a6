"""Two hubs and their Redis are killed at random, alone and together: nothing is lost, order is kept."""

import asyncio
import itertools
import random

import orjson
import pytest

from tests.support.hub import EVENT, message
from tests.support.ports import free_port
from tests.support.process import WorkerProcess
from tests.support.redis_server import RedisServer
from tests.support.roaming import RoamingBrowser, RoamingPublisher
from worker.core.clock import Clock
from worker.hub.tokens import TokenService

KEY = "the-key-of-both-hubs-in-this-test-0123456789"
USERS = (("ann", "สมชาย"), ("bob", "zoë"))
"""Of each publisher, because only one publisher's messages for a user have an order. The first user has two devices
that resume by position, the second a page without a position, which gets what no client of the user has read."""
FIRST = {users: 100_000 * place for place, users in enumerate(USERS)}
EACH = 1000
ROUND = 200
"""Of each publisher: published in rounds, or all would be published during the first restart."""


@pytest.fixture
def parts(tmp_path):
    """The processes of Redis and the two hubs, and the hubs' addresses."""
    server = RedisServer(tmp_path / "redis")
    processes, urls = [], []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        urls.append(f"http://127.0.0.1:{free_port()}")
        settings = [f"--Http:Url={urls[-1]}", f"--Hub:Redis={server.url}", f"--Hub:Jwt:Key={KEY}"]
        processes.append(WorkerProcess(tmp_path / name, settings, command="hub"))
    yield server, processes, urls
    for process in processes:
        if process.process is not None and process.process.poll() is None:
            process.kill()
    server.kill()


class Trouble:
    """Kills one, two or all three of them at the same moment and starts them again in any order."""

    def __init__(self, server, processes, seed):
        self._parts = [server, *processes]
        self._chance = random.Random(seed)
        combinations = [some for size in (1, 2, 3) for some in itertools.combinations(range(3), size)]
        # Each combination once, in any order, then by chance.
        self._coming = self._chance.sample(combinations, len(combinations))
        self._combinations = combinations
        self.happened = []

    async def strike(self):
        chosen = self._coming.pop() if self._coming else self._chance.choice(self._combinations)
        self.happened.append(chosen)
        for number in chosen:
            self._parts[number].kill()
        for number in self._chance.sample(chosen, len(chosen)):
            if number == 0:
                await asyncio.to_thread(self._parts[0].start)
            else:
                await self._parts[number].start()


async def _round(publishers, bodies, trouble, chance):
    """Publish them, and kill something while they are published."""
    before, size = _acknowledged(publishers), sum(map(len, bodies))
    moment = before + chance.randrange(size)
    async with asyncio.TaskGroup() as group:
        for publisher, part in zip(publishers, bodies, strict=True):
            group.create_task(publisher.send_all(part))
        while _acknowledged(publishers) < moment:
            await asyncio.sleep(0.002)
        await trouble.strike()


def _acknowledged(publishers):
    return sum(publisher.acknowledged for publisher in publishers)


def _bodies(users):
    # An id belongs to one notification, whichever publisher sends it.
    numbers = itertools.count(FIRST[users])
    return [
        orjson.dumps([EVENT, message(next(numbers)), {"userId": user}]).decode() for _ in range(EACH) for user in users
    ]


@pytest.mark.kill
@pytest.mark.timeout(960)
@pytest.mark.parametrize("seed", [1, 2])
async def test_hubs_and_redis_killed_together_lose_nothing(parts, seed):
    server, processes, urls = parts
    server.start()
    for process in processes:
        await process.start()
    authority = TokenService(KEY.encode(), "insignia-worker", "org-socket", Clock())
    publishers = [RoamingPublisher(urls, authority.mint(f"link-{n}", publish=True)) for n in range(len(USERS))]
    browsers = {
        user: [RoamingBrowser(urls, authority.mint(user), resume=resume) for resume in devices]
        for users in USERS
        for user, devices in zip(users, ((True, True), (False,)), strict=True)
    }
    trouble = Trouble(server, processes, seed)
    async with asyncio.timeout(900), asyncio.TaskGroup() as group:
        for browser in itertools.chain(*browsers.values()):
            group.create_task(browser.receive(EACH))
        chance, bodies = random.Random(-seed), [_bodies(users) for users in USERS]
        for start in range(0, len(bodies[0]), ROUND):
            await _round(publishers, [part[start : start + ROUND] for part in bodies], trouble, chance)
    for users in USERS:
        for place, user in enumerate(users):
            first = FIRST[users] + place
            expected = list(range(first, first + EACH * len(users), len(users)))
            for browser in browsers[user]:
                assert browser.received == expected, (user, trouble.happened)
    assert len(set(trouble.happened)) == 7, trouble.happened
    for process in processes:
        assert "Traceback" not in process.text()
