"""A service that starts on a full disk waits for space, and continues by itself."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from config.loader import LoadedSettings
from tests.support.event_collector import EventCollector
from tests.support.site import Site
from tests.support.small_disk import run_on_small_disk
from worker.core.clock import Clock
from worker.core.event_bus import EventBus
from worker.core.events import Announced, Warned
from worker.disk import room
from worker.errors import StoreCorrupt, StoreError, StoreFull, StoreUnwritable
from worker.hub.server import HubServer
from worker.runtime.worker import Worker
from worker.service import disk_room
from worker.service.components import ShutdownSignal
from worker.service.run import serve
from worker.service.standalone import serve_hub
from worker.service.stores import open_service_store
from worker.stores.sqlite import store as sqlite
from worker.stores.sqlite.store import SqliteStore, open_store


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[StoreError]:
    """Raised by the next attempts to open the store, one each."""
    pending: list[StoreError] = []

    async def opener(path: Path, **options: Any) -> SqliteStore:
        if pending:
            raise pending.pop(0)
        return await open_store(path, **options)

    monkeypatch.setattr(sqlite, "open_store", opener)
    monkeypatch.setattr(disk_room, "_ROOM_SECONDS", 0.01)
    return pending


@dataclass
class Starting:
    """A service that starts, and what it reports."""

    shutdown: ShutdownSignal
    events: EventCollector
    ready: asyncio.Event
    serving: "asyncio.Task[None]"

    def waits(self) -> int:
        return len([warned for warned in self.events.of(Warned) if "the start waits" in warned.text])

    async def until_ready(self) -> None:
        async with asyncio.timeout(120):  # a guard against a hang: on a busy machine a start takes long
            await self.ready.wait()

    async def stop(self) -> None:
        self.shutdown.request("the test ends")
        await self.serving


def starting(site: Site, *settings: str) -> Starting:
    shutdown, events, ready = ShutdownSignal(), EventCollector(), asyncio.Event()
    loaded = site.load(
        "--Http:Url=http://127.0.0.1:0", *settings, environ={"STATE_DIRECTORY": str(site.here / "state")}
    )
    serving = serve(loaded, EventBus(events), shutdown=shutdown, on_ready=lambda _info: ready.set())
    return Starting(shutdown, events, ready, asyncio.ensure_future(serving))


async def test_start_on_a_full_disk_waits_and_reports_once(site: Site, failures: list[StoreError]) -> None:
    failures += [StoreFull("the disk is full")] * 3
    service = starting(site)
    await service.until_ready()
    assert not failures
    await service.stop()
    assert service.waits() == 1


async def test_disk_that_is_full_once_the_store_is_open_is_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, failures: list[StoreError]
) -> None:
    """The store could be opened, but the jobs of a service that was killed could not be taken over."""
    attempts: list[None] = []
    recover = Worker.recover

    async def recover_later(worker: Worker, **options: bool) -> None:
        attempts.append(None)
        if len(attempts) < 4:
            raise StoreFull("the disk is full")
        await recover(worker, **options)

    monkeypatch.setattr(Worker, "recover", recover_later)
    service = starting(site)
    await service.until_ready()
    await service.stop()
    assert (len(attempts), service.waits()) == (4, 1)


class FullDisk:
    """Stands for `os` where the disks are measured: they are full until space is freed."""

    ST_RDONLY = os.ST_RDONLY

    def __init__(self, lacks: str = "f_bavail") -> None:
        self.is_full, self.lacks = True, lacks

    def statvfs(self, _path: object) -> SimpleNamespace:
        figures = {"f_bavail": 1_000_000, "f_frsize": 4096, "f_files": 1_000_000, "f_favail": 1_000_000, "f_flag": 0}
        return SimpleNamespace(**(figures | {self.lacks: 0} if self.is_full else figures))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    full = FullDisk()
    monkeypatch.setattr(room, "os", full)
    monkeypatch.setattr(disk_room, "_ROOM_SECONDS", 0.01)
    return full


@pytest.mark.parametrize(
    ("lacks", "text"), [("f_bavail", "0 bytes left: free some space"), ("f_favail", "room for only 0 more files")]
)
async def test_start_waits_before_it_creates_keys_and_the_hubs_inbox(
    site: Site, disk: FullDisk, lacks: str, text: str
) -> None:
    """The store could be opened without more space."""
    disk.lacks = lacks
    service = starting(site, "--Hub:Enabled=true")
    warned = await service.events.one(Warned, where=lambda warned: "the start waits" in warned.text)
    assert text in warned.text
    assert not [*(site.here / "state").glob("*.key"), *(site.here / "state").glob("hub.db*")]
    disk.is_full = False
    await service.until_ready()
    await service.stop()
    assert service.waits() == 1


async def test_start_waits_for_room_to_open_the_hubs_inbox(
    site: Site, monkeypatch: pytest.MonkeyPatch, disk: FullDisk
) -> None:
    """The rest of the space was used after the store was opened."""
    disk.is_full = False
    attempts: list[HubServer] = []
    start = HubServer.start

    async def start_later(hub: HubServer) -> None:
        attempts.append(hub)
        disk.is_full = len(attempts) == 1
        if disk.is_full:
            raise StoreUnwritable("hub.db: the hub's inbox cannot be opened (database or disk is full)")
        await start(hub)

    monkeypatch.setattr(HubServer, "start", start_later)
    service = starting(site, "--Hub:Enabled=true")
    await service.until_ready()
    await service.stop()
    assert (len(attempts), service.waits()) == (2, 1)


def hub_alone(site: Site) -> LoadedSettings:
    return site.load("--Http:Url=http://127.0.0.1:0", environ={"STATE_DIRECTORY": str(site.here / "state")})


async def test_hub_alone_waits_for_room(site: Site, disk: FullDisk) -> None:
    shutdown, events = ShutdownSignal(), EventCollector()
    serving = asyncio.ensure_future(serve_hub(hub_alone(site), EventBus(events), shutdown))
    await events.until(Warned)
    disk.is_full = False
    await events.one(Announced, where=lambda announced: "hub ready" in announced.text)
    shutdown.request("the test ends")
    await serving


async def test_hub_alone_that_waits_for_room_stops_in_order(site: Site, disk: FullDisk) -> None:
    shutdown, events = ShutdownSignal(), EventCollector()
    serving = asyncio.ensure_future(serve_hub(hub_alone(site), EventBus(events), shutdown))
    await events.until(Warned)
    shutdown.request("the test ends")
    await serving
    assert not events.of(Announced)


async def test_service_that_waits_for_room_stops_in_order(site: Site, failures: list[StoreError]) -> None:
    failures += [StoreFull("the disk is full")] * 1_000_000
    service = starting(site)
    await service.events.until(Warned)
    await service.stop()
    assert not service.ready.is_set()


async def test_start_with_another_fault_does_not_wait(site: Site, failures: list[StoreError]) -> None:
    failures.append(StoreCorrupt("damaged"))
    with pytest.raises(StoreCorrupt):
        await starting(site).serving


async def test_command_on_a_full_disk_does_not_wait(site: Site, failures: list[StoreError]) -> None:
    failures.append(StoreFull("the disk is full"))
    loaded = site.load(environ={"STATE_DIRECTORY": str(site.here / "state")})
    with pytest.raises(StoreFull):
        async with open_service_store(loaded, Clock(), lambda _event: None):
            pass


_DEMO = """
import json, sys
from pathlib import Path
from tests.support.process import command
from tests.support.small_disk import fill

folder = Path(sys.argv[1])
fill(folder, LEFT)
done = command(folder, "demo", "--once")
print(json.dumps([done.returncode, done.stderr]))
"""


@pytest.mark.parametrize("left", [0, 64 << 10])
def test_demo_on_a_full_disk_exits_with_73(tmp_path: Path, left: int) -> None:
    """It ended with an internal error, 70."""
    code, text = json.loads(run_on_small_disk(tmp_path, "4m", _DEMO.replace("LEFT", str(left))))
    assert (code, text.count("\n")) == (73, 1)
    assert "free some space" in text
