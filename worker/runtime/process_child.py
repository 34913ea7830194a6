"""The main program of a child process: receives a job, runs its handler, sends back how it ended.

Started by `worker.runtime.process_pool` as `python -m worker.runtime.process_child`; never by hand.
"""

import asyncio
import contextlib
import io
import os
import queue
import signal
import socket
import struct
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from pydantic import TypeAdapter
from pydantic.alias_generators import to_pascal

from config.settings import Settings
from worker.core.failure import failure_of
from worker.core.redact import Redactor
from worker.errors import Interrupted, UnknownKind
from worker.handler import Handler, Registry, call_blocking, discover, encode_result
from worker.runtime.descendants import adopt_orphans, end_descendants
from worker.runtime.process_pool import FD_VARIABLE

_HEADER = struct.Struct("!I")
_PROGRESS_INTERVAL = 0.05
"""Seconds between two progress frames of one job."""


class _ParentConnection:
    """Length-prefixed JSON over the inherited socket; a reader thread fills `frames` and sets `cancelled`."""

    def __init__(self, connection: socket.socket) -> None:
        connection.set_inheritable(False)  # what the handler starts must not keep the connection open
        self._connection = connection
        self._send_lock = threading.Lock()
        self._file = connection.makefile("rb")
        self.frames: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.cancelled = threading.Event()

    def send(self, frame: object) -> None:
        data = orjson.dumps(frame)
        with self._send_lock:  # threads of a handler may report progress at the same time
            self._connection.sendall(_HEADER.pack(len(data)) + data)

    def read_frames(self) -> None:
        try:
            while header := self._file.read(_HEADER.size):
                self._receive(orjson.loads(self._file.read(_HEADER.unpack(header)[0])))
        finally:
            # The parent has ended or closed the connection, so the result would go nowhere. Not only at the end of
            # the stream: a parent that died with unread frames resets the connection.
            _kill_process_group()

    def _receive(self, frame: dict[str, Any]) -> None:
        if "cancel" in frame:
            self.cancelled.set()
        else:
            # Cleared here, in the order of the frames: a late cancellation belonged to the job before.
            self.cancelled.clear()
            self.frames.put(frame)


def _kill_process_group() -> None:
    """Kill this process and whatever it has started, if it leads a process group."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


@dataclass(slots=True)
class _ChildContext:
    """The handler's context; progress is sent to the parent."""

    job_id: str
    user_id: str
    attempt: int
    settings: Any
    parent: _ParentConnection
    _last_sent: float = field(default=0.0)

    @property
    def cancelled(self) -> bool:
        return self.parent.cancelled.is_set()

    def progress(self, percent: float, note: str = "") -> None:
        now = time.monotonic()
        if percent < 100 and now - self._last_sent < _PROGRESS_INTERVAL:
            return
        self._last_sent = now
        self.parent.send({"job_id": self.job_id, "percent": float(percent), "note": note})


def _parse_sections(registry: Registry, values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings sections of all handlers as models, by name."""
    models: dict[str, Any] = {to_pascal(name): info.annotation for name, info in Settings.model_fields.items()}
    wanted = {handler.section for handler in registry.values() if handler.section}
    return {name: TypeAdapter(models[name]).validate_python(values[name]) for name in wanted if name in values}


def _run(handler: Handler, job: dict[str, Any], settings: Any, parent: _ParentConnection) -> bytes | None:
    payload = handler.validate(job["payload"].encode())
    context = _ChildContext(job["job_id"], job["user_id"], job["attempt"], settings, parent)
    return encode_result(call_blocking(handler, payload, context))


def _run_and_report(
    registry: Registry, sections: dict[str, Any], job: dict[str, Any], parent: _ParentConnection, redact: Redactor
) -> None:
    result, failure = None, None
    try:
        handler = registry.get(job["kind"])
        if handler is None:
            raise UnknownKind(f"no handler for kind {job['kind']!r}")
        result = _run(handler, job, sections.get(handler.section or ""), parent)
    except asyncio.CancelledError:
        failure = failure_of(Interrupted("The handler cancelled itself"), redact)
    except BaseException as exc:  # noqa: BLE001 -- whatever a handler raises, sys.exit() included, ends the attempt
        failure = failure_of(exc, redact)
    end_descendants()
    _flush_streams()
    parent.send(
        {
            "result": None if result is None else result.decode(),
            "failure": None if failure is None else asdict(failure),
        }
    )


def _flush_streams() -> None:
    """Write what the handler has printed, so that it belongs to this job and not to the next."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the handler may have closed or replaced it
            stream.flush()


def _buffer_lines() -> None:
    """Write each line of stdout at once, as stderr does: in the order of both, and before the process may crash."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def main() -> None:
    adopt_orphans()
    _buffer_lines()
    parent = _ParentConnection(socket.socket(fileno=int(os.environ.pop(FD_VARIABLE))))
    threading.Thread(target=parent.read_frames, name="parent", daemon=True).start()
    config = parent.frames.get()
    registry = discover(config["modules"])
    sections = _parse_sections(registry, config["sections"])
    redact = Redactor.of(config["secrets"])
    while True:
        job = parent.frames.get()
        parent.send({"begun": True})
        _run_and_report(registry, sections, job, parent, redact)


if __name__ == "__main__":
    main()
