"""Warm, spawned, killable child processes: one job each at a time. Knows no queue.

A child ends when its parent's end of the socket closes, however the parent died, so no orphan keeps a
lock or a port after kill -9. Frames are JSON with a length before it; nothing is pickled.
"""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from worker.errors import Crashed
from worker.failure import Failure
from worker.job import Job

_HEADER = struct.Struct("!I")
FD_VARIABLE = "INSIGNIA_WORKER_CHILD_FD"
_PATIENCE = 2.0
"""Seconds for a child to end after its line was closed, before it is killed."""


@dataclass(frozen=True, slots=True)
class ChildResult:
    """How a job ended in its child: one of the two is set, or neither for a result of None."""

    result: bytes | None
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class ChildSetup:
    """What every child is told when it starts."""

    modules: Sequence[str]
    sections: Mapping[str, Any]
    """Handler settings sections as JSON-able values, by section name."""
    secrets: Sequence[str]


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    setup: ChildSetup
    has_job: bool = False
    """It has said so; what dies before that has not harmed the job, nor been harmed by it."""
    warm: bool = False
    """It has run a job before."""
    life: int | None = None
    """A descriptor that becomes readable when the process dies (pidfd_open(2)); None: the system has none."""

    def post(self, frame: object) -> None:
        data = orjson.dumps(frame)
        self.writer.write(_HEADER.pack(len(data)) + data)

    async def send(self, frame: object) -> None:
        self.post(frame)
        await self.writer.drain()

    def watch(self) -> None:
        """When it dies, what it has started dies with it: otherwise that could hold the line open for ever."""
        with contextlib.suppress(AttributeError, OSError):
            self.life = os.pidfd_open(self.process.pid)
            asyncio.get_running_loop().add_reader(self.life, self._died)

    def unwatch(self) -> None:
        if self.life is not None:
            asyncio.get_running_loop().remove_reader(self.life)
            os.close(self.life)
            self.life = None

    def _died(self) -> None:
        self.unwatch()
        _kill_group(self.process)

    async def receive(self) -> dict[str, Any]:
        """The next frame; asyncio.IncompleteReadError when the child has gone."""
        (size,) = _HEADER.unpack(await self.reader.readexactly(_HEADER.size))
        frame: dict[str, Any] = orjson.loads(await self.reader.readexactly(size))
        return frame


