"""A machine with the service, the network, and a server: what the steps of a simulation act on."""

import asyncio
import contextlib
import hashlib
import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tests.simulation.disk import SimulatedDisk
from tests.simulation.loop import SimulatedProcess
from tests.simulation.network import SimulatedNetwork
from tests.simulation.servers import ForeignServer, HubOfRun, ResumingClient
from tests.simulation.service import EXPECTED, LINK, SHUTDOWN_SECONDS, Machine, SimulatedService
from tests.simulation.store import STORE_PATH
from tests.support.history.events import (
    Accepted,
    Complete,
    Event,
    Killed,
    Received,
    Rejected,
    Stopped,
    Unanswered,
)
from tests.support.history.store_reader import read_rows
from worker.core.clock import Clock
from worker.core.job import NewJob
from worker.errors import StoreError, StoreFull

_START = 1_800_000_000.0
_USERS = ("ann", "bob", "cat")
_END_SECONDS = 2 * 3600.0
"""Simulated seconds for everything to end after the last step.

A notification may be tried for an hour before it is set aside."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a seed decides before the first step."""

    with_hub: bool
    with_poison: bool = False
    """The server breaks on some notifications, so that the link has to set them aside. Network and server are sound
    then: with too many interruptions the link cannot tell an innocent notification from such a one."""


