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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from worker.errors import Crashed
from worker.failure import Failure
from worker.job import Job

_HEADER = struct.Struct("!I")
FD_VARIABLE = "INSIGNIA_WORKER_CHILD_FD"


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

    async def send(self, frame: object) -> None:
        data = orjson.dumps(frame)
        self.writer.write(_HEADER.pack(len(data)) + data)
        await self.writer.drain()

    async def receive(self) -> dict[str, Any]:
        """The next frame; asyncio.IncompleteReadError when the child has gone."""
        (size,) = _HEADER.unpack(await self.reader.readexactly(_HEADER.size))
        frame: dict[str, Any] = orjson.loads(await self.reader.readexactly(size))
        return frame


class ChildPool:
    """Up to `size` children; each is started when first needed and kept for the next job."""

    def __init__(self, size: int, setup: ChildSetup) -> None:
        self._setup = setup
        self._idle: list[_Child] = []
        self._free = asyncio.Semaphore(size)

    async def run(
        self, job: Job, on_progress: Callable[[float, str], None], on_start: Callable[[], None], cancel: asyncio.Event
    ) -> ChildResult:
        """Run one job. Crashed: its process died. Being cancelled kills the process.

        `on_start` is called when a child has the job in hand; `cancel` set asks it to stop by itself.
        """
        async with self._free:
            child = await self._take()
            try:
                on_start()
                outcome = await self._converse(child, job, on_progress, cancel)
            except (asyncio.IncompleteReadError, ConnectionError):
                raise Crashed(f"The process running the job died ({await self._reap(child)})") from None
            except BaseException:
                await self._reap(child, kill=True)
                raise
            self._idle.append(child)
            return outcome

    async def close(self) -> None:
        """End all idle children; busy ones end with their jobs' tasks."""
        while self._idle:
            await self._reap(self._idle.pop())

    async def _take(self) -> _Child:
        while self._idle:
            child = self._idle.pop()
            if child.process.poll() is None:
                return child
            await self._reap(child)
        return await self._spawn()

    async def _spawn(self) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            # A fresh interpreter, not a fork: a forked child would hold the lock file and the port.
            process = subprocess.Popen(  # noqa: ASYNC220 -- returns at once; a thread would race with reaping
                [sys.executable, "-m", "worker.child"],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_fileno(sys.stderr) else subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, FD_VARIABLE: str(theirs.fileno())},
            )
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours, limit=2**26)
        child = _Child(process, reader, writer)
        setup = self._setup
        await child.send(
            {"modules": list(setup.modules), "sections": dict(setup.sections), "secrets": list(setup.secrets)}
        )
        return child

    async def _converse(
        self, child: _Child, job: Job, on_progress: Callable[[float, str], None], cancel: asyncio.Event
    ) -> ChildResult:
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
                if "percent" in frame:
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
        child.writer.close()
        with contextlib.suppress(ConnectionError):
            await child.writer.wait_closed()
        if kill:
            _kill_group(child.process)
        code = await asyncio.to_thread(_wait, child.process)
        _kill_group(child.process)
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _has_fileno(stream: Any) -> bool:
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        return process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """The child leads a session of its own, so whatever it started goes with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
