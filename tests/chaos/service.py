"""One service of a run: its process, its producer, its history, and its log, which may stay unread."""

import asyncio
import os
import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.jobs import EXPECTED
from tests.support.fake_clock import FakeClock
from tests.support.history.events import Began, Complete, Event, Killed, Left, Stopped, Used, decode, read_events
from tests.support.history.recorder import Recorder
from tests.support.history.store_reader import read_end
from tests.support.ports import free_port
from tests.support.process import WorkerProcess
from tests.support.processes import describe, environment_value, is_running, resident_bytes
from worker.errors import WorkerError

SHUTDOWN_SECONDS = 3
_STOP_LIMIT = SHUTDOWN_SECONDS + 5.0 + 30.0
"""Seconds; the last part allows for a machine that does much else."""
_MEMORY_LIMIT = 500e6
_FOLDER_VARIABLE = "CHAOS_SERVICE"
"""In the environment of a service and its child processes: its folder."""
_COMMON = (
    "--Worker:Handlers:0=tests.chaos.jobs",
    "--Worker:BackoffDelay=50",
    "--WebSocket:ReconnectionDelay=50",
    "--WebSocket:MaxReconnectionDelay=500",
    "--WebSocket:ReconnectionAttempts=0",
    "--WebSocket:TaskDelayOnError=200",
    "--WebSocket:AckTimeout=1500",
    # So many faults interrupt an innocent notification more often than a poison one is tried.
    "--WebSocket:MaxSendAttempts=1000",
    f"--HostOptions:ShutdownTimeout={SHUTDOWN_SECONDS}",
)


class LogReader:
    """Copies the service's log from a pipe to a file, and can stop reading for a while."""

    def __init__(self, file: Path) -> None:
        self._source, self.descriptor = os.pipe()
        self._may_read = threading.Event()
        self._may_read.set()
        self._file = file
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def stop_reading(self) -> None:
        self._may_read.clear()

    def read_on(self) -> None:
        self._may_read.set()

    def close(self) -> None:
        """Close the pipe; the services that wrote to it have ended."""
        self.read_on()
        os.close(self.descriptor)
        self._thread.join()
        os.close(self._source)

    def _copy(self) -> None:
        with self._file.open("ab") as file:
            while data := os.read(self._source, 65536):
                file.write(data)
                file.flush()
                self._may_read.wait()


@dataclass
class RunningAttempts:
    """Reads from the record of the job kinds which processes run which job."""

    file: Path
    _read_to: int = 0
    _running: dict[int, Began] = field(default_factory=dict)

    def running(self, kind: str | None = None) -> set[int]:
        """Return the processes that began an attempt and did not leave it; of this kind of job, if one is given."""
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self._read_to)
                data = file.read()
            complete = data[: data.rfind(b"\n") + 1]
            self._read_to += len(complete)
            for line in complete.splitlines():
                self._add(decode(line))
        return {process for process, begun in self._running.items() if kind in (None, begun.kind)}

    def is_alive(self, process: int) -> bool:
        """Whether the process that began an attempt is alive, and not only another with its id."""
        begun = self._running.get(process)
        return begun is not None and is_running(process, since=begun.at)

    def forget(self, process: int) -> None:
        self._running.pop(process, None)

    def _add(self, event: Event) -> None:
        if isinstance(event, Began):
            self._running[event.process] = event
        elif isinstance(event, Left):
            begun = self._running.get(event.process)
            if begun is not None and begun.job == event.job:
                del self._running[event.process]