class _Places:
    """Room for so many at once, first come, first served; unlike a semaphore's, the number may change."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def resize(self, size: int) -> None:
        """A surplus leaves when it is done."""
        self.size = size
        self._admit()

    async def __aenter__(self) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._waiting.remove(place)
            else:
                self._leave()  # let in and called off at once
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._taken -= 1
        self._admit()

    def _admit(self) -> None:
        for place in tuple(self._waiting):
            if self._taken >= self.size:
                return
            if not place.cancelled():
                self._waiting.remove(place)
                self._taken += 1
                place.set_result(None)


class ChildPool:
    """Up to `size` children; each is started when first needed and kept for the next job."""

    def __init__(self, size: int, setup: ChildSetup) -> None:
        self._setup = setup
        self._idle: list[_Child] = []
        self._free = _Places(size)
        self._closed = False

    @property
    def size(self) -> int:
        """Children at once, at most."""
        return self._free.size

    async def resize(self, size: int) -> None:
        """So many from now on: waiting jobs get what is new at once, surplus children end with their jobs."""
        self._free.resize(size)
        await self._reap_surplus()

    async def renew(self, setup: ChildSetup) -> None:
        """Every job from now on runs in a child that was told this; the others end with their jobs."""
        if setup != self._setup:
            self._setup = setup
            await self._reap_surplus()

    async def _reap_surplus(self) -> None:
        while surplus := self._surplus():
            self._idle.remove(surplus)
            await self._reap(surplus)

    def _surplus(self) -> _Child | None:
        """An idle child too many: of another setup, beyond the size, or any when the pool is closed."""
        too_many = self._closed or len(self._idle) > self.size
        return next((child for child in self._idle if too_many or child.setup is not self._setup), None)

    async def run(
        self, job: Job, on_progress: Callable[[float, str], None], on_start: Callable[[], None], cancel: asyncio.Event
    ) -> ChildResult:
        """Run one job. Crashed: its process died. Being cancelled kills the process.

        `on_start` is called when a child has the job in hand; `cancel` set asks it to stop by itself.
        """
        async with self._free:
            while True:
                child = await self._take()
                try:
                    outcome = await self._converse(child, job, on_progress, on_start, cancel)
                except (asyncio.IncompleteReadError, ConnectionError):
                    end = await self._reap(child)
                    if child.has_job or not child.warm:
                        raise Crashed(f"The process running the job died ({end})") from None
                except BaseException:
                    await self._reap(child, kill=True)
                    raise
                else:
                    await self._keep(child)
                    return outcome

    async def _keep(self, child: _Child) -> None:
        child.warm = True
        self._idle.append(child)
        await self._reap_surplus()

    async def close(self) -> None:
        """End all idle children; busy ones end with their jobs."""
        self._closed = True
        await self._reap_surplus()

    async def _take(self) -> _Child:
        while self._idle:
            child = self._idle.pop()
            if not _has_died(child.process):
                return child
            await self._reap(child)
        return await self._spawn()

    async def _spawn(self) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            try:
                # A fresh interpreter, not a fork: a forked child would hold the lock file and the port.
                process = subprocess.Popen(  # noqa: ASYNC220 -- returns at once; a thread would race with reaping
                    [sys.executable, "-m", "worker.child"],
                    stdin=subprocess.DEVNULL,
                    stdout=sys.stderr.fileno() if _has_fileno(sys.stderr) else subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    env={**os.environ, FD_VARIABLE: str(theirs.fileno())},
                )
            except BaseException:
                writer.close()
                raise
        # Nothing is awaited from here on: a cancellation now would leave a process that nobody reaps.
        setup = self._setup
        child = _Child(process, reader, writer, setup)
        child.watch()
        child.post({"modules": list(setup.modules), "sections": dict(setup.sections), "secrets": list(setup.secrets)})
        return child

    async def _converse(
        self,
        child: _Child,
        job: Job,
        on_progress: Callable[[float, str], None],
        on_start: Callable[[], None],
        cancel: asyncio.Event,
    ) -> ChildResult:
        child.has_job = False
        await child.send(
            {
                "job_id": job.id,
                "kind": job.kind,
                "user_id": job.user_id,
                "attempt": job.attempt,
                "payload": job.payload.decode(),
            }
        )
        told = asyncio.ensure_future(self._tell(child, cancel))
        try:
            while True:
                frame = await child.receive()
                if "begun" in frame:
                    child.has_job = True
                    on_start()
                    continue
                if "percent" in frame:
                    if frame["job_id"] == job.id:  # not a thread that the job before has left behind
                        on_progress(frame["percent"], frame["note"])
                    continue
                failure = frame["failure"]
                result = frame["result"]
                return ChildResult(
                    result=None if result is None else result.encode(),
                    failure=None if failure is None else Failure(**failure),
                )
        finally:
            told.cancel()

    async def _tell(self, child: _Child, cancel: asyncio.Event) -> None:
        await cancel.wait()
        with contextlib.suppress(ConnectionError):
            await child.send({"cancel": True})

    async def _reap(self, child: _Child, *, kill: bool = False) -> str:
        """End the child and its process group, wait for it, and say how it ended."""
        child.unwatch()
        child.writer.close()
        if kill:
            _kill_group(child.process)
        # Shielded: who is cancelled here leaves no zombie behind.
        code = await asyncio.shield(asyncio.to_thread(_end, child.process))
        with contextlib.suppress(ConnectionError):
            await child.writer.wait_closed()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _has_fileno(stream: Any) -> bool:
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> int:
    """Wait for the child, and kill what is left of its group before it is reaped.

    Only until then is the number its own: afterwards it may be another process's group.
    """
    deadline = time.monotonic() + _PATIENCE
    while not _has_died(process) and time.monotonic() < deadline:
        time.sleep(0.005)
    _kill_group(process)
    return process.wait()


def _has_died(process: subprocess.Popen[bytes]) -> bool:
    """Without reaping it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """The child leads a session of its own, so whatever it started goes with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
