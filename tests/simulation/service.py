"""One start of the simulated service: the real worker, executor, relay and link, wired as the service wires them."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import BaseModel

from config.link_settings import WebSocketSettings
from config.settings import WorkerSettings
from tests.simulation.disk import SimulatedDisk
from tests.simulation.loop import SimulatedProcess, current_process
from tests.simulation.network import SimulatedConnection, SimulatedNetwork
from tests.simulation.store import SimulatedStore, open_simulated_store
from tests.support.history.events import Began, Event, Killed, Left
from worker.core.clock import Clock
from worker.core.job import Job
from worker.core.redact import Redactor
from worker.errors import Crashed, Discard
from worker.handler import Context, Registry, handler
from worker.notifiers.socketio.handshake import ConnectOptions
from worker.notifiers.socketio.notifier import SocketIoNotifier
from worker.notifiers.socketio.server_capabilities import ServerCapabilitiesStore
from worker.notifiers.socketio.session import LinkSession
from worker.runtime.executor import Executor
from worker.runtime.maintenance import Pruner
from worker.runtime.process_pool import ProcessPool, ProcessResult
from worker.runtime.relay import Relay
from worker.runtime.worker import Worker

SHUTDOWN_SECONDS = 3.0
RETENTION_SECONDS = 30 * 86400.0
WORKER = WorkerSettings(concurrency=4, backoff_delay=200, max_backoff_delay=2000, timeout=20_000)
LINK = WebSocketSettings(
    reconnection_delay=50,
    max_reconnection_delay=1000,
    reconnection_attempts=0,
    timeout=3000,
    ack_timeout=1500,
    min_uptime=500,
    slow_retry_delay=5000,
    task_delay_on_error=300,
    window=16,
)


class Work(BaseModel):
    tag: str
    seconds: float = 0.0
    fails: int = 0
    """Attempts that fail before one succeeds."""


@dataclass
class Machine:
    """What a service finds on its machine, and what it leaves there."""

    chance: random.Random
    disk: SimulatedDisk
    network: SimulatedNetwork
    clock: Callable[[], Clock]
    record: Callable[[Event], None]
    kill_service: Callable[[], None]
    """Called by a job that ends the process it runs in."""
    link: WebSocketSettings = LINK
    processes: int = 0
    registry: Registry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = {
            kind: handler(kind, execution="process" if kind == "spawned" else "async")(_body(self, kind))
            for kind in EXPECTED
        }

    def next_process(self) -> int:
        self.processes += 1
        return self.processes


_OPTIONS = ConnectOptions(url=LINK.url, path=LINK.path, headers={}, auth=None, tls=None, query={}, proxy=None)


class _Notifier(SocketIoNotifier):
    """Opens simulated connections."""

    network: SimulatedNetwork

    def _new_session(self) -> LinkSession:
        return LinkSession(
            self._session_config(),
            self._servers.of(self._link.url),
            self._clock,
            self._stats,
            self,
            lambda listener: SimulatedConnection(listener, self.network),
            ledger=self._ledger,
        )

    async def _read_options(self) -> ConnectOptions:
        return _OPTIONS


class _Children:
    """Stands in for the pool of child processes: a job whose child dies is charged, and the service lives on."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def run(
        self, job: Job, on_progress: Any, on_start: Callable[[], None], cancel: asyncio.Event
    ) -> ProcessResult:
        number = self._machine.next_process()
        on_start()
        attempt = _Attempt(job.id, job.attempt, number)
        handler = self._machine.registry[job.kind]
        await _perform(self._machine, cast("Work", handler.validate(job.payload)), job.kind, attempt, in_child=True)
        return ProcessResult(None, None)


@dataclass(frozen=True, slots=True)
class _Attempt:
    job_id: str
    number: int
    process: int


async def _perform(machine: Machine, work: Work, kind: str, attempt: _Attempt, *, in_child: bool = False) -> None:
    process = current_process.get()
    assert process is not None
    now = asyncio.get_running_loop().time
    machine.record(Began(attempt.job_id, attempt.number, attempt.process, now(), kind))
    try:
        await asyncio.sleep(work.seconds)
        if kind == "deadly":
            if in_child:
                raise Crashed("The process running the job died (SIGKILL)")
            machine.kill_service()
            await asyncio.Event().wait()
        if kind == "invalid":
            raise Discard("no")
        if kind == "failing" or attempt.number <= work.fails:
            raise ValueError("no")
    finally:
        if process.is_alive:
            machine.record(Left(attempt.job_id, attempt.number, attempt.process, now()))
        elif in_child:
            machine.record(Killed(attempt.process, now()))


EXPECTED = {
    "quick": "succeeded",
    "slow": "succeeded",
    "flaky": "succeeded",
    "spawned": "succeeded",
    "failing": "failed",
    "invalid": "failed",
    "deadly": "failed",
}
"""How a job of the kind ends, whatever happens around it."""


def _body(machine: Machine, kind: str) -> Callable[..., Any]:
    async def perform(work: Work, context: Context) -> None:
        process = current_process.get()
        assert process is not None
        await _perform(machine, work, kind, _Attempt(context.job_id, context.attempt, process.number))

    return perform


@dataclass
class SimulatedService:
    """Started by `start`; ended by `stop` or `kill`."""

    machine: Machine
    process: SimulatedProcess
    store: SimulatedStore = field(init=False)
    worker: Worker = field(init=False)
    relay: Relay = field(init=False)
    is_ready: bool = False
    """Whether it takes jobs."""
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _claiming: "asyncio.Task[None]" = field(init=False)

    async def start(self, boot: str) -> None:
        await self.process.run(self._start(boot))

    async def _start(self, boot: str) -> None:
        machine, clock = self.machine, self.machine.clock()
        self.store = await open_simulated_store(machine.disk, f"owner-{self.process.number}@{boot}", clock)
        executor = Executor.from_settings(
            WORKER,
            registry=machine.registry,
            sections={},
            pool=cast("ProcessPool", _Children(machine)),
            redact=Redactor(),
            clock=clock,
            emit=_ignore,
            on_progress=lambda _job, _percent, _note: None,
        )
        self.worker = Worker.from_settings(
            WORKER,
            machine.link,
            store=self.store,
            executor=executor,
            clock=clock,
            emit=_ignore,
            on_settled=lambda _attempt, _outcome: None,
        )
        self.worker.jitter = machine.chance.random
        notifier = _Notifier(
            machine.link, ServerCapabilitiesStore(), emit=_ignore, clock=clock, jitter=machine.chance.random
        )
        notifier.network = machine.network
        self.relay = Relay.from_settings(machine.link, outbox=self.store, notifier=notifier, emit=_ignore)
        await self.worker.recover()
        for work in (
            self.worker.run_settling(),
            self.relay.run(self._stopped),
            Pruner(self.store, RETENTION_SECONDS, clock, _ignore).run(self._stop),
        ):
            self.process.run(work)
        self._claiming = self.process.run(self.worker.run(self._stop))
        self.is_ready = True

    async def stop(self) -> None:
        """End in an orderly way, as the service does at SIGTERM."""
        self.is_ready = False
        await self.process.run(self._end())

    async def _end(self) -> None:
        self._stop.set()
        await self._claiming
        await self.worker.finish(SHUTDOWN_SECONDS)
        await self.relay.flush(0.5)
        self._stopped.set()
        await self.store.close()

    def die(self) -> None:
        """kill -9: from now on the process has no effect, and the disk has kept or lost what was on its way to it."""
        self.process.is_alive = False
        self.machine.disk.crash(self.process)


def _ignore(_event: object) -> None:
    """Nothing listens."""
