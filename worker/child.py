"""The inside of a child process: takes a job, runs its handler, sends the end back. Knows no queue.

Started by worker.children as `python -m worker.child`; never by hand.
"""

import asyncio
import os
import queue
import signal
import socket
import struct
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from pydantic import TypeAdapter
from pydantic.alias_generators import to_pascal

from config.settings import Settings
from worker.children import FD_VARIABLE
from worker.errors import Interrupted, UnknownKind
from worker.failure import failure_of
from worker.handler import Handler, Registry, call_to_its_end, discover, encode_result
from worker.redact import Redactor

_HEADER = struct.Struct("!I")
_PROGRESS_INTERVAL = 0.05
"""Seconds: more often than this nobody looks."""


class _Wire:
    """Length-prefixed JSON over the inherited socket; a reader thread of its own feeds `jobs` and the flag."""

    def __init__(self, connection: socket.socket) -> None:
        connection.set_inheritable(False)  # what the handler starts must not keep the line open
        self._connection = connection
        self._turn = threading.Lock()
        self._file = connection.makefile("rb")
        self.frames: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.cancelled = threading.Event()

    def send(self, frame: object) -> None:
        data = orjson.dumps(frame)
        with self._turn:  # a handler's threads may tell their progress all at once
            self._connection.sendall(_HEADER.pack(len(data)) + data)

    def read_to_the_end(self) -> None:
        try:
            while header := self._file.read(_HEADER.size):
                self._take(orjson.loads(self._file.read(_HEADER.unpack(header)[0])))
        finally:
            # The parent has gone or is done with us; whatever the handler is doing is nobody's any more. Not only
            # at the end of the stream: a parent that died with frames unread resets the line.
            _end_with_all()

    def _take(self, frame: dict[str, Any]) -> None:
        if "cancel" in frame:
            self.cancelled.set()
        else:
            # Cleared here, in the order of the frames: a late wish to cancel belonged to the job before.
            self.cancelled.clear()
            self.frames.put(frame)


def _end_with_all() -> None:
    """This process, and whatever it has started: it leads a group of its own."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


@dataclass(slots=True)
class _ChildContext:
    """The handler's context; progress goes up the wire."""

    job_id: str
    user_id: str
    attempt: int
    settings: Any
    wire: _Wire
    _last: float = field(default=0.0)

    @property
    def cancelled(self) -> bool:
        return self.wire.cancelled.is_set()

    def progress(self, percent: float, note: str = "") -> None:
        now = time.monotonic()
        if percent < 100 and now - self._last < _PROGRESS_INTERVAL:
            return
        self._last = now
        self.wire.send({"job_id": self.job_id, "percent": float(percent), "note": note})


def _sections(registry: Registry, values: dict[str, Any]) -> dict[str, Any]:
    """Each handler's section as the model the shell knows it by."""
    models: dict[str, Any] = {to_pascal(name): info.annotation for name, info in Settings.model_fields.items()}
    wanted = {handler.section for handler in registry.values() if handler.section}
    return {name: TypeAdapter(models[name]).validate_python(values[name]) for name in wanted if name in values}


def _run(handler: Handler, job: dict[str, Any], settings: Any, wire: _Wire) -> bytes | None:
    payload = handler.validate(job["payload"].encode())
    context = _ChildContext(job["job_id"], job["user_id"], job["attempt"], settings, wire)
    return encode_result(call_to_its_end(handler, payload, context))


def _answer(registry: Registry, sections: dict[str, Any], job: dict[str, Any], wire: _Wire, redact: Redactor) -> None:
    try:
        handler = registry.get(job["kind"])
        if handler is None:
            raise UnknownKind(f"no handler for kind {job['kind']!r}")
        result = _run(handler, job, sections.get(handler.section or ""), wire)
    except asyncio.CancelledError:
        wire.send({"result": None, "failure": asdict(failure_of(Interrupted("The handler cancelled itself"), redact))})
    except BaseException as exc:  # noqa: BLE001 -- whatever a handler raises, sys.exit() too, is the attempt's end
        wire.send({"result": None, "failure": asdict(failure_of(exc, redact))})
    else:
        wire.send({"result": None if result is None else result.decode(), "failure": None})


def main() -> None:
    wire = _Wire(socket.socket(fileno=int(os.environ.pop(FD_VARIABLE))))
    threading.Thread(target=wire.read_to_the_end, name="parent", daemon=True).start()
    setup = wire.frames.get()
    registry = discover(setup["modules"])
    sections = _sections(registry, setup["sections"])
    redact = Redactor.of(setup["secrets"])
    while True:
        job = wire.frames.get()
        wire.send({"begun": True})
        _answer(registry, sections, job, wire, redact)


if __name__ == "__main__":
    main()
