"""Reloading settings in the service: in order, reported to systemd, and completely or not at all."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from config.loader import LoadedSettings
from config.watch import fingerprint
from tests.support.eventually import eventually
from tests.support.site import Site
from worker.core.clock import Clock
from worker.core.events import ReloadFailed, SettingsReloaded, Warned
from worker.errors import UnsafeKey
from worker.service.reload import ReloadListener, SettingsReloader, SettingsSource
from worker.service.systemd import Systemd


@dataclass
class Reloading:
    site: Site
    reloader: SettingsReloader
    receiver: socket.socket
    events: list[object] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    logged: list[int] = field(default_factory=list)

    async def next_datagram(self) -> str:
        """Return the next datagram to systemd."""
        async with asyncio.timeout(30):
            return (await asyncio.get_running_loop().sock_recv(self.receiver, 4096)).decode()

    def write(self, text: str) -> None:
        self.site.write(text)


@pytest.fixture
async def reloading(tmp_path: Path) -> AsyncIterator[Reloading]:
    site = Site(tmp_path)
    site.write('{"Worker": {"Concurrency": 5}}')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"{tmp_path}/notify")
        receiver.setblocking(False)
        reloading: Reloading

        def log(loaded: LoadedSettings) -> None:
            reloading.logged.append(loaded.settings.worker.concurrency)

        async def take(loaded: LoadedSettings) -> None:
            reloading.taken.append(loaded.settings.worker.concurrency)

        source = SettingsSource(site.load, log)
        systemd = Systemd(f"{tmp_path}/notify", None)
        reloader = SettingsReloader(
            site.load(), source, lambda event: reloading.events.append(event), Clock(lambda: 9.0), systemd
        )
        reloading = Reloading(site, reloader, receiver)
        reloader.add(take)
        running = asyncio.ensure_future(reloader.run())
        yield reloading
        running.cancel()
        await asyncio.wait([running])


def refusing(error: Exception) -> ReloadListener:
    async def take(_loaded: LoadedSettings) -> None:
        raise error

    return take


async def test_reload_reports_begin_and_end_to_systemd(reloading: Reloading) -> None:
    reloading.write('{"Worker": {"Concurrency": 6}}')
    reloading.reloader.request()
    assert (await reloading.next_datagram()).startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert await reloading.next_datagram() == "READY=1\nSTATUS=settings reloaded"
    assert reloading.events == [SettingsReloaded(("Worker:Concurrency",), ())]
    assert (reloading.taken, reloading.logged, reloading.reloader.loaded.settings.worker.concurrency) == ([6], [6], 6)
    assert (reloading.reloader.outcome.succeeded, reloading.reloader.outcome.last_success) == (1, 9.0)


async def test_failed_reload_reports_its_end_to_systemd(reloading: Reloading) -> None:
    reloading.write("{")
    reloading.reloader.request()
    await reloading.next_datagram()
    assert (await reloading.next_datagram()).startswith("READY=1\nSTATUS=reload failed: appsettings.json:1:2: ")
    [failed] = reloading.events
    assert isinstance(failed, ReloadFailed)
    assert (reloading.taken, reloading.logged, reloading.reloader.loaded.settings.worker.concurrency) == ([], [], 5)
    assert (reloading.reloader.outcome.failed, reloading.reloader.outcome.last_failed) == (1, True)


@pytest.mark.parametrize("error", [UnsafeKey("too short"), OSError("gone"), ZeroDivisionError("ours")])
async def test_listener_that_rejects_keeps_later_ones_unchanged(reloading: Reloading, error: Exception) -> None:
    reloading.reloader._listeners.insert(0, refusing(error))
    reloading.write('{"Worker": {"Concurrency": 6}}')
    await reloading.reloader.reload()
    assert (reloading.taken, reloading.reloader.loaded.settings.worker.concurrency) == ([], 5)
    assert str(error) in reloading.reloader.problem
    reloading.reloader._listeners.pop(0)
    await reloading.reloader.reload()
    assert (reloading.taken, reloading.reloader.problem) == ([6], "")


async def test_reload_with_several_faults_reports_one_line(reloading: Reloading) -> None:
    reloading.write('{"Worker": {"Concurrency": 0, "Processes": 0, "Hanlders": 0}}')
    await reloading.reloader.reload()
    assert "\n" not in reloading.reloader.problem
    assert reloading.reloader.problem.endswith("(and 2 more)")


async def test_reload_reports_a_warning_once(reloading: Reloading) -> None:
    reloading.write('{"Billing": {}}')
    await reloading.reloader.reload()
    await reloading.reloader.reload()
    warnings = [event for event in reloading.events if isinstance(event, Warned)]
    assert len(warnings) == 1
    assert "Billing" in warnings[0].text


async def test_reload_without_a_source_fails(reloading: Reloading) -> None:
    reloading.reloader.source = None
    await reloading.reloader.reload()
    assert "settings of its own" in reloading.reloader.problem


async def test_request_during_a_reload_causes_another(reloading: Reloading) -> None:
    read: Callable[[], LoadedSettings] = reloading.site.load
    count = 0

    def slowly() -> LoadedSettings:
        nonlocal count
        count += 1
        if count == 1:
            loop.call_soon_threadsafe(reloading.reloader.request)
        return read()

    loop = asyncio.get_running_loop()
    reloading.reloader.source = SettingsSource(slowly, lambda _loaded: None)
    reloading.reloader.request()
    received = [await reloading.next_datagram() for _ in range(4)]
    assert [word.split("=")[0] for word in received] == ["RELOADING", "READY", "RELOADING", "READY"]
    assert count == 2


async def test_changed_file_is_reloaded_once_when_it_stays_as_it_is(reloading: Reloading) -> None:
    stop = asyncio.Event()
    watching = asyncio.ensure_future(reloading.reloader.watch(stop, 0.02))
    reloading.write('{"Worker": {"Concurrency": 6}}')
    await eventually(lambda: reloading.taken == [6])
    reloading.write("{")
    await eventually(lambda: reloading.reloader.outcome.failed == 1)
    reloading.write('{"Worker": {"Concurrency": 7}}')
    await eventually(lambda: reloading.taken == [6, 7])
    stop.set()
    await watching
    assert (reloading.reloader.outcome.succeeded, reloading.reloader.outcome.failed) == (2, 1)


async def test_replaced_link_to_the_folder_of_a_file_is_a_change(tmp_path: Path) -> None:
    """Kubernetes replaces the link `..data` when a ConfigMap changes; the link of the file itself stays."""
    for name, text in (("first", "{}"), ("second", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "appsettings.json").write_text(text)
    (tmp_path / "..data").symlink_to("first")
    file = tmp_path / "appsettings.json"
    file.symlink_to("..data/appsettings.json")
    before = fingerprint([file])
    (tmp_path / "..new").symlink_to("second")
    (tmp_path / "..new").replace(tmp_path / "..data")

    assert fingerprint([file]) != before
    assert fingerprint([file]) == fingerprint([file])
