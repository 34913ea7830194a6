"""The faults: each hits one part, lasts for a while, and leaves the part healthy."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.fault_runner import Fault, FaultRunner, after, pause
from tests.chaos.plan import Strike
from tests.chaos.scene import Scene
from tests.chaos.service import ChaosService
from tests.support.fault_proxy import FaultProxy
from tests.support.process import WorkerProcess
from tests.support.processes import children_of


class Faults(FaultRunner):
    """Carries out strikes on a scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        super().__init__(self._table())

    def _table(self) -> dict[str, tuple[str, Fault]]:
        scene, service, other = self._scene, self._scene.service, self._scene.service_of_hub
        return {
            "kill-service": ("service", lambda _: after(service.kill())),
            "kill-service-of-hub": ("service-of-hub", lambda _: after(other.kill())),
            "kill-hub": ("hub", lambda _: self._kill_hub()),
            "kill-server": ("server", lambda _: self._kill_server()),
            "kill-child": ("child", lambda _: self._kill_child()),
            "stop-service": ("service", lambda _: after(service.restart())),
            "stop-service-of-hub": ("service-of-hub", lambda _: after(other.restart())),
            "stop-hub": ("hub", lambda _: self._stop_hub()),
            "pause-service": ("service", lambda strike: pause([service.process.pid], strike.hold)),
            "pause-hub": ("hub", lambda strike: pause([scene.hub.pid], strike.hold)),
            "pause-server": ("server", self._pause_server),
            "pause-child": ("child", self._pause_child),
            "server-without-acks": ("server", self._withhold_acks),
            "server-closes": ("server", self._close_early),
            "clients-cut": ("clients", lambda _: self._cut_clients()),
            "network-cut": ("network", lambda _: _now(scene.network.cut)),
            "network-reset": ("network", lambda _: _now(scene.network.reset)),
            "network-stalled": ("network", lambda strike: _for_a_while(scene.network, scene.network.stall, strike)),
            "network-hole": ("network", lambda strike: _for_a_while(scene.network, scene.network.hole, strike)),
            "network-refused": ("network", lambda strike: _refuse(scene.network, strike)),
            "network-of-hub-cut": ("hub-network", lambda _: _now(scene.hub_network.cut)),
            "disk-full": ("service-disk", self._fill_disk),
            "clock-jump": ("clock", self._jump),
            "unread-log": ("log", self._leave_log),
            "kill-guard": ("service", lambda _: self._kill_guard(service)),
        }

    async def _kill_hub(self) -> bool:
        self._scene.hub.kill()
        await self._scene.hub.start()
        return True

    async def _stop_hub(self) -> bool:
        code = await self._scene.hub.stop(seconds=120.0)
        assert code in (0, 63), f"the stop of the hub ended with {code}"
        await self._scene.hub.start()
        return True

    async def _kill_server(self) -> bool:
        await self._scene.server.kill()
        await self._scene.server.start()
        return True

    async def _kill_child(self) -> bool:
        for service in (self._scene.service, self._scene.service_of_hub):
            async with service.restarting:
                child = await _first_child(service)
                if child is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
                    await service.record_death(child)
                    return True
        return False

    async def _pause_child(self, strike: Strike) -> bool:
        child = self._scene.service.running_child()
        return child is not None and await pause([child], strike.hold)

    async def _pause_server(self, strike: Strike) -> bool:
        process = self._scene.server.process
        return process is not None and await pause([process.pid], strike.hold)

    async def _withhold_acks(self, strike: Strike) -> bool:
        self._scene.server.send(do="acks", on=False)
        await asyncio.sleep(strike.hold)
        self._scene.server.send(do="acks", on=True)
        return True

    async def _close_early(self, strike: Strike) -> bool:
        if strike.spread < 0.5:
            self._scene.server.send(do="kick", close=strike.spread < 0.25)
        else:
            self._scene.server.send(do="engineClose")
        return True

    async def _cut_clients(self) -> bool:
        for client in self._scene.clients:
            client.cut()
        return True

    async def _fill_disk(self, strike: Strike) -> bool:
        if not self._scene.has_own_disk:
            return False
        filler = self._scene.service.process.state / "filler"
        try:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
            await asyncio.sleep(strike.hold)
        finally:
            filler.unlink(missing_ok=True)
        return True

    async def _jump(self, strike: Strike) -> bool:
        services = (self._scene.service, self._scene.service_of_hub)
        for service in services:
            service.clock.set(strike.clock_jump)
        await asyncio.sleep(strike.hold)
        for service in services:
            service.clock.set(0.0)
        return True

    async def _leave_log(self, strike: Strike) -> bool:
        self._scene.service.log.stop_reading()
        await asyncio.sleep(strike.hold)
        self._scene.service.log.read_on()
        return True

    async def _kill_guard(self, service: ChaosService) -> bool:
        guards = guards_of(service.process)
        for guard in guards:
            with contextlib.suppress(ProcessLookupError):
                os.kill(guard, signal.SIGKILL)
        return bool(guards)


def guards_of(service: WorkerProcess) -> list[int]:
    """Return the guard processes of the service."""
    return [child for child in children_of(service.pid) if b"guard_process" in _command_of(child)]


def _command_of(process: int) -> bytes:
    """Return the arguments of a process; nothing of one that has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


async def _first_child(service: ChaosService) -> int | None:
    """Return a child process that runs a job; wait a moment for one."""
    until = time.monotonic() + 2.0
    while (child := service.running_child()) is None and time.monotonic() < until:
        await asyncio.sleep(0.01)
    return child


async def _now(action: Callable[[], None]) -> bool:
    action()
    return True


async def _for_a_while(network: FaultProxy, fault: Callable[[], None], strike: Strike) -> bool:
    fault()
    await asyncio.sleep(strike.hold)
    network.resume()
    network.cut()  # what the hole has swallowed cannot be continued
    return True


async def _refuse(network: FaultProxy, strike: Strike) -> bool:
    network.refusing = True
    network.cut()
    await asyncio.sleep(strike.hold)
    network.refusing = False
    return True
