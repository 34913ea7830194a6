"""The parts of a run: a service with the JavaScript server, and a service with a hub and JavaScript clients."""

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.jobs import EXPECTED
from tests.chaos.node_parts import ResumingClient, ScriptedServer, until_clients_have_all
from tests.chaos.producers import Producers
from tests.chaos.service import ChaosService, RunningAttempts
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.history.events import encode, read_events
from tests.support.history.judge import Verdict, judge
from tests.support.history.recorder import Recorder
from tests.support.ports import free_port
from tests.support.process import WorkerProcess
from worker.core.clock import Clock
from worker.hub.tokens import TokenService, load_key

DISK_MEGABYTES = 96
_END_SECONDS = 600.0
"""For everything to end and to arrive after the last fault."""
_HUB_USERS = ("ann", "สมชาย")


@dataclass
class Scene:
    """Everything that faults can hit."""

    folder: Path
    service: ChaosService
    server: ScriptedServer
    network: FaultProxy
    service_of_hub: ChaosService
    hub: WorkerProcess
    hub_network: FaultProxy
    clients: list[ResumingClient] = field(default_factory=list)
    has_own_disk: bool = False
    """The first service's store is on a file system of its own, which a fault can fill."""
    producers: Producers = field(default_factory=Producers)

    async def finish(self) -> list[Verdict]:
        """Let everything end, stop, and judge both services."""
        await self.producers.finish()
        await self.service.process.until_idle(_END_SECONDS)
        await self.service_of_hub.process.until_idle(_END_SECONDS)
        for service in (self.service, self.service_of_hub):
            service.measure()
            await service.process.stop(seconds=120.0)
        received = read_events([self.server.record])
        foreign = [*self.service.end(), *received]
        with_hub = self.service_of_hub.end()
        await until_clients_have_all(self.clients, with_hub)
        with_hub += [event for client in self.clients for event in client.history.events]
        for name, events in (("judged.jsonl", foreign), ("judged-of-hub.jsonl", with_hub)):
            (self.folder / name).write_bytes(b"".join(map(encode, events)))
        return [judge(foreign, max_attempts=3), judge(with_hub, max_attempts=3)]


@contextlib.asynccontextmanager
async def running_scene(folder: Path, seed: int, pause: float) -> AsyncIterator[Scene]:
    """Start all parts and the producers; end them all."""
    folder.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        server = ScriptedServer(folder / "server.jsonl")
        await server.start()
        stack.push_async_callback(server.kill)
        network = await stack.enter_async_context(fault_proxy(server.port))
        hub = await _start_hub(folder / "hub", stack)
        hub_port = int(hub.settings[0].rpartition(":")[2])
        hub_network = await stack.enter_async_context(fault_proxy(hub_port))
        tokens = TokenService(load_key(hub.state / "hub.key")[0], "insignia-worker", "org-socket", Clock())
        attempts = [RunningAttempts(folder / name) for name in ("attempts.jsonl", "attempts-of-hub.jsonl")]
        service = ChaosService(folder / "service", network.url, attempts[0], ("u1", "u2", "u3"))
        has_disk = _mount_disk(service.process.state, stack)
        link = [f"--WebSocket:Token={tokens.mint('link', publish=True)}", "--Hub:Enabled=false"]
        service_of_hub = ChaosService(
            folder / "service-of-hub", hub_network.url, attempts[1], _HUB_USERS, link, tuple(EXPECTED)
        )
        scene = Scene(folder, service, server, network, service_of_hub, hub, hub_network, has_own_disk=has_disk)
        for user in _HUB_USERS:
            history = Recorder(folder / f"client-{user}.jsonl")
            client = ResumingClient(hub_network.url, user, tokens.mint(user), history)
            scene.clients.append(client)
            stack.push_async_callback(client.stop)
            await client.start()
        for each in (service, service_of_hub):
            stack.callback(each.log.close)
            stack.callback(_end, each.process)
            await each.process.start()
        for each in (service, service_of_hub):
            scene.producers.start(each, f"{seed}-{each.folder.name}", pause)
        try:
            yield scene
        finally:
            await scene.producers.cancel()


async def _start_hub(folder: Path, stack: contextlib.AsyncExitStack) -> WorkerProcess:
    folder.mkdir()
    url = f"http://127.0.0.1:{free_port()}"
    hub = WorkerProcess(folder, [f"--Http:Url={url}", f"--WebSocket:Url={url}"], command="hub")
    stack.callback(_end, hub)
    await hub.start()
    return hub


def _end(process: WorkerProcess) -> None:
    if process.is_running:
        process.kill()


def _mount_disk(folder: Path, stack: contextlib.ExitStack | contextlib.AsyncExitStack) -> bool:
    """Mount a small file system at the folder; return whether that was possible."""
    folder.mkdir(mode=0o700)
    options = f"size={DISK_MEGABYTES}m,mode=700"
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "chaos", folder]).returncode:
        return False
    stack.callback(lambda: subprocess.run(["umount", folder], check=False))
    return True
