"""Reading the settings anew inside the service: in order, told to systemd, and never by halves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from config.layers import Loaded
from tests.support.site import Site
from worker.clock import Clock
from worker.errors import UnsafeKey
from worker.events import ReloadFailed, SettingsReloaded, Warned
from worker.renewal import Renewal, Source, Taker
from worker.systemd import Systemd


@dataclass
class House:
    site: Site
    renewal: Renewal
    receiver: socket.socket
    heard: list[object] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    logged: list[int] = field(default_factory=list)

    async def told(self) -> str:
        """The next datagram to systemd."""
        async with asyncio.timeout(10):
            return (await asyncio.get_running_loop().sock_recv(self.receiver, 4096)).decode()

    def write(self, text: str) -> None:
        self.site.write(text)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    site = Site(tmp_path)
    site.write('{"Worker": {"Concurrency": 5}}')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"{tmp_path}/notify")
        receiver.setblocking(False)
        house: House

        def log(loaded: Loaded) -> None:
            house.logged.append(loaded.settings.worker.concurrency)

        async def take(loaded: Loaded) -> None:
            house.taken.append(loaded.settings.worker.concurrency)

        source = Source(site.load, log)
        systemd = Systemd(f"{tmp_path}/notify", None)
        renewal = Renewal(site.load(), source, lambda event: house.heard.append(event), Clock(lambda: 9.0), systemd)
        house = House(site, renewal, receiver)
        renewal.add(take)
        running = asyncio.ensure_future(renewal.run())
        yield house
        running.cancel()
        await asyncio.wait([running])


def refusing(error: Exception) -> Taker:
    async def take(_loaded: Loaded) -> None:
        raise error

    return take


async def test_systemd_hears_when_it_begins_and_when_it_is_over(house: House) -> None:
    house.write('{"Worker": {"Concurrency": 6}}')
    house.renewal.ask()
    assert (await house.told()).startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert await house.told() == "READY=1\nSTATUS=settings reloaded"
    assert house.heard == [SettingsReloaded(("Worker:Concurrency",), ())]
    assert (house.taken, house.logged, house.renewal.loaded.settings.worker.concurrency) == ([6], [6], 6)
    assert (house.renewal.outcome.succeeded, house.renewal.outcome.last_success) == (1, 9.0)


async def test_a_reload_that_is_refused_is_over_too(house: House) -> None:
    house.write("{")
    house.renewal.ask()
    await house.told()
    assert (await house.told()).startswith("READY=1\nSTATUS=reload refused: appsettings.json:1:2: ")
    [failed] = house.heard
    assert isinstance(failed, ReloadFailed)
    assert (house.taken, house.logged, house.renewal.loaded.settings.worker.concurrency) == ([], [], 5)
    assert (house.renewal.outcome.failed, house.renewal.outcome.last_failed) == (1, True)


@pytest.mark.parametrize("error", [UnsafeKey("too short"), OSError("gone"), ZeroDivisionError("ours")])
async def test_who_refuses_keeps_those_behind_him_from_changing(house: House, error: Exception) -> None:
    house.renewal._takers.insert(0, refusing(error))
    house.write('{"Worker": {"Concurrency": 6}}')
    await house.renewal.reload()
    assert (house.taken, house.renewal.loaded.settings.worker.concurrency) == ([], 5)
    assert str(error) in house.renewal.problem
    house.renewal._takers.pop(0)
    await house.renewal.reload()
    assert (house.taken, house.renewal.problem) == ([6], "")


async def test_many_faults_are_one_line(house: House) -> None:
    house.write('{"Worker": {"Concurrency": 0, "Processes": 0, "Hanlders": 0}}')
    await house.renewal.reload()
    assert "\n" not in house.renewal.problem
    assert house.renewal.problem.endswith("(and 2 more)")


async def test_a_warning_is_told_when_it_is_new(house: House) -> None:
    house.write('{"Serilog": {}}')
    await house.renewal.reload()
    await house.renewal.reload()
    warnings = [event for event in house.heard if isinstance(event, Warned)]
    assert len(warnings) == 1
    assert "Serilog" in warnings[0].text


async def test_settings_that_were_handed_in_cannot_be_read_anew(house: House) -> None:
    house.renewal.source = None
    await house.renewal.reload()
    assert "settings of its own" in house.renewal.problem


async def test_asking_again_while_it_reads_reads_once_more(house: House) -> None:
    read: Callable[[], Loaded] = house.site.load
    count = 0

    def slowly() -> Loaded:
        nonlocal count
        count += 1
        if count == 1:
            loop.call_soon_threadsafe(house.renewal.ask)
        return read()

    loop = asyncio.get_running_loop()
    house.renewal.source = Source(slowly, lambda _loaded: None)
    house.renewal.ask()
    told = [await house.told() for _ in range(4)]
    assert [word.split("=")[0] for word in told] == ["RELOADING", "READY", "RELOADING", "READY"]
    assert count == 2
