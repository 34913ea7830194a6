"""Every store there is. A new implementation is one more opener here, and done when the suites are green."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.stores import HandClock, StoreHouse
from worker.clock import Clock
from worker.queue import Store
from worker.queues.sqlite import open_store

Opener = Callable[[str, int, Clock], Awaitable[Store]]


def sqlite(folder: Path) -> Opener:
    async def opener(owner: str, max_bytes: int, clock: Clock) -> Store:
        return await open_store(folder / "queue.db", owner=owner, max_bytes=max_bytes, clock=clock)

    return opener


@pytest.fixture
def hands() -> HandClock:
    return HandClock()


@pytest.fixture(params=[sqlite])
async def house(request: pytest.FixtureRequest, tmp_path: Path, hands: HandClock) -> AsyncIterator[StoreHouse]:
    house = StoreHouse(hands, request.param(tmp_path))
    yield house
    await house.close_all()


@pytest.fixture
async def store(house: StoreHouse) -> Store:
    return await house.open()