@dataclass
class ChaosService:
    """A service with its producer."""

    folder: Path
    url: str
    """Where it sends notifications."""
    attempts: RunningAttempts
    """Shared by services on one store: each of them runs jobs that were submitted to others."""
    users: Sequence[str]
    settings: Sequence[str] = ()
    kinds: Sequence[str] = tuple(EXPECTED)
    tags: str = ""
    """What the tags of its jobs begin with, if several services share a store."""
    process: WorkerProcess = field(init=False)
    clock: FakeClock = field(init=False)
    log: LogReader = field(init=False)
    restarting: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.clock = FakeClock(self.folder / "clock")
        self.log = LogReader(self.folder / "service.log")
        port = f"--Http:Url=http://127.0.0.1:{free_port()}"
        self.process = WorkerProcess(
            self.folder,
            [port, f"--WebSocket:Url={self.url}", *_COMMON, *self.settings],
            {**self.clock.environ, _FOLDER_VARIABLE: str(self.folder)},
            stderr=self.log.descriptor,
            history=Recorder(self.folder / "history.jsonl", expected=lambda job: EXPECTED[job["taskType"]]),
        )

    @property
    def history(self) -> Recorder:
        return self.process.history

    async def kill(self) -> None:
        """kill -9, then start again."""
        async with self.restarting:
            self.process.kill()
            await self._record_end()
            await self.start()

    async def start(self) -> None:
        await self.process.start()

    async def restart(self) -> None:
        """SIGTERM, then start again."""
        async with self.restarting:
            begun = time.monotonic()
            code = await self.process.stop(seconds=120.0)
            self.history.add(Stopped(self.process.pid, time.monotonic() - begun, _STOP_LIMIT))
            await self._record_end()
            assert code in (0, 63), f"a stop ended with {code}"
            await self.start()

    async def _record_end(self) -> None:
        """Record when the service was gone, and when its child processes were that ran jobs."""
        self.history.add(Killed(self.process.pid, time.monotonic()))
        for process in self.attempts.running() - {self.process.pid}:
            if environment_value(process, _FOLDER_VARIABLE) in (None, str(self.folder)):  # None: it ends just now
                await self.record_death(process)

    async def record_death(self, child: int) -> None:
        """Wait until the process is gone, and record it."""
        until = time.monotonic() + 240
        while self.attempts.is_alive(child):
            assert time.monotonic() < until, f"still there 240 s after its service: {describe(child)}"
            await asyncio.sleep(0.002)
        self.history.add(Killed(child, time.monotonic()))
        self.attempts.forget(child)

    def running_child(self) -> int | None:
        """Return a child process that runs a job of kind `spawned`, if there is one."""
        children = self.attempts.running("spawned") - {self.process.pid}
        return max(filter(self.attempts.is_alive, children), default=None)

    async def produce(self, chance: random.Random, pause: float, enough: asyncio.Event) -> None:
        """Submit jobs until there are enough; a quarter of them with a key, repeated until there is an answer."""
        number = 0
        while not enough.is_set():
            number += 1
            jobs = [self._job(f"{self.tags}{number}-{place}", chance) for place in range(3)]
            with suppress(WorkerError):
                await self._request("/api/v1/jobs/batch", {"jobs": jobs})
            await self._insist(self._job(f"{self.tags}{number}-key", chance))
            with suppress(TimeoutError):
                await asyncio.wait_for(enough.wait(), pause * chance.uniform(0.5, 1.5))

    async def _insist(self, job: dict[str, Any]) -> None:
        while True:
            with suppress(WorkerError):
                await self._request("/api/v1/jobs", job, {"Idempotency-Key": job["payload"]["tag"]})
                return
            await asyncio.sleep(0.2)

    async def _request(self, target: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        return await asyncio.to_thread(self.process.client.request, "POST", target, body, headers)

    def _job(self, tag: str, chance: random.Random) -> dict[str, Any]:
        kind = chance.choice(self.kinds)
        seconds = chance.uniform(0.0, 0.8 if kind != "blocking" else 0.3)
        payload = {"tag": tag, "record": str(self.attempts.file), "seconds": round(seconds, 3)}
        return {"taskType": kind, "userId": chance.choice(self.users), "payload": payload}

    def end(self) -> list[Event]:
        """Return the whole history of a service with its own store; it has ended."""
        attempts = read_events([self.attempts.file])
        return [*self.history.events, *attempts, *read_end(self.process.state / "queue.db"), Complete()]

    def measure(self) -> None:
        """Record the memory that the service uses."""
        used = resident_bytes(self.process.pid)
        self.history.add(Used(f"memory of process {self.process.pid}", float(used), _MEMORY_LIMIT))