class World:
    """Steps act on it; it records what is seen from outside."""

    def __init__(self, chance: random.Random, config: Config) -> None:
        self.chance = chance
        self.config = config
        self.events: list[Event] = []
        self.trace = hashlib.sha256()
        self.wall_offset = _START
        self.boot = 1
        self.disk = SimulatedDisk(chance)
        self.network = SimulatedNetwork(chance)
        self.foreign = ForeignServer(chance, self.record)
        self.hub = HubOfRun(self.disk, self._clock())
        self.clients: list[ResumingClient] = []
        self.network.server = self.hub if config.with_hub else self.foreign
        self.machine = Machine(
            chance,
            self.disk,
            self.network,
            self._clock,
            self.record,
            kill_service=self._kill_from_inside,
            link=LINK.model_copy(update={"max_send_attempts": 5 if config.with_poison else 1000}),
        )
        self.service: SimulatedService | None = None
        self._tags = 0
        self._background: set[asyncio.Task[Any]] = set()
        self.failures: list[BaseException] = []

    # -- what is seen ----------------------------------------------------------------------------------------------

    def record(self, event: Event) -> None:
        self.events.append(event)
        self.trace.update(self._line(event))

    def _line(self, event: Event) -> bytes:
        """Return the event without what is drawn at random in any run: ids of errors and of inboxes."""
        now = f"{asyncio.get_running_loop().time():.9f} "
        if isinstance(event, Received):
            payload = orjson.loads(event.body)[1]["payload"]
            what = (event.receiver, payload["notificationId"], payload["sequence"], payload["status"])
            return f"{now}{what}".encode()
        return f"{now}{event}".encode()

    @property
    def is_clock_right(self) -> bool:
        return self.wall_offset == _START

    def _clock(self) -> Clock:
        loop_time = asyncio.get_running_loop().time
        return Clock(lambda: self.wall_offset + loop_time(), loop_time, f"boot-{self.boot}")

    # -- the service -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything."""
        if self.config.with_hub:
            await self.hub.start(self.machine.next_process())
            self.clients = [ResumingClient(user, self.hub, self._clock(), self.chance, self.record) for user in _USERS]
            for client in self.clients:
                client.connect()
        await self.start_service()

    async def start_service(self) -> None:
        """Start the service if it does not run. It may be killed while it starts."""
        if self.service is None:
            service = self.service = SimulatedService(self.machine, SimulatedProcess(self.machine.next_process()))
            with contextlib.suppress(asyncio.CancelledError):
                await service.start(f"boot-{self.boot}")

    async def kill_service(self, *, reboot: bool = False) -> None:
        """kill -9, or the end of the whole machine."""
        service, self.service = self.service, None
        if reboot:
            self.boot += 1
        if service is not None:
            await self._kill(service)

    async def _kill(self, service: SimulatedService) -> None:
        # All of it in one moment: another service may be started before the tasks of this one have ended.
        service.die()
        self._cut_connections()
        self.record(Killed(service.process.number, asyncio.get_running_loop().time()))
        await service.process.kill()

    def _cut_connections(self) -> None:
        """The kernel ends the connections of a process that is gone."""
        self.network.cut()

    async def stop_service(self) -> None:
        """Stop it as an operator does; one that has not started yet is killed."""
        service = self.service
        if service is None:
            return
        if not service.is_ready:
            await self.kill_service()
            return
        begun = asyncio.get_running_loop().time()
        with contextlib.suppress(asyncio.CancelledError):
            await service.stop()
        if self.service is not service:
            return  # it was killed in the meantime
        self.service = None
        now = asyncio.get_running_loop().time()
        self.record(Stopped(service.process.number, now - begun, SHUTDOWN_SECONDS + 5.0))
        await self._kill(service)

    def _kill_from_inside(self) -> None:
        """A job ends the process; a supervisor starts it again a moment later."""

        async def crash(service: SimulatedService | None) -> None:
            if service is not None and self.service is service:
                await self.kill_service()
                await asyncio.sleep(0.5)
                await self.start_service()

        self.in_background(crash(self.service))

    def in_background(self, work: Any) -> None:
        """Do something next to the steps, in no process."""
        from tests.simulation.loop import current_process

        token = current_process.set(None)
        try:
            task = asyncio.get_running_loop().create_task(work)
        finally:
            current_process.reset(token)
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failures.append(task.exception() or Exception())

    # -- producers -------------------------------------------------------------------------------------------------

    async def submit(self, kinds: Sequence[str]) -> None:
        """Submit a job of each kind in one request; wait for the answer."""
        service = self.service
        jobs = [self._new_job(kind) for kind in kinds]
        tags = [orjson.loads(job.payload)["tag"] for job in jobs]
        if service is None or not service.is_ready:
            return
        try:
            answer = await service.process.run(service.store.enqueue(jobs))
        except (StoreFull, StoreError):
            for tag in tags:
                self.record(Rejected(tag))
            return
        except asyncio.CancelledError:
            answer = None
        if answer is None or not service.process.is_alive:
            for tag in tags:
                self.record(Unanswered(tag))
            return
        for job, tag in zip(jobs, tags, strict=True):
            at = asyncio.get_running_loop().time()
            self.record(Accepted(job.id, job.user_id, tag, EXPECTED[job.kind], at))

    def _new_job(self, kind: str) -> NewJob:
        self._tags += 1
        chance, now = self.chance, self._clock().now()
        work = {"tag": f"tag-{self._tags}", "seconds": round(chance.uniform(0.0, 0.02), 4)}
        if kind == "slow":
            work["seconds"] = round(chance.uniform(0.1, 4.0), 3)
        if kind == "flaky":
            work["fails"] = chance.randint(1, 2)
        job_id = _job_id(self._tags)
        # Not while the clock is wrong: the job would wait until the clock says so again.
        delay = chance.uniform(0.0, 3.0) if chance.random() < 0.1 and self.is_clock_right else 0.0
        return NewJob(job_id, kind, chance.choice(_USERS), orjson.dumps(work), now, now + delay, 3)

    def poison_next(self) -> None:
        """Let the notification of the next job break the server's handler."""
        self.foreign.poison.add(_job_id(self._tags + 1))

    # -- the end ---------------------------------------------------------------------------------------------------

    async def finish(self) -> list[Event]:
        """Let everything end; return the whole history."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _END_SECONDS
        while loop.time() < until:
            await asyncio.sleep(0.25)
            await self.start_service()
            for client in self.clients:
                client.connect()
            if not self._background and self._is_idle():
                break
        await asyncio.sleep(0.1)
        await self.stop_service()
        await self.hub.kill()
        return [*self.events, *read_rows(self.disk.databases[str(STORE_PATH)]), Complete()]

    def _is_idle(self) -> bool:
        database = self.disk.databases[str(STORE_PATH)]
        (waiting,) = database.execute("SELECT queued + running + pending FROM tally").fetchone()
        if waiting:
            return False
        highest = dict(database.execute("SELECT user_id, sequence FROM sequences").fetchall())
        return all(client.highest >= highest.get(client.user, 0) for client in self.clients)

    async def close(self) -> None:
        """End what still runs."""
        for task in list(self._background):
            task.cancel()
        if self.service is not None:
            self.service.die()
            await self.service.process.kill()
        await self.hub.kill()
        await asyncio.sleep(0)
        for database in self.disk.databases.values():
            sqlite3.Connection.close(database)


def _job_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012d}"
