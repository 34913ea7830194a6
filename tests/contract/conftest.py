"""Every implementation of Store. A new one is one more opener here; it is finished when these suites pass."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.postgres import place_for
from tests.support.stores import ManualClock, StoreLocation
from worker.core.clock import Clock
from worker.core.store import Store
from worker.stores.sqlite.store import open_store

Opener = Callable[[str, int, Clock], Awaitable[Store]]
Destroy = Callable[[], Awaitable[None]]
Provider = Callable[[Path], tuple[Opener, Destroy | None]]


def sqlite(folder: Path) -> tuple[Opener, Destroy | None]:
    async def opener(owner: str, max_bytes: int, clock: Clock) -> Store:
        return await open_store(folder / "queue.db", owner=owner, max_bytes=max_bytes, clock=clock)

    return opener, None


def postgres(folder: Path) -> tuple[Opener, Destroy | None]:
    place = place_for(folder)
    return place.open, place.destroy


PROVIDERS: list[Provider] = [sqlite, postgres]


@pytest.fixture
def manual_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=PROVIDERS)
async def location(
    request: pytest.FixtureRequest, tmp_path: Path, manual_clock: ManualClock
) -> AsyncIterator[StoreLocation]:
    location = StoreLocation(manual_clock, *request.param(tmp_path))
    yield location
    await location.close_all()


@pytest.fixture
async def store(location: StoreLocation) -> Store:
    return await location.open()
