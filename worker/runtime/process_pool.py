"""Child processes that are kept for the next job and can be killed; each runs one job at a time.

A child ends when its parent's end of the socket closes, however the parent died, so that no orphan keeps a lock or a
port after kill -9. Frames are JSON with a length before it; nothing is pickled.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from config.settings import WorkerSettings
from worker.core.failure import Failure
from worker.core.job import Job
from worker.core.process_tag import SERVICE_VARIABLE, end_tagged, next_tag
from worker.disk.limits import limit_of
from worker.errors import Crashed, Shortage
from worker.runtime.child_output import ChildOutput

_HEADER = struct.Struct("!I")
FD_VARIABLE = "INSIGNIA_WORKER_CHILD_FD"
_EXIT_TIMEOUT = 2.0
"""Seconds for a child to end after its connection was closed, before it is killed."""


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a job ended in its child: one of the two is set, or neither when the result is None."""

    result: bytes | None
    failure: Failure | None
    output: str = ""
    """The end of what the job wrote to its standard streams."""


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """What every child receives when it starts."""

    modules: Sequence[str]
    sections: Mapping[str, Any]
    """Handler settings sections as JSON-able values, by section name."""
    secrets: Sequence[str]


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    config: ProcessConfig
    output: ChildOutput
    tag: str
    """In the environment of the child and of what its handlers start."""
    has_started: bool = False
    """The child has reported that it received the job; a death before that has nothing to do with the job."""
    was_used: bool = False
    """It has run a job before this one."""
    pidfd: int | None = None
    """A descriptor that becomes readable when the process ends (pidfd_open(2)); None: the system has none."""

    def write(self, frame: object) -> None:
        data = orjson.dumps(frame)
        self.writer.write(_HEADER.pack(len(data)) + data)

    async def send(self, frame: object) -> None:
        self.write(frame)
        await self.writer.drain()

    def watch(self) -> None:
        """Read its output, and kill what it has started when it ends: that could keep the connection open."""
        asyncio.get_running_loop().add_reader(self.output.descriptor, self._on_output)
        with contextlib.suppress(AttributeError, OSError):
            self.pidfd = os.pidfd_open(self.process.pid)
            asyncio.get_running_loop().add_reader(self.pidfd, self._on_exit)

    def unwatch(self) -> None:
        if self.pidfd is not None:
            asyncio.get_running_loop().remove_reader(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = None

    def _on_output(self) -> None:
        if not self.output.read():
            asyncio.get_running_loop().remove_reader(self.output.descriptor)

    def close_output(self) -> str:
        """Stop reading the output; return the end of it."""
        output = self.output.take()
        asyncio.get_running_loop().remove_reader(self.output.descriptor)
        self.output.close()
        return output

    def _on_exit(self) -> None:
        self.unwatch()
        _kill_group(self.process)

    async def receive(self) -> dict[str, Any]:
        """Return the next frame. Raises asyncio.IncompleteReadError when the child has ended."""
        (size,) = _HEADER.unpack(await self.reader.readexactly(_HEADER.size))
        frame: dict[str, Any] = orjson.loads(await self.reader.readexactly(size))
        return frame


class ResizableSemaphore:
    """A semaphore in order of arrival whose size may change."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._in_use = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    def resize(self, size: int) -> None:
        """Change the size; holders beyond it keep their slots until they release them."""
        self.size = size
        self._grant()

    async def __aenter__(self) -> None:
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(slot)
        self._grant()
        try:
            await slot
        except asyncio.CancelledError:
            if slot.cancelled():
                self._waiters.remove(slot)
            else:
                self._release()  # granted and cancelled at once
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        self._in_use -= 1
        self._grant()

    def _grant(self) -> None:
        for slot in tuple(self._waiters):
            if self._in_use >= self.size:
                return
            if not slot.cancelled():
                self._waiters.remove(slot)
                self._in_use += 1
                slot.set_result(None)


class ProcessPool:
    """Up to `size` children, each started when first needed and kept for the next job."""

    def __init__(self, size: int, config: ProcessConfig) -> None:
        self._config = config
        self._idle: list[_Child] = []
        self._slots = ResizableSemaphore(size)
        self._closed = False

    @classmethod
    def from_settings(cls, settings: WorkerSettings, config: ProcessConfig) -> "ProcessPool":
        """Return a pool of `Worker:Processes` children, never more than there are slots for jobs."""
        return cls(min(settings.processes, settings.concurrency), config)

    @property
    def size(self) -> int:
        """The largest number of children at once."""
        return self._slots.size

    async def resize(self, size: int) -> None:
        """Change the size: waiting jobs get new slots at once, surplus children end with their jobs."""
        self._slots.resize(size)
        await self._reap_surplus()

    async def reconfigure(self, config: ProcessConfig) -> None:
        """Run further jobs in children with this configuration; the others end with their jobs."""
        if config != self._config:
            self._config = config
            await self._reap_surplus()

    async def _reap_surplus(self) -> None:
        while surplus := self._surplus():
            self._idle.remove(surplus)
            await self._reap(surplus)

    def _surplus(self) -> _Child | None:
        """Return an idle child to end: of another configuration, beyond the size, or any when the pool is closed."""
        too_many = self._closed or len(self._idle) > self.size
        return next((child for child in self._idle if too_many or child.config is not self._config), None)

    async def run(
        self, job: Job, on_progress: Callable[[float, str], None], on_start: Callable[[], None], cancel: asyncio.Event
    ) -> ProcessResult:
        """Run one job and return its end. Raises Crashed when its process died. Being cancelled kills the process.

        `on_start` is called when a child has received the job; setting `cancel` asks the handler to stop.
        """
        async with self._slots:
            while True:
                child = await self._acquire()
                try:
                    outcome = await self._run_in_child(child, job, on_progress, on_start, cancel)
                except (asyncio.IncompleteReadError, ConnectionError):
                    end, output = await self._reap(child)
                    if child.has_started or not child.was_used:
                        raise Crashed(f"The process running the job died ({end})", output) from None
                except BaseException:
                    await self._reap(child, kill=True)
                    raise
                else:
                    await self._put_back(child)
                    return outcome

    async def _put_back(self, child: _Child) -> None:
        child.was_used = True
        self._idle.append(child)
        await self._reap_surplus()

    async def close(self) -> None:
        """End all idle children; the others end with their jobs."""
        self._closed = True
        await self._reap_surplus()

    async def _acquire(self) -> _Child:
        while self._idle:
            child = self._idle.pop()
            if not _has_exited(child.process):
                return child
            await self._reap(child)
        with shortage_named():
            return await self._spawn()

    async def _spawn(self) -> _Child:
        ours, theirs = socket.socketpair()
        tag = next_tag()
        with theirs, _pipe() as (output, their_output):
            try:
                reader, writer = await asyncio.open_unix_connection(sock=ours)
            except BaseException:
                ours.close()
                raise
            try:
                # A new interpreter, not a fork: a forked child would hold the lock file and the port.
                process = subprocess.Popen(  # noqa: ASYNC220 -- returns at once; a thread would race with reaping
                    [sys.executable, "-m", "worker.runtime.process_child"],
                    stdin=subprocess.DEVNULL,
                    stdout=their_output,
                    stderr=their_output,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    env={
                        **os.environ,
                        FD_VARIABLE: str(theirs.fileno()),
                        SERVICE_VARIABLE: tag.partition("=")[2],
                    },
                )
            except BaseException:
                writer.close()
                raise
        # Nothing is awaited from here on: a cancellation would leave a process that is never reaped.
        config = self._config
        child = _Child(process, reader, writer, config, ChildOutput(output), tag)
        child.watch()
        child.write(
            {"modules": list(config.modules), "sections": dict(config.sections), "secrets": list(config.secrets)}
        )
        return child

    async def _run_in_child(
        self,
        child: _Child,
        job: Job,
        on_progress: Callable[[float, str], None],
        on_start: Callable[[], None],
        cancel: asyncio.Event,
    ) -> ProcessResult:
        child.has_started = False
        child.output.take()
        await child.send(
            {
                "job_id": job.id,
                "kind": job.kind,
                "user_id": job.user_id,
                "attempt": job.attempt,
                "payload": job.payload.decode(),
            }
        )
        cancelling = asyncio.ensure_future(self._send_cancel_when(child, cancel))
        try:
            while True:
                frame = await child.receive()
                if "begun" in frame:
                    child.has_started = True
                    on_start()
                    continue
                if "percent" in frame:
                    if frame["job_id"] == job.id:  # not from a thread that an earlier job left running
                        on_progress(frame["percent"], frame["note"])
                    continue
                failure = frame["failure"]
                result = frame["result"]
                return ProcessResult(
                    result=None if result is None else result.encode(),
                    failure=None if failure is None else Failure(**failure),
                    output=child.output.take(),
                )
        finally:
            cancelling.cancel()

    async def _send_cancel_when(self, child: _Child, cancel: asyncio.Event) -> None:
        await cancel.wait()
        with contextlib.suppress(ConnectionError):
            await child.send({"cancel": True})

    async def _reap(self, child: _Child, *, kill: bool = False) -> tuple[str, str]:
        """End the child and all that it has started, wait for it; return how it ended, and the end of its output."""
        child.unwatch()
        child.writer.close()
        if kill:
            _kill_group(child.process)
        try:
            # Shielded, so that a cancellation leaves no zombie.
            code = await asyncio.shield(asyncio.to_thread(_wait_for_exit, child.process, child.tag))
        except RuntimeError:  # no thread is left: wait here, as the child was killed or has ended
            _kill_group(child.process)
            code = child.process.wait()
        finally:
            output = child.close_output()
        with contextlib.suppress(ConnectionError):
            await child.writer.wait_closed()
        return (f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"), output


@contextlib.contextmanager
def shortage_named() -> Iterator[None]:
    """Raise Shortage where starting something in the block fails because of a limit of the system."""
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as exc:
        limit = limit_of(exc)
        if limit is None:
            raise
        raise Shortage(limit) from exc


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Yield the ends of a pipe, to read without blocking and to write; close the second, and both after an error."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        yield reading, writing
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)


def _wait_for_exit(process: subprocess.Popen[bytes], tag: str) -> int:
    """Wait for the child, kill what it has started, reap the child; return its exit code.

    In this order, because after reaping the id may belong to another process group.
    """
    deadline = time.monotonic() + _EXIT_TIMEOUT
    while not _has_exited(process) and time.monotonic() < deadline:
        time.sleep(0.005)
    _kill_group(process)
    end_tagged(tag)  # in sessions of their own
    return process.wait()


def _has_exited(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended; it is not reaped."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and whatever it started: the child leads a session of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
